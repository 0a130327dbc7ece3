//! Checkpoint folders as DeepSeek releases them: `config.json` and tensors in safetensors files, as names and bytes.
//!
//! Files are mapped into memory and never read as a whole; [`TensorView`]s borrow from the map. Headers and the index are checked when
//! they are opened, so that every tensor is known to lie inside its file. Any content gives either a value or an error of one line that
//! names the file, the faulty thing and the numbers. This room does not know what a tensor means to the model or which `X.scale` belongs
//! to which `X.weight` (`model`), and it does not decode (`quant`).
//! Its tests are here, in `tests/golden/blocks.rs` and in `tests/golden/corruption.rs`; the goldens are read with it too.
//!
//! Source: the safetensors format, <https://github.com/huggingface/safetensors#format>; SPEC 8.

mod dtype;
mod folder;
mod header;
mod safetensors;

pub use dtype::Dtype;
pub use folder::Folder;
pub use safetensors::{Safetensors, TensorView};

use crate::Error;
use std::fmt::Display;
use std::path::Path;

/// An error about `path`. A text that names or values from the file make too long is cut.
fn wrong(path: impl AsRef<Path>, what: impl Display) -> Error {
    const MOST: usize = 500;
    let mut what = what.to_string();
    if let Some((cut, _)) = what.char_indices().nth(MOST) {
        what.truncate(cut);
        what.push_str("...");
    }
    Error::file(path, what)
}

#[cfg(test)]
mod tests;
