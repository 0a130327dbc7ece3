//! The number of rows in a piece of a prompt: as many as run in a given time at the measured speed.

/// Planned duration of a piece while no session generates, in seconds. Cancelling waits for the end of a piece.
const ALONE_SECONDS: f64 = 2.0;

/// Planned duration of a piece while sessions generate, in seconds. Their next tokens wait for the end of the piece.
const SHARED_SECONDS: f64 = 0.25;

/// Rows of a piece before anything is measured, and the smallest number of rows to plan.
const FIRST_ROWS: usize = 64;

/// The speed of prompts on a device. Short pieces run fewer rows a second than long ones, so the two kinds are measured separately.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    alone: Rate,
    shared: Rate,
}

/// Rows per second of the newest piece that was worth measuring, or `None` before the first.
#[derive(Clone, Copy, Debug, Default)]
struct Rate(Option<f64>);

/// The plan for a piece.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Plan {
    /// Whether sessions generate while the piece runs.
    pub is_shared: bool,
    /// The largest number of rows.
    pub rows: usize,
}

impl Pace {
    /// The plan for the next piece.
    pub fn plan(self, is_shared: bool) -> Plan {
        let (Rate(rate), seconds) = if is_shared { (self.shared, SHARED_SECONDS) } else { (self.alone, ALONE_SECONDS) };
        Plan { is_shared, rows: rate.map_or(FIRST_ROWS, |rate| ((rate * seconds) as usize).max(FIRST_ROWS)) }
    }

    /// The expected duration of a piece of `rows` rows in seconds, or 0 where nothing was measured.
    pub fn expect(self, plan: Plan, rows: usize) -> f64 {
        let Rate(rate) = if plan.is_shared { self.shared } else { self.alone };
        rate.map_or(0.0, |rate| rows as f64 / rate)
    }

    /// Records the duration of a piece of `rows` rows. A piece with fewer rows than planned is ignored, because it is slower a row, and so
    /// is one during which kernels were compiled.
    pub fn measured(&mut self, plan: Plan, rows: usize, seconds: f64, has_compiled: bool) {
        if rows >= plan.rows && !has_compiled {
            let rate = if plan.is_shared { &mut self.shared } else { &mut self.alone };
            *rate = Rate(Some(rows as f64 / seconds.max(1e-6)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_follow_the_speed_up_and_down() {
        let mut pace = Pace::default();
        let mut sizes = Vec::new();
        for rate in [1000.0, 1000.0, 100.0, 100.0, 1000.0, 1000.0] {
            let plan = pace.plan(false);
            sizes.push(plan.rows);
            pace.measured(plan, plan.rows, plan.rows as f64 / rate, false);
            assert!((pace.expect(plan, 500) - 500.0 / rate).abs() < 1e-9);
        }
        assert_eq!(sizes, [64, 2000, 2000, 200, 200, 2000]);
        pace.measured(Plan { rows: 10, ..pace.plan(false) }, 10, 1e9, false);
        assert_eq!(pace.plan(false).rows, FIRST_ROWS, "a piece never has fewer rows");
    }

    #[test]
    fn pieces_that_are_short_or_compile_kernels_are_not_measured() {
        let mut pace = Pace::default();
        let plan = pace.plan(false);
        pace.measured(plan, 64, 5.0, true);
        assert_eq!((pace.plan(false).rows, pace.expect(plan, 64)), (FIRST_ROWS, 0.0), "nothing was measured yet");
        pace.measured(plan, 64, 0.064, false);
        let plan = pace.plan(false);
        pace.measured(plan, 2000, 60.0, true);
        pace.measured(plan, 7, 0.5, false);
        assert_eq!(pace.plan(false).rows, 2000, "the rate of the only measured piece");
    }

    #[test]
    fn pieces_beside_generating_sessions_are_shorter_and_measured_separately() {
        let mut pace = Pace::default();
        pace.measured(pace.plan(false), 64, 0.016, false);
        assert_eq!((pace.plan(false).rows, pace.plan(true).rows), (8000, FIRST_ROWS));
        pace.measured(pace.plan(true), 64, 0.064, false);
        assert_eq!((pace.plan(false).rows, pace.plan(true).rows), (8000, 250));
    }
}
