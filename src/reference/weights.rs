//! A model's weights as the reference uses them: matrices in their block format, vectors as f32.

use super::hc;
use super::linear::Matrix;
use super::moe::Expert;
use crate::model::{self, Bytes, Routing, Table, Tensor};
use crate::quant::BlockFormat;

pub(super) struct Weight {
    format: BlockFormat,
    rows: usize,
    columns: usize,
    bytes: Bytes,
}

impl Weight {
    pub fn new(tensor: &Tensor) -> Self {
        Self { format: tensor.format, rows: tensor.rows, columns: tensor.columns, bytes: tensor.load() }
    }

    pub fn matrix(&self) -> Matrix<'_> {
        Matrix { format: self.format, rows: self.rows, columns: self.columns, bytes: self.bytes.as_slice() }
    }

    /// The matrix of expert `number`, where the matrices of `experts` experts are stacked.
    fn part(&self, number: u32, experts: u32) -> Matrix<'_> {
        let rows = self.rows / experts as usize;
        self.matrix().part(number as usize * rows, rows)
    }
}

pub(super) struct Hc {
    mix: Weight,
    base: Vec<f32>,
    scale: Vec<f32>,
}

impl Hc {
    pub fn new(hc: &model::Hc) -> Self {
        Self { mix: Weight::new(&hc.mix), base: hc.base.values(), scale: hc.scale.values() }
    }

    pub fn view(&self) -> hc::Hc<'_> {
        hc::Hc { mix: self.mix.matrix(), base: &self.base, scale: &self.scale }
    }
}

pub(super) struct Compressor {
    pub ratio: u32,
    pub ape: Vec<f32>,
    pub kv: Weight,
    pub gate: Weight,
    pub norm: Vec<f32>,
}

impl Compressor {
    fn new(ratio: u32, weights: &model::CompressorWeights) -> Self {
        Self {
            ratio,
            ape: weights.ape.values(),
            kv: Weight::new(&weights.kv),
            gate: Weight::new(&weights.gate),
            norm: weights.norm.values(),
        }
    }
}

pub(super) struct Indexer {
    pub q_b: Weight,
    pub proj: Weight,
    pub compressor: Compressor,
}

pub(super) enum Router {
    Scored(Vec<f32>),
    Hashed(Table),
}

pub(super) struct Layer {
    pub ratio: u32,
    pub limit: f32,
    pub attn_hc: Hc,
    pub attn_norm: Vec<f32>,
    pub q_a: Weight,
    pub q_norm: Vec<f32>,
    pub q_b: Weight,
    pub kv: Weight,
    pub kv_norm: Vec<f32>,
    pub sinks: Vec<f32>,
    pub out_a: Weight,
    pub out_b: Weight,
    pub compressor: Option<Compressor>,
    pub indexer: Option<Indexer>,
    pub ffn_hc: Hc,
    pub ffn_norm: Vec<f32>,
    pub router: Weight,
    pub routing: Router,
    gate: Weight,
    up: Weight,
    down: Weight,
    shared_gate: Weight,
    shared_up: Weight,
    shared_down: Weight,
}

impl Layer {
    pub fn new(layer: &model::Layer) -> Self {
        let (attention, experts) = (&layer.attention, &layer.experts);
        Self {
            ratio: layer.ratio,
            limit: layer.swiglu_limit,
            attn_hc: Hc::new(&layer.attn_hc),
            attn_norm: layer.attn_norm.values(),
            q_a: Weight::new(&attention.q_a),
            q_norm: attention.q_norm.values(),
            q_b: Weight::new(&attention.q_b),
            kv: Weight::new(&attention.kv),
            kv_norm: attention.kv_norm.values(),
            sinks: attention.sinks.values(),
            out_a: Weight::new(&attention.out_a),
            out_b: Weight::new(&attention.out_b),
            compressor: layer.compressor.as_ref().map(|c| Compressor::new(layer.ratio, c)),
            indexer: layer.indexer.as_ref().map(|i| Indexer {
                q_b: Weight::new(&i.q_b),
                proj: Weight::new(&i.proj),
                compressor: Compressor::new(layer.ratio, &i.compressor),
            }),
            ffn_hc: Hc::new(&layer.ffn_hc),
            ffn_norm: layer.ffn_norm.values(),
            router: Weight::new(&experts.router),
            routing: match &experts.routing {
                Routing::Scored(bias) => Router::Scored(bias.values()),
                Routing::Hashed(table) => Router::Hashed(table.clone()),
            },
            gate: Weight::new(&experts.gate),
            up: Weight::new(&experts.up),
            down: Weight::new(&experts.down),
            shared_gate: Weight::new(&experts.shared_gate),
            shared_up: Weight::new(&experts.shared_up),
            shared_down: Weight::new(&experts.shared_down),
        }
    }

    pub fn shared(&self) -> Expert<'_> {
        Expert { gate: self.shared_gate.matrix(), up: self.shared_up.matrix(), down: self.shared_down.matrix() }
    }

    /// The weights of expert `number` of `experts`.
    pub fn expert(&self, number: u32, experts: u32) -> Expert<'_> {
        Expert { gate: self.gate.part(number, experts), up: self.up.part(number, experts), down: self.down.part(number, experts) }
    }
}
