//! Making model files: random weights in every block format, and whole synthetic models.
//!
//! Called by the commands and by `verify`, which needs weights of every format. Tests: in each file.

mod directory;
mod metadata;
mod random;
mod recipe;
mod synth;

pub use directory::{Entry, directory};
pub use metadata::hyper_parameters;
pub use random::random_rows;
pub use recipe::{Recipe, Role};
pub use synth::{Shape, synth};
