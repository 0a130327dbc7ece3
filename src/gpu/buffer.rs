//! GPU memory: a buffer handle that is cheap to clone, and a range of one.

use super::Gpu;
use crate::{Error, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A storage buffer on one device. Clones share the memory, which goes back when the last one is dropped.
#[derive(Clone, Debug)]
pub struct Buffer(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    raw: wgpu::Buffer,
    id: u64,
    account: Arc<Account>,
}

/// What buffers a device holds.
#[derive(Debug, Default)]
pub(super) struct Account {
    /// Buffers that were freed: tells when cached bind groups may be stale.
    pub freed: AtomicU64,
    /// Bytes of those that are not.
    pub held: AtomicU64,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.account.freed.fetch_add(1, Ordering::Relaxed);
        self.account.held.fetch_sub(self.raw.size(), Ordering::Relaxed);
    }
}

impl Buffer {
    pub(super) fn raw(&self) -> &wgpu::Buffer {
        &self.0.raw
    }

    /// Distinguishes buffers of one process; never reused.
    pub(super) fn id(&self) -> u64 {
        self.0.id
    }

    /// Whether both are handles of one buffer.
    pub fn same(&self, other: &Buffer) -> bool {
        self.0.id == other.0.id
    }

    /// A handle that does not keep the memory alive.
    pub(super) fn observe(&self) -> impl Fn() -> bool + Send + Sync + use<> {
        let weak = Arc::downgrade(&self.0);
        move || weak.strong_count() > 0
    }

    /// Size in bytes.
    pub fn bytes(&self) -> u64 {
        self.0.raw.size()
    }

    /// All of it.
    pub fn all(&self) -> Slice {
        Slice { buffer: self.clone(), offset: 0, bytes: self.bytes() }
    }

    /// `bytes` bytes from `offset`; the offset must suit the device's binding alignment (256 always does).
    pub fn slice(&self, offset: u64, bytes: u64) -> Slice {
        Slice { buffer: self.clone(), offset, bytes }
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
    /// `bytes` bytes from `offset` of this slice; the offset must suit the device's binding alignment (256 always does).
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

impl Gpu {
    /// A storage buffer of at least `bytes` bytes (rounded up to 4, never empty), zeroed by wgpu before its first use.
    ///
    /// # Errors
    /// More than the device's largest buffer, or no memory left.
    pub fn buffer(&self, label: &str, bytes: u64) -> Result<Buffer> {
        let size = bytes.max(4).next_multiple_of(4);
        let limit = self.caps().max_buffer_bytes;
        if size > limit {
            return Err(Error::Device(format!("buffer {label} of {size} bytes is larger than this device's limit of {limit}")));
        }
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::COPY_SRC;
        let descriptor = wgpu::BufferDescriptor { label: Some(label), size, usage, mapped_at_creation: false };
        let raw = self.guarded(&format!("buffer {label} of {size} bytes"), || self.device().create_buffer(&descriptor))?;
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let account = self.account().clone();
        account.held.fetch_add(size, Ordering::Relaxed);
        Ok(Buffer(Arc::new(Inner { raw, id: NEXT.fetch_add(1, Ordering::Relaxed), account })))
    }

    /// Bytes of all storage buffers that are alive.
    pub fn held_bytes(&self) -> u64 {
        self.account().held.load(Ordering::Relaxed)
    }

    /// A storage buffer that holds `data`.
    ///
    /// # Errors
    /// As [`Gpu::buffer`].
    pub fn buffer_with<T: bytemuck::NoUninit>(&self, label: &str, data: &[T]) -> Result<Buffer> {
        let bytes: &[u8] = bytemuck::cast_slice(data);
        let buffer = self.buffer(label, bytes.len() as u64)?;
        self.write(&buffer.all(), bytes);
        Ok(buffer)
    }

    /// Writes `data` at the start of `slice`, before whatever is submitted next. Meant for small data; weights go through `Uploader`.
    pub fn write<T: bytemuck::NoUninit>(&self, slice: &Slice, data: &[T]) {
        let bytes: &[u8] = bytemuck::cast_slice(data);
        debug_assert!(bytes.len() as u64 <= slice.bytes.next_multiple_of(4));
        let whole = bytes.len() & !3;
        self.raw_queue().write_buffer(slice.buffer.raw(), slice.offset, &bytes[..whole]);
        if whole < bytes.len() {
            let mut last = [0u8; 4];
            last[..bytes.len() - whole].copy_from_slice(&bytes[whole..]);
            self.raw_queue().write_buffer(slice.buffer.raw(), slice.offset + whole as u64, &last);
        }
    }

    /// Copies ranges of buffers onto ranges of the same length, multiples of 4 bytes, behind everything submitted before. Both may lie in one
    /// buffer: copies go through memory of their own, because a device may not copy within a buffer.
    ///
    /// # Errors
    /// No memory left for the copies.
    pub fn copy(&self, copies: &[(Slice, Slice)]) -> Result<()> {
        let total: u64 = copies.iter().map(|(from, _)| from.bytes).sum();
        if total == 0 {
            return Ok(());
        }
        let usage = wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::COPY_SRC;
        let descriptor = wgpu::BufferDescriptor { label: Some("copies"), size: total, usage, mapped_at_creation: false };
        let between = self.guarded(&format!("copies of {total} bytes"), || self.device().create_buffer(&descriptor))?;
        let mut encoder = self.device().create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("copies") });
        let mut at = 0;
        for (from, _) in copies {
            encoder.copy_buffer_to_buffer(from.buffer.raw(), from.offset, &between, at, Some(from.bytes));
            at += from.bytes;
        }
        at = 0;
        for (from, to) in copies {
            encoder.copy_buffer_to_buffer(&between, at, to.buffer.raw(), to.offset, Some(from.bytes));
            at += from.bytes;
        }
        self.raw_queue().submit([encoder.finish()]);
        Ok(())
    }
}
