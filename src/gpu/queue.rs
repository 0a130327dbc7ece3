//! Executes recordings: one encoder, one compute pass, one submit; results come back through mapped staging memory.

use super::pipeline::Cache;
use super::recording::Recording;
use super::submission::Submission;
use super::{Dispatch, Gpu};
use crate::{Error, Result};

/// A submitted recording.
#[must_use = "results and errors of a submission arrive through its ticket"]
pub struct Ticket {
    submission: Submission,
    staging: Option<wgpu::Buffer>,
    /// Byte lengths of the downloads, which lie one after another in `staging`.
    parts: Vec<u64>,
}

/// Staging buffers for downloads that are not in use, and the uniform ring of devices without immediates.
#[derive(Default)]
pub(super) struct StagingPool {
    idle: Vec<wgpu::Buffer>,
    uniforms: Option<(wgpu::Buffer, wgpu::BindGroup)>,
}

/// Timestamps of a pass.
#[derive(Clone, Copy)]
pub(super) enum Stamps<'a> {
    None,
    /// Before the first launch and after the last, from this query on.
    Around(&'a wgpu::QuerySet, u32),
    /// Before the first launch and after each.
    Each(&'a wgpu::QuerySet),
}

/// Bytes between two kernels' parameters in the uniform ring: the largest alignment that a device may ask for.
const UNIFORM_STRIDE: usize = 256;
const PARAMS_BYTES: u64 = 128;

impl Gpu {
    /// Runs `recording` after everything submitted before it. Returns at once.
    ///
    /// # Errors
    /// A shader that does not compile, bindings that do not match it, a lost device.
    pub fn submit(&self, recording: &Recording) -> Result<Ticket> {
        self.healthy()?;
        let mut encoder = self.device().create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("step") });
        if let Some(captured) = self.captured().as_mut() {
            captured.append(Recording::of(recording.dispatches()));
        }
        let traced = self.traced().is_some();
        if traced {
            let spans = self.profile(recording)?;
            self.traced().get_or_insert_default().extend(spans);
        } else {
            self.encode_pass(&mut encoder, recording, Stamps::None)?;
        }
        let parts: Vec<u64> = recording.downloads.iter().map(|s| s.bytes.next_multiple_of(4)).collect();
        let total: u64 = parts.iter().sum();
        let staging = if total > 0 { Some(self.take_staging(total)?) } else { None };
        if let Some(staging) = &staging {
            let mut at = 0;
            for (slice, bytes) in recording.downloads.iter().zip(&parts) {
                encoder.copy_buffer_to_buffer(slice.buffer.raw(), slice.offset, staging, at, Some(*bytes));
                at += bytes;
            }
        }
        let map = staging.as_ref().map(|staging| (wgpu::MapMode::Read, staging.slice(..total)));
        let submission = self.send(encoder, map);
        Ok(Ticket { submission, staging, parts: recording.downloads.iter().map(|s| s.bytes).collect() })
    }

    /// One pass with all launches.
    pub(super) fn encode_pass(&self, encoder: &mut wgpu::CommandEncoder, recording: &Recording, stamps: Stamps<'_>) -> Result<()> {
        let mut cache = self.cache();
        self.sweep(&mut cache);
        let uniforms = self.upload_params(recording)?;
        let (around, each) = match stamps {
            Stamps::None => (None, None),
            Stamps::Around(queries, first) => (Some((queries, first)), None),
            Stamps::Each(queries) => (None, Some(queries)),
        };
        let timestamp_writes = around.map(|(query_set, first)| wgpu::ComputePassTimestampWrites {
            query_set,
            beginning_of_pass_write_index: Some(first),
            end_of_pass_write_index: Some(first + 1),
        });
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor { label: Some("step"), timestamp_writes });
        if let Some(queries) = each {
            pass.write_timestamp(queries, 0);
        }
        for (i, dispatch) in recording.dispatches.iter().enumerate() {
            self.encode(&mut pass, &mut cache, dispatch, uniforms.as_ref().map(|group| (group, i)))?;
            if let Some(queries) = each {
                pass.write_timestamp(queries, i as u32 + 1);
            }
        }
        Ok(())
    }

    fn encode(
        &self,
        pass: &mut wgpu::ComputePass<'_>,
        cache: &mut Cache,
        dispatch: &Dispatch,
        uniforms: Option<(&wgpu::BindGroup, usize)>,
    ) -> Result<()> {
        let pipeline = self.pipeline(cache, &dispatch.variant)?;
        let group = self.bind_group(cache, &pipeline, dispatch)?;
        pass.set_pipeline(&pipeline.raw);
        pass.set_bind_group(0, group, &[]);
        match uniforms {
            Some((group, i)) => pass.set_bind_group(1, group, &[(i * UNIFORM_STRIDE) as u32]),
            None if dispatch.params.is_empty() => {}
            None => pass.set_immediates(0, &dispatch.params),
        }
        let [x, y, z] = dispatch.grid;
        pass.dispatch_workgroups(x, y, z);
        Ok(())
    }

    /// Without immediates: writes the parameters of all launches into the uniform ring.
    fn upload_params(&self, recording: &Recording) -> Result<Option<wgpu::BindGroup>> {
        let Some(layout) = self.params_layout() else { return Ok(None) };
        let mut bytes = vec![0u8; (recording.dispatches.len() * UNIFORM_STRIDE).max(UNIFORM_STRIDE)];
        for (slot, dispatch) in bytes.chunks_exact_mut(UNIFORM_STRIDE).zip(&recording.dispatches) {
            slot[..dispatch.params.len()].copy_from_slice(&dispatch.params);
        }
        let mut staging = self.staging();
        if staging.uniforms.as_ref().is_none_or(|(buffer, _)| buffer.size() < bytes.len() as u64) {
            let size = (bytes.len() as u64).next_power_of_two();
            let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
            let descriptor = wgpu::BufferDescriptor { label: Some("params"), size, usage, mapped_at_creation: false };
            let made = self.guarded("params", || {
                let buffer = self.device().create_buffer(&descriptor);
                let binding = wgpu::BufferBinding { buffer: &buffer, offset: 0, size: std::num::NonZeroU64::new(PARAMS_BYTES) };
                let group = self.device().create_bind_group(&wgpu::BindGroupDescriptor {
                    label: Some("params"),
                    layout,
                    entries: &[wgpu::BindGroupEntry { binding: 0, resource: wgpu::BindingResource::Buffer(binding) }],
                });
                (buffer, group)
            })?;
            staging.uniforms = Some(made);
        }
        let Some((buffer, group)) = &staging.uniforms else { return Ok(None) };
        self.raw_queue().write_buffer(buffer, 0, &bytes);
        Ok(Some(group.clone()))
    }

    fn take_staging(&self, bytes: u64) -> Result<wgpu::Buffer> {
        let mut pool = self.staging();
        let fits = |b: &wgpu::Buffer| b.size() >= bytes && b.size() <= 4 * bytes.max(4096);
        if let Some(i) = pool.idle.iter().position(fits) {
            return Ok(pool.idle.swap_remove(i));
        }
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let size = bytes.max(4096).next_power_of_two();
        let descriptor = wgpu::BufferDescriptor { label: Some("download"), size, usage, mapped_at_creation: false };
        self.guarded("download", || self.device().create_buffer(&descriptor))
    }

    /// Waits for `ticket` and returns what its recording downloads, in order.
    ///
    /// # Errors
    /// The device failed meanwhile.
    pub fn wait(&self, ticket: Ticket) -> Result<Vec<Vec<u8>>> {
        self.arrive(ticket.submission)?;
        let Some(staging) = ticket.staging else { return Ok(Vec::new()) };
        let total = ticket.parts.iter().map(|b| b.next_multiple_of(4)).sum::<u64>();
        let mut parts = Vec::with_capacity(ticket.parts.len());
        {
            let view = staging.slice(..total).get_mapped_range().map_err(|e| Error::Device(format!("results: {e:?}")))?;
            let mut at = 0;
            for bytes in ticket.parts {
                parts.push(view[at..at + bytes as usize].to_vec());
                at += bytes.next_multiple_of(4) as usize;
            }
        }
        staging.unmap();
        let mut pool = self.staging();
        if pool.idle.len() < 8 {
            pool.idle.push(staging);
        }
        Ok(parts)
    }

    /// Runs `recording` and waits for its downloads.
    ///
    /// # Errors
    /// As [`Gpu::submit`] and [`Gpu::wait`].
    pub fn run(&self, recording: &Recording) -> Result<Vec<Vec<u8>>> {
        self.wait(self.submit(recording)?)
    }
}
