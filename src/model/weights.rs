//! Binding a model: finds all its tensors and checks the type and shape of each. Only the values of the hash tables are read.

use super::config::Config;
use super::files::{Element, Files, Raw};
use super::names::{self, Name};
use super::tensor::{Stored, Table, Tensor};
use super::{config_gguf, config_hf};
use crate::quant::BlockFormat;
use crate::{Error, Result};
use std::path::Path;

/// The weights of one set of hyper-connections. A sub-layer has 24 mixing weights and 3 scales, a head has 4 and 1.
#[derive(Clone, Debug)]
pub struct Hc {
    /// `hc_*_fn` of the files: [24 or 4, 4D].
    pub mix: Tensor,
    /// (24 or 4).
    pub base: Tensor,
    /// (3 or 1).
    pub scale: Tensor,
}

/// Projections and norms of attention.
#[derive(Clone, Debug)]
pub struct AttentionWeights {
    /// [q rank, D].
    pub q_a: Tensor,
    /// (q rank).
    pub q_norm: Tensor,
    /// [H K, q rank].
    pub q_b: Tensor,
    /// [K, D].
    pub kv: Tensor,
    /// (K).
    pub kv_norm: Tensor,
    /// (H).
    pub sinks: Tensor,
    /// [groups * rank, H K / groups].
    pub out_a: Tensor,
    /// [D, groups * rank].
    pub out_b: Tensor,
}

/// The compressor of a layer's keys, or that of its indexer's keys.
#[derive(Clone, Debug)]
pub struct CompressorWeights {
    /// (ratio * width). The width is 2 dim for ratio 4, otherwise dim.
    pub ape: Tensor,
    /// [width, D].
    pub kv: Tensor,
    /// [width, D].
    pub gate: Tensor,
    /// (dim).
    pub norm: Tensor,
}

/// The indexer of a ratio-4 layer.
#[derive(Clone, Debug)]
pub struct IndexerWeights {
    /// [heads * dim, q rank].
    pub q_b: Tensor,
    /// [heads, D].
    pub proj: Tensor,
    /// The compressor of the indexer's keys.
    pub compressor: CompressorWeights,
}

/// How a layer finds its experts.
#[derive(Clone, Debug)]
pub enum Routing {
    /// By the router's scores. The bias (E) is added to them for the choice only.
    Scored(Tensor),
    /// By token id.
    Hashed(Table),
}

/// The mixture of experts of a layer.
#[derive(Clone, Debug)]
pub struct ExpertWeights {
    /// [E, D].
    pub router: Tensor,
    /// How a token's experts are found.
    pub routing: Routing,
    /// [E * F, D].
    pub gate: Tensor,
    /// [E * F, D].
    pub up: Tensor,
    /// [E * D, F].
    pub down: Tensor,
    /// [F, D].
    pub shared_gate: Tensor,
    /// [F, D].
    pub shared_up: Tensor,
    /// [D, F].
    pub shared_down: Tensor,
}

/// One layer.
#[derive(Clone, Debug)]
pub struct Layer {
    /// Number of tokens that a compressed row stands for, or 0 where the layer has no compressor.
    pub ratio: u32,
    /// SwiGLU limit.
    pub swiglu_limit: f32,
    /// Hyper-connections around attention.
    pub attn_hc: Hc,
    /// (D).
    pub attn_norm: Tensor,
    /// Attention.
    pub attention: AttentionWeights,
    /// The compressor, where the ratio is not 0.
    pub compressor: Option<CompressorWeights>,
    /// The indexer, where the ratio is 4.
    pub indexer: Option<IndexerWeights>,
    /// Hyper-connections around the experts.
    pub ffn_hc: Hc,
    /// (D).
    pub ffn_norm: Tensor,
    /// The experts.
    pub experts: ExpertWeights,
}

/// The last part of the model or of the draft block, before the output matrix.
#[derive(Clone, Debug)]
pub struct HeadWeights {
    /// Hyper-connections that join the four streams into one.
    pub hc: Hc,
    /// (D).
    pub norm: Tensor,
}

/// A model with all its tensors bound.
#[derive(Clone, Debug)]
pub struct Model {
    /// Hyper-parameters.
    pub config: Config,
    /// [vocabulary, D].
    pub embed: Tensor,
    /// The layers.
    pub layers: Vec<Layer>,
    /// Hyper-connections and norm before the output matrix.
    pub head: HeadWeights,
    /// [vocabulary, D].
    pub output: Tensor,
}

/// The draft block (SPEC 3.6).
#[derive(Clone, Debug)]
pub struct Mtp {
    /// [D, D].
    pub e_proj: Tensor,
    /// [D, D].
    pub h_proj: Tensor,
    /// (D).
    pub e_norm: Tensor,
    /// (D).
    pub h_norm: Tensor,
    /// The only layer. It has the sliding window only, and its router chooses experts by score.
    pub layer: Layer,
    /// Hyper-connections and norm before the output matrix. The draft block shares embedding and output matrix with the model.
    pub head: HeadWeights,
}

impl Model {
    /// Opens `path`, a GGUF file or a checkpoint folder, and binds every tensor.
    ///
    /// # Errors
    /// Where a hyper-parameter or tensor is missing or wrong, with the expected and found numbers.
    pub fn open(path: &Path) -> Result<Self> {
        Self::bind(&Files::open(path)?)
    }

    /// Binds the tensors of opened files.
    ///
    /// # Errors
    /// Those of [`Model::open`].
    pub fn bind(files: &Files) -> Result<Self> {
        let config = match files {
            Files::Gguf(file) => config_gguf::read(file)?,
            Files::Folder(folder) => config_hf::read(folder)?,
            Files::Safetensors(file) => return Err(Error::file(file.path(), "is one file of a checkpoint; pass the folder")),
        };
        let binder = Binder { files, config: &config, prefix: String::new(), gguf_prefix: String::new() };
        let (dim, vocabulary) = (config.dim as usize, config.vocabulary as usize);
        let embed = binder.matrix(names::EMBED, vocabulary, dim)?;
        let output = binder.matrix(names::HEAD, vocabulary, dim)?;
        let head = HeadWeights {
            hc: binder.hc([names::HEAD_HC_FN, names::HEAD_HC_BASE, names::HEAD_HC_SCALE], 4, 1)?,
            norm: binder.vector(names::NORM, dim)?,
        };
        let layer = |l: usize| {
            let gguf_prefix = format!("blk.{l}.");
            let prefix = if files.is_gguf() { gguf_prefix.clone() } else { format!("layers.{l}.") };
            let kind = config.layers[l];
            Binder { prefix, gguf_prefix, ..binder }.layer(kind.ratio, kind.hashed, kind.swiglu_limit)
        };
        let layers = (0..config.layers.len()).map(layer).collect::<Result<_>>()?;
        Ok(Self { embed, layers, head, output, config })
    }

    /// All tensors except the hash tables.
    pub fn tensors(&self) -> Vec<&Tensor> {
        let mut out = vec![&self.embed, &self.output, &self.head.norm];
        out.extend(self.head.hc.tensors());
        out.extend(self.layers.iter().flat_map(Layer::tensors));
        out
    }

    /// Bytes of weights that one generated token reads: all matrices, but one row of the embedding and only the experts that a token uses.
    pub fn bytes_per_token(&self) -> u64 {
        let (experts, used) = (u64::from(self.config.experts), u64::from(self.config.experts_used));
        let sum = |tensors: &[&Tensor]| tensors.iter().map(|t| t.bytes()).sum::<u64>();
        let layer = |l: &Layer| {
            let (a, e) = (&l.attention, &l.experts);
            let compressors = [l.compressor.as_ref(), l.indexer.as_ref().map(|i| &i.compressor)];
            sum(&[&l.attn_hc.mix, &l.ffn_hc.mix, &a.q_a, &a.q_b, &a.kv, &a.out_a, &a.out_b])
                + compressors.into_iter().flatten().map(|c| sum(&[&c.kv, &c.gate])).sum::<u64>()
                + l.indexer.as_ref().map_or(0, |i| sum(&[&i.q_b, &i.proj]))
                + sum(&[&e.router, &e.shared_gate, &e.shared_up, &e.shared_down])
                + sum(&[&e.gate, &e.up, &e.down]) * used / experts
        };
        let layers: u64 = self.layers.iter().map(layer).sum();
        layers + sum(&[&self.head.hc.mix, &self.output]) + self.embed.row_bytes() as u64
    }

    /// Binds the draft block in the file at `path` (safetensors or GGUF) to this model.
    ///
    /// # Errors
    /// Where a tensor is missing or wrong.
    pub fn open_mtp(&self, path: &Path) -> Result<Mtp> {
        self.bind_mtp(&Files::open(path)?)
    }

    /// Binds the draft block in opened files to this model.
    ///
    /// # Errors
    /// Those of [`Model::open_mtp`].
    pub fn bind_mtp(&self, files: &Files) -> Result<Mtp> {
        let [prefix, gguf_prefix] = [names::MTP_PREFIX; 2].map(String::from);
        let binder = Binder { files, config: &self.config, prefix, gguf_prefix };
        let dim = self.config.dim as usize;
        let limit = self.config.layers.last().map_or(10.0, |l| l.swiglu_limit);
        Ok(Mtp {
            e_proj: binder.matrix(names::MTP_E_PROJ, dim, dim)?,
            h_proj: binder.matrix(names::MTP_H_PROJ, dim, dim)?,
            e_norm: binder.vector(names::MTP_E_NORM, dim)?,
            h_norm: binder.vector(names::MTP_H_NORM, dim)?,
            layer: binder.layer(0, false, limit)?,
            head: HeadWeights {
                hc: binder.hc([names::MTP_HC_FN, names::MTP_HC_BASE, names::MTP_HC_SCALE], 4, 1)?,
                norm: binder.vector(names::MTP_NORM, dim)?,
            },
        })
    }
}

impl Hc {
    fn tensors(&self) -> [&Tensor; 3] {
        [&self.mix, &self.base, &self.scale]
    }
}

impl CompressorWeights {
    fn tensors(&self) -> [&Tensor; 4] {
        [&self.ape, &self.kv, &self.gate, &self.norm]
    }
}

impl Layer {
    /// All tensors except the hash table.
    fn tensors(&self) -> Vec<&Tensor> {
        let (a, e) = (&self.attention, &self.experts);
        let mut out = vec![&self.attn_norm, &self.ffn_norm];
        out.extend(self.attn_hc.tensors());
        out.extend(self.ffn_hc.tensors());
        out.extend([&a.q_a, &a.q_norm, &a.q_b, &a.kv, &a.kv_norm, &a.sinks, &a.out_a, &a.out_b]);
        out.extend(self.compressor.iter().flat_map(CompressorWeights::tensors));
        if let Some(indexer) = &self.indexer {
            out.extend([&indexer.q_b, &indexer.proj]);
            out.extend(indexer.compressor.tensors());
        }
        out.extend([&e.router, &e.gate, &e.up, &e.down, &e.shared_gate, &e.shared_up, &e.shared_down]);
        if let Routing::Scored(bias) = &e.routing {
            out.push(bias);
        }
        out
    }
}

impl Mtp {
    /// All tensors.
    pub fn tensors(&self) -> Vec<&Tensor> {
        let mut out = vec![&self.e_proj, &self.h_proj, &self.e_norm, &self.h_norm, &self.head.norm];
        out.extend(self.head.hc.tensors());
        out.extend(self.layer.tensors());
        out
    }
}

/// Finds and checks the tensors whose names start with a prefix: that of a layer, or an empty one for the rest of the model.
struct Binder<'a> {
    files: &'a Files,
    config: &'a Config,
    prefix: String,
    gguf_prefix: String,
}

impl Binder<'_> {
    /// The complete name in the file.
    fn full_name(&self, name: Name) -> String {
        format!("{}{}", self.prefix, if self.files.is_gguf() { name.gguf } else { name.hf })
    }

    fn fail(&self, what: String) -> Error {
        Error::file(self.files.path(), what)
    }

    fn find(&self, name: &str) -> Result<Raw<'_>> {
        self.files.find(name).ok_or_else(|| self.fail(format!("tensor {name} is missing")))
    }

    fn expect_shape(&self, name: &str, found: &[u64], expected: &[usize]) -> Result<()> {
        let expected: Vec<u64> = expected.iter().map(|&d| d as u64).collect();
        if found == expected { Ok(()) } else { Err(self.fail(format!("tensor {name} has shape {found:?}, expected {expected:?}"))) }
    }

    /// A matrix in any block format, or in FP8 or FP4 of a checkpoint with its scales.
    fn matrix(&self, key: Name, rows: usize, columns: usize) -> Result<Tensor> {
        let name = self.full_name(key);
        let (format, part) = self.stored(&name, &[rows, columns])?;
        self.tensor(key, name, format, [rows, columns], vec![part])
    }

    fn tensor(&self, key: Name, name: String, format: BlockFormat, [rows, columns]: [usize; 2], parts: Vec<Stored>) -> Result<Tensor> {
        if format.row_bytes(columns).is_none() {
            let block = format.block_values();
            return Err(self.fail(format!("tensor {name} has rows of {columns} values, {format} needs a multiple of {block}")));
        }
        let gguf_name = format!("{}{}", self.gguf_prefix, key.gguf);
        Ok(Tensor { name, gguf_name, format, rows, columns, files: self.files.clone(), parts })
    }

    /// Checks the tensor `name`, whose last dimension is a row. Returns the format in which its rows are read, and how they are stored.
    fn stored(&self, name: &str, shape: &[usize]) -> Result<(BlockFormat, Stored)> {
        let raw = self.find(name)?;
        let scales_of = |name: &str| name.strip_suffix(".weight").map_or_else(|| format!("{name}.scale"), |n| format!("{n}.scale"));
        let [rows, columns] = [shape[..shape.len() - 1].iter().product(), shape[shape.len() - 1]];
        match raw.element {
            Element::Block(format) => {
                self.expect_shape(name, &raw.shape, shape)?;
                Ok((format, Stored::Plain { name: name.into() }))
            }
            Element::Fp8 => {
                self.expect_shape(name, &raw.shape, shape)?;
                let scales = scales_of(name);
                self.scales(&scales, &[rows.div_ceil(128), columns.div_ceil(128)])?;
                Ok((BlockFormat::Fp8, Stored::Fp8 { codes: name.into(), scales }))
            }
            Element::PackedFp4 if columns.is_multiple_of(32) => {
                self.expect_shape(name, &raw.shape, &[rows, columns / 2])?;
                let scales = scales_of(name);
                self.scales(&scales, &[rows, columns / 32])?;
                Ok((BlockFormat::Mxfp4, Stored::Fp4 { codes: name.into(), scales }))
            }
            other => Err(self.fail(format!("tensor {name} has type {other:?}, which no weight is stored in"))),
        }
    }

    fn scales(&self, name: &str, shape: &[usize]) -> Result<()> {
        let raw = self.find(name)?;
        if raw.element != Element::E8m0 {
            return Err(self.fail(format!("tensor {name} has type {:?}, expected E8M0 scales", raw.element)));
        }
        self.expect_shape(name, &raw.shape, shape)
    }

    /// A vector of `len` values in F32, F16 or BF16. Any shape with that many values is accepted.
    fn vector(&self, key: Name, len: usize) -> Result<Tensor> {
        let name = self.full_name(key);
        let raw = self.find(&name)?;
        let Element::Block(format @ (BlockFormat::F32 | BlockFormat::F16 | BlockFormat::Bf16)) = raw.element else {
            return Err(self.fail(format!("tensor {name} has type {:?}, expected F32, F16 or BF16", raw.element)));
        };
        if raw.shape.iter().product::<u64>() != len as u64 {
            return Err(self.fail(format!("tensor {name} has shape {:?}, expected {len} values", raw.shape)));
        }
        let part = Stored::Plain { name: name.clone() };
        self.tensor(key, name, format, [1, len], vec![part])
    }

    fn hc(&self, [mix, base, scale]: [Name; 3], outputs: usize, scales: usize) -> Result<Hc> {
        Ok(Hc {
            mix: self.matrix(mix, outputs, 4 * self.config.dim as usize)?,
            base: self.vector(base, outputs)?,
            scale: self.vector(scale, scales)?,
        })
    }

    /// The matrices [rows, columns] of all experts: one stacked tensor in GGUF, one tensor an expert in a checkpoint.
    fn experts(&self, key: Name, rows: usize, columns: usize) -> Result<Tensor> {
        let experts = self.config.experts as usize;
        if self.files.is_gguf() {
            let name = self.full_name(key);
            let (format, part) = self.stored(&name, &[experts, rows, columns])?;
            return self.tensor(key, name, format, [experts * rows, columns], vec![part]);
        }
        let name = |e: usize| format!("{}ffn.experts.{e}.{}.weight", self.prefix, key.hf);
        let mut parts = Vec::with_capacity(experts);
        let mut first = None;
        for e in 0..experts {
            let (format, part) = self.stored(&name(e), &[rows, columns])?;
            let expected = *first.get_or_insert(format);
            if format != expected {
                return Err(self.fail(format!("tensor {} is {format}, the other experts are {expected}", name(e))));
            }
            parts.push(part);
        }
        self.tensor(key, name(0), first.unwrap_or(BlockFormat::F32), [experts * rows, columns], parts)
    }

    /// The table of a hash-routed layer. Its entries are checked, because a kernel uses them as indices.
    fn table(&self) -> Result<Table> {
        let name = self.full_name(names::ROUTER_TABLE);
        let (rows, columns) = (self.config.vocabulary as usize, self.config.experts_used as usize);
        let raw = self.find(&name)?;
        self.expect_shape(&name, &raw.shape, &[rows, columns])?;
        let values: Vec<i64> = match raw.element {
            Element::I32 => raw.bytes.as_chunks::<4>().0.iter().map(|&b| i64::from(i32::from_le_bytes(b))).collect(),
            Element::I64 => raw.bytes.as_chunks::<8>().0.iter().map(|&b| i64::from_le_bytes(b)).collect(),
            other => return Err(self.fail(format!("tensor {name} has type {other:?}, expected I32 or I64"))),
        };
        let experts = i64::from(self.config.experts);
        for (token, row) in values.chunks_exact(columns).enumerate() {
            if let Some(bad) = row.iter().find(|e| !(0..experts).contains(*e)) {
                return Err(self.fail(format!("tensor {name} names expert {bad} for token {token}, there are {experts}")));
            }
        }
        Ok(Table { rows, columns, values: values.into_iter().map(|e| e as u32).collect() })
    }

    fn compressor(&self, [ape, kv, gate, norm]: [Name; 4], ratio: u32, head_dim: u32) -> Result<CompressorWeights> {
        let (dim, d) = (head_dim as usize, self.config.dim as usize);
        let width = if ratio == 4 { 2 * dim } else { dim };
        Ok(CompressorWeights {
            ape: self.vector(ape, ratio as usize * width)?,
            kv: self.matrix(kv, width, d)?,
            gate: self.matrix(gate, width, d)?,
            norm: self.vector(norm, dim)?,
        })
    }

    fn layer(&self, ratio: u32, hashed: bool, swiglu_limit: f32) -> Result<Layer> {
        let c = self.config;
        let (d, q_rank, head_dim) = (c.dim as usize, c.q_rank as usize, c.head_dim as usize);
        let (q, o_rank, groups) = (c.heads as usize * head_dim, c.o_rank as usize, c.o_groups as usize);
        let (width, experts) = (c.expert_width as usize, c.experts as usize);
        let compressor = [names::COMPRESSOR_APE, names::COMPRESSOR_KV, names::COMPRESSOR_GATE, names::COMPRESSOR_NORM];
        let index_compressor = [names::INDEXER_APE, names::INDEXER_KV, names::INDEXER_GATE, names::INDEXER_NORM];
        let indexer = || {
            Ok(IndexerWeights {
                q_b: self.matrix(names::INDEXER_Q_B, (c.index_heads * c.index_dim) as usize, q_rank)?,
                proj: self.matrix(names::INDEXER_PROJ, c.index_heads as usize, d)?,
                compressor: self.compressor(index_compressor, ratio, c.index_dim)?,
            })
        };
        Ok(Layer {
            ratio,
            swiglu_limit,
            attn_hc: self.hc([names::ATTN_HC_FN, names::ATTN_HC_BASE, names::ATTN_HC_SCALE], 24, 3)?,
            attn_norm: self.vector(names::ATTN_NORM, d)?,
            attention: AttentionWeights {
                q_a: self.matrix(names::Q_A, q_rank, d)?,
                q_norm: self.vector(names::Q_NORM, q_rank)?,
                q_b: self.matrix(names::Q_B, q, q_rank)?,
                kv: self.matrix(names::KV, head_dim, d)?,
                kv_norm: self.vector(names::KV_NORM, head_dim)?,
                sinks: self.vector(names::SINKS, c.heads as usize)?,
                out_a: self.matrix(names::OUT_A, groups * o_rank, q / groups)?,
                out_b: self.matrix(names::OUT_B, d, groups * o_rank)?,
            },
            compressor: if ratio > 0 { Some(self.compressor(compressor, ratio, c.head_dim)?) } else { None },
            indexer: if ratio == 4 { Some(indexer()?) } else { None },
            ffn_hc: self.hc([names::FFN_HC_FN, names::FFN_HC_BASE, names::FFN_HC_SCALE], 24, 3)?,
            ffn_norm: self.vector(names::FFN_NORM, d)?,
            experts: ExpertWeights {
                router: self.matrix(names::ROUTER, experts, d)?,
                routing: if hashed { Routing::Hashed(self.table()?) } else { Routing::Scored(self.vector(names::ROUTER_BIAS, experts)?) },
                gate: self.experts(names::EXPERTS_GATE, width, d)?,
                up: self.experts(names::EXPERTS_UP, width, d)?,
                down: self.experts(names::EXPERTS_DOWN, d, width)?,
                shared_gate: self.matrix(names::SHARED_GATE, width, d)?,
                shared_up: self.matrix(names::SHARED_UP, width, d)?,
                shared_down: self.matrix(names::SHARED_DOWN, d, width)?,
            },
        })
    }
}
