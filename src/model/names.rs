//! Names of tensors in a checkpoint folder and in GGUF (SPEC 8, SPEC 9.1). The doc comment of each constant is the tensor's shape.

/// The name of a tensor in both naming schemes, without the layer's prefix.
#[derive(Clone, Copy, Debug)]
pub struct Name {
    /// The name in safetensors files. The scales of a quantised tensor have `.scale` in place of `.weight`.
    pub hf: &'static str,
    /// The name in GGUF files.
    pub gguf: &'static str,
}

macro_rules! names {
    ($($(#[$meta:meta])* $constant:ident = $hf:literal, $gguf:literal;)*) => {
        $($(#[$meta])* pub const $constant: Name = Name { hf: $hf, gguf: $gguf };)*
    };
}

names! {
    /// [vocabulary, D].
    EMBED = "embed.weight", "token_embd.weight";
    /// [vocabulary, D].
    HEAD = "head.weight", "output.weight";
    /// (D).
    NORM = "norm.weight", "output_norm.weight";
    /// [4, 4D].
    HEAD_HC_FN = "hc_head_fn", "output_hc_fn.weight";
    /// (4).
    HEAD_HC_BASE = "hc_head_base", "output_hc_base.weight";
    /// (1).
    HEAD_HC_SCALE = "hc_head_scale", "output_hc_scale.weight";

    /// [24, 4D].
    ATTN_HC_FN = "hc_attn_fn", "hc_attn_fn.weight";
    /// (24).
    ATTN_HC_BASE = "hc_attn_base", "hc_attn_base.weight";
    /// (3).
    ATTN_HC_SCALE = "hc_attn_scale", "hc_attn_scale.weight";
    /// (D).
    ATTN_NORM = "attn_norm.weight", "attn_norm.weight";
    /// [q rank, D].
    Q_A = "attn.wq_a.weight", "attn_q_a.weight";
    /// [q rank].
    Q_NORM = "attn.q_norm.weight", "attn_q_a_norm.weight";
    /// [H K, q rank].
    Q_B = "attn.wq_b.weight", "attn_q_b.weight";
    /// [K, D].
    KV = "attn.wkv.weight", "attn_kv.weight";
    /// (K).
    KV_NORM = "attn.kv_norm.weight", "attn_kv_a_norm.weight";
    /// (H).
    SINKS = "attn.attn_sink", "attn_sinks.weight";
    /// [groups * rank, H K / groups].
    OUT_A = "attn.wo_a.weight", "attn_output_a.weight";
    /// [D, groups * rank].
    OUT_B = "attn.wo_b.weight", "attn_output_b.weight";

    /// [ratio, width].
    COMPRESSOR_APE = "attn.compressor.ape", "attn_compressor_ape.weight";
    /// [width, D].
    COMPRESSOR_KV = "attn.compressor.wkv.weight", "attn_compressor_kv.weight";
    /// [width, D].
    COMPRESSOR_GATE = "attn.compressor.wgate.weight", "attn_compressor_gate.weight";
    /// (K).
    COMPRESSOR_NORM = "attn.compressor.norm.weight", "attn_compressor_norm.weight";

    /// [indexer heads * dim, q rank].
    INDEXER_Q_B = "attn.indexer.wq_b.weight", "indexer.attn_q_b.weight";
    /// [indexer heads, D].
    INDEXER_PROJ = "attn.indexer.weights_proj.weight", "indexer.proj.weight";
    /// [4, 2 dim].
    INDEXER_APE = "attn.indexer.compressor.ape", "indexer_compressor_ape.weight";
    /// [2 dim, D].
    INDEXER_KV = "attn.indexer.compressor.wkv.weight", "indexer_compressor_kv.weight";
    /// [2 dim, D].
    INDEXER_GATE = "attn.indexer.compressor.wgate.weight", "indexer_compressor_gate.weight";
    /// (dim).
    INDEXER_NORM = "attn.indexer.compressor.norm.weight", "indexer_compressor_norm.weight";

    /// [24, 4D].
    FFN_HC_FN = "hc_ffn_fn", "hc_ffn_fn.weight";
    /// (24).
    FFN_HC_BASE = "hc_ffn_base", "hc_ffn_base.weight";
    /// (3).
    FFN_HC_SCALE = "hc_ffn_scale", "hc_ffn_scale.weight";
    /// (D).
    FFN_NORM = "ffn_norm.weight", "ffn_norm.weight";
    /// [E, D].
    ROUTER = "ffn.gate.weight", "ffn_gate_inp.weight";
    /// (E).
    ROUTER_BIAS = "ffn.gate.bias", "exp_probs_b.bias";
    /// [vocabulary, used].
    ROUTER_TABLE = "ffn.gate.tid2eid", "ffn_gate_tid2eid.weight";
    /// [F, D].
    SHARED_GATE = "ffn.shared_experts.w1.weight", "ffn_gate_shexp.weight";
    /// [F, D].
    SHARED_UP = "ffn.shared_experts.w3.weight", "ffn_up_shexp.weight";
    /// [D, F].
    SHARED_DOWN = "ffn.shared_experts.w2.weight", "ffn_down_shexp.weight";
    /// [E, F, D]. A checkpoint has one tensor [F, D] an expert, `ffn.experts.E.w1.weight`.
    EXPERTS_GATE = "w1", "ffn_gate_exps.weight";
    /// [E, F, D].
    EXPERTS_UP = "w3", "ffn_up_exps.weight";
    /// [E, D, F].
    EXPERTS_DOWN = "w2", "ffn_down_exps.weight";

    /// [D, D].
    MTP_E_PROJ = "e_proj.weight", "e_proj.weight";
    /// [D, D].
    MTP_H_PROJ = "h_proj.weight", "h_proj.weight";
    /// (D).
    MTP_E_NORM = "enorm.weight", "enorm.weight";
    /// (D).
    MTP_H_NORM = "hnorm.weight", "hnorm.weight";
    /// (D).
    MTP_NORM = "norm.weight", "norm.weight";
    /// [4, 4D].
    MTP_HC_FN = "hc_head_fn", "hc_head_fn.weight";
    /// (4).
    MTP_HC_BASE = "hc_head_base", "hc_head_base.weight";
    /// (1).
    MTP_HC_SCALE = "hc_head_scale", "hc_head_scale.weight";
}

/// Prefix of the draft block in both schemes.
pub const MTP_PREFIX: &str = "mtp.0.";
