//! The GPU's side of a model: every weight placed, then bound to the buffers that hold it.

use super::place::{Copy, PlacedExperts, PlacedMatrix, Placer, SLACK};
use crate::Result;
use crate::gpu::{Buffer, Caps, Gpu, Slice};
use crate::kernels::{Experts, HcWeights, Matrix};
use crate::model::{self, Model, Mtp, Routing, Tensor};

/// Small f32 vectors, collected into one buffer: norms, sinks, biases, ape, hyper-connection bases.
#[derive(Debug, Default)]
struct Vectors {
    values: Vec<f32>,
}

/// Start and length of a vector, in floats.
#[derive(Clone, Copy, Debug)]
struct VectorAt(usize, usize);

impl Vectors {
    fn add(&mut self, tensors: &[&Tensor]) -> VectorAt {
        // 64 floats are 256 bytes: every vector can be bound by itself.
        self.values.resize(self.values.len().next_multiple_of(64), 0.0);
        let start = self.values.len();
        tensors.iter().for_each(|t| self.values.extend(t.values()));
        VectorAt(start, self.values.len() - start)
    }
}

/// A compressor in GPU memory.
#[derive(Debug)]
pub struct Compressor {
    /// (ratio, width).
    pub ape: Slice,
    /// (dim).
    pub norm: Slice,
}

/// A layer in GPU memory. Matrices in one `Vec` are read by one launch, in this order.
#[derive(Debug)]
pub struct Layer {
    pub ratio: u32,
    pub limit: f32,
    pub attn_hc: HcWeights,
    /// q_a, kv; indexer proj.
    pub inputs: Vec<Matrix>,
    /// Compressor kv, gate; indexer compressor kv, gate: what only windows that close wait for.
    pub fresh: Vec<Matrix>,
    pub q_norm: Slice,
    /// q_b.
    pub queries: Matrix,
    /// Indexer q_b.
    pub index_queries: Option<Matrix>,
    pub kv_norm: Slice,
    pub sinks: Slice,
    pub compressor: Option<Compressor>,
    pub index_compressor: Option<Compressor>,
    pub out_a: Matrix,
    pub out_b: Matrix,
    pub ffn_hc: HcWeights,
    /// Shared gate, shared up; router.
    pub ffn_inputs: Vec<Matrix>,
    pub routing: RoutingTable,
    pub gate_up: Experts,
    pub down: Experts,
    pub shared_down: Matrix,
}

/// How a layer finds its experts.
#[derive(Debug)]
pub enum RoutingTable {
    /// Bias (E).
    Scored(Slice),
    /// Table (vocabulary, used).
    Hashed(Slice),
}

/// The model in GPU memory.
#[derive(Debug)]
pub struct GpuModel {
    pub embed: Matrix,
    pub layers: Vec<Layer>,
    pub head_hc: HcWeights,
    pub output: Matrix,
    pub mtp: Option<GpuMtp>,
}

/// The draft block in GPU memory.
#[derive(Debug)]
pub struct GpuMtp {
    pub e_proj: Matrix,
    pub h_proj: Matrix,
    pub e_norm: Slice,
    pub h_norm: Slice,
    pub layer: Layer,
    pub head_hc: HcWeights,
}

struct PlacedHc {
    mix: PlacedMatrix,
    base_scale: VectorAt,
    norm: VectorAt,
}

struct PlacedLayer {
    ratio: u32,
    limit: f32,
    attn_hc: PlacedHc,
    inputs: Vec<PlacedMatrix>,
    fresh: Vec<PlacedMatrix>,
    q_norm: VectorAt,
    queries: PlacedMatrix,
    index_queries: Option<PlacedMatrix>,
    kv_norm: VectorAt,
    sinks: VectorAt,
    compressors: Vec<(VectorAt, VectorAt)>,
    out_a: PlacedMatrix,
    out_b: PlacedMatrix,
    ffn_hc: PlacedHc,
    ffn_inputs: Vec<PlacedMatrix>,
    routing: PlacedRouting,
    gate_up: PlacedExperts,
    down: PlacedExperts,
    shared_down: PlacedMatrix,
}

enum PlacedRouting {
    Scored(VectorAt),
    Hashed(Vec<u32>),
}

struct PlacedMtp {
    e_proj: PlacedMatrix,
    h_proj: PlacedMatrix,
    e_norm: VectorAt,
    h_norm: VectorAt,
    layer: PlacedLayer,
    head_hc: PlacedHc,
}

/// Where every weight goes: known before any GPU memory is taken.
pub struct Layout {
    placer: Placer,
    vectors: Vectors,
    embed: PlacedMatrix,
    layers: Vec<PlacedLayer>,
    head_hc: PlacedHc,
    output: PlacedMatrix,
    mtp: Option<PlacedMtp>,
}

impl Layout {
    /// Places `model`, and the draft block if there is one, for a device of `caps`.
    ///
    /// # Errors
    /// A row of a weight is larger than the device's largest binding.
    pub fn new(model: &Model, mtp: Option<&Mtp>, caps: &Caps) -> Result<Self> {
        let (mut placer, mut vectors) = (Placer::new(caps), Vectors::default());
        let [embed] = placer.group([&model.embed])?;
        let mut layers = Vec::with_capacity(model.layers.len());
        for layer in &model.layers {
            layers.push(place_layer(&mut placer, &mut vectors, layer, model.config.experts)?);
        }
        let head_hc = place_hc(&mut placer, &mut vectors, &model.head.hc, &model.head.norm)?;
        let [output] = placer.group([&model.output])?;
        let mtp = mtp.map(|m| place_mtp(&mut placer, &mut vectors, m, model.config.experts)).transpose()?;
        Ok(Self { placer, vectors, embed, layers, head_hc, output, mtp })
    }

    /// Bytes of all weights in GPU memory.
    pub fn bytes(&self) -> u64 {
        let tables: usize = self.layers.iter().map(|l| if let PlacedRouting::Hashed(t) = &l.routing { t.len() } else { 0 }).sum();
        let arenas: u64 = self.placer.arenas.iter().map(|bytes| bytes + SLACK).sum();
        arenas + 4 * (self.vectors.values.len() + tables) as u64
    }

    /// Bytes of weights that are kept in another order than stored: codes of several blocks together.
    pub fn rearranged_bytes(&self) -> u64 {
        self.placer.copies.iter().filter(|copy| copy.is_rearranged()).map(Copy::bytes).sum()
    }

    /// Whether the draft block is placed too.
    pub fn has_draft(&self) -> bool {
        self.mtp.is_some()
    }

    /// Bytes of each buffer.
    pub fn arenas(&self) -> &[u64] {
        &self.placer.arenas
    }

    /// What to copy where.
    pub fn copies(&self) -> &[Copy] {
        &self.placer.copies
    }

    /// Makes the arenas.
    ///
    /// # Errors
    /// No memory left.
    pub fn allocate(&self, gpu: &Gpu) -> Result<Vec<Buffer>> {
        self.placer.arenas.iter().enumerate().map(|(i, bytes)| gpu.buffer(&format!("weights {i}"), bytes + SLACK)).collect()
    }

    /// The model in `arenas`.
    ///
    /// # Errors
    /// No memory left for the vectors.
    pub fn bind(&self, gpu: &Gpu, arenas: &[Buffer]) -> Result<GpuModel> {
        let vectors = gpu.buffer_with("vectors", &self.vectors.values)?;
        let binder = Binder { gpu, arenas, vectors };
        Ok(GpuModel {
            embed: self.embed.bind(arenas),
            layers: self.layers.iter().map(|l| binder.layer(l)).collect::<Result<_>>()?,
            head_hc: binder.hc(&self.head_hc),
            output: self.output.bind(arenas),
            mtp: self.mtp.as_ref().map(|m| binder.mtp(m)).transpose()?,
        })
    }
}

fn place_hc(placer: &mut Placer, vectors: &mut Vectors, hc: &model::Hc, norm: &Tensor) -> Result<PlacedHc> {
    let [mix] = placer.group([&hc.mix])?;
    Ok(PlacedHc { mix, base_scale: vectors.add(&[&hc.base, &hc.scale]), norm: vectors.add(&[norm]) })
}

fn place_layer(placer: &mut Placer, vectors: &mut Vectors, layer: &model::Layer, experts: u32) -> Result<PlacedLayer> {
    let (attention, ffn) = (&layer.attention, &layer.experts);
    let mut inputs = vec![&attention.q_a, &attention.kv];
    let mut fresh = Vec::new();
    let mut compressors = Vec::new();
    if let Some(compressor) = &layer.compressor {
        fresh.extend([&compressor.kv, &compressor.gate]);
        compressors.push((vectors.add(&[&compressor.ape]), vectors.add(&[&compressor.norm])));
    }
    if let Some(indexer) = &layer.indexer {
        fresh.extend([&indexer.compressor.kv, &indexer.compressor.gate]);
        inputs.push(&indexer.proj);
        compressors.push((vectors.add(&[&indexer.compressor.ape]), vectors.add(&[&indexer.compressor.norm])));
    }
    let attn_hc = place_hc(placer, vectors, &layer.attn_hc, &layer.attn_norm)?;
    let (inputs, fresh) = (placer.list(&inputs)?, placer.list(&fresh)?);
    let [queries] = placer.group([&attention.q_b])?;
    let index_queries = layer.indexer.as_ref().map(|indexer| placer.group([&indexer.q_b])).transpose()?.map(|[matrix]| matrix);
    let [out_a] = placer.group([&attention.out_a])?;
    let [out_b] = placer.group([&attention.out_b])?;
    let ffn_hc = place_hc(placer, vectors, &layer.ffn_hc, &layer.ffn_norm)?;
    let ffn_inputs = placer.list(&[&ffn.shared_gate, &ffn.shared_up, &ffn.router])?;
    let [shared_down] = placer.group([&ffn.shared_down])?;
    Ok(PlacedLayer {
        ratio: layer.ratio,
        limit: layer.swiglu_limit,
        attn_hc,
        inputs,
        fresh,
        q_norm: vectors.add(&[&attention.q_norm]),
        queries,
        index_queries,
        kv_norm: vectors.add(&[&attention.kv_norm]),
        sinks: vectors.add(&[&attention.sinks]),
        compressors,
        out_a,
        out_b,
        ffn_hc,
        ffn_inputs,
        routing: match &ffn.routing {
            Routing::Scored(bias) => PlacedRouting::Scored(vectors.add(&[bias])),
            Routing::Hashed(table) => PlacedRouting::Hashed(table.values.clone()),
        },
        gate_up: placer.experts(&[&ffn.gate, &ffn.up], experts as usize)?,
        down: placer.experts(&[&ffn.down], experts as usize)?,
        shared_down,
    })
}

fn place_mtp(placer: &mut Placer, vectors: &mut Vectors, mtp: &Mtp, experts: u32) -> Result<PlacedMtp> {
    let [e_proj] = placer.group([&mtp.e_proj])?;
    let [h_proj] = placer.group([&mtp.h_proj])?;
    Ok(PlacedMtp {
        e_proj,
        h_proj,
        e_norm: vectors.add(&[&mtp.e_norm]),
        h_norm: vectors.add(&[&mtp.h_norm]),
        layer: place_layer(placer, vectors, &mtp.layer, experts)?,
        head_hc: place_hc(placer, vectors, &mtp.head.hc, &mtp.head.norm)?,
    })
}

struct Binder<'a> {
    gpu: &'a Gpu,
    arenas: &'a [Buffer],
    vectors: Buffer,
}

impl Binder<'_> {
    fn vector(&self, VectorAt(start, len): VectorAt) -> Slice {
        self.vectors.slice(start as u64 * 4, len as u64 * 4)
    }

    fn hc(&self, hc: &PlacedHc) -> HcWeights {
        HcWeights { mix: hc.mix.bind(self.arenas), base_scale: self.vector(hc.base_scale), norm: self.vector(hc.norm) }
    }

    fn layer(&self, layer: &PlacedLayer) -> Result<Layer> {
        let all = |placed: &[PlacedMatrix]| placed.iter().map(|p| p.bind(self.arenas)).collect();
        let mut compressors = layer.compressors.iter().map(|&(ape, norm)| Compressor { ape: self.vector(ape), norm: self.vector(norm) });
        Ok(Layer {
            ratio: layer.ratio,
            limit: layer.limit,
            attn_hc: self.hc(&layer.attn_hc),
            inputs: all(&layer.inputs),
            fresh: all(&layer.fresh),
            q_norm: self.vector(layer.q_norm),
            queries: layer.queries.bind(self.arenas),
            index_queries: layer.index_queries.as_ref().map(|matrix| matrix.bind(self.arenas)),
            kv_norm: self.vector(layer.kv_norm),
            sinks: self.vector(layer.sinks),
            compressor: compressors.next(),
            index_compressor: compressors.next(),
            out_a: layer.out_a.bind(self.arenas),
            out_b: layer.out_b.bind(self.arenas),
            ffn_hc: self.hc(&layer.ffn_hc),
            ffn_inputs: all(&layer.ffn_inputs),
            routing: match &layer.routing {
                PlacedRouting::Scored(bias) => RoutingTable::Scored(self.vector(*bias)),
                PlacedRouting::Hashed(table) => RoutingTable::Hashed(self.gpu.buffer_with("experts of tokens", table)?.all()),
            },
            gate_up: layer.gate_up.bind(self.arenas),
            down: layer.down.bind(self.arenas),
            shared_down: layer.shared_down.bind(self.arenas),
        })
    }

    fn mtp(&self, mtp: &PlacedMtp) -> Result<GpuMtp> {
        Ok(GpuMtp {
            e_proj: mtp.e_proj.bind(self.arenas),
            h_proj: mtp.h_proj.bind(self.arenas),
            e_norm: self.vector(mtp.e_norm),
            h_norm: self.vector(mtp.h_norm),
            layer: self.layer(&mtp.layer)?,
            head_hc: self.hc(&mtp.head_hc),
        })
    }
}
