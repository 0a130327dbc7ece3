//! Submitted work, and the memory that is mapped once it is done.

use super::Gpu;
use crate::{Error, Result};
use std::sync::mpsc::{Receiver, sync_channel};

/// Work on its way to the device.
pub(super) struct Submission {
    index: wgpu::SubmissionIndex,
    mapped: Option<Receiver<std::result::Result<(), wgpu::BufferAsyncError>>>,
}

impl Gpu {
    /// Submits what `encoder` holds and asks that `map` be mapped for the host once the device is done with it.
    pub(super) fn send(&self, encoder: wgpu::CommandEncoder, map: Option<(wgpu::MapMode, wgpu::BufferSlice<'_>)>) -> Submission {
        let index = self.raw_queue().submit([encoder.finish()]);
        let mapped = map.map(|(mode, slice)| {
            let (done, mapped) = sync_channel(1);
            // Nobody waits any more: then nobody needs to know.
            slice.map_async(mode, move |result| drop(done.send(result)));
            mapped
        });
        Submission { index, mapped }
    }

    /// Waits until `submission` is done and its memory mapped.
    ///
    /// # Errors
    /// The device failed meanwhile.
    pub(super) fn arrive(&self, submission: Submission) -> Result<()> {
        let Submission { index, mapped } = submission;
        let poll = wgpu::PollType::Wait { submission_index: Some(index), timeout: None };
        self.device().poll(poll).map_err(|e| Error::Device(e.to_string()))?;
        self.healthy()?;
        // Another thread that polls may have taken this submission's callback with its own, and be about to call it.
        match mapped.map(|mapped| mapped.recv()) {
            None | Some(Ok(Ok(()))) => Ok(()),
            Some(Ok(Err(error))) => Err(Error::Device(format!("staging memory could not be mapped: {error}"))),
            Some(Err(_)) => Err(Error::Device("staging memory was never mapped".into())),
        }
    }
}
