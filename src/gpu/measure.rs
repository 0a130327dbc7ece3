//! How long launches take when they are repeated.

use super::executor::{Executor, Gpu};
use super::recording::Recording;
use crate::Result;

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
    /// launches may find them.
    ///
    /// # Errors
    /// There are no timestamps; the device fails.
    pub fn time(&self, before: &Recording, recording: &Recording) -> Result<f64> {
        self.has_timestamps()?;
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

    fn passes(&self, recording: &Recording, count: usize) -> Result<Vec<f64>> {
        match self.executor() {
            Executor::Wgpu(queue) => queue.passes(recording, count),
        }
    }
}
