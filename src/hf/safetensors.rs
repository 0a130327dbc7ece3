//! One safetensors file, mapped into memory.

use super::dtype::Dtype;
use super::header::{self, Entry};
use super::wrong;
use crate::Result;
use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A tensor in a file.
#[derive(Clone, Copy, Debug)]
pub struct TensorView<'a> {
    /// Name, unique in the file or folder.
    pub name: &'a str,
    /// Element type.
    pub dtype: Dtype<'a>,
    /// Dimensions, slowest first: a matrix [R, C] is listed as R, C.
    pub shape: &'a [usize],
    /// The elements in order. They need not be aligned in memory.
    pub bytes: &'a [u8],
}

/// An opened file with a checked header. Its data is mapped, so the operating system reads a tensor from disk when it is first used.
pub struct Safetensors {
    path: PathBuf,
    /// The mapped file, or in tests bytes in memory.
    data: Box<dyn AsRef<[u8]> + Send + Sync>,
    entries: Vec<Entry>,
    index: HashMap<String, usize>,
}

impl Safetensors {
    /// Maps the file at `path` and checks its header. The time depends on the length of the header, not on the size of the file.
    pub fn open(path: &Path) -> Result<Self> {
        let file = open_regular(path).map_err(|error| wrong(path, error))?;
        // SAFETY: the map is read-only and private to this value. Another program could still change or truncate the file while it is
        // mapped. Checkpoints are downloaded once and not changed, so that this does not happen in practice.
        let map = unsafe { memmap2::Mmap::map(&file) }.map_err(|error| wrong(path, error))?;
        Self::parse(path, Box::new(map))
    }

    /// Like [`Safetensors::open`], for bytes that are in memory. `path` names them in errors.
    #[doc(hidden)]
    pub fn from_bytes(bytes: Vec<u8>, path: &Path) -> Result<Self> {
        Self::parse(path, Box::new(bytes))
    }

    fn parse(path: &Path, data: Box<dyn AsRef<[u8]> + Send + Sync>) -> Result<Self> {
        let entries = header::parse(data.as_ref().as_ref()).map_err(|what| wrong(path, what))?;
        let mut index = HashMap::new();
        for (i, entry) in entries.iter().enumerate() {
            if index.insert(entry.name.clone(), i).is_some() {
                return Err(wrong(path, format!("tensor {:?} occurs twice", entry.name)));
            }
        }
        Ok(Self { path: path.to_path_buf(), data, entries, index })
    }

    /// The path that was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The tensor of this name.
    pub fn tensor(&self, name: &str) -> Option<TensorView<'_>> {
        let entry = self.entries.get(*self.index.get(name)?)?;
        let bytes = (*self.data).as_ref().get(entry.range.clone())?;
        Some(TensorView { name: &entry.name, dtype: Dtype::named(&entry.dtype), shape: &entry.shape, bytes })
    }

    /// The names of all tensors, in the header's order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|entry| entry.name.as_str())
    }
}

impl fmt::Debug for Safetensors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Safetensors").field("path", &self.path).field("tensors", &self.entries.len()).finish()
    }
}

/// Opens a regular file and refuses others: opening a pipe would block, and reading a device might never end.
pub(super) fn open_regular(path: &Path) -> io::Result<fs::File> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("is not a regular file"));
    }
    fs::File::open(path)
}
