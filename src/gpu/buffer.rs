//! Handles of a device's memory, and ranges of it, as plain data. Only the owner of a handle knows the memory behind it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Holds the memory behind handles.
pub(super) trait Owner: Send + Sync {
    /// Called when the last handle of buffer `id` is dropped. Work in flight may still use the memory.
    fn release(&self, id: u64);
}

/// A storage buffer on one device. Clones share the memory, which is freed when the last one is dropped.
#[derive(Clone)]
pub struct Buffer(Arc<Inner>);

struct Inner {
    id: u64,
    label: Box<str>,
    bytes: u64,
    owner: Arc<dyn Owner>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.owner.release(self.id);
    }
}

impl Buffer {
    /// Makes the first handle of `bytes` bytes, for which `owner` has or makes the memory.
    pub(super) fn new(label: &str, bytes: u64, owner: Arc<dyn Owner>) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(Arc::new(Inner { id: NEXT.fetch_add(1, Ordering::Relaxed), label: label.into(), bytes, owner }))
    }

    /// Number of the buffer in this process. It is never used again.
    pub fn id(&self) -> u64 {
        self.0.id
    }

    /// The name that it got when it was made.
    pub fn label(&self) -> &str {
        &self.0.label
    }

    /// Whether both are handles of one buffer.
    pub fn same(&self, other: &Buffer) -> bool {
        self.0.id == other.0.id
    }

    /// Size in bytes.
    pub fn bytes(&self) -> u64 {
        self.0.bytes
    }

    /// The range of the whole buffer.
    pub fn all(&self) -> Slice {
        Slice { buffer: self.clone(), offset: 0, bytes: self.bytes() }
    }

    /// The range of `bytes` bytes from `offset`, which must suit the device's binding alignment (256 always does).
    pub fn slice(&self, offset: u64, bytes: u64) -> Slice {
        Slice { buffer: self.clone(), offset, bytes }
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (buffer {}, {} bytes)", self.label(), self.id(), self.bytes())
    }
}

/// A range of a buffer, as bound to a kernel or read back.
#[derive(Clone, Debug)]
pub struct Slice {
    /// The buffer.
    pub buffer: Buffer,
    /// First byte.
    pub offset: u64,
    /// Length in bytes.
    pub bytes: u64,
}

impl Slice {
    /// The range of `bytes` bytes from `offset` of this slice. The offset must suit the device's binding alignment (256 always does).
    #[must_use]
    pub fn part(&self, offset: u64, bytes: u64) -> Slice {
        Slice { buffer: self.buffer.clone(), offset: self.offset + offset, bytes }
    }

    /// The smallest range that holds all of `slices`, if they lie in one buffer.
    pub fn spanning(slices: &[&Slice]) -> Option<Slice> {
        let first = slices.iter().min_by_key(|slice| slice.offset)?;
        let end = slices.iter().map(|slice| slice.offset + slice.bytes).max()?;
        slices.iter().all(|slice| slice.buffer.same(&first.buffer)).then(|| first.part(0, end - first.offset))
    }
}

/// `label[offset..end]`, in bytes.
impl fmt::Display for Slice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}..{}]", self.buffer.label(), self.offset, self.offset.saturating_add(self.bytes))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::sync::Mutex;

    /// An owner without memory, which notes the buffers that are released.
    #[derive(Default)]
    pub struct Notes(Mutex<Vec<u64>>);

    impl Owner for Notes {
        fn release(&self, id: u64) {
            self.0.lock().unwrap().push(id);
        }
    }

    #[test]
    fn memory_goes_back_once_and_with_the_last_handle() {
        let notes = Arc::new(Notes::default());
        let (a, b) = (Buffer::new("a", 8, notes.clone()), Buffer::new("b", 8, notes.clone()));
        let (slice, ids) = (a.slice(4, 4), [a.id(), b.id()]);
        assert_ne!(ids[0], ids[1]);
        drop((a.clone(), a));
        assert!(notes.0.lock().unwrap().is_empty(), "a slice is a handle too");
        drop(slice);
        drop(b);
        assert_eq!(*notes.0.lock().unwrap(), ids);
    }
}
