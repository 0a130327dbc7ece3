//! What a kernel check stands on: a device, random inputs, outputs with guard bands, and runs that tell which launch made an output.

use crate::Result;
use crate::convert::random_rows;
use crate::gpu::{Buffer, Gpu, Recording, Slice};
use crate::kernels::{Experts, ExpertsSlice, Kit, Matrix, MatrixSlice, Pass, Rows};
use crate::quant::BlockFormat;
use crate::reference;
use crate::verify::outcome::{Limit, Made, Outcome, POISON, Report};
use fastrand::Rng;

/// Words behind an output that must stay untouched.
const GUARD: usize = 64;

/// A device under test.
pub struct Bench<'g> {
    /// The device.
    pub gpu: &'g Gpu,
    /// Its kit.
    pub kit: Kit,
    /// Seeded anew for each case.
    pub rng: Rng,
    report: Report,
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
        Self { gpu, kit, rng: Rng::with_seed(0), report: Report::default() }
    }

    /// What was found so far.
    pub fn into_report(self) -> Report {
        self.report
    }

    /// Whether activations of `rows` may be f16: on devices with cooperative matrices kernels of long steps take them and leave them.
    pub fn takes_half(&self, rows: Rows) -> bool {
        !rows.are_few() && self.kit.dialect.uses_half()
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

    /// Runs what `record` records for `rows` and returns what it made of `outputs`, or says in the outcomes that a guard band was written to.
    pub fn run(&mut self, case: &str, outputs: &[&Output], rows: Rows, record: impl FnOnce(&mut Pass<'_>)) -> Result<Vec<Made>> {
        let mut recording = Recording::new();
        record(&mut Pass { rec: &mut recording, kit: &self.kit, rows });
        for output in outputs {
            recording.download(output.buffer.all());
        }
        let all = self.gpu.run(&recording)?;
        let launches: Vec<_> = recording.dispatches().iter().map(|d| Ok((d, self.gpu.writes(&d.variant)?))).collect::<Result<_>>()?;
        self.report.launched.extend(launches.iter().map(|(dispatch, _)| dispatch.variant.kernel()));
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
        Ok(made)
    }

    /// Records a failure that is not a matter of size.
    pub fn fail(&mut self, kernel: &'static str, case: &str, failure: String) {
        self.report.outcomes.push(Outcome::failed(kernel, case, failure));
    }

    /// Compares `got`, floats that `made` holds, with the reference.
    pub fn compare(&mut self, made: &Made, case: &str, got: &[f32], want: &[f32], limit: Limit) {
        self.note(made, case, Outcome::of_values(made.kernel(), case, got, want, limit));
    }

    /// Compares `got`, choices that `made` holds, with the reference.
    pub fn compare_ids(&mut self, made: &Made, case: &str, got: &[u32], want: &[u32]) {
        self.note(made, case, Outcome::of_choices(made.kernel(), case, got, want));
    }

    /// Values that were there before are no result, however right they are.
    fn note(&mut self, made: &Made, case: &str, outcome: Outcome) {
        match made.by() {
            Some(_) => self.report.outcomes.push(outcome),
            None => self.fail(made.kernel(), case, "no launch may write to this output, or several kernels do".into()),
        }
    }
}

/// At least `columns` columns, in whole blocks of `format`.
pub fn whole_blocks(format: BlockFormat, columns: usize) -> usize {
    columns.next_multiple_of(format.block_values())
}

/// The reference's view of weights made by [`Bench::matrix`].
pub fn view<'a>(matrix: &Matrix, bytes: &'a [u8]) -> reference::Matrix<'a> {
    reference::Matrix { format: matrix.format, rows: matrix.rows as usize, columns: matrix.columns as usize, bytes }
}
