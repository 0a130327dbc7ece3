//! An opened device, which collects its errors.

use crate::gpu::caps::Caps;
use crate::gpu::lock::lock;
use crate::{Error, Result};
use std::sync::{Arc, Mutex};

/// An opened device and its queue.
pub struct Device {
    /// The device.
    pub raw: wgpu::Device,
    /// The queue that work is submitted to.
    pub queue: wgpu::Queue,
    /// What the device can do, under the options with which it was opened.
    pub caps: Caps,
    /// Whether shaders are compiled with bounds checks.
    pub checks: bool,
    failure: Arc<Mutex<Option<String>>>,
}

impl Device {
    /// Takes over an opened device.
    pub fn new(raw: wgpu::Device, queue: wgpu::Queue, caps: Caps, checks: bool) -> Self {
        let failure = Arc::new(Mutex::new(None));
        let record = |failure: &Arc<Mutex<Option<String>>>, what: String| {
            lock(failure).get_or_insert(what);
        };
        let seen = failure.clone();
        raw.on_uncaptured_error(Arc::new(move |e: wgpu::Error| record(&seen, one_line(&e))));
        let seen = failure.clone();
        raw.set_device_lost_callback(move |reason, message| {
            if reason != wgpu::DeviceLostReason::Destroyed {
                record(&seen, format!("device lost: {message}"));
            }
        });
        Self { raw, queue, caps, checks, failure }
    }

    /// Notes a failure in a call that cannot return an error. The next call that can returns it.
    pub fn fail(&self, error: &Error) {
        let what = match error {
            Error::Device(what) => what.clone(),
            other => other.to_string(),
        };
        lock(&self.failure).get_or_insert(what);
    }

    /// Makes an empty command encoder.
    pub fn encoder(&self, label: &str) -> wgpu::CommandEncoder {
        self.raw.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some(label) })
    }

    /// Makes a buffer.
    ///
    /// # Errors
    /// There is no memory left.
    pub fn buffer(&self, descriptor: &wgpu::BufferDescriptor<'_>) -> Result<wgpu::Buffer> {
        let what = format!("buffer {} of {} bytes", descriptor.label.unwrap_or_default(), descriptor.size);
        self.guarded(&what, || self.raw.create_buffer(descriptor))
    }

    /// Runs `make`, and turns the errors that wgpu reports meanwhile into an error about `what`.
    pub fn guarded<T>(&self, what: &str, make: impl FnOnce() -> T) -> Result<T> {
        let scopes = [wgpu::ErrorFilter::OutOfMemory, wgpu::ErrorFilter::Internal, wgpu::ErrorFilter::Validation]
            .map(|filter| self.raw.push_error_scope(filter));
        let made = make();
        // wgpu wants error scopes closed in the reverse order of opening.
        let errors = scopes.into_iter().rev().filter_map(|scope| pollster::block_on(scope.pop())).collect::<Vec<_>>();
        match errors.first() {
            Some(error) => Err(Error::Device(format!("{what}: {}", one_line(error)))),
            None => Ok(made),
        }
    }

    /// The first failure that was reported outside of any call, such as a lost device.
    ///
    /// # Errors
    /// That failure.
    pub fn healthy(&self) -> Result<()> {
        match lock(&self.failure).as_ref() {
            Some(what) => Err(Error::Device(what.clone())),
            None => Ok(()),
        }
    }
}

fn one_line(error: &wgpu::Error) -> String {
    error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}
