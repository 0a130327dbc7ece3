//! Parameters of launches on devices without immediates: one uniform buffer, in which each launch of a recording has a place.

use super::device::Device;
use crate::gpu::recording::{Dispatch, PARAMS_BYTES};
use crate::{Error, Result};
use std::num::NonZeroU64;

/// Distance in bytes between the parameters of two launches: the largest alignment that a device may require.
const STRIDE: usize = 256;

/// The uniform buffer and its bind group.
#[derive(Default)]
pub struct Params(Option<(wgpu::Buffer, wgpu::BindGroup)>);

impl Params {
    /// Writes the parameters of all `dispatches`, before the next submission runs, and returns the bind group of `layout`.
    ///
    /// # Errors
    /// The parameters of a launch are too long, or there is no memory left.
    pub fn write(&mut self, device: &Device, layout: &wgpu::BindGroupLayout, dispatches: &[Dispatch]) -> Result<wgpu::BindGroup> {
        let mut bytes = vec![0u8; (dispatches.len() * STRIDE).max(STRIDE)];
        for (place, dispatch) in bytes.chunks_exact_mut(STRIDE).zip(dispatches) {
            let (label, have) = (&dispatch.variant, dispatch.params.len());
            let place = place[..PARAMS_BYTES]
                .get_mut(..have)
                .ok_or_else(|| Error::Device(format!("{label} got {have} bytes of parameters, at most {PARAMS_BYTES} are allowed")))?;
            place.copy_from_slice(&dispatch.params);
        }
        let (buffer, group) = match self.0.take().filter(|(buffer, _)| buffer.size() >= bytes.len() as u64) {
            Some(fits) => fits,
            None => make(device, layout, (bytes.len() as u64).next_power_of_two())?,
        };
        device.queue.write_buffer(&buffer, 0, &bytes);
        self.0 = Some((buffer, group.clone()));
        Ok(group)
    }

    /// Byte offset of the parameters of launch `i`.
    pub fn offset(i: usize) -> u32 {
        (i * STRIDE) as u32
    }
}

fn make(device: &Device, layout: &wgpu::BindGroupLayout, size: u64) -> Result<(wgpu::Buffer, wgpu::BindGroup)> {
    let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
    let buffer = device.buffer(&wgpu::BufferDescriptor { label: Some("params"), size, usage, mapped_at_creation: false })?;
    let binding = wgpu::BufferBinding { buffer: &buffer, offset: 0, size: NonZeroU64::new(PARAMS_BYTES as u64) };
    let entries = [wgpu::BindGroupEntry { binding: 0, resource: wgpu::BindingResource::Buffer(binding) }];
    let descriptor = wgpu::BindGroupDescriptor { label: Some("params"), layout, entries: &entries };
    let group = device.guarded("params", || device.raw.create_bind_group(&descriptor))?;
    Ok((buffer, group))
}
