//! How many rows a piece of a prefill has: as many as run in a given time, by the pieces before.

/// A piece should take no longer than this, seconds: cancel is looked at in between. Its submissions are shorter: a long piece is cut at
/// layer borders.
const PIECE_SECONDS: f64 = 2.0;

/// Rows of the first piece, before anything is measured, and of the shortest.
const FIRST_ROWS: usize = 64;

/// The speed of the newest piece that tells.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    rows_per_second: Option<f64>,
}

impl Pace {
    /// Rows of the next piece. Longer pieces cost less a row, so this grows until it fits.
    pub fn rows(self) -> usize {
        self.rows_per_second.map_or(FIRST_ROWS, |rate| ((rate * PIECE_SECONDS) as usize).max(FIRST_ROWS))
    }

    /// Takes note of a piece that had all the rows that it should have. A shorter one, the last of a prompt, says little about long ones,
    /// and one for which kernels were compiled says nothing.
    pub fn measured(&mut self, rows: usize, seconds: f64) {
        self.rows_per_second = Some(rows as f64 / seconds.max(1e-6));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_follow_the_speed_up_and_down() {
        let mut pace = Pace::default();
        let mut sizes = Vec::new();
        // A second of it is 1,000 rows, then 100, then 1,000 again.
        for rate in [1000.0, 1000.0, 100.0, 100.0, 1000.0, 1000.0] {
            let rows = pace.rows();
            sizes.push(rows);
            pace.measured(rows, rows as f64 / rate);
        }
        assert_eq!(sizes, [64, 2000, 2000, 200, 200, 2000]);
        pace.measured(10, 1e9);
        assert_eq!(pace.rows(), FIRST_ROWS, "however slow it is");
    }
}
