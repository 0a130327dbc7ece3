//! What a kernel check stands on: a device, random inputs, outputs with guard bands, and comparison with the reference.

use crate::Result;
use crate::convert::random_rows;
use crate::gpu::{Buffer, Gpu, Recording, Slice};
use crate::kernels::{DECODE_ROWS, Experts, ExpertsSlice, Kit, Matrix, MatrixSlice, Rows};
use crate::quant::BlockFormat;
use crate::reference;
use fastrand::Rng;

/// Fills outputs and the guard bands behind them before a kernel runs: a NaN that no kernel computes.
const POISON: u32 = 0x7fc0_dead;

/// Words behind an output that must stay untouched.
const GUARD: usize = 64;

/// How far a kernel may be from the reference, and why.
#[derive(Clone, Copy, Debug)]
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

/// One comparison.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Kernel, as its shader is named.
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

/// A device under test.
pub struct Bench<'g> {
    /// The device.
    pub gpu: &'g Gpu,
    /// Its kit.
    pub kit: Kit,
    /// Seeded anew for each case.
    pub rng: Rng,
    outcomes: Vec<Outcome>,
}

/// An output buffer with its guard band.
pub struct Output {
    buffer: Buffer,
    words: usize,
}

impl Output {
    /// What to bind: the guard band included, so that a kernel could reach it.
    pub fn slice(&self) -> Slice {
        self.buffer.all()
    }
}

impl<'g> Bench<'g> {
    /// For `gpu` and the choices in `kit`.
    pub fn new(gpu: &'g Gpu, kit: Kit) -> Self {
        Self { gpu, kit, rng: Rng::with_seed(0), outcomes: Vec::new() }
    }

    /// What was found so far.
    pub fn into_outcomes(self) -> Vec<Outcome> {
        self.outcomes
    }

    /// The limit for a matmul: looser where it runs on f16 operands.
    pub fn matmul_limit(&self, tokens: u32) -> Limit {
        let half = !step_of(tokens).are_few() && self.kit.dialect.uses_half();
        if half { Limit::HALF } else { Limit::F32 }
    }

    /// `n` normal numbers around a mean that is not zero, so that a lost sign or offset shows.
    pub fn floats(&mut self, n: usize) -> Vec<f32> {
        self.floats_around(0.1, 1.0, n)
    }

    /// `n` numbers of this mean and standard deviation.
    pub fn floats_around(&mut self, mean: f32, sd: f32, n: usize) -> Vec<f32> {
        let mut bytes = vec![0u8; n * 4];
        random_rows(BlockFormat::F32, sd, &mut self.rng, &mut bytes);
        bytes.as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b) + mean).collect()
    }

    /// `values` in a buffer.
    pub fn upload<T: bytemuck::NoUninit>(&self, values: &[T]) -> Result<Slice> {
        Ok(self.gpu.buffer_with("input", values)?.all())
    }

    /// `values` in a buffer as f16 where `half`.
    pub fn upload_elements(&self, values: &[f32], half: bool) -> Result<Slice> {
        if half {
            self.upload(&values.iter().map(|&v| half::f16::from_f32(v).to_bits()).collect::<Vec<u16>>())
        } else {
            self.upload(values)
        }
    }

    /// An output of `values` elements.
    pub fn elements(&self, values: usize, half: bool) -> Result<Output> {
        self.output(if half { values / 2 } else { values })
    }

    /// The elements to check a kernel with that can store both: f32, and f16 where shaders have it.
    pub fn halves(&self) -> &'static [bool] {
        if self.kit.dialect.caps.f16 { &[false, true] } else { &[false] }
    }

    /// The limit for results that are stored as f16 where `half`.
    pub fn stored(half: bool) -> Limit {
        if half { Limit::HALF } else { Limit::F32 }
    }

    /// An output of `words` words, poisoned.
    pub fn output(&self, words: usize) -> Result<Output> {
        Ok(Output { buffer: self.gpu.buffer_with("output", &vec![POISON; words + GUARD])?, words })
    }

    /// An output that starts with `values` and is added to.
    pub fn output_with(&self, values: &[f32]) -> Result<Output> {
        let mut words: Vec<u32> = values.iter().map(|v| v.to_bits()).collect();
        words.extend([POISON; GUARD]);
        Ok(Output { buffer: self.gpu.buffer_with("output", &words)?, words: values.len() })
    }

    /// Random weights of `format`: the bytes, and a matrix of them in `slices` slices of about equal height.
    pub fn matrix(&mut self, format: BlockFormat, rows: usize, columns: usize, slices: usize) -> Result<(Vec<u8>, Matrix)> {
        let stride = format.row_bytes(columns).unwrap_or(0);
        let mut bytes = vec![0u8; rows * stride];
        random_rows(format, 0.05, &mut self.rng, &mut bytes);
        let each = rows.div_ceil(slices);
        let parts = bytes.chunks(each * stride).enumerate();
        let slices = parts
            .map(|(i, part)| {
                // A gap in front, so that a lost offset shows, and one behind: kernels may read the word after the last block.
                let arena = self.upload(&[&[0xa5; 256], part, &[0xa5; 8]].concat())?;
                Ok(MatrixSlice { arena, base: 256, first_row: (i * each) as u32, rows: (part.len() / stride) as u32 })
            })
            .collect::<Result<_>>()?;
        Ok((bytes, Matrix { format, rows: rows as u32, columns: columns as u32, slices }))
    }

    /// Random matrices of these formats and rows behind one another in one buffer.
    pub fn several(&mut self, shapes: &[(BlockFormat, usize)], columns: usize) -> Result<Vec<(Vec<u8>, Matrix)>> {
        let mut arena = vec![0xa5u8; 256];
        let mut made = Vec::new();
        for &(format, rows) in shapes {
            let (bytes, mut matrix) = self.matrix(format, rows, columns, 1)?;
            matrix.slices[0].base = arena.len() as u32;
            arena.extend(&bytes);
            arena.resize(arena.len().next_multiple_of(256), 0xa5);
            made.push((bytes, matrix));
        }
        let arena = self.upload(&arena)?;
        made.iter_mut().for_each(|(_, matrix)| matrix.slices[0].arena = arena.clone());
        Ok(made)
    }

    /// Random weights of all experts, members one behind the other in slices of `experts_each` experts.
    pub fn experts(
        &mut self,
        formats: &[BlockFormat],
        (experts, rows, columns): (usize, usize, usize),
        experts_each: usize,
    ) -> Result<(Vec<Vec<u8>>, Experts)> {
        let mut members = Vec::new();
        for format in formats {
            let mut bytes = vec![0u8; experts * rows * format.row_bytes(columns).unwrap_or(0)];
            random_rows(*format, 0.05, &mut self.rng, &mut bytes);
            members.push(bytes);
        }
        let mut slices = Vec::new();
        for first in (0..experts).step_by(experts_each) {
            let count = experts_each.min(experts - first);
            let (mut arena, mut bases) = (vec![0xa5u8; 256], Vec::new());
            for bytes in &members {
                bases.push(arena.len() as u32);
                let each = bytes.len() / experts;
                arena.extend(&bytes[first * each..(first + count) * each]);
                arena.resize(arena.len().next_multiple_of(256) + 256, 0xa5);
            }
            let (first_expert, experts) = (first as u32, count as u32);
            slices.push(ExpertsSlice { arena: self.upload(&arena)?, bases, first_expert, experts, first_row: 0, rows: rows as u32 });
        }
        let (experts, rows, columns) = (experts as u32, rows as u32, columns as u32);
        Ok((members, Experts { formats: formats.to_vec(), experts, rows, columns, slices }))
    }

    /// Runs what `record` records and returns the words of `outputs`, or says in the outcomes that a guard band was written to.
    pub fn run(
        &mut self,
        kernel: &'static str,
        case: &str,
        outputs: &[&Output],
        record: impl FnOnce(&mut Recording, &Kit),
    ) -> Result<Vec<Vec<u32>>> {
        let mut recording = Recording::new();
        record(&mut recording, &self.kit);
        for output in outputs {
            recording.download(output.buffer.all());
        }
        let mut words = Vec::new();
        for (bytes, output) in self.gpu.run(&recording)?.iter().zip(outputs) {
            let mut all: Vec<u32> = bytes.as_chunks::<4>().0.iter().map(|&b| u32::from_le_bytes(b)).collect();
            if let Some(i) = all[output.words..].iter().position(|&w| w != POISON) {
                self.fail(kernel, case, format!("wrote {i} words behind its output of {} words", output.words));
            }
            all.truncate(output.words);
            words.push(all);
        }
        Ok(words)
    }

    /// Records a failure that is not a matter of size.
    pub fn fail(&mut self, kernel: &'static str, case: &str, failure: String) {
        self.outcomes.push(Outcome { kernel, case: case.into(), nmse: f64::NAN, max: f64::NAN, failure: Some(failure) });
    }

    /// Compares floats with the reference.
    pub fn compare(&mut self, kernel: &'static str, case: &str, got: &[f32], want: &[f32], limit: Limit) {
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
        self.outcomes.push(Outcome { kernel, case: case.into(), nmse, max, failure });
    }

    /// Compares choices with the reference.
    pub fn compare_ids(&mut self, kernel: &'static str, case: &str, got: &[u32], want: &[u32]) {
        let failure = match got.iter().zip(want).position(|(g, w)| g != w) {
            Some(i) => Some(format!("choice {i} is {}, expected {}", got[i], want[i])),
            None if got.len() != want.len() => Some(format!("{} choices, expected {}", got.len(), want.len())),
            None => None,
        };
        self.outcomes.push(Outcome { kernel, case: case.into(), nmse: 0.0, max: 0.0, failure });
    }
}

/// Words as floats, or as pairs of f16.
pub fn as_elements(words: &[u32], half: bool) -> Vec<f32> {
    let pair = |&w: &u32| [w as u16, (w >> 16) as u16].map(|bits| half::f16::from_bits(bits).to_f32());
    if half { words.iter().flat_map(pair).collect() } else { as_floats(words) }
}

/// Words as floats.
pub fn as_floats(words: &[u32]) -> Vec<f32> {
    words.iter().map(|&w| f32::from_bits(w)).collect()
}

/// `tokens` rows by the kernels that the engine would most likely take: those of generated rows where a step has room for as many.
pub fn step_of(tokens: u32) -> Rows {
    if tokens <= DECODE_ROWS { Rows::Few(tokens) } else { Rows::Many(tokens) }
}

/// At least `columns` columns, in whole blocks of `format`.
pub fn whole_blocks(format: BlockFormat, columns: usize) -> usize {
    columns.next_multiple_of(format.block_values())
}

/// The reference's view of weights made by [`Bench::matrix`].
pub fn view<'a>(matrix: &Matrix, bytes: &'a [u8]) -> reference::Matrix<'a> {
    reference::Matrix { format: matrix.format, rows: matrix.rows as usize, columns: matrix.columns as usize, bytes }
}
