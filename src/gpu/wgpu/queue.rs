//! Executes recordings with one encoder, one compute pass and one submit. Results come back through mapped staging memory.

use super::binding::BindGroups;
use super::device::Device;
use super::disk_cache::DiskCache;
use super::download::Downloads;
use super::memory::Memory;
use super::params::Params;
use super::pipeline::{Compiler, Pipelines};
use super::submission::{Callback, Submission};
use crate::gpu::lock::lock;
use crate::gpu::recording::{Dispatch, Recording};
use crate::gpu::variant::Variant;
use crate::{Error, Result};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

/// An opened device with its memory, compiled kernels and staging memory.
pub struct Queue {
    device: Arc<Device>,
    memory: Memory,
    compiler: Compiler,
    cache: Mutex<Cache>,
    downloads: Downloads,
}

/// What launches need and what is made on first use.
#[derive(Default)]
struct Cache {
    pipelines: Pipelines,
    groups: BindGroups,
    params: Params,
}

/// A submitted recording.
pub struct Flight {
    submission: Submission,
    staging: Option<wgpu::Buffer>,
    /// Lengths in bytes of the downloads, which lie one after another in `staging`.
    lengths: Vec<u64>,
}

/// The timestamps to take in a pass.
#[derive(Clone, Copy)]
pub enum Stamps<'a> {
    /// None.
    None,
    /// One before the first launch and one after the last, into this query and the next.
    Around(&'a wgpu::QuerySet, u32),
    /// One before the first launch and one after each launch.
    Each(&'a wgpu::QuerySet),
}

impl Queue {
    /// Makes the queue of an opened device, which keeps compiled kernels in `disk`.
    pub fn new(device: Device, disk: Option<DiskCache>) -> Self {
        let device = Arc::new(device);
        let (memory, compiler) = (Memory::new(device.clone()), Compiler::new(device.clone(), disk));
        Self { device, memory, compiler, cache: Mutex::default(), downloads: Downloads::default() }
    }

    /// The device.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The storage buffers of the device.
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// The number of kernels that were compiled so far.
    pub fn compiled(&self) -> usize {
        lock(&self.cache).pipelines.count()
    }

    /// Runs `recording` after everything submitted before it. Returns at once.
    ///
    /// # Errors
    /// A shader does not compile, bindings do not match it, or the device is lost.
    pub fn submit(&self, recording: &Recording) -> Result<Flight> {
        self.device.healthy()?;
        let mut encoder = self.device.encoder("step");
        if !recording.dispatches().is_empty() {
            self.encode_pass(&mut encoder, recording, Stamps::None)?;
        }
        let lengths: Vec<u64> = recording.downloads().iter().map(|s| s.bytes).collect();
        let total: u64 = lengths.iter().map(|bytes| bytes.next_multiple_of(4)).sum();
        let staging = if total > 0 { Some(self.downloads.take(&self.device, total)?) } else { None };
        if let Some(staging) = &staging {
            let held = self.memory.held();
            let mut at = 0;
            for slice in recording.downloads() {
                let bytes = slice.bytes.next_multiple_of(4);
                encoder.copy_buffer_to_buffer(held.raw(&slice.buffer)?, slice.offset, staging, at, Some(bytes));
                at += bytes;
            }
        }
        let map = staging.as_ref().map(|staging| (wgpu::MapMode::Read, staging.slice(..total)));
        let submission = Submission::send(&self.device, encoder, map);
        Ok(Flight { submission, staging, lengths })
    }

    /// Encodes one pass with all launches of `recording`.
    ///
    /// # Errors
    /// As [`Queue::submit`].
    pub fn encode_pass(&self, encoder: &mut wgpu::CommandEncoder, recording: &Recording, stamps: Stamps<'_>) -> Result<()> {
        let mut cache = lock(&self.cache);
        cache.groups.sweep(&self.memory.held());
        let params = match &self.compiler.params_layout {
            Some(layout) => Some(cache.params.write(&self.device, layout, recording.dispatches())?),
            None => None,
        };
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
        for (i, dispatch) in recording.dispatches().iter().enumerate() {
            self.encode(&mut pass, &mut cache, dispatch, params.as_ref().map(|group| (group, Params::offset(i))))?;
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
        params: Option<(&wgpu::BindGroup, u32)>,
    ) -> Result<()> {
        let pipeline = cache.pipelines.get(&self.compiler, &dispatch.variant)?;
        if dispatch.params.len() != pipeline.params_bytes {
            let (label, want, have) = (&dispatch.variant, pipeline.params_bytes, dispatch.params.len());
            return Err(Error::Device(format!("{label} takes {want} bytes of parameters, {have} were given")));
        }
        let group = cache.groups.get(&self.device, &self.memory, &pipeline, dispatch)?;
        pass.set_pipeline(&pipeline.raw);
        pass.set_bind_group(0, &group, &[]);
        match params {
            Some((group, offset)) => pass.set_bind_group(1, group, &[offset]),
            None if dispatch.params.is_empty() => {}
            None => pass.set_immediates(0, &dispatch.params),
        }
        let [x, y, z] = dispatch.grid;
        pass.dispatch_workgroups(x, y, z);
        Ok(())
    }

    /// Whether `flight` has landed. Never blocks.
    ///
    /// # Errors
    /// The device failed meanwhile.
    pub fn is_done(&self, flight: &Flight) -> Result<bool> {
        flight.submission.is_done(&self.device)
    }

    /// Waits for `flight` and returns what its recording downloads, in order.
    ///
    /// # Errors
    /// The device failed meanwhile.
    pub fn wait(&self, flight: Flight) -> Result<Vec<Vec<u8>>> {
        flight.submission.wait(&self.device)?;
        flight.staging.map_or_else(|| Ok(Vec::new()), |staging| self.downloads.read(staging, &flight.lengths))
    }

    /// Whether the kernel may write to each binding of `variant`, in order.
    ///
    /// # Errors
    /// The shader does not compile.
    pub fn writes(&self, variant: &Variant) -> Result<Vec<bool>> {
        Ok(lock(&self.cache).pipelines.get(&self.compiler, variant)?.writes.clone())
    }

    /// The number of launches of `recording` that wait for all launches before them. The others may overlap with the launch before. Within
    /// a pass a launch waits if an earlier one used the same buffer and either of them may write to it, whichever ranges of it they bind.
    ///
    /// # Errors
    /// The shader does not compile.
    pub fn in_turn(&self, recording: &Recording) -> Result<usize> {
        let mut cache = lock(&self.cache);
        let (mut used, mut waiting) = (HashMap::new(), 0);
        for dispatch in recording.dispatches() {
            let pipeline = cache.pipelines.get(&self.compiler, &dispatch.variant)?;
            let mut own: HashMap<u64, bool> = HashMap::new();
            for (slice, writes) in dispatch.slices().zip(&pipeline.writes) {
                *own.entry(slice.buffer.id()).or_default() |= writes;
            }
            waiting += usize::from(own.iter().any(|(buffer, writes)| used.get(buffer).is_some_and(|wrote| wrote | writes)));
            used.extend(own);
        }
        Ok(waiting)
    }
}

impl Flight {
    /// Calls `callback` when the flight has landed or the device has failed. Whoever polls the device next makes the call.
    pub fn when_done(&self, callback: Callback) {
        self.submission.when_done(callback);
    }
}
