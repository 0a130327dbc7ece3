//! Making model files: quantised models from checkpoints, synthetic models, and importance matrices.
//!
//! The tests are in each file and in `tests/golden/quantize.rs`.

mod collect;
mod directory;
mod importance;
mod metadata;
mod quantize;
mod random;
mod recipe;
mod synth;

pub use collect::Collector;
pub use directory::{Entry, directory, draft_directory};
pub use importance::{Importance, Inputs};
pub use metadata::hyper_parameters;
pub use quantize::{FormatSummary, Summary, quantize};
pub use random::random_rows;
pub use recipe::{Override, Recipe, Request, Role};
pub use synth::{Shape, synth};
