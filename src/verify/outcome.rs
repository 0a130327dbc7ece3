//! The result of a run and the launch that made it, the limits of its difference from the reference, and the verdict.

use crate::gpu::Variant;
use std::collections::BTreeSet;

/// The word that fills outputs and their guard bands before a kernel runs: a NaN that no kernel computes.
pub const POISON: u32 = 0x7fc0_dead;

/// The name of the kernel in outcomes of an output that no launch may write to.
pub const NOTHING: &str = "nothing";

/// The largest allowed difference from the reference. Each constant says why there is a difference.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limit {
    /// Mean squared error over mean square of the reference.
    pub nmse: f64,
    /// Largest error over the root mean square of the reference.
    pub max: f64,
}

impl Limit {
    /// Sums are f32 and in another order, and those of the reference are f64.
    pub const F32: Self = Self { nmse: 1e-11, max: 1e-4 };
    /// Operands are f16: the relative error of each product is up to 2^-10, that of a sum of many is less.
    pub const HALF: Self = Self { nmse: 2e-6, max: 2e-2 };
    /// The result is rounded to f16 once, at the end.
    pub const HALF_STORED: Self = Self { nmse: 1e-6, max: 5e-3 };
    /// Values are rounded to int8. A value halfway between two codes may get either; they differ by up to 1/127 of the block's largest
    /// value.
    pub const INT8: Self = Self { nmse: 1e-6, max: 6e-2 };
    /// Copies and choices must be equal.
    pub const EXACT: Self = Self { nmse: 0.0, max: 0.0 };
}

/// The contents of an output after a run, and the launch that made them.
///
/// The launch is found in the recording, whatever the caller of a `record_*` function expects: it is the last one that binds the output's
/// buffer where the kernel may write.
#[derive(Clone, Debug)]
pub struct Made {
    /// The output's words.
    pub words: Vec<u32>,
    /// The variant of the launch that made them. None if no launch may write to the output.
    by: Option<Variant>,
    /// Whether that launch or one before it rounds to f16.
    rounds: bool,
}

impl Made {
    /// The contents `words` of an output. `launches` are the variants that ran, each with whether it may write to the output.
    pub fn new(words: Vec<u32>, launches: &[(&Variant, bool)]) -> Self {
        let last = launches.iter().rposition(|(_, writes)| *writes);
        let rounds = launches.iter().take(last.map_or(0, |i| i + 1)).any(|(variant, _)| ROUNDING.iter().any(|flag| variant.has(flag)));
        Self { words, by: last.map(|i| launches[i].0.clone()), rounds }
    }

    /// Joins outputs that hold one result in several buffers. It counts as made by a kernel if that made all of them.
    pub fn joined(parts: Vec<Self>) -> Self {
        let first = parts.first().and_then(|part| part.by.clone());
        let by = first.filter(|first| parts.iter().all(|part| part.kernel() == first.kernel()));
        let rounds = parts.iter().any(|part| part.rounds);
        Self { words: parts.into_iter().flat_map(|part| part.words).collect(), by, rounds }
    }

    /// The name of the kernel that made it, or [`NOTHING`].
    pub fn kernel(&self) -> &'static str {
        self.by.as_ref().map_or(NOTHING, Variant::kernel)
    }

    /// The variant that made it.
    pub fn by(&self) -> Option<&Variant> {
        self.by.as_ref()
    }

    /// The limit for f32 kernels, or that for f16 operands if a launch rounded to f16.
    pub fn limit(&self) -> Limit {
        if self.rounds { Limit::HALF } else { Limit::F32 }
    }

    /// The words as floats.
    pub fn floats(&self) -> Vec<f32> {
        as_floats(&self.words)
    }

    /// The words as floats, or as pairs of f16 where `is_f16`.
    pub fn elements(&self, is_f16: bool) -> Vec<f32> {
        let pair = |&word: &u32| [word as u16, (word >> 16) as u16].map(|bits| half::f16::from_bits(bits).to_f32());
        if is_f16 { self.words.iter().flat_map(pair).collect() } else { self.floats() }
    }
}

/// Flags of variants that round operands or results to f16.
const ROUNDING: [&str; 2] = ["COOPERATIVE", "Y_F16"];

/// One comparison.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The kernel that made what was compared: the last launch of its recording that may write to the output.
    pub kernel: &'static str,
    /// What was run: format, sizes, flags.
    pub case: String,
    /// Mean squared error over mean square.
    pub nmse: f64,
    /// Largest error over root mean square.
    pub max: f64,
    /// What is wrong, if anything is.
    pub failure: Option<String>,
}

impl Outcome {
    /// A failure that is not an error of a value.
    pub fn failed(kernel: &'static str, case: &str, failure: String) -> Self {
        Self { kernel, case: case.into(), nmse: f64::NAN, max: f64::NAN, failure: Some(failure) }
    }

    /// Compares the values `got`, which `kernel` made, with `want`, those of the reference.
    pub fn of_values(kernel: &'static str, case: &str, got: &[f32], want: &[f32], limit: Limit) -> Self {
        let square = |v: f64| v * v;
        let mean_square = want.iter().map(|&w| square(f64::from(w))).sum::<f64>() / want.len().max(1) as f64;
        let rms = mean_square.sqrt().max(f64::MIN_POSITIVE);
        let errors = || got.iter().zip(want).map(|(&g, &w)| f64::from(g) - f64::from(w));
        let nmse = errors().map(square).sum::<f64>() / want.len().max(1) as f64 / mean_square.max(f64::MIN_POSITIVE);
        let max = errors().fold(0f64, |m, e| m.max(e.abs())) / rms;
        let failure = if got.len() != want.len() {
            Some(format!("{} values, expected {}", got.len(), want.len()))
        } else if let Some(i) = got.iter().position(|g| g.to_bits() == POISON) {
            Some(format!("value {i} was not written"))
        } else if let Some(i) = got.iter().zip(want).position(|(g, w)| g.is_finite() != w.is_finite()) {
            Some(format!("value {i} is {}, expected {}", got[i], want[i]))
        } else if !(nmse <= limit.nmse && max <= limit.max) {
            Some(format!("NMSE at most {:.0e} and maximum at most {:.0e} allowed", limit.nmse, limit.max))
        } else {
            None
        };
        Self { kernel, case: case.into(), nmse, max, failure }
    }

    /// Compares the choices `got`, which `kernel` made, with `want`, those of the reference.
    pub fn of_choices(kernel: &'static str, case: &str, got: &[u32], want: &[u32]) -> Self {
        let failure = match got.iter().zip(want).position(|(g, w)| g != w) {
            Some(i) => Some(format!("choice {i} is {}, expected {}", got[i], want[i])),
            None if got.len() != want.len() => Some(format!("{} choices, expected {}", got.len(), want.len())),
            None => None,
        };
        Self { kernel, case: case.into(), nmse: 0.0, max: 0.0, failure }
    }
}

/// What the checks found on a device.
#[derive(Debug, Default)]
pub struct Report {
    /// Every comparison.
    pub outcomes: Vec<Outcome>,
    /// The kernels that were launched.
    pub launched: BTreeSet<&'static str>,
}

/// Words as floats.
pub fn as_floats(words: &[u32]) -> Vec<f32> {
    words.iter().map(|&word| f32::from_bits(word)).collect()
}
