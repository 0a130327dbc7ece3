//! Making model files: random weights in every block format, and whole synthetic models.
//!
//! Called by the commands and by `verify`, which needs weights of every format. Tests: in each file.

mod random;

pub use random::random_rows;
