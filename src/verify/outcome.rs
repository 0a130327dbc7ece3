//! What a run made and which launch made it, how far it may be from the reference, and the verdict on it.

use crate::gpu::Variant;
use std::collections::BTreeSet;

/// Fills outputs and the guard bands behind them before a kernel runs: a NaN that no kernel computes.
pub const POISON: u32 = 0x7fc0_dead;

/// Stands in outcomes for the kernel of what no launch writes to.
pub const NOTHING: &str = "nothing";

/// How far a kernel may be from the reference, and why.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limit {
    /// Mean squared error over mean square of the reference.
    pub nmse: f64,
    /// Largest error over the root mean square of the reference.
    pub max: f64,
}

impl Limit {
    /// f32 sums in another order than the reference's f64 ones.
    pub const F32: Self = Self { nmse: 1e-11, max: 1e-4 };
    /// f16 operands: each product is off by up to 2^-10, the sum of many by less.
    pub const HALF: Self = Self { nmse: 2e-6, max: 2e-2 };
    /// One rounding to f16 at the end.
    pub const HALF_STORED: Self = Self { nmse: 1e-6, max: 5e-3 };
    /// Values rounded to int8: one that lies between two codes may go to either, a step of up to 1/127 of the block's largest.
    pub const INT8: Self = Self { nmse: 1e-6, max: 6e-2 };
    /// Copies and choices.
    pub const EXACT: Self = Self { nmse: 0.0, max: 0.0 };
}

/// What a run left in an output, and which launch made it.
///
/// Whatever the caller of a `record_*` function expects to run, this is read off the recording: what made an output is the last launch that
/// binds its buffer where the kernel may write.
#[derive(Clone, Debug)]
pub struct Made {
    /// The output's words.
    pub words: Vec<u32>,
    /// The launch that made them; none if no launch may write to the output.
    by: Option<Variant>,
    /// Whether that launch or one before it rounds to f16.
    rounds: bool,
}

impl Made {
    /// What `launches`, the variants that ran and for each whether it may write to the output, left in it.
    pub fn new(words: Vec<u32>, launches: &[(&Variant, bool)]) -> Self {
        let last = launches.iter().rposition(|(_, writes)| *writes);
        let rounds = launches.iter().take(last.map_or(0, |i| i + 1)).any(|(variant, _)| ROUNDING.iter().any(|flag| variant.has(flag)));
        Self { words, by: last.map(|i| launches[i].0.clone()), rounds }
    }

    /// An output that several buffers hold one after another. What one kernel made all of is its.
    pub fn joined(parts: Vec<Self>) -> Self {
        let first = parts.first().and_then(|part| part.by.clone());
        let by = first.filter(|first| parts.iter().all(|part| part.kernel() == first.kernel()));
        let rounds = parts.iter().any(|part| part.rounds);
        Self { words: parts.into_iter().flat_map(|part| part.words).collect(), by, rounds }
    }

    /// The kernel that made it, or [`NOTHING`].
    pub fn kernel(&self) -> &'static str {
        self.by.as_ref().map_or(NOTHING, Variant::kernel)
    }

    /// The variant that made it.
    pub fn by(&self) -> Option<&Variant> {
        self.by.as_ref()
    }

    /// The limit for what it was computed with: f32 throughout, or with roundings to f16.
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
    /// A failure that is not a matter of size.
    pub fn failed(kernel: &'static str, case: &str, failure: String) -> Self {
        Self { kernel, case: case.into(), nmse: f64::NAN, max: f64::NAN, failure: Some(failure) }
    }

    /// Of `got`, which `kernel` made, against the reference's `want`.
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

    /// Of choices that `kernel` made.
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
