//! Staging memory through which results reach the host. It is used again after it was read.

use super::device::Device;
use crate::gpu::lock::lock;
use crate::{Error, Result};
use std::sync::Mutex;

/// The largest number of idle staging buffers that are kept.
const MOST_IDLE: usize = 8;

/// Idle staging buffers. The buffer of a dropped ticket never comes back here, because the device may still write to it.
#[derive(Default)]
pub struct Downloads {
    idle: Mutex<Vec<wgpu::Buffer>>,
}

impl Downloads {
    /// Takes or makes a staging buffer of at least `bytes` bytes.
    ///
    /// # Errors
    /// There is no memory left.
    pub fn take(&self, device: &Device, bytes: u64) -> Result<wgpu::Buffer> {
        let mut idle = lock(&self.idle);
        let fits = |b: &wgpu::Buffer| b.size() >= bytes && b.size() <= 4 * bytes.max(4096);
        if let Some(i) = idle.iter().position(fits) {
            return Ok(idle.swap_remove(i));
        }
        drop(idle);
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let size = bytes.max(4096).next_power_of_two();
        device.buffer(&wgpu::BufferDescriptor { label: Some("download"), size, usage, mapped_at_creation: false })
    }

    /// Reads parts of these lengths out of mapped `staging`, and keeps the buffer for later downloads. Each part starts at a multiple of 4.
    ///
    /// # Errors
    /// It is not mapped.
    pub fn read(&self, staging: wgpu::Buffer, lengths: &[u64]) -> Result<Vec<Vec<u8>>> {
        let total = lengths.iter().map(|bytes| bytes.next_multiple_of(4)).sum::<u64>();
        let mut parts = Vec::with_capacity(lengths.len());
        {
            let view = staging.slice(..total).get_mapped_range().map_err(|e| Error::Device(format!("results: {e:?}")))?;
            let mut at = 0;
            for bytes in lengths {
                parts.push(view[at..at + *bytes as usize].to_vec());
                at += bytes.next_multiple_of(4) as usize;
            }
        }
        staging.unmap();
        let mut idle = lock(&self.idle);
        if idle.len() < MOST_IDLE {
            idle.push(staging);
        }
        Ok(parts)
    }
}
