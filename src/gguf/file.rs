//! A GGUF file, mapped into memory.

use super::cursor::Cursor;
use super::directory::{Directory, TensorInfo};
use super::metadata::{Entries, Metadata};
use super::{ALIGNMENT_KEY, DEFAULT_ALIGNMENT, MAGIC, VERSION};
use crate::{Error, Result};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// An opened file with a checked header. Its data is mapped, so the operating system reads a tensor from disk when it is first used.
pub struct File {
    path: PathBuf,
    /// The mapped file, or bytes that were in memory already.
    data: Box<dyn AsRef<[u8]> + Send + Sync>,
    alignment: u32,
    entries: Entries,
    directory: Directory,
}

impl File {
    /// Maps the file at `path` and checks its header. The time depends on the length of the header, not on the size of the file.
    pub fn open(path: &Path) -> Result<Self> {
        let wrong = |error: std::io::Error| Error::file(path, error);
        // The check comes before the opening, because opening a pipe would block.
        if !fs::metadata(path).map_err(wrong)?.is_file() {
            return Err(Error::file(path, "is not a regular file"));
        }
        let file = fs::File::open(path).map_err(wrong)?;
        // SAFETY: the map is read-only and private to this value. Another program could still change or truncate the file while it is
        // mapped. Model files are written once, and `Writer` renames complete files into place, so that this does not happen in practice.
        let map = unsafe { memmap2::Mmap::map(&file) }.map_err(wrong)?;
        Self::parse(path, Box::new(map))
    }

    /// Like [`File::open`], for bytes that are in memory, for example built into the program. Nothing is copied. `path` names them in
    /// errors.
    ///
    /// # Errors
    /// Those of [`File::open`].
    pub fn from_bytes(bytes: impl AsRef<[u8]> + Send + Sync + 'static, path: &Path) -> Result<Self> {
        Self::parse(path, Box::new(bytes))
    }

    fn parse(path: &Path, data: Box<dyn AsRef<[u8]> + Send + Sync>) -> Result<Self> {
        let (entries, directory, alignment) = header(path, data.as_ref().as_ref())?;
        Ok(Self { path: path.to_path_buf(), data, alignment, entries, directory })
    }

    /// The path that was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file's metadata.
    pub fn metadata(&self) -> Metadata<'_> {
        Metadata { path: &self.path, bytes: self.all(), entries: &self.entries }
    }

    /// Every tensor, in the file's order.
    pub fn tensors(&self) -> &[TensorInfo] {
        &self.directory.tensors
    }

    /// The tensor of this name.
    pub fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        self.directory.tensor(name)
    }

    /// The bytes of a tensor of this file, aligned in memory no better than the file is. The result is empty where `tensor` belongs to
    /// another file and its range lies outside this one.
    pub fn bytes(&self, tensor: &TensorInfo) -> &[u8] {
        let range = || {
            let start = usize::try_from(tensor.offset).ok()?;
            self.all().get(start..start.checked_add(usize::try_from(tensor.bytes).ok()?)?)
        };
        range().unwrap_or_default()
    }

    /// Alignment of tensor data in bytes, a power of two.
    pub fn alignment(&self) -> u32 {
        self.alignment
    }

    /// Size of the file in bytes.
    pub fn size(&self) -> u64 {
        self.all().len() as u64
    }

    fn all(&self) -> &[u8] {
        (*self.data).as_ref()
    }
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = self.metadata().iter().count();
        f.debug_struct("File").field("path", &self.path).field("keys", &keys).field("tensors", &self.tensors().len()).finish()
    }
}

/// Reads metadata, tensors and alignment from the bytes of a file.
fn header(path: &Path, bytes: &[u8]) -> Result<(Entries, Directory, u32)> {
    let wrong = |what: String| Error::file(path, what);
    let mut cursor = Cursor::new(bytes, 0);
    let magic = cursor.take(4, "the magic number of a GGUF file").map_err(wrong)?;
    if magic != MAGIC {
        return Err(wrong(format!("starts with bytes {magic:02x?}, expected {MAGIC:02x?}: not a GGUF file")));
    }
    let version = cursor.u32("the version").map_err(wrong)?;
    if version == VERSION.swap_bytes() {
        return Err(wrong("is a big-endian GGUF file, expected little-endian".to_owned()));
    }
    if version != VERSION {
        return Err(wrong(format!("is GGUF version {version}, expected {VERSION}")));
    }
    let tensor_count = cursor.u64("the number of tensors").map_err(wrong)?;
    let key_count = cursor.u64("the number of metadata keys").map_err(wrong)?;
    let entries = Entries::parse(&mut cursor, key_count).map_err(wrong)?;
    let alignment = Metadata { path, bytes, entries: &entries }.u32(ALIGNMENT_KEY)?.unwrap_or(DEFAULT_ALIGNMENT);
    if !alignment.is_power_of_two() {
        return Err(wrong(format!("{ALIGNMENT_KEY} is {alignment}, expected a power of two")));
    }
    let directory = Directory::parse(&mut cursor, tensor_count, alignment, bytes.len() as u64).map_err(wrong)?;
    Ok((entries, directory, alignment))
}
