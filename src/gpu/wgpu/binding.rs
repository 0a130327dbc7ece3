//! Bind groups, made on first use and kept as long as all their buffers live.

use super::device::Device;
use super::memory::{Held, Memory};
use super::pipeline::Pipeline;
use crate::gpu::buffer::Slice;
use crate::gpu::recording::Dispatch;
use crate::{Error, Result};
use std::collections::HashMap;
use std::num::NonZeroU64;

/// Buffer, offset and length of each binding of a group.
type Bound = Vec<(u64, u64, u64)>;

/// The bind groups that were made so far.
#[derive(Default)]
pub struct BindGroups {
    /// The groups of each pipeline, by the pipeline's number.
    made: Vec<HashMap<Bound, wgpu::BindGroup>>,
    /// The key of the newest look-up, kept so that the next one needs no allocation.
    key: Bound,
    /// The number of buffers that had been freed at the last sweep.
    swept_at: u64,
}

impl BindGroups {
    /// The bind group of `dispatch` for its `pipeline`, made if it is new.
    ///
    /// # Errors
    /// The bindings do not suit the kernel or the device.
    pub fn get(&mut self, device: &Device, memory: &Memory, pipeline: &Pipeline, dispatch: &Dispatch) -> Result<wgpu::BindGroup> {
        self.key.clear();
        self.key.extend(dispatch.slices().map(|s| (s.buffer.id(), s.offset, s.bytes)));
        if self.key.len() != pipeline.writes.len() {
            let (label, want, have) = (&dispatch.variant, pipeline.writes.len(), self.key.len());
            return Err(Error::Device(format!("{label} declares {want} bindings, {have} were given")));
        }
        if self.made.len() <= pipeline.id {
            self.made.resize_with(pipeline.id + 1, HashMap::new);
        }
        let made = &mut self.made[pipeline.id];
        if let Some(group) = made.get(&self.key) {
            return Ok(group.clone());
        }
        let group = make(device, &memory.held(), pipeline, dispatch)?;
        made.insert(self.key.clone(), group.clone());
        Ok(group)
    }

    /// Drops the groups of freed buffers, because they would keep the memory alive.
    pub fn sweep(&mut self, held: &Held) {
        if held.freed() != self.swept_at {
            self.made.iter_mut().for_each(|made| made.retain(|bound, _| bound.iter().all(|&(id, ..)| held.has(id))));
            self.swept_at = held.freed();
        }
    }
}

fn make(device: &Device, held: &Held, pipeline: &Pipeline, dispatch: &Dispatch) -> Result<wgpu::BindGroup> {
    let limit = device.caps.max_binding_bytes;
    if let Some(slice) = dispatch.slices().find(|s| s.bytes > limit) {
        let (label, bytes) = (&dispatch.variant, slice.bytes);
        return Err(Error::Device(format!("{label} binds {bytes} bytes, this device's limit is {limit}")));
    }
    let bindings = || dispatch.slices().zip(&pipeline.writes);
    if let Some((slice, _)) = bindings().find(|(a, writes)| **writes && bindings().any(|(b, writes)| a.buffer.same(&b.buffer) && !writes)) {
        let (label, buffer) = (&dispatch.variant, slice.buffer.label());
        return Err(Error::Device(format!("{label} writes to buffer {buffer} and reads it through another binding")));
    }
    let entry = |(i, slice): (usize, &Slice)| -> Result<_> {
        let buffer = held.raw(&slice.buffer)?;
        let size = NonZeroU64::new(slice.bytes.next_multiple_of(4));
        let resource = wgpu::BindingResource::Buffer(wgpu::BufferBinding { buffer, offset: slice.offset, size });
        Ok(wgpu::BindGroupEntry { binding: i as u32, resource })
    };
    let entries = dispatch.slices().enumerate().map(entry).collect::<Result<Vec<_>>>()?;
    let label = dispatch.variant.to_string();
    let descriptor = wgpu::BindGroupDescriptor { label: Some(&label), layout: &pipeline.layout, entries: &entries };
    device.guarded(&label, || device.raw.create_bind_group(&descriptor))
}
