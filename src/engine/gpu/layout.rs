//! The weights of a model on the GPU: a layout gives every weight its place, and later binds it to the buffers that hold it.

use super::place::{Copy, Placed, Placer};
use crate::Result;
use crate::gpu::{Buffer, Caps, Gpu, Slice};
use crate::kernels::{Experts, HcWeights, Matrix};
use crate::model::{self, CompressorWeights, Model, Mtp, Routing, Tensor};

/// Declares a struct of weights in GPU memory, and a second struct of the same weights while only their places are known. Binding turns the
/// second into the first, field by field.
macro_rules! weights {
    ($($(#[$meta:meta])* $name:ident from $placed:ident { $($(#[$doc:meta])* $field:ident: $type:ty,)* })*) => {$(
        $(#[$meta])*
        pub struct $name { $($(#[$doc])* pub $field: $type,)* }

        struct $placed { $($field: Placed<$type>,)* }

        impl From<$placed> for Placed<$name> {
            fn from(placed: $placed) -> Self {
                Self::new(move |memory| Ok($name { $($field: placed.$field.bind(memory)?,)* }))
            }
        }
    )*};
}

weights! {
    /// A model.
    GpuModel from PlacedModel {
        embed: Matrix,
        layers: Vec<Layer>,
        head_hc: HcWeights,
        output: Matrix,
        mtp: Option<GpuMtp>,
    }

    /// A draft block.
    GpuMtp from PlacedMtp {
        e_proj: Matrix,
        h_proj: Matrix,
        e_norm: Slice,
        h_norm: Slice,
        layer: Layer,
        head_hc: HcWeights,
    }

    /// A layer. One launch reads all matrices of a `Vec`, in the order given here.
    Layer from PlacedLayer {
        attn_hc: HcWeights,
        /// q_a and kv of attention, proj of the indexer.
        inputs: Vec<Matrix>,
        /// kv and gate of the compressor, then kv and gate of the indexer's compressor. The start of a layer needs their products only
        /// where a window closes in the step.
        compressor_inputs: Vec<Matrix>,
        q_norm: Slice,
        /// q_b of attention.
        queries: Matrix,
        /// q_b of the indexer.
        index_queries: Option<Matrix>,
        kv_norm: Slice,
        sinks: Slice,
        compressor: Option<Compressor>,
        index_compressor: Option<Compressor>,
        out_a: Matrix,
        out_b: Matrix,
        ffn_hc: HcWeights,
        /// Gate and up of the shared expert, and the router.
        ffn_inputs: Vec<Matrix>,
        shared_down: Matrix,
        routing: RoutingTable,
        gate_up: Experts,
        down: Experts,
        ratio: u32,
        /// SwiGLU limit.
        limit: f32,
    }

    /// The vectors of a compressor. Its matrices are in [`Layer::compressor_inputs`].
    Compressor from PlacedCompressor {
        /// (ratio, width).
        ape: Slice,
        /// (dim).
        norm: Slice,
    }
}

/// How a layer finds its experts.
pub enum RoutingTable {
    /// By score, with this bias (E).
    Scored(Slice),
    /// By token id, with this table (vocabulary, used).
    Hashed(Slice),
}

/// The place of every weight in GPU memory, known before any memory is allocated.
pub struct Layout {
    placer: Placer,
    model: Placed<GpuModel>,
    has_draft: bool,
}

impl Layout {
    /// Places the weights of `model`, and of the draft block if there is one, for a device with `caps`.
    ///
    /// # Errors
    /// Where a row of a weight is larger than the device's largest binding.
    pub fn new(model: &Model, mtp: Option<&Mtp>, caps: &Caps) -> Result<Self> {
        let mut placer = Placer::new(caps);
        let experts = model.config.experts as usize;
        let model = PlacedModel {
            embed: placer.matrix(&model.embed)?,
            layers: model.layers.iter().map(|layer| place_layer(&mut placer, layer, experts)).collect::<Result<Vec<_>>>()?.into(),
            head_hc: place_hc(&mut placer, &model.head.hc, &model.head.norm)?,
            output: placer.matrix(&model.output)?,
            mtp: mtp.map(|mtp| place_mtp(&mut placer, mtp, experts)).transpose()?.into(),
        };
        Ok(Self { placer, model: model.into(), has_draft: mtp.is_some() })
    }

    /// Bytes of all weights in GPU memory.
    pub fn bytes(&self) -> u64 {
        self.placer.bytes()
    }

    /// Bytes of weights whose blocks are grouped on the device, so that their bytes have another order than in the file.
    pub fn rearranged_bytes(&self) -> u64 {
        self.placer.copies.iter().filter(|copy| copy.is_rearranged()).map(Copy::bytes).sum()
    }

    /// Whether the layout has a draft block.
    pub fn has_draft(&self) -> bool {
        self.has_draft
    }

    /// Bytes of each arena.
    pub fn arenas(&self) -> &[u64] {
        &self.placer.arenas
    }

    /// The copies that fill the arenas.
    pub fn copies(&self) -> &[Copy] {
        &self.placer.copies
    }

    /// Allocates the arenas.
    ///
    /// # Errors
    /// Where no memory is left.
    pub fn allocate(&self, gpu: &Gpu) -> Result<Vec<Buffer>> {
        self.placer.allocate(gpu)
    }

    /// Binds the weights to `arenas`, and allocates vectors and tables.
    ///
    /// # Errors
    /// Where no memory is left for the vectors and tables.
    pub fn bind(&self, gpu: &Gpu, arenas: &[Buffer]) -> Result<GpuModel> {
        self.model.bind(&self.placer.memory(gpu, arenas)?)
    }
}

fn place_hc(placer: &mut Placer, hc: &model::Hc, norm: &Tensor) -> Result<Placed<HcWeights>> {
    let (mix, base_scale, norm) = (placer.matrix(&hc.mix)?, placer.vector(&[&hc.base, &hc.scale]), placer.vector(&[norm]));
    Ok(Placed::new(move |memory| Ok(HcWeights { mix: mix.bind(memory)?, base_scale: base_scale.bind(memory)?, norm: norm.bind(memory)? })))
}

fn place_compressor(placer: &mut Placer, compressor: &CompressorWeights) -> Placed<Compressor> {
    PlacedCompressor { ape: placer.vector(&[&compressor.ape]), norm: placer.vector(&[&compressor.norm]) }.into()
}

/// Places a layer. The order of the fields here is the order in memory.
fn place_layer(placer: &mut Placer, layer: &model::Layer, experts: usize) -> Result<Placed<Layer>> {
    let (attention, ffn, ratio, limit) = (&layer.attention, &layer.experts, layer.ratio, layer.swiglu_limit);
    let (compressor, indexer) = (layer.compressor.as_ref(), layer.indexer.as_ref());
    let index_compressor = indexer.map(|indexer| &indexer.compressor);
    let inputs: Vec<&Tensor> = [&attention.q_a, &attention.kv].into_iter().chain(indexer.map(|indexer| &indexer.proj)).collect();
    let compressor_inputs: Vec<&Tensor> = compressor.into_iter().chain(index_compressor).flat_map(|c| [&c.kv, &c.gate]).collect();
    Ok(PlacedLayer {
        attn_hc: place_hc(placer, &layer.attn_hc, &layer.attn_norm)?,
        inputs: placer.matrices(&inputs)?,
        compressor_inputs: placer.matrices(&compressor_inputs)?,
        q_norm: placer.vector(&[&attention.q_norm]),
        queries: placer.matrix(&attention.q_b)?,
        index_queries: indexer.map(|indexer| placer.matrix(&indexer.q_b)).transpose()?.into(),
        kv_norm: placer.vector(&[&attention.kv_norm]),
        sinks: placer.vector(&[&attention.sinks]),
        compressor: compressor.map(|weights| place_compressor(placer, weights)).into(),
        index_compressor: index_compressor.map(|weights| place_compressor(placer, weights)).into(),
        out_a: placer.matrix(&attention.out_a)?,
        out_b: placer.matrix(&attention.out_b)?,
        ffn_hc: place_hc(placer, &layer.ffn_hc, &layer.ffn_norm)?,
        ffn_inputs: placer.matrices(&[&ffn.shared_gate, &ffn.shared_up, &ffn.router])?,
        shared_down: placer.matrix(&ffn.shared_down)?,
        routing: match &ffn.routing {
            Routing::Scored(bias) => placer.vector(&[bias]).map(RoutingTable::Scored),
            Routing::Hashed(table) => placer.table(table).map(RoutingTable::Hashed),
        },
        gate_up: placer.experts(&[&ffn.gate, &ffn.up], experts)?,
        down: placer.experts(&[&ffn.down], experts)?,
        ratio: Placed::new(move |_| Ok(ratio)),
        limit: Placed::new(move |_| Ok(limit)),
    }
    .into())
}

fn place_mtp(placer: &mut Placer, mtp: &Mtp, experts: usize) -> Result<Placed<GpuMtp>> {
    Ok(PlacedMtp {
        e_proj: placer.matrix(&mtp.e_proj)?,
        h_proj: placer.matrix(&mtp.h_proj)?,
        e_norm: placer.vector(&[&mtp.e_norm]),
        h_norm: placer.vector(&[&mtp.h_norm]),
        layer: place_layer(placer, &mtp.layer, experts)?,
        head_hc: place_hc(placer, &mtp.head.hc, &mtp.head.norm)?,
    }
    .into())
}
