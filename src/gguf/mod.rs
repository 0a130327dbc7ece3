//! GGUF files: typed metadata and named tensors as bytes, and a writer for both. Format version 3, little-endian.
//!
//! Not this room's job: what a tensor or a key means to the model (`model`), and decoding blocks (`quant`).
//! Called by `text` (metadata only), `model` and `convert`. In: a path, mapped into memory and never read as a whole.
//! Out: [`Metadata`], [`TensorInfo`] and borrowed bytes. Everything in a header is checked when the file is opened, so that
//! lookups later cannot fail; any content gives a [`File`] or one line that names the file, the thing and the numbers.
//! Tests: in each file, and `tests/golden/corruption.rs`.
//!
//! Source: the GGUF specification, <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>; SPEC 9.

mod cursor;
mod directory;
mod file;
mod kind;
mod metadata;
mod partial;
mod value;
mod writer;

pub use directory::TensorInfo;
pub use file::File;
pub use kind::GgmlType;
pub use metadata::{Metadata, Strings};
pub use value::{Value, ValueKind};
pub use writer::Writer;

/// What starts every file.
const MAGIC: [u8; 4] = *b"GGUF";

/// The only version read and written.
const VERSION: u32 = 3;

/// Metadata key of the alignment of tensor data, bytes.
const ALIGNMENT_KEY: &str = "general.alignment";

/// Alignment where a file does not say, bytes.
const DEFAULT_ALIGNMENT: u32 = 32;

#[cfg(test)]
mod tests;
