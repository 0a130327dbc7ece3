//! Kernel families, named like the folders under `shaders/`. Each has the declarations of its kernels, the choice of their variants, and
//! `record_*` functions that append launches to a recording.
//!
//! This room knows shapes and formats and no model: every size is an argument. `engine` calls it to record steps, `verify` to record cases.
//! Shapes in comments: T rows of the step, D model width, H heads, K head dim, E experts, F expert width, R rows and C columns of a matrix.
//! A kernel is compared with the function of `reference/` that computes the same; `tests/kernels/` runs the comparisons.

#[macro_use]
mod kernel;
mod attention;
mod compressor;
mod context;
mod cost;
mod embed;
mod formats;
mod hc;
mod indexer;
mod int8;
mod kv;
mod linear;
mod matrix;
mod moe;
mod norm;
mod pass;
mod router;
mod rows;
mod sample;
mod stream;

pub use attention::{Attention, AttentionBuffers, MAX_PARTS, QRope, record_attention, record_q_rope, score_bytes};
pub use compressor::{Compress, Window, Windows, record_compress};
pub use context::{KernelContext, KernelProfile, Strided};
pub use embed::{record_embed, record_mtp_join};
pub use hc::{
    HcPreInput, HcResidual, HcRows, HcUpdate, HcWeights, PrefetchRange, hc_mix_words, record_hc_mix, record_hc_pre, record_hc_sinkhorn,
};
pub use indexer::{IndexQueries, IndexScore, Scores, record_index_score, record_top_k};
pub use int8::Quantized;
pub use kernel::Kernel;
pub use kv::{KvRow, Latents, LowQueries, RingStore, Rings, record_latents, record_ring_store};
pub use linear::{Grouping, LinearNormed, record_decode_runs, record_linear, record_linear_int8, record_linear_with_hc_mix};
pub use matrix::{Experts, ExpertsSlice, Matrix, MatrixSlice, Pool};
pub use moe::{Moe, MoeInt8, MoeScratch, record_moe, record_moe_int8};
pub use norm::record_rms_norm;
pub use pass::Pass;
pub use router::{Chosen, Router, Routing, SharedAct, record_router};
pub use rows::{DECODE_ROWS, Row, Rows, SAMPLED};
pub use sample::{NO_MASK, NO_TOKEN, SampleBuffers, Sampler, record_sample};
pub use stream::record_stream_read;

use crate::gpu::Variant;

/// The declarations of all kernels.
const FAMILIES: &[&[Kernel]] = &[
    attention::few::KERNELS,
    attention::long::KERNELS,
    attention::q_rope::KERNELS,
    compressor::KERNELS,
    embed::KERNELS,
    hc::mix::KERNELS,
    hc::pre::KERNELS,
    hc::sinkhorn::KERNELS,
    indexer::score::KERNELS,
    indexer::top_k::KERNELS,
    kv::kv_row::KERNELS,
    kv::latents::KERNELS,
    kv::rings::KERNELS,
    linear::matmul::KERNELS,
    linear::matvec::KERNELS,
    linear::matvec_int8::KERNELS,
    linear::matvec_normed::KERNELS,
    moe::few::KERNELS,
    moe::few_int8::KERNELS,
    moe::grouped::KERNELS,
    norm::KERNELS,
    router::KERNELS,
    sample::KERNELS,
    stream::KERNELS,
];

/// The declarations of all kernels, one after another.
pub fn all() -> impl Iterator<Item = &'static Kernel> {
    FAMILIES.iter().copied().flatten()
}

/// Every variant that a device of this profile can select. Tests translate them all without a GPU.
pub fn variants(profile: &KernelProfile) -> Vec<Variant> {
    all().flat_map(|kernel| (kernel.variants)(profile)).collect()
}
