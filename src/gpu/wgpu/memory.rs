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

/// What has a handle. wgpu keeps memory that submitted work uses until that is done, so that nothing here has to wait.
#[derive(Default)]
pub struct Held {
    buffers: HashMap<u64, wgpu::Buffer>,
    bytes: u64,
    freed: u64,
}

impl Held {
    /// What `buffer` is a handle of.
    ///
    /// # Errors
    /// It belongs to another device.
    pub fn raw(&self, buffer: &Buffer) -> Result<&wgpu::Buffer> {
        self.buffers.get(&buffer.id()).ok_or_else(|| Error::Device(format!("buffer {} belongs to another device", buffer.label())))
    }

    /// Whether a handle of buffer `id` is left.
    pub fn has(&self, id: u64) -> bool {
        self.buffers.contains_key(&id)
    }

    /// Bytes of all buffers.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How many buffers were freed so far.
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
        // The driver frees memory in its own time, while others may go on.
        drop(held);
        drop(gone);
    }
}

impl Memory {
    /// None yet.
    pub fn new(device: Arc<Device>) -> Self {
        Self { device, held: Arc::default() }
    }

    /// A storage buffer of `bytes` bytes, zeroed by wgpu before its first use.
    ///
    /// # Errors
    /// No memory left.
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

    /// The buffers. No handle may be dropped while this is locked.
    pub fn held(&self) -> MutexGuard<'_, Held> {
        lock(&self.held)
    }

    /// Writes `bytes` at the start of `slice`, before whatever is submitted next. What goes wrong is told by the next call that can fail.
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

    /// Copies ranges of buffers onto ranges of the same length, through memory of its own: a command may not copy within a buffer.
    ///
    /// # Errors
    /// No memory left.
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
