//! The tensors of a GGUF file of this architecture, in the order of ds4's files (SPEC 9.1).

use super::recipe::Role;
use crate::model::{Config, LayerConfig, MTP_PREFIX};

/// One tensor of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// GGUF name.
    pub name: String,
    /// Dimensions, fastest first.
    pub shape: Vec<u64>,
    /// The purpose by which a recipe chooses the format.
    pub role: Role,
    /// Number of the layer, or 0 for a tensor outside the layers.
    pub layer: usize,
}

impl Entry {
    fn new(name: String, role: Role, layer: usize, shape: &[u32]) -> Self {
        Self { name, shape: shape.iter().map(|&d| u64::from(d)).collect(), role, layer }
    }

    /// Number of values in a row.
    pub fn columns(&self) -> usize {
        self.shape[0] as usize
    }

    /// Number of rows, counted through all dimensions but the first.
    pub fn rows(&self) -> usize {
        self.shape[1..].iter().product::<u64>() as usize
    }
}

/// All tensors of a model with these hyper-parameters.
pub fn directory(config: &Config) -> Vec<Entry> {
    let c = config;
    let mut entries = Vec::new();
    let mut add = |name: &str, role: Role, shape: &[u32]| entries.push(Entry::new(name.into(), role, 0, shape));
    add("token_embd.weight", Role::Sensitive, &[c.dim, c.vocabulary]);
    add("output_hc_base.weight", Role::Vector, &[4]);
    add("output_hc_fn.weight", Role::Sensitive, &[4 * c.dim, 4]);
    add("output_hc_scale.weight", Role::Vector, &[1]);
    add("output_norm.weight", Role::Vector, &[c.dim]);
    add("output.weight", Role::Dense, &[c.dim, c.vocabulary]);
    for (l, layer) in c.layers.iter().enumerate() {
        layer_entries(c, layer, l, &format!("blk.{l}."), &mut entries);
    }
    entries
}

/// All tensors of the file of a draft block.
pub fn draft_directory(config: &Config) -> Vec<Entry> {
    let c = config;
    let mut entries = Vec::new();
    let mut add = |name: &str, role: Role, shape: &[u32]| entries.push(Entry::new(format!("{MTP_PREFIX}{name}"), role, 0, shape));
    add("hc_head_base.weight", Role::Vector, &[4]);
    add("hc_head_fn.weight", Role::Sensitive, &[4 * c.dim, 4]);
    add("hc_head_scale.weight", Role::Vector, &[1]);
    add("norm.weight", Role::Vector, &[c.dim]);
    add("enorm.weight", Role::Vector, &[c.dim]);
    add("hnorm.weight", Role::Vector, &[c.dim]);
    add("e_proj.weight", Role::Dense, &[c.dim, c.dim]);
    add("h_proj.weight", Role::Dense, &[c.dim, c.dim]);
    let layer = LayerConfig { ratio: 0, hashed: false, swiglu_limit: 0.0 };
    layer_entries(c, &layer, 0, MTP_PREFIX, &mut entries);
    entries
}

fn layer_entries(c: &Config, layer: &LayerConfig, l: usize, prefix: &str, entries: &mut Vec<Entry>) {
    let streams = 4 * c.dim;
    let mut add = |name: &str, role: Role, shape: &[u32]| entries.push(Entry::new(format!("{prefix}{name}"), role, l, shape));
    let q = c.heads * c.head_dim;
    add("hc_attn_fn.weight", Role::Sensitive, &[streams, 24]);
    add("hc_attn_scale.weight", Role::Vector, &[3]);
    add("hc_attn_base.weight", Role::Vector, &[24]);
    add("attn_norm.weight", Role::Vector, &[c.dim]);
    add("attn_q_a.weight", Role::Dense, &[c.dim, c.q_rank]);
    add("attn_q_a_norm.weight", Role::Vector, &[c.q_rank]);
    add("attn_q_b.weight", Role::Dense, &[c.q_rank, q]);
    add("attn_kv.weight", Role::Dense, &[c.dim, c.head_dim]);
    add("attn_kv_a_norm.weight", Role::Vector, &[c.head_dim]);
    add("attn_sinks.weight", Role::Vector, &[c.heads]);
    add("attn_output_a.weight", Role::Dense, &[q / c.o_groups, c.o_groups * c.o_rank]);
    add("attn_output_b.weight", Role::Dense, &[c.o_groups * c.o_rank, c.dim]);
    if layer.ratio > 0 {
        let width = if layer.ratio == 4 { 2 * c.head_dim } else { c.head_dim };
        add("attn_compressor_ape.weight", Role::PositionBias, &[width, layer.ratio]);
        add("attn_compressor_kv.weight", Role::Sensitive, &[c.dim, width]);
        add("attn_compressor_gate.weight", Role::Sensitive, &[c.dim, width]);
        add("attn_compressor_norm.weight", Role::Vector, &[c.head_dim]);
    }
    if layer.ratio == 4 {
        add("indexer.attn_q_b.weight", Role::Sensitive, &[c.q_rank, c.index_heads * c.index_dim]);
        add("indexer.proj.weight", Role::Sensitive, &[c.dim, c.index_heads]);
        add("indexer_compressor_ape.weight", Role::PositionBias, &[2 * c.index_dim, 4]);
        add("indexer_compressor_kv.weight", Role::Sensitive, &[c.dim, 2 * c.index_dim]);
        add("indexer_compressor_gate.weight", Role::Sensitive, &[c.dim, 2 * c.index_dim]);
        add("indexer_compressor_norm.weight", Role::Vector, &[c.index_dim]);
    }
    add("hc_ffn_fn.weight", Role::Sensitive, &[streams, 24]);
    add("hc_ffn_scale.weight", Role::Vector, &[3]);
    add("hc_ffn_base.weight", Role::Vector, &[24]);
    add("ffn_norm.weight", Role::Vector, &[c.dim]);
    add("ffn_gate_inp.weight", Role::Sensitive, &[c.dim, c.experts]);
    if layer.hashed {
        add("ffn_gate_tid2eid.weight", Role::Table, &[c.experts_used, c.vocabulary]);
    } else {
        add("exp_probs_b.bias", Role::Vector, &[c.experts]);
    }
    add("ffn_gate_exps.weight", Role::ExpertsIn, &[c.dim, c.expert_width, c.experts]);
    add("ffn_up_exps.weight", Role::ExpertsIn, &[c.dim, c.expert_width, c.experts]);
    add("ffn_down_exps.weight", Role::ExpertsOut, &[c.expert_width, c.dim, c.experts]);
    add("ffn_gate_shexp.weight", Role::Dense, &[c.dim, c.expert_width]);
    add("ffn_up_shexp.weight", Role::Dense, &[c.dim, c.expert_width]);
    add("ffn_down_shexp.weight", Role::Dense, &[c.expert_width, c.dim]);
}
