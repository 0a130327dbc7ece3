//! Fast upload of large data: each thread has two mapped staging buffers, and fills one while the other is copied.

use super::queue::Queue;
use super::submission::Submission;
use crate::gpu::buffer::Buffer;
use crate::{Error, Result};

/// Writes into buffers of the device, from one thread.
pub struct Uploader<'q> {
    queue: &'q Queue,
    buffers: [StagingBuffer; 2],
    current: usize,
}

struct StagingBuffer {
    staging: wgpu::Buffer,
    /// The copy out of `staging`, which is mapped again when the copy is done.
    copying: Option<Submission>,
}

impl<'q> Uploader<'q> {
    /// Makes two staging buffers of `bytes` bytes each (a multiple of 4).
    ///
    /// # Errors
    /// There is no memory left.
    pub fn new(queue: &'q Queue, bytes: u64) -> Result<Self> {
        let buffer = || {
            let usage = wgpu::BufferUsages::MAP_WRITE | wgpu::BufferUsages::COPY_SRC;
            let descriptor = wgpu::BufferDescriptor { label: Some("upload"), size: bytes, usage, mapped_at_creation: true };
            Ok(StagingBuffer { staging: queue.device().buffer(&descriptor)?, copying: None })
        };
        Ok(Self { queue, buffers: [buffer()?, buffer()?], current: 0 })
    }

    /// Calls `fill` with a function that puts bytes at offsets of mapped memory. The first `bytes` bytes of that memory then go to `offset`
    /// of `target`.
    ///
    /// # Errors
    /// The device failed, or `target` belongs to another one.
    pub fn write(&mut self, target: &Buffer, offset: u64, bytes: u64, fill: impl FnOnce(&mut dyn FnMut(usize, &[u8]))) -> Result<()> {
        let buffer = &mut self.buffers[self.current];
        self.current ^= 1;
        let device = self.queue.device();
        let target = self.queue.memory().held().raw(target)?.clone();
        if let Some(copying) = buffer.copying.take() {
            copying.wait(device)?;
        }
        let mut view = buffer.staging.slice(..bytes).get_mapped_range_mut().map_err(|e| Error::Device(format!("upload: {e:?}")))?;
        fill(&mut |at, bytes| view.slice(at..at + bytes.len()).copy_from_slice(bytes));
        drop(view);
        buffer.staging.unmap();
        let mut encoder = device.encoder("upload");
        encoder.copy_buffer_to_buffer(&buffer.staging, 0, &target, offset, Some(bytes));
        buffer.copying = Some(Submission::send(device, encoder, Some((wgpu::MapMode::Write, buffer.staging.slice(..)))));
        Ok(())
    }

    /// Waits until the device has copied everything.
    ///
    /// # Errors
    /// The device failed.
    pub fn finish(mut self) -> Result<()> {
        let device = self.queue.device();
        for copying in self.buffers.iter_mut().filter_map(|buffer| buffer.copying.take()) {
            copying.wait(device)?;
        }
        device.healthy()
    }
}
