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

    /// Takes note of a piece of `rows` rows, of which `wanted` should have been, and says whether it tells anything: a shorter one, the last
    /// of a prompt, says little about long ones, and one for which kernels were compiled says nothing.
    pub fn measured(&mut self, (rows, wanted): (usize, usize), seconds: f64, has_compiled: bool) -> bool {
        let tells = rows >= wanted && !has_compiled;
        if tells {
            self.rows_per_second = Some(rows as f64 / seconds.max(1e-6));
        }
        tells
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
            assert!(pace.measured((rows, rows), rows as f64 / rate, false));
        }
        assert_eq!(sizes, [64, 2000, 2000, 200, 200, 2000]);
        assert!(pace.measured((10, 10), 1e9, false));
        assert_eq!(pace.rows(), FIRST_ROWS, "however slow it is");
    }

    #[test]
    fn neither_short_pieces_nor_compiling_ones_tell() {
        let mut pace = Pace::default();
        assert!(!pace.measured((64, 64), 5.0, true));
        assert_eq!(pace.rows(), FIRST_ROWS, "nothing is known yet");
        assert!(pace.measured((64, 64), 0.064, false));
        assert!(!pace.measured((2000, 2000), 60.0, true));
        assert!(!pace.measured((7, 2000), 0.5, false));
        assert_eq!(pace.rows(), 2000, "as the one that tells had it");
    }
}
