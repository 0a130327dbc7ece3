//! GGUF files: typed metadata and named tensors as bytes, and a writer for both. Format version 3, little-endian.
//!
//! A file is mapped into memory and never read as a whole. Its whole header is checked when it is opened, so that later lookups find
//! every length inside the file. Any content gives either a [`File`] or an error of one line that names the file, the faulty thing and
//! the numbers. This room does not know what a tensor or a key means to the model (`model`), and it does not decode blocks (`quant`).
//! Its tests are here and in `tests/golden/corruption.rs`.
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

/// The first bytes of every file.
const MAGIC: [u8; 4] = *b"GGUF";

/// The only format version that is read and written.
const VERSION: u32 = 3;

/// Metadata key of the alignment of tensor data in bytes.
const ALIGNMENT_KEY: &str = "general.alignment";

/// Alignment in bytes of a file without [`ALIGNMENT_KEY`].
const DEFAULT_ALIGNMENT: u32 = 32;

#[cfg(test)]
mod tests;
