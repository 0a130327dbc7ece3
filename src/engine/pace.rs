//! How many rows a piece of a prompt has: as many as run in a given time, by the speed of the pieces before.

/// A piece that runs by itself takes no longer than this, in seconds, because cancelling waits for its end.
const ALONE_SECONDS: f64 = 2.0;

/// A piece beside sessions that generate takes no longer than this, in seconds, because their next tokens wait for its end.
const SHARED_SECONDS: f64 = 0.25;

/// Rows of the first piece, before anything is measured, and of the shortest.
const FIRST_ROWS: usize = 64;

/// The speed of prompts on a device. Short pieces run fewer rows a second than long ones, so that each kind has its own measurements.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    alone: Rate,
    shared: Rate,
}

/// Rows per second of the newest piece that tells.
#[derive(Clone, Copy, Debug, Default)]
struct Rate(Option<f64>);

/// A piece as it was planned.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Plan {
    /// Whether sessions generate beside it.
    pub is_shared: bool,
    /// Rows that it may have.
    pub rows: usize,
}

impl Pace {
    /// The next piece.
    pub fn plan(self, is_shared: bool) -> Plan {
        let (Rate(rate), seconds) = if is_shared { (self.shared, SHARED_SECONDS) } else { (self.alone, ALONE_SECONDS) };
        Plan { is_shared, rows: rate.map_or(FIRST_ROWS, |rate| ((rate * seconds) as usize).max(FIRST_ROWS)) }
    }

    /// Seconds that `rows` rows of `plan` are expected to take; 0 where nothing is known.
    pub fn expect(self, plan: Plan, rows: usize) -> f64 {
        let Rate(rate) = if plan.is_shared { self.shared } else { self.alone };
        rate.map_or(0.0, |rate| rows as f64 / rate)
    }

    /// Takes note of how long a piece of `plan` took. A piece with fewer rows than planned, the last of a prompt, says little about long ones,
    /// and one for which kernels were compiled says nothing.
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
        assert_eq!(pace.plan(false).rows, FIRST_ROWS, "however slow it is");
    }

    #[test]
    fn neither_short_pieces_nor_compiling_ones_tell() {
        let mut pace = Pace::default();
        let plan = pace.plan(false);
        pace.measured(plan, 64, 5.0, true);
        assert_eq!((pace.plan(false).rows, pace.expect(plan, 64)), (FIRST_ROWS, 0.0), "nothing is known yet");
        pace.measured(plan, 64, 0.064, false);
        let plan = pace.plan(false);
        pace.measured(plan, 2000, 60.0, true);
        pace.measured(plan, 7, 0.5, false);
        assert_eq!(pace.plan(false).rows, 2000, "as the one that tells had it");
    }

    #[test]
    fn pieces_beside_others_are_shorter_and_measured_apart() {
        let mut pace = Pace::default();
        pace.measured(pace.plan(false), 64, 0.016, false);
        assert_eq!((pace.plan(false).rows, pace.plan(true).rows), (8000, FIRST_ROWS));
        pace.measured(pace.plan(true), 64, 0.064, false);
        assert_eq!((pace.plan(false).rows, pace.plan(true).rows), (8000, 250));
    }
}
