//! Kernel families: for each a `Params` layout, the choice of variant, and a `record_*` function that appends launches to a recording.
//!
//! Knows shapes and formats, but no model: every size is an argument. Called by `engine` (a step), and by `verify`.
//! Shapes in comments: T rows of the step, D model width, H heads, K head dim, E experts, F expert width, R rows and C columns of a matrix.
//! Shaders are in `shaders/<family>/`, one pass per file; their truth is `reference/`, the tests are `tests/kernels/`.

#[macro_use]
mod params;
mod attention;
mod attention_keys;
mod attention_long;
mod compressor;
mod cost;
mod embed;
mod hc;
mod indexer;
mod int8;
mod kit;
mod kv;
mod latents;
mod layouts;
mod linear;
mod matrix;
mod moe;
mod moe_int8;
mod norm;
mod normed;
mod parts;
mod quantized;
mod rings;
mod router;
mod rows;
mod sample;
mod stream;
mod variants;

pub use attention::record_attention;
pub use attention_keys::{Attention, AttentionBuffers, MAX_PARTS};
pub use attention_long::score_bytes;
pub use compressor::{Compress, Window, Windows, record_compress};
pub use embed::{record_embed, record_mtp_join};
pub use hc::{Ahead, HcEnter, HcLeave, HcPost, HcRows, HcWeights, hc_mix_words, record_hc_mix, record_hc_pre, record_hc_sinkhorn};
pub use indexer::{IndexScore, record_index_score, record_top_k};
pub use int8::Quantized;
pub use kit::{Dialect, Kit, Row, SAMPLED, Strided};
pub use kv::{KvRow, QRope, record_q_rope};
pub use latents::{Latents, LowQueries, record_latents};
pub use layouts::layouts;
pub use linear::{record_decode_runs, record_linear};
pub use matrix::{Experts, ExpertsSlice, Matrix, MatrixSlice, Pool};
pub use moe::{Moe, MoeScratch, record_moe};
pub use moe_int8::{MoeInt8, record_moe_int8};
pub use norm::record_rms_norm;
pub use normed::LinearNormed;
pub use params::ParamsLayout;
pub use parts::Grouping;
pub use quantized::{record_linear_int8, record_linear_leaving};
pub use rings::{RingStore, Rings, record_ring_store};
pub use router::{Router, Routing, SharedAct, record_router};
pub use rows::{DECODE_ROWS, Rows};
pub use sample::{NO_MASK, NO_TOKEN, SampleBuffers, Sampler, record_sample};
pub use stream::record_stream_read;
pub use variants::variants;
