//! An opened device: it makes buffers, writes them and runs recordings, with the executor that opened it.

use super::buffer::{Buffer, Slice};
use super::caps::{AdapterKind, Caps};
use super::lock::lock;
use super::recording::{Recording, Span};
use super::variant::Variant;
use super::wgpu as webgpu;
use crate::{Error, Result};
use std::sync::Mutex;

/// The executors, which run recordings.
pub(super) enum Executor {
    /// Vulkan, Metal and DirectX 12 through wgpu.
    Wgpu(webgpu::Queue),
}

/// An opened device with its queue, compiled kernels and staging memory.
pub struct Gpu {
    executor: Executor,
    caps: Caps,
    name: String,
    kind: AdapterKind,
    traced: Mutex<Option<Vec<Span>>>,
    captured: Mutex<Option<Recording>>,
}

/// A submitted recording. If it is dropped, the work is done all the same.
#[must_use = "results and errors of a submission arrive through its ticket"]
pub struct Ticket(Flight);

enum Flight {
    Wgpu(webgpu::Flight),
}

impl Gpu {
    /// The device that `executor` opened.
    pub(super) fn new(executor: Executor, caps: Caps, name: String, kind: AdapterKind) -> Self {
        Self { executor, caps, name, kind, traced: Mutex::default(), captured: Mutex::default() }
    }

    pub(super) fn executor(&self) -> &Executor {
        &self.executor
    }

    /// What the device can do, under the options with which it was opened.
    pub fn caps(&self) -> &Caps {
        &self.caps
    }

    /// The device's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether the device runs shaders on the CPU.
    pub fn is_software(&self) -> bool {
        self.kind == AdapterKind::Software
    }

    /// Makes a storage buffer of at least `bytes` bytes (rounded up to a multiple of 4, never empty). It is zeroed before its first use.
    ///
    /// # Errors
    /// The size exceeds that of the largest buffer of the device, or there is no memory left.
    pub fn buffer(&self, label: &str, bytes: u64) -> Result<Buffer> {
        let (least, limit) = (bytes.max(4), self.caps.max_buffer_bytes);
        let size = least.checked_next_multiple_of(4).filter(|&size| size <= limit);
        let size =
            size.ok_or_else(|| Error::Device(format!("buffer {label} of {least} bytes is larger than this device's limit of {limit}")))?;
        match &self.executor {
            Executor::Wgpu(queue) => queue.memory().create(label, size),
        }
    }

    /// Makes a storage buffer that holds `data`.
    ///
    /// # Errors
    /// As [`Gpu::buffer`].
    pub fn buffer_with<T: bytemuck::NoUninit>(&self, label: &str, data: &[T]) -> Result<Buffer> {
        let bytes: &[u8] = bytemuck::cast_slice(data);
        let buffer = self.buffer(label, bytes.len() as u64)?;
        self.write(&buffer.all(), bytes);
        Ok(buffer)
    }

    /// Size in bytes of all storage buffers that have a handle.
    pub fn held_bytes(&self) -> u64 {
        match &self.executor {
            Executor::Wgpu(queue) => queue.memory().held().bytes(),
        }
    }

    /// Writes `data` at the start of `slice`, before the next submission runs. It is for small data; weights go through `Uploader`.
    pub fn write<T: bytemuck::NoUninit>(&self, slice: &Slice, data: &[T]) {
        let bytes: &[u8] = bytemuck::cast_slice(data);
        debug_assert!(bytes.len() as u64 <= slice.bytes.next_multiple_of(4));
        match &self.executor {
            Executor::Wgpu(queue) => queue.memory().write(slice, bytes),
        }
    }

    /// Copies the first range of each pair onto the second, before the next submission runs. Both have the same length, a multiple of 4
    /// bytes, and may lie in one buffer.
    ///
    /// # Errors
    /// There is no memory left for the intermediate copy.
    pub fn copy(&self, copies: &[(Slice, Slice)]) -> Result<()> {
        match &self.executor {
            _ if copies.is_empty() => Ok(()),
            Executor::Wgpu(queue) => queue.memory().copy(copies),
        }
    }

    /// Runs `recording` after everything submitted before it. Returns at once.
    ///
    /// # Errors
    /// A shader does not compile, bindings or parameters do not match it, or the device is lost.
    pub fn submit(&self, recording: &Recording) -> Result<Ticket> {
        if let Some(captured) = lock(&self.captured).as_mut() {
            captured.append(Recording::of(recording.dispatches()));
        }
        let Executor::Wgpu(queue) = &self.executor;
        if let Some(spans) = lock(&self.traced).as_mut() {
            spans.extend(queue.profile(recording)?);
            return Ok(Ticket(Flight::Wgpu(queue.submit(&recording.only_downloads())?)));
        }
        Ok(Ticket(Flight::Wgpu(queue.submit(recording)?)))
    }

    /// Whether [`Gpu::wait`] would return the results of `ticket` at once. It never blocks.
    ///
    /// # Errors
    /// The device failed meanwhile.
    pub fn is_done(&self, ticket: &Ticket) -> Result<bool> {
        match (&self.executor, &ticket.0) {
            (Executor::Wgpu(queue), Flight::Wgpu(flight)) => queue.is_done(flight),
        }
    }

    /// Calls `callback` when `ticket` is done or the device has failed, which may be at once. In a browser the event loop makes the call.
    /// Elsewhere the next `submit`, `is_done` or `wait` of any ticket makes it on its own thread before it returns. So the callback should
    /// only wake somebody, and must not use the device.
    pub fn when_done(&self, ticket: &Ticket, callback: impl FnOnce() + Send + 'static) {
        match &ticket.0 {
            Flight::Wgpu(flight) => flight.when_done(Box::new(callback)),
        }
    }

    /// Blocks until `ticket` is done, and returns what its recording downloads, in order. In a browser the ticket must be done already.
    ///
    /// # Errors
    /// The device failed meanwhile.
    pub fn wait(&self, ticket: Ticket) -> Result<Vec<Vec<u8>>> {
        match (&self.executor, ticket.0) {
            (Executor::Wgpu(queue), Flight::Wgpu(flight)) => queue.wait(flight),
        }
    }

    /// Runs `recording` and waits for its downloads.
    ///
    /// # Errors
    /// As [`Gpu::submit`] and [`Gpu::wait`].
    pub fn run(&self, recording: &Recording) -> Result<Vec<Vec<u8>>> {
        self.wait(self.submit(recording)?)
    }

    /// The number of kernels that were compiled so far.
    pub fn compiled(&self) -> usize {
        match &self.executor {
            Executor::Wgpu(queue) => queue.compiled(),
        }
    }

    /// Whether the kernel may write to each binding of `variant`, in order.
    ///
    /// # Errors
    /// The shader does not compile.
    pub fn writes(&self, variant: &Variant) -> Result<Vec<bool>> {
        match &self.executor {
            Executor::Wgpu(queue) => queue.writes(variant),
        }
    }

    /// The number of launches of `recording` that wait for all launches before them. The others may overlap with the launch before. Within
    /// a pass a launch waits if an earlier one used the same buffer and either of them may write to it, whichever ranges of it they bind.
    ///
    /// # Errors
    /// The shader does not compile.
    pub fn in_turn(&self, recording: &Recording) -> Result<usize> {
        match &self.executor {
            Executor::Wgpu(queue) => queue.in_turn(recording),
        }
    }

    /// Starts to keep a copy of every launch that is submitted, or stops it with `false`. Returns the launches that were kept until now.
    pub fn capture(&self, on: bool) -> Recording {
        std::mem::replace(&mut *lock(&self.captured), on.then(Recording::new)).unwrap_or_default()
    }

    /// Starts to collect when each launch of every submission ran, or stops it with `false`. Returns what was collected until now.
    /// Submissions are slow meanwhile.
    ///
    /// # Errors
    /// The device has no timestamps inside a pass.
    pub fn trace(&self, on: bool) -> Result<Vec<Span>> {
        if on {
            self.has_timestamps()?;
        }
        Ok(std::mem::replace(&mut *lock(&self.traced), on.then(Vec::new)).unwrap_or_default())
    }

    /// Checks that launches can be timed.
    ///
    /// # Errors
    /// The device has no timestamps inside a pass.
    pub fn has_timestamps(&self) -> Result<()> {
        if self.caps.timestamps { Ok(()) } else { Err(Error::Device(format!("{} has no timestamps inside a pass", self.name))) }
    }
}
