//! Checkpoint folders as DeepSeek releases them: `config.json` and tensors in safetensors files, as names and bytes.
//!
//! Not this room's job: what a tensor means to the model, and which `X.scale` belongs to which `X.weight` (`model`); decoding (`quant`).
//! Called by `model` and `convert`; goldens are read with it too. In: a path, mapped into memory and never read as a whole.
//! Out: [`TensorView`]s that borrow from the map. Headers and the index are checked when they are opened, so that lookups later cannot
//! fail; any content gives a value or one line that names the file, the thing and the numbers.
//! Tests: in each file, `tests/golden/blocks.rs` and `tests/golden/corruption.rs`.
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

/// An error about `path`, cut where names or values from the file would make the line endless.
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
