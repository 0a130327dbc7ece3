//! A receiver of taps that keeps all activations, and the comparison of choices.

use dwarfstar::model::{Tap, TapData, Taps};
use std::collections::HashMap;

/// Keeps all activations.
#[derive(Default)]
pub struct Recorder {
    pub floats: HashMap<Tap, Vec<f32>>,
    pub ids: HashMap<Tap, Vec<u32>>,
}

impl Taps for Recorder {
    fn wants(&self, _: Tap) -> bool {
        true
    }

    fn see(&mut self, tap: Tap, data: TapData<'_>) {
        match data {
            TapData::Floats(values) => self.floats.entry(tap).or_default().extend_from_slice(values),
            TapData::Ids(values) => self.ids.entry(tap).or_default().extend_from_slice(values),
        }
    }
}

/// Asserts that each row has the same set of ids. The golden files have -1 where a row has fewer; here that is `u32::MAX`.
pub fn assert_same_sets(got: &[u32], want: &[i32], width: usize, label: &str) {
    assert_eq!(got.len(), want.len(), "{label}");
    for (t, (got, want)) in got.chunks_exact(width).zip(want.chunks_exact(width)).enumerate() {
        let mut got: Vec<i32> = got.iter().map(|&i| i as i32).collect();
        let mut want = want.to_vec();
        got.sort_unstable();
        want.sort_unstable();
        assert_eq!(got, want, "{label}, row {t}");
    }
}
