//! Writes a GGUF file. The header is known at the start; several threads may then write tensors in any order.

use super::directory::{align, tensor_bytes};
use super::kind::GgmlType;
use super::partial::Partial;
use super::value::{Value, write_string};
use super::{ALIGNMENT_KEY, DEFAULT_ALIGNMENT, MAGIC, VERSION};
use crate::{Error, Result};
use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// An unfinished file. It is written beside the target and takes the target's name when it is complete, so that an existing target stays
/// untouched until then. A dropped writer of [`Writer::create`] removes the file; a dropped writer of [`Writer::resume`] leaves it for
/// the next attempt.
pub struct Writer {
    target: PathBuf,
    file: Unfinished,
    tensors: Vec<TensorRange>,
}

/// The file before it takes the target's name.
enum Unfinished {
    Temporary(NamedTempFile),
    Partial(Partial),
}

impl Unfinished {
    fn file(&self) -> &File {
        match self {
            Self::Temporary(file) => file.as_file(),
            Self::Partial(partial) => partial.file(),
        }
    }
}

impl Writer {
    /// Makes the file and writes its header. `tensors` has name, shape (fastest dimension first) and type of each tensor. Their data
    /// follows in this order, each at a multiple of `alignment` bytes, a power of two. Data that is never written stays zero. `alignment`
    /// replaces a `general.alignment` among `metadata`.
    pub fn create(
        final_path: &Path,
        metadata: Vec<(String, Value)>,
        tensors: Vec<(String, Vec<u64>, GgmlType)>,
        alignment: u32,
    ) -> Result<Self> {
        let (header, tensors, size) = layout(metadata, tensors, alignment).map_err(|what| Error::file(final_path, what))?;
        let file = create_beside(final_path).and_then(|mut file| {
            io::Write::write_all(&mut file, &header)?;
            file.as_file().set_len(size)?;
            Ok(file)
        });
        let file = Unfinished::Temporary(file.map_err(|error| Error::file(final_path, error))?);
        Ok(Self { target: final_path.to_path_buf(), file, tensors })
    }

    /// Like [`Writer::create`], for work that may be interrupted. The unfinished file is `final_path` with `.partial` appended, and a note
    /// beside it says how many tensors are complete ([`Writer::completed`]). Returns that number too, where an earlier attempt had the same
    /// header and the same `identity`, and otherwise 0.
    ///
    /// # Errors
    /// Those of [`Writer::create`], and another process that writes the same file.
    pub fn resume(
        final_path: &Path,
        metadata: Vec<(String, Value)>,
        tensors: Vec<(String, Vec<u64>, GgmlType)>,
        alignment: u32,
        identity: &str,
    ) -> Result<(Self, usize)> {
        let (header, tensors, size) = layout(metadata, tensors, alignment).map_err(|what| Error::file(final_path, what))?;
        let (partial, done) = Partial::open(final_path, &header, size, identity)?;
        Ok((Self { target: final_path.to_path_buf(), file: Unfinished::Partial(partial), tensors }, done))
    }

    /// Notes that the first `tensors` tensors are complete, so that an attempt after an interruption starts with the next one. Does
    /// nothing for a writer of [`Writer::create`].
    pub fn completed(&self, tensors: usize) -> Result<()> {
        match &self.file {
            Unfinished::Temporary(_) => Ok(()),
            Unfinished::Partial(partial) => partial.completed(tensors),
        }
    }

    /// Removes the unfinished file, so that the next attempt starts from the beginning.
    pub fn discard(self) {
        if let Unfinished::Partial(partial) = self.file {
            partial.remove();
        }
    }

    /// Writes `bytes` at `byte_offset` from the start of tensor number `tensor_index`. Several threads may write at once; where two
    /// writes overlap, either may win.
    pub fn write_at(&self, tensor_index: usize, byte_offset: u64, bytes: &[u8]) -> Result<()> {
        let Some(TensorRange { name, offset, size }) = self.tensors.get(tensor_index) else {
            let what = format!("tensor {tensor_index} is written, but the file has {}", self.tensors.len());
            return Err(Error::file(&self.target, what));
        };
        if byte_offset.checked_add(bytes.len() as u64).is_none_or(|end| end > *size) {
            let what = format!("tensor {name:?}: {} bytes at {byte_offset} are written, but it has {size}", bytes.len());
            return Err(Error::file(&self.target, what));
        }
        write_all_at(self.file.file(), bytes, offset + byte_offset).map_err(|error| Error::file(&self.target, error))
    }

    /// Writes the file to the disk and renames it to the target, replacing an earlier file of that name.
    pub fn finish(self) -> Result<()> {
        self.file.file().sync_all().map_err(|error| Error::file(&self.target, error))?;
        match self.file {
            Unfinished::Temporary(file) => {
                file.persist(&self.target).map_err(|error| Error::file(&self.target, error.error))?;
                Ok(())
            }
            Unfinished::Partial(partial) => partial.persist(&self.target),
        }
    }
}

/// Where the data of a tensor lies in the file.
struct TensorRange {
    name: String,
    /// Offset of the first byte from the start of the file.
    offset: u64,
    /// Size in bytes.
    size: u64,
}

/// Bytes of the header, range of each tensor's data, and size of the whole file.
fn layout(
    metadata: Vec<(String, Value)>,
    tensors: Vec<(String, Vec<u64>, GgmlType)>,
    alignment: u32,
) -> Result<(Vec<u8>, Vec<TensorRange>, u64), String> {
    if !alignment.is_power_of_two() {
        return Err(format!("alignment is {alignment}, expected a power of two"));
    }
    let mut metadata = metadata;
    metadata.retain(|(key, _)| key != ALIGNMENT_KEY);
    if alignment != DEFAULT_ALIGNMENT {
        metadata.push((ALIGNMENT_KEY.to_owned(), Value::U32(alignment)));
    }

    let mut header = Vec::new();
    header.extend(MAGIC);
    header.extend(VERSION.to_le_bytes());
    header.extend((tensors.len() as u64).to_le_bytes());
    header.extend((metadata.len() as u64).to_le_bytes());
    let mut seen = HashSet::new();
    for (key, value) in &metadata {
        if key.is_empty() || !seen.insert(key) {
            return Err(format!("metadata key {key:?} is empty or given twice"));
        }
        write_string(key, &mut header);
        header.extend((value.kind() as u32).to_le_bytes());
        value.write(&mut header).map_err(|what| format!("metadata key {key:?}: {what}"))?;
    }

    let mut seen = HashSet::new();
    let (mut sizes, mut end) = (Vec::new(), 0);
    for (name, shape, kind) in &tensors {
        if name.is_empty() || !seen.insert(name) {
            return Err(format!("tensor {name:?} has no name or is given twice"));
        }
        let bytes = tensor_bytes(*kind, shape).map_err(|what| format!("tensor {name:?} {what}"))?;
        let start = align(end, alignment);
        let (start, next) = start.and_then(|start| Some((start, start.checked_add(bytes)?))).ok_or("the tensors exceed 2^64 bytes")?;
        write_string(name, &mut header);
        header.extend((shape.len() as u32).to_le_bytes());
        shape.iter().for_each(|size| header.extend(size.to_le_bytes()));
        header.extend(kind.0.to_le_bytes());
        header.extend(start.to_le_bytes());
        sizes.push((start, bytes));
        end = next;
    }

    let data = align(header.len() as u64, alignment).ok_or("the header is too long")?;
    let size = data.checked_add(end).ok_or("the tensors exceed 2^64 bytes")?;
    let range = |((name, ..), (start, size)): ((String, _, _), (u64, u64))| TensorRange { name, offset: data + start, size };
    let ranges = tensors.into_iter().zip(sizes).map(range).collect();
    Ok((header, ranges, size))
}

/// Makes a temporary file with the permissions of an ordinary new file. It is in the target's folder, so that it can be renamed to it.
fn create_beside(target: &Path) -> io::Result<NamedTempFile> {
    let folder = match target.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut builder = tempfile::Builder::new();
    builder.prefix(".").suffix(".part");
    #[cfg(unix)]
    let permissions: std::fs::Permissions = std::os::unix::fs::PermissionsExt::from_mode(0o666);
    #[cfg(unix)]
    builder.permissions(permissions);
    builder.tempfile_in(folder)
}

#[cfg(unix)]
fn write_all_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, offset)
}

#[cfg(windows)]
fn write_all_at(file: &File, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match std::os::windows::fs::FileExt::seek_write(file, bytes, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                bytes = &bytes[written..];
                offset += written as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
