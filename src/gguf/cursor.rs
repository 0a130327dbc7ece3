//! Reads a header from front to back. Every number in it is untrusted.

/// A position in the bytes of a file. Its errors say what was being read; the caller adds the path.
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at }
    }

    /// Offset of the next byte from the start of the file.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    /// Number of bytes that are left.
    pub(super) fn left(&self) -> usize {
        self.bytes.len().saturating_sub(self.at)
    }

    /// Takes the next `n` bytes. An error names `what`, the thing that they are a part of.
    pub(super) fn take(&mut self, n: u64, what: &str) -> Result<&'a [u8], String> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let taken = usize::try_from(n)
            .ok()
            .and_then(|n| rest.get(..n))
            .ok_or_else(|| format!("the file ends inside {what}: {n} bytes expected at offset {}, {} bytes left", self.at, rest.len()))?;
        self.at += taken.len();
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N], String> {
        let mut bytes = [0; N];
        bytes.copy_from_slice(self.take(N as u64, what)?);
        Ok(bytes)
    }

    pub(super) fn u32(&mut self, what: &str) -> Result<u32, String> {
        self.array(what).map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self, what: &str) -> Result<u64, String> {
        self.array(what).map(u64::from_le_bytes)
    }

    /// Reads a string: a u64 length, then that many bytes of any content.
    pub(super) fn string(&mut self, what: &str) -> Result<&'a [u8], String> {
        let length = self.u64(what)?;
        self.take(length, what)
    }

    /// Reads a name: a string that is UTF-8 and not empty.
    pub(super) fn name(&mut self, what: &str) -> Result<&'a str, String> {
        let start = self.at;
        match std::str::from_utf8(self.string(what)?) {
            Ok("") => Err(format!("{what} at offset {start} has an empty name")),
            Ok(name) => Ok(name),
            Err(_) => Err(format!("the name of {what} at offset {start} is not UTF-8")),
        }
    }

    /// Reads a u64 count of things that take at least `min_bytes` each. A count that the rest of the file cannot hold is refused here,
    /// before anything is allocated for it.
    pub(super) fn count(&mut self, min_bytes: usize, what: &str) -> Result<u64, String> {
        let count = self.u64(what)?;
        self.check_count(count, min_bytes, what)?;
        Ok(count)
    }

    /// The check of [`Cursor::count`] for a count that is already read.
    pub(super) fn check_count(&self, count: u64, min_bytes: usize, what: &str) -> Result<(), String> {
        let most = self.left() / min_bytes;
        if count > most as u64 {
            return Err(format!("{what} is {count}, but the {} bytes after it hold at most {most}", self.left()));
        }
        Ok(())
    }
}

/// `name` as an error message shows it: quoted, cut where it is long, with control characters escaped so that the message stays one line.
pub(super) fn quoted(name: &str) -> String {
    const MOST: usize = 100;
    match name.char_indices().nth(MOST) {
        None => format!("{name:?}"),
        Some((cut, _)) => format!("{:?}...", &name[..cut]),
    }
}
