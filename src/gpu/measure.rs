//! How long launches take when they are repeated.

use super::executor::{Executor, Gpu};
use super::recording::Recording;
use crate::Result;
use std::time::Instant;

/// Passes whose median is a measurement, and the seconds that each should take.
const PASSES: usize = 5;
const PASS_SECONDS: f64 = 0.003;

/// Launches in such a pass at most, if there are not more to begin with.
const PASS_LAUNCHES: usize = 4096;

/// Seconds of work after which a device has its clocks up.
const WARM_SECONDS: f64 = 0.05;

impl Gpu {
    /// Seconds that one run of `recording`'s launches takes, one after another and repeated until a pass takes a few milliseconds: the
    /// median of several passes. `before` runs first, untimed, until the device's clocks are up; it is what leaves the buffers as the
    /// launches may find them. A device without timestamps is timed by the host's clock, which counts the way to the device and back too.
    ///
    /// # Errors
    /// The device fails.
    pub fn time(&self, before: &Recording, recording: &Recording) -> Result<f64> {
        let first = self.passes(before, 1)?.iter().sum::<f64>();
        if first < WARM_SECONDS {
            self.passes(before, (WARM_SECONDS / first.max(1e-4)).ceil() as usize)?;
        }
        let once = self.passes(recording, 1)?.iter().sum::<f64>().max(1e-7);
        let most = (PASS_LAUNCHES / recording.dispatches().len().max(1)).max(1);
        let repeats = ((PASS_SECONDS / once).ceil() as usize).clamp(1, most);
        let repeated = Recording::of((0..repeats).flat_map(|_| recording.dispatches()));
        // The first pass follows a pause.
        let mut seconds = self.passes(&repeated, 1 + PASSES)?.split_off(1);
        seconds.sort_by(f64::total_cmp);
        Ok(seconds[PASSES / 2] / repeats as f64)
    }

    /// The seconds of each of `count` passes.
    fn passes(&self, recording: &Recording, count: usize) -> Result<Vec<f64>> {
        if self.caps().timestamps { self.stamped_passes(recording, count) } else { self.clocked_passes(recording, count) }
    }

    fn stamped_passes(&self, recording: &Recording, count: usize) -> Result<Vec<f64>> {
        match self.executor() {
            Executor::Wgpu(queue) => queue.passes(recording, count),
        }
    }

    fn clocked_passes(&self, recording: &Recording, count: usize) -> Result<Vec<f64>> {
        let pass = |_| {
            let started = Instant::now();
            self.run(recording)?;
            Ok(started.elapsed().as_secs_f64())
        };
        (0..count).map(pass).collect()
    }
}
