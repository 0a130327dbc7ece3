//! The errors that every room returns: one line that names the file or the request, what is wrong with it, and the numbers.

use std::fmt::Display;
use std::path::{Path, PathBuf};

/// A failure that a correct program must expect: a bad input, a request that cannot be served, a device that gives up.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// A file or folder that cannot be read or written, or that is not what it claims to be.
    #[error("{}: {what}", path.display())]
    File {
        /// The file or folder at fault.
        path: PathBuf,
        /// What is wrong with it, with the expected and found numbers.
        what: String,
    },
    /// Text or tokens that cannot be encoded, decoded or parsed.
    #[error("{0}")]
    Text(String),
    /// A request that is well formed but cannot be served: too long, does not fit, unknown device.
    #[error("{0}")]
    Refused(String),
    /// A prompt that leaves no room in the context.
    #[error("the prompt has {tokens} tokens, which leaves no room in a context of {context}")]
    ContextFull {
        /// Tokens of the prompt.
        tokens: usize,
        /// Tokens that a session has room for.
        context: usize,
    },
    /// The GPU or its driver failed: lost device, out of memory, a shader that it does not accept.
    #[error("GPU: {0}")]
    Device(String),
    /// The model produced a value that is not a number.
    #[error("{0}")]
    NotFinite(String),
}

impl Error {
    /// An error about `path`.
    pub fn file(path: impl AsRef<Path>, what: impl Display) -> Self {
        Self::File { path: path.as_ref().to_path_buf(), what: what.to_string() }
    }
}

/// Result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;
