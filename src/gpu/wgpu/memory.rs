//! The memory behind buffer handles.

use super::device::Device;
use crate::gpu::buffer::{Buffer, Owner, Slice};
use crate::gpu::lock::lock;
use crate::{Error, Result};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

/// All storage buffers of a device.
pub struct Memory {
    device: Arc<Device>,
    held: Arc<Mutex<Held>>,
}

/// The buffers that have a handle. wgpu keeps memory alive as long as submitted work uses it, so a buffer can be dropped here at once.
#[derive(Default)]
pub struct Held {
    buffers: HashMap<u64, wgpu::Buffer>,
    bytes: u64,
    freed: u64,
}

impl Held {
    /// The buffer behind the handle `buffer`.
    ///
    /// # Errors
    /// It belongs to another device.
    pub fn raw(&self, buffer: &Buffer) -> Result<&wgpu::Buffer> {
        self.buffers.get(&buffer.id()).ok_or_else(|| Error::Device(format!("buffer {} belongs to another device", buffer.label())))
    }

    /// Whether buffer `id` still has a handle.
    pub fn has(&self, id: u64) -> bool {
        self.buffers.contains_key(&id)
    }

    /// Size of all buffers in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The number of buffers that were freed so far.
    pub fn freed(&self) -> u64 {
        self.freed
    }
}

impl Owner for Mutex<Held> {
    fn release(&self, id: u64) {
        let mut held = lock(self);
        let gone = held.buffers.remove(&id);
        held.bytes -= gone.as_ref().map_or(0, wgpu::Buffer::size);
        held.freed += 1;
        // The driver may take a while to free the memory, so the lock is released before.
        drop(held);
        drop(gone);
    }
}

impl Memory {
    /// The memory of `device`, without any buffer yet.
    pub fn new(device: Arc<Device>) -> Self {
        Self { device, held: Arc::default() }
    }

    /// Makes a storage buffer of `bytes` bytes, which wgpu zeroes before its first use.
    ///
    /// # Errors
    /// There is no memory left.
    pub fn create(&self, label: &str, bytes: u64) -> Result<Buffer> {
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::COPY_SRC;
        let descriptor = wgpu::BufferDescriptor { label: Some(label), size: bytes, usage, mapped_at_creation: false };
        let raw = self.device.buffer(&descriptor)?;
        let buffer = Buffer::new(label, bytes, self.held.clone());
        let mut held = self.held();
        held.buffers.insert(buffer.id(), raw);
        held.bytes += bytes;
        Ok(buffer)
    }

    /// Locks the buffers. While they are locked no handle may be dropped, because that takes the same lock.
    pub fn held(&self) -> MutexGuard<'_, Held> {
        lock(&self.held)
    }

    /// Writes `bytes` at the start of `slice`, before the next submission runs. A failure is returned by the next call that can fail.
    pub fn write(&self, slice: &Slice, bytes: &[u8]) {
        let raw = match self.held().raw(&slice.buffer) {
            Ok(raw) => raw.clone(),
            Err(error) => return self.device.fail(&error),
        };
        let whole = bytes.len() & !3;
        self.device.queue.write_buffer(&raw, slice.offset, &bytes[..whole]);
        if whole < bytes.len() {
            let mut last = [0u8; 4];
            last[..bytes.len() - whole].copy_from_slice(&bytes[whole..]);
            self.device.queue.write_buffer(&raw, slice.offset + whole as u64, &last);
        }
    }

    /// Copies ranges of buffers onto ranges of the same length. It copies through a temporary buffer, because a command cannot copy within
    /// a buffer.
    ///
    /// # Errors
    /// There is no memory left.
    pub fn copy(&self, copies: &[(Slice, Slice)]) -> Result<()> {
        let size = copies.iter().map(|(from, _)| from.bytes).sum();
        let usage = wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::COPY_SRC;
        let between = self.device.buffer(&wgpu::BufferDescriptor { label: Some("copies"), size, usage, mapped_at_creation: false })?;
        let mut encoder = self.device.encoder("copies");
        let held = self.held();
        let mut at = 0;
        for (from, _) in copies {
            encoder.copy_buffer_to_buffer(held.raw(&from.buffer)?, from.offset, &between, at, Some(from.bytes));
            at += from.bytes;
        }
        at = 0;
        for (_, to) in copies {
            encoder.copy_buffer_to_buffer(&between, at, held.raw(&to.buffer)?, to.offset, Some(to.bytes));
            at += to.bytes;
        }
        drop(held);
        self.device.queue.submit([encoder.finish()]);
        Ok(())
    }
}
