//! Times launches by repeating them.

use super::executor::{Executor, Gpu};
use super::recording::Recording;
use crate::Result;
use std::time::Instant;

/// Number of passes whose median is a measurement, and the seconds that each should take.
const PASSES: usize = 5;
const PASS_SECONDS: f64 = 0.003;

/// The largest number of launches in a pass, unless the recording itself has more.
const PASS_LAUNCHES: usize = 4096;

/// Seconds of work after which a device runs at its full clock.
const WARM_SECONDS: f64 = 0.05;

impl Gpu {
    /// Seconds that the launches of `recording` take together. They are repeated until a pass takes a few milliseconds, and the median of
    /// several passes counts. `before` runs first, untimed, until the device runs at its full clock; it puts into the buffers what the
    /// launches expect there. A device without timestamps is timed by the host's clock, which includes the way to the device and back.
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
        // The first pass follows a pause and is not counted.
        let mut seconds = self.passes(&repeated, 1 + PASSES)?.split_off(1);
        seconds.sort_by(f64::total_cmp);
        Ok(seconds[PASSES / 2] / repeats as f64)
    }

    /// Runs `count` passes and returns the seconds of each.
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
