//! The forward pass in plain Rust: f32 values, f64 sums, simple loops. Kernels are compared with it, and it is the device `cpu`.
//!
//! Each kernel family has a file. [`Reference`] runs a whole model with their functions, in chunks of any length; the state between chunks
//! is that of SPEC 5. `tests/golden/reference.rs` compares it with the outputs of other implementations.

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
mod weights;

pub use attention::attention;
pub use compressor::{Candidates, pool};
pub use forward::Reference;
pub use hc::{Hc, HcConstants, Mix, STREAMS, hc_head, hc_mix, hc_post, hc_pre};
pub use indexer::{index_score, top_k};
pub use linear::{Matrix, linear, linear_grouped, normalise, rms_norm};
pub use moe::{Expert, expert, gate_up, routed, swiglu};
pub use quantize::{quantize, rounded};
pub use rope::{rotate, rotate_back};
pub use router::{Choice, Routed, router};
pub use sample::{sample, uniform_draw};
pub use state::State;
