//! Fast upload of large data: each thread owns two mapped staging buffers and fills one while the other is copied.

use super::queue::Queue;
use super::submission::Submission;
use crate::gpu::buffer::Buffer;
use crate::{Error, Result};

/// One thread's way to write into buffers.
pub struct Uploader<'q> {
    queue: &'q Queue,
    halves: [Half; 2],
    current: usize,
}

struct Half {
    staging: wgpu::Buffer,
    /// The copy out of `staging` that it is not mapped before.
    copying: Option<Submission>,
}

impl<'q> Uploader<'q> {
    /// Two staging buffers of `bytes` bytes each (a multiple of 4).
    ///
    /// # Errors
    /// No memory left.
    pub fn new(queue: &'q Queue, bytes: u64) -> Result<Self> {
        let half = || {
            let usage = wgpu::BufferUsages::MAP_WRITE | wgpu::BufferUsages::COPY_SRC;
            let descriptor = wgpu::BufferDescriptor { label: Some("upload"), size: bytes, usage, mapped_at_creation: true };
            Ok(Half { staging: queue.device().buffer(&descriptor)?, copying: None })
        };
        Ok(Self { queue, halves: [half()?, half()?], current: 0 })
    }

    /// Lets `fill` put bytes at offsets of mapped memory, `bytes` bytes of which then go to `offset` of `target`.
    ///
    /// # Errors
    /// The device failed, or `target` belongs to another one.
    pub fn write(&mut self, target: &Buffer, offset: u64, bytes: u64, fill: impl FnOnce(&mut dyn FnMut(usize, &[u8]))) -> Result<()> {
        let half = &mut self.halves[self.current];
        self.current ^= 1;
        let device = self.queue.device();
        let target = self.queue.memory().held().raw(target)?.clone();
        if let Some(copying) = half.copying.take() {
            copying.wait(device)?;
        }
        let mut view = half.staging.slice(..bytes).get_mapped_range_mut().map_err(|e| Error::Device(format!("upload: {e:?}")))?;
        fill(&mut |at, bytes| view.slice(at..at + bytes.len()).copy_from_slice(bytes));
        drop(view);
        half.staging.unmap();
        let mut encoder = device.encoder("upload");
        encoder.copy_buffer_to_buffer(&half.staging, 0, &target, offset, Some(bytes));
        half.copying = Some(Submission::send(device, encoder, Some((wgpu::MapMode::Write, half.staging.slice(..)))));
        Ok(())
    }

    /// Waits until everything written has arrived.
    ///
    /// # Errors
    /// The device failed.
    pub fn finish(mut self) -> Result<()> {
        let device = self.queue.device();
        for copying in self.halves.iter_mut().filter_map(|half| half.copying.take()) {
            copying.wait(device)?;
        }
        device.healthy()
    }
}
