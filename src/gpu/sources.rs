//! The shader files that are built in, by their path under `shaders/`.

macro_rules! shaders {
    ($($path:literal)*) => {
        /// Path without extension, and text.
        pub(super) const SOURCES: &[(&str, &str)] = &[$(($path, include_str!(concat!("../../shaders/", $path, ".wgsl")))),*];
    };
}

shaders! {
    "attention/attention"
    "attention/attention_merge"
    "compressor/compress"
    "embed/embed"
    "embed/mtp_join"
    "hc/hc_head"
    "hc/hc_mix"
    "hc/hc_post"
    "hc/hc_pre"
    "indexer/index_score"
    "indexer/top_k"
    "kv/kv_row"
    "kv/ring_store"
    "matmul/matmul"
    "matmul/matmul_coop"
    "matvec/matvec"
    "moe/moe_combine"
    "moe/moe_down"
    "moe/moe_gate_up"
    "moe/moe_group"
    "moe/swiglu_shared"
    "norm/rms_norm"
    "rope/q_rope"
    "router/router"
    "sample/sample"
    "lib/attention"
    "lib/bytes"
    "lib/dequant"
    "lib/dequant_bf16"
    "lib/dequant_f16"
    "lib/dequant_f32"
    "lib/dequant_fp8"
    "lib/dequant_iq2_xxs"
    "lib/dequant_mxfp4"
    "lib/dequant_q2_k"
    "lib/dequant_q4_k"
    "lib/dequant_q8_0"
    "lib/experts"
    "lib/hc_collapse"
    "lib/kv"
    "lib/math"
    "lib/pages"
    "lib/reduce"
    "lib/reduce_lanes"
    "lib/rotate"
    "lib/rows"
    "lib/threefry"
    "lib/tile"
}
