//! The tensors of a GGUF file of this architecture, in the order in which ds4's files have them (SPEC section 9).

use super::recipe::Role;
use crate::model::Config;

/// One tensor of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// GGUF name.
    pub name: String,
    /// Dimensions, fastest first.
    pub shape: Vec<u64>,
    /// What it is for.
    pub role: Role,
    /// Its layer; 0 for what belongs to none.
    pub layer: usize,
}

impl Entry {
    /// Values of a row.
    pub fn columns(&self) -> usize {
        self.shape[0] as usize
    }

    /// Rows.
    pub fn rows(&self) -> usize {
        self.shape[1..].iter().product::<u64>() as usize
    }
}

/// All tensors of a model of `config`.
pub fn directory(config: &Config) -> Vec<Entry> {
    let c = config;
    let size = u64::from;
    let mut entries = Vec::new();
    let mut add = |layer: usize, name: String, role: Role, shape: &[u32]| {
        entries.push(Entry { name, shape: shape.iter().map(|&d| size(d)).collect(), role, layer });
    };
    let streams = 4 * c.dim;
    add(0, "token_embd.weight".into(), Role::Sensitive, &[c.dim, c.vocabulary]);
    add(0, "output_hc_base.weight".into(), Role::Vector, &[4]);
    add(0, "output_hc_fn.weight".into(), Role::Sensitive, &[streams, 4]);
    add(0, "output_hc_scale.weight".into(), Role::Vector, &[1]);
    add(0, "output_norm.weight".into(), Role::Vector, &[c.dim]);
    add(0, "output.weight".into(), Role::Dense, &[c.dim, c.vocabulary]);
    for (l, layer) in c.layers.iter().enumerate() {
        let mut own = |name: &str, role: Role, shape: &[u32]| add(l, format!("blk.{l}.{name}"), role, shape);
        let q = c.heads * c.head_dim;
        own("hc_attn_fn.weight", Role::Sensitive, &[streams, 24]);
        own("hc_attn_scale.weight", Role::Vector, &[3]);
        own("hc_attn_base.weight", Role::Vector, &[24]);
        own("attn_norm.weight", Role::Vector, &[c.dim]);
        own("attn_q_a.weight", Role::Dense, &[c.dim, c.q_rank]);
        own("attn_q_a_norm.weight", Role::Vector, &[c.q_rank]);
        own("attn_q_b.weight", Role::Dense, &[c.q_rank, q]);
        own("attn_kv.weight", Role::Dense, &[c.dim, c.head_dim]);
        own("attn_kv_a_norm.weight", Role::Vector, &[c.head_dim]);
        own("attn_sinks.weight", Role::Vector, &[c.heads]);
        own("attn_output_a.weight", Role::Dense, &[q / c.o_groups, c.o_groups * c.o_rank]);
        own("attn_output_b.weight", Role::Dense, &[c.o_groups * c.o_rank, c.dim]);
        if layer.ratio > 0 {
            let width = if layer.ratio == 4 { 2 * c.head_dim } else { c.head_dim };
            own("attn_compressor_ape.weight", Role::Sensitive, &[width, layer.ratio]);
            own("attn_compressor_kv.weight", Role::Sensitive, &[c.dim, width]);
            own("attn_compressor_gate.weight", Role::Sensitive, &[c.dim, width]);
            own("attn_compressor_norm.weight", Role::Vector, &[c.head_dim]);
        }
        if layer.ratio == 4 {
            own("indexer.attn_q_b.weight", Role::Sensitive, &[c.q_rank, c.index_heads * c.index_dim]);
            own("indexer.proj.weight", Role::Sensitive, &[c.dim, c.index_heads]);
            own("indexer_compressor_ape.weight", Role::Sensitive, &[2 * c.index_dim, 4]);
            own("indexer_compressor_kv.weight", Role::Sensitive, &[c.dim, 2 * c.index_dim]);
            own("indexer_compressor_gate.weight", Role::Sensitive, &[c.dim, 2 * c.index_dim]);
            own("indexer_compressor_norm.weight", Role::Vector, &[c.index_dim]);
        }
        own("hc_ffn_fn.weight", Role::Sensitive, &[streams, 24]);
        own("hc_ffn_scale.weight", Role::Vector, &[3]);
        own("hc_ffn_base.weight", Role::Vector, &[24]);
        own("ffn_norm.weight", Role::Vector, &[c.dim]);
        own("ffn_gate_inp.weight", Role::Sensitive, &[c.dim, c.experts]);
        if layer.hashed {
            own("ffn_gate_tid2eid.weight", Role::Table, &[c.experts_used, c.vocabulary]);
        } else {
            own("exp_probs_b.bias", Role::Vector, &[c.experts]);
        }
        own("ffn_gate_exps.weight", Role::ExpertsIn, &[c.dim, c.expert_width, c.experts]);
        own("ffn_up_exps.weight", Role::ExpertsIn, &[c.dim, c.expert_width, c.experts]);
        own("ffn_down_exps.weight", Role::ExpertsOut, &[c.expert_width, c.dim, c.experts]);
        own("ffn_gate_shexp.weight", Role::Dense, &[c.dim, c.expert_width]);
        own("ffn_up_shexp.weight", Role::Dense, &[c.dim, c.expert_width]);
        own("ffn_down_shexp.weight", Role::Dense, &[c.expert_width, c.dim]);
    }
    entries
}
