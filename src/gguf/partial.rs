//! An unfinished file that survives an interruption: the data written so far, and beside it a note of how many tensors are complete.

use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// The data file, locked against other processes, and its note.
pub(super) struct Partial {
    file: File,
    data: PathBuf,
    note: PathBuf,
    identity: String,
}

/// The content of the note.
#[derive(Serialize, Deserialize)]
struct Note {
    /// Names the work. An attempt with another identity starts from the beginning.
    identity: String,
    /// Number of tensors that are complete, counted from the first.
    tensors: usize,
}

impl Partial {
    /// Opens the file that an earlier attempt at `target` left, or makes one of `size` bytes that has this header and zeros. Returns the
    /// number of complete tensors too.
    pub fn open(target: &Path, header: &[u8], size: u64, identity: &str) -> Result<(Self, usize)> {
        let beside = |extension: &str| {
            let mut name = OsString::from(target);
            name.push(extension);
            PathBuf::from(name)
        };
        let (data, note) = (beside(".partial"), beside(".partial.json"));
        let wrong = |error: std::io::Error| Error::file(&data, error);
        let mut file = File::options().read(true).write(true).create(true).truncate(false).open(&data).map_err(wrong)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Error::file(&data, "is being written by another process")),
            Err(TryLockError::Error(error)) => return Err(wrong(error)),
        }
        let mut found = vec![0; header.len()];
        let same_file = file.metadata().is_ok_and(|m| m.len() == size) && file.read_exact(&mut found).is_ok() && found == header;
        let noted = fs::read(&note).ok().and_then(|text| serde_json::from_slice::<Note>(&text).ok());
        let done = noted.filter(|n| same_file && n.identity == identity).map_or(0, |n| n.tensors);
        if done == 0 {
            let start = || -> std::io::Result<()> {
                let mut file = &file;
                file.set_len(0)?;
                std::io::Seek::rewind(&mut file)?;
                file.write_all(header)?;
                file.set_len(size)
            };
            start().map_err(wrong)?;
        }
        Ok((Self { file, data, note, identity: identity.to_string() }, done))
    }

    pub fn file(&self) -> &File {
        &self.file
    }

    /// Writes the first `tensors` tensors to the disk and notes that they are complete.
    pub fn completed(&self, tensors: usize) -> Result<()> {
        self.file.sync_data().map_err(|error| Error::file(&self.data, error))?;
        let note = Note { identity: self.identity.clone(), tensors };
        let write = || -> std::io::Result<()> {
            let folder = self.note.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let mut file = tempfile::NamedTempFile::new_in(folder)?;
            file.write_all(&serde_json::to_vec(&note)?)?;
            file.persist(&self.note)?;
            Ok(())
        };
        write().map_err(|error| Error::file(&self.note, error))
    }

    /// Renames the complete file to `target`, and removes the note.
    pub fn persist(self, target: &Path) -> Result<()> {
        fs::rename(&self.data, target).map_err(|error| Error::file(target, error))?;
        self.remove_note();
        Ok(())
    }

    /// Removes the file and the note.
    pub fn remove(self) {
        if let Err(error) = fs::remove_file(&self.data) {
            tracing::warn!("{}: {error}", self.data.display());
        }
        self.remove_note();
    }

    fn remove_note(&self) {
        match fs::remove_file(&self.note) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => tracing::warn!("{}: {error}", self.note.display()),
            _ => {}
        }
    }
}
