//! The forward pass in plain Rust: f32 values, f64 sums, obvious loops. The oracle of every kernel test, and the device `cpu`.
//!
//! One file per kernel family, and the functions are named like the kernels that they judge. [`Reference`] runs a whole model on them,
//! in chunks of any length through the decode state of SPEC 5. Called by `engine`, `verify` and the tests; itself tested
//! against the outputs of other implementations (`tests/golden/forward.rs`).

mod attention;
mod compressor;
mod forward;
mod hc;
mod indexer;
mod linear;
mod moe;
mod quantize;
mod rope;
mod router;
mod sample;
mod state;
mod tap;
mod weights;

pub use attention::attention;
pub use compressor::{Candidates, pool};
pub use forward::Reference;
pub use hc::{Hc, HcConstants, Mix, STREAMS, hc_head, hc_mix, hc_post, hc_pre};
pub use indexer::{index_score, top_k};
pub use linear::{Matrix, linear, linear_grouped, normalise, rms_norm};
pub use moe::{Expert, expert, gate_up, routed, swiglu};
pub use quantize::{quantize, rounded};
pub use rope::{angles, rotate, rotate_back};
pub use router::{Choice, Routed, router};
pub use sample::{Sampling, sample, uniform_draw};
pub use state::{REWIND, State, frontier_rows};
pub use tap::{NoTaps, Tap, TapData, Taps};
