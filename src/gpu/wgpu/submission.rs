//! Submitted work, and how others learn that it is done.

use super::device::Device;
use crate::gpu::lock::lock;
use crate::{Error, Result};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// A function to call when work is done.
pub type Callback = Box<dyn FnOnce() + Send>;

/// Work that was submitted to the device. If it is dropped, the work is done all the same.
pub struct Submission {
    index: wgpu::SubmissionIndex,
    arrival: Arc<Arrival>,
}

/// Whether work is done, shared by everybody who waits for it.
#[derive(Default)]
struct Arrival {
    state: Mutex<State>,
    settled: Condvar,
}

#[derive(Default)]
struct State {
    /// None as long as the device is not done.
    outcome: Option<Result<(), String>>,
    callbacks: Vec<Callback>,
}

/// The device's end of an [`Arrival`]. If wgpu drops it unused, it reports that as an error, so that nobody waits for ever.
struct Signal(Arc<Arrival>);

impl Signal {
    fn settle(&self, outcome: Result<(), String>) {
        let mut state = lock(&self.0.state);
        state.outcome.get_or_insert(outcome);
        let callbacks = std::mem::take(&mut state.callbacks);
        drop(state);
        self.0.settled.notify_all();
        callbacks.into_iter().for_each(|callback| callback());
    }
}

impl Drop for Signal {
    fn drop(&mut self) {
        self.settle(Err("work was dropped before it was done".into()));
    }
}

impl Submission {
    /// Submits the commands of `encoder`, and has `map` mapped for the host when the device is done with it.
    pub fn send(device: &Device, encoder: wgpu::CommandEncoder, map: Option<(wgpu::MapMode, wgpu::BufferSlice<'_>)>) -> Self {
        let index = device.queue.submit([encoder.finish()]);
        let arrival = Arc::new(Arrival::default());
        let signal = Signal(arrival.clone());
        match map {
            Some((mode, slice)) => slice.map_async(mode, move |mapped| {
                signal.settle(mapped.map_err(|error| format!("staging memory could not be mapped: {error}")));
            }),
            None => device.queue.on_submitted_work_done(move || signal.settle(Ok(()))),
        }
        Self { index, arrival }
    }

    /// Whether the device is done and the memory is mapped. It never blocks.
    ///
    /// # Errors
    /// The device failed meanwhile.
    pub fn is_done(&self, device: &Device) -> Result<bool> {
        device.raw.poll(wgpu::PollType::Poll).map_err(|e| Error::Device(e.to_string()))?;
        device.healthy()?;
        lock(&self.arrival.state).outcome.clone().map_or(Ok(false), |outcome| outcome.map(|()| true).map_err(Error::Device))
    }

    /// Calls `callback` when the device is done or has failed, which may be at once. Whoever polls the device next makes the call, on its
    /// own thread.
    pub fn when_done(&self, callback: Callback) {
        let mut state = lock(&self.arrival.state);
        if state.outcome.is_none() {
            return state.callbacks.push(callback);
        }
        drop(state);
        callback();
    }

    /// Waits until the device is done and the memory is mapped.
    ///
    /// # Errors
    /// The device failed meanwhile.
    pub fn wait(self, device: &Device) -> Result<()> {
        let poll = wgpu::PollType::Wait { submission_index: Some(self.index), timeout: None };
        device.raw.poll(poll).map_err(|e| Error::Device(e.to_string()))?;
        device.healthy()?;
        // Another thread may have polled the device at the same time, and be about to call this submission's callback together with its
        // own.
        let state = lock(&self.arrival.state);
        let settled = self.arrival.settled.wait_while(state, |state| state.outcome.is_none());
        settled.unwrap_or_else(PoisonError::into_inner).outcome.clone().map_or(Ok(()), |outcome| outcome.map_err(Error::Device))
    }
}
