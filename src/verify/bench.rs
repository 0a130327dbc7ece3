//! The bench that cases run on: a device, random inputs, outputs with guard bands, and runs that find out which launch made an output.

use super::outcome::{Limit, Made, Outcome, POISON, Report};
use super::parts::{DISTINCT_EXPERTS, DISTINCT_ROWS};
use crate::Result;
use crate::convert::random_rows;
use crate::gpu::{Buffer, Gpu, Recording, Slice};
use crate::kernels::{Experts, ExpertsSlice, KernelContext, Matrix, MatrixSlice, Pass, Rows};
use crate::quant::BlockFormat;
use fastrand::Rng;

/// Number of words after an output that no kernel may change.
const GUARD: usize = 64;

/// What happens to the recordings of cases.
pub enum Purpose<'g> {
    /// They run, and their results are compared with the reference.
    Check(Report),
    /// They are handed to a collector, with the names of their cases. No reference is computed.
    Collect(&'g mut Collector<'g>),
}

/// Takes a case's name and its recording.
pub type Collector<'g> = dyn FnMut(&str, &Recording) -> Result<()> + 'g;

/// A device under test.
pub struct Bench<'g> {
    /// The device.
    pub gpu: &'g Gpu,
    /// Chooses the variants of kernels.
    pub kernels: KernelContext,
    /// The source of all random inputs.
    pub rng: Rng,
    purpose: Purpose<'g>,
}

/// An output buffer with its guard band.
pub struct Output {
    buffer: Buffer,
    words: usize,
}

impl Output {
    /// The range to bind. It includes the guard band, so that a kernel could write there.
    pub fn slice(&self) -> Slice {
        self.buffer.all()
    }
}

impl<'g> Bench<'g> {
    /// A bench for `gpu`, on which `kernels` chooses variants.
    pub fn new(gpu: &'g Gpu, kernels: KernelContext, purpose: Purpose<'g>) -> Self {
        Self { gpu, kernels, rng: Rng::with_seed(0), purpose }
    }

    /// What the checks found. It is empty if recordings were collected.
    pub fn into_report(self) -> Report {
        match self.purpose {
            Purpose::Check(report) => report,
            Purpose::Collect(_) => Report::default(),
        }
    }

    /// Whether results are compared with the reference: only then it has to be computed.
    pub fn is_check(&self) -> bool {
        matches!(self.purpose, Purpose::Check(_))
    }

    /// Number of rows of a prompt in cases with a model's shapes. A device that runs shaders on the CPU gets fewer, because it would take
    /// minutes.
    pub fn piece(&self) -> u32 {
        if self.gpu.is_software() { 32 } else { 2048 }
    }

    /// Whether activations of `rows` may be f16: kernels of prompts read and write f16 on devices with cooperative matrices.
    pub fn takes_f16(&self, rows: Rows) -> bool {
        !rows.are_few() && self.kernels.profile.uses_f16()
    }

    /// `n` normally distributed numbers. Their mean is not zero, so that a lost sign or offset shows.
    pub fn floats(&mut self, n: usize) -> Vec<f32> {
        self.floats_around(0.1, 1.0, n)
    }

    /// `n` normally distributed numbers with this mean and standard deviation.
    pub fn floats_around(&mut self, mean: f32, sd: f32, n: usize) -> Vec<f32> {
        let mut bytes = vec![0u8; n * 4];
        random_rows(BlockFormat::F32, sd, &mut self.rng, &mut bytes);
        bytes.as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b) + mean).collect()
    }

    /// A buffer with `values`.
    pub fn upload<T: bytemuck::NoUninit>(&self, values: &[T]) -> Result<Slice> {
        Ok(self.gpu.buffer_with("input", values)?.all())
    }

    /// A buffer with `values`, as f16 if `is_f16` and as f32 otherwise.
    pub fn upload_elements(&self, values: &[f32], is_f16: bool) -> Result<Slice> {
        if is_f16 {
            self.upload(&values.iter().map(|&v| half::f16::from_f32(v).to_bits()).collect::<Vec<u16>>())
        } else {
            self.upload(values)
        }
    }

    /// An output of `values` elements, which are f16 if `is_f16` and f32 otherwise.
    pub fn elements(&self, values: usize, is_f16: bool) -> Result<Output> {
        self.output(if is_f16 { values / 2 } else { values })
    }

    /// The types of element with which to check a kernel that can store both: f32, and f16 if shaders have it. True stands for f16.
    pub fn element_types(&self) -> &'static [bool] {
        if self.kernels.profile.caps.f16 { &[false, true] } else { &[false] }
    }

    /// An output of `words` words, filled with [`POISON`].
    pub fn output(&self, words: usize) -> Result<Output> {
        Ok(Output { buffer: self.gpu.buffer_with("output", &vec![POISON; words + GUARD])?, words })
    }

    /// An output that holds `values` at first, for kernels that add to it or write only some of it.
    pub fn output_with(&self, values: &[f32]) -> Result<Output> {
        let mut words: Vec<u32> = values.iter().map(|v| v.to_bits()).collect();
        words.extend([POISON; GUARD]);
        Ok(Output { buffer: self.gpu.buffer_with("output", &words)?, words: values.len() })
    }

    /// Random weights of `format`: the bytes, and a matrix of them in `slices` slices of about equal height. In a large matrix only the
    /// first [`DISTINCT_ROWS`] rows are drawn, and the others repeat them.
    pub fn matrix(&mut self, format: BlockFormat, rows: usize, columns: usize, slices: usize) -> Result<(Vec<u8>, Matrix)> {
        let stride = format.row_bytes(columns).unwrap_or(0);
        let drawn = rows.min(DISTINCT_ROWS) * stride;
        let mut bytes = vec![0u8; rows * stride];
        random_rows(format, 0.05, &mut self.rng, &mut bytes[..drawn]);
        for first in (drawn..bytes.len()).step_by(drawn) {
            let count = drawn.min(bytes.len() - first);
            bytes.copy_within(..count, first);
        }
        let each = rows.div_ceil(slices);
        let parts = bytes.chunks(each * stride).enumerate();
        let slices = parts
            .map(|(i, part)| {
                // A gap before the rows makes a lost offset show. The gap after them exists because kernels may read the word after the
                // last block.
                let arena = self.upload(&[&[0xa5; 256], part, &[0xa5; 8]].concat())?;
                Ok(MatrixSlice { arena, base: 256, first_row: (i * each) as u32, rows: (part.len() / stride) as u32 })
            })
            .collect::<Result<_>>()?;
        Ok((bytes, Matrix { format, rows: rows as u32, columns: columns as u32, slices }))
    }

    /// The number of slices in which the device holds `bytes` of weights.
    pub fn slices(&self, bytes: usize) -> usize {
        bytes.div_ceil(self.gpu.caps().max_binding_bytes.saturating_sub(1024) as usize).max(1)
    }

    /// The number of experts in these formats that one binding of the device can hold.
    pub fn experts_each(&self, formats: &[BlockFormat], (experts, rows, columns): (usize, usize, usize)) -> usize {
        let each: usize = formats.iter().map(|format| rows * format.row_bytes(columns).unwrap_or(0)).sum();
        let room = self.gpu.caps().max_binding_bytes.min(self.gpu.caps().max_buffer_bytes) as usize;
        (room.saturating_sub(1024) / each).clamp(1, experts)
    }

    /// Random matrices of these formats and numbers of rows, one after another in one buffer.
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

    /// Random weights of all experts, in slices of `experts_each` experts with one member after another. In a large stack only the first
    /// [`DISTINCT_EXPERTS`] experts are drawn, and the others repeat them. `expert_of` finds the bytes of each.
    pub fn experts(
        &mut self,
        formats: &[BlockFormat],
        (experts, rows, columns): (usize, usize, usize),
        experts_each: usize,
    ) -> Result<(Vec<Vec<u8>>, Experts)> {
        let mut members = Vec::new();
        for format in formats {
            let mut bytes = vec![0u8; experts.min(DISTINCT_EXPERTS) * rows * format.row_bytes(columns).unwrap_or(0)];
            random_rows(*format, 0.05, &mut self.rng, &mut bytes);
            members.push(bytes);
        }
        let mut slices = Vec::new();
        for first in (0..experts).step_by(experts_each) {
            let count = experts_each.min(experts - first);
            let (mut arena, mut bases) = (vec![0xa5u8; 256], Vec::new());
            for bytes in &members {
                bases.push(arena.len() as u32);
                let each = bytes.len() / experts.min(DISTINCT_EXPERTS);
                (first..first + count).for_each(|e| arena.extend(&bytes[e % DISTINCT_EXPERTS * each..][..each]));
                arena.resize(arena.len().next_multiple_of(256) + 256, 0xa5);
            }
            let (first_expert, experts) = (first as u32, count as u32);
            slices.push(ExpertsSlice { arena: self.upload(&arena)?, bases, first_expert, experts, first_row: 0, rows: rows as u32 });
        }
        let (experts, rows, columns) = (experts as u32, rows as u32, columns as u32);
        Ok((members, Experts { formats: formats.to_vec(), experts, rows, columns, slices }))
    }

    /// Runs what `record` records for `rows` and returns the contents of `outputs`. A kernel that writes to a guard band is reported as a
    /// failure. Returns None if recordings are collected: the case ends there.
    pub fn run(&mut self, case: &str, outputs: &[&Output], rows: Rows, record: impl FnOnce(&mut Pass<'_>)) -> Result<Option<Vec<Made>>> {
        let mut recording = Recording::new();
        record(&mut Pass { rec: &mut recording, kernels: &self.kernels, rows });
        let report = match &mut self.purpose {
            Purpose::Check(report) => report,
            Purpose::Collect(collector) => {
                collector(case, &recording)?;
                return Ok(None);
            }
        };
        for output in outputs {
            recording.download(output.buffer.all());
        }
        let all = self.gpu.run(&recording)?;
        let launches: Vec<_> = recording.dispatches().iter().map(|d| Ok((d, self.gpu.writes(&d.variant)?))).collect::<Result<_>>()?;
        report.launched.extend(launches.iter().map(|(dispatch, _)| dispatch.variant.kernel()));
        let mut made = Vec::new();
        for (bytes, output) in all.iter().zip(outputs) {
            let mut words: Vec<u32> = bytes.as_chunks::<4>().0.iter().map(|&b| u32::from_le_bytes(b)).collect();
            let touched = words[output.words..].iter().position(|&w| w != POISON);
            words.truncate(output.words);
            let writers = launches.iter().map(|(dispatch, writes)| {
                let mut bound = dispatch.slices().zip(writes);
                (&dispatch.variant, bound.any(|(slice, writes)| *writes && slice.buffer.same(&output.buffer)))
            });
            let own = Made::new(words, &writers.collect::<Vec<_>>());
            if let Some(i) = touched {
                self.fail(own.kernel(), case, format!("wrote to word {i} behind its output of {} words", output.words));
            }
            made.push(own);
        }
        Ok(Some(made))
    }

    /// Reports a failure that is not an error of a value.
    pub fn fail(&mut self, kernel: &'static str, case: &str, failure: String) {
        self.push(Outcome::failed(kernel, case, failure));
    }

    /// Compares floats of `made` with those of the reference.
    pub fn compare(&mut self, made: &Made, case: &str, got: &[f32], want: &[f32], limit: Limit) {
        self.note(made, case, Outcome::of_values(made.kernel(), case, got, want, limit));
    }

    /// The first of `tokens` rows has the bits that it has alone. The launch of one row, which comes first, leaves these in `alone`.
    pub fn compare_with_alone(&mut self, made: &Made, case: &str, tokens: usize, alone: &mut Vec<u32>) {
        let row = made.words.len() / tokens;
        if tokens == 1 {
            alone.clone_from(&made.words);
        } else if made.words[..row] != alone[..] {
            self.fail(made.kernel(), case, "the first token's bits differ from those it has alone".into());
        }
    }

    /// Compares choices of `made` with those of the reference.
    pub fn compare_ids(&mut self, made: &Made, case: &str, got: &[u32], want: &[u32]) {
        self.note(made, case, Outcome::of_choices(made.kernel(), case, got, want));
    }

    /// Adds an outcome, which is a failure if no launch made the output: values that were there before are no result, even if they are
    /// right.
    fn note(&mut self, made: &Made, case: &str, outcome: Outcome) {
        match made.by() {
            Some(_) => self.push(outcome),
            None => self.fail(made.kernel(), case, "no launch may write to this output, or several kernels do".into()),
        }
    }

    fn push(&mut self, outcome: Outcome) {
        if let Purpose::Check(report) = &mut self.purpose {
            report.outcomes.push(outcome);
        }
    }
}
