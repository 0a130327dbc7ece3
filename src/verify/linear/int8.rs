//! Checks of activations rounded to int8 and of dense matrices that multiply them.

use crate::Result;
use crate::gpu::Slice;
use crate::kernels::{
    Grouping, HcResidual, HcUpdate, HcWeights, LinearNormed, Matrix, Quantized, Rows, Strided, hc_mix_words, record_hc_mix,
    record_linear_int8, record_linear_with_hc_mix,
};
use crate::quant::BlockFormat;
use crate::reference;
use crate::verify::bench::{Bench, Output, view, whole_blocks};
use crate::verify::outcome::{Limit, Made, NOTHING};

/// All checks of this file, where the device has a use for int8.
pub fn run(bench: &mut Bench<'_>) -> Result<()> {
    if !bench.kit.dialect.int8() {
        return Ok(());
    }
    for format in BlockFormat::ALL {
        linear(bench, format, 1, 77, whole_blocks(format, 512))?;
    }
    for tokens in [2, 3, 7, 13, 16] {
        linear(bench, BlockFormat::Q8_0x8, tokens, 77, 512)?;
    }
    // Teams of lanes of every size, rows that are no power of two, and a last workgroup with few rows.
    for columns in [256, 768, 1024, 2048, 4096, 8192, 16384] {
        linear(bench, BlockFormat::Q8_0x8, 1, 35, columns)?;
        linear(bench, BlockFormat::F16, 2, 35, columns)?;
    }
    // Rows that teams can take one at a time, two and four; F16 takes even numbers.
    let (q8_0, f16) = (BlockFormat::Q8_0x8, BlockFormat::F16);
    normed(bench, 256, [q8_0, q8_0, q8_0], [40, 33, 12])?;
    normed(bench, 768, [q8_0, q8_0, f16], [40, 36, 10])?;
    normed(bench, 1024, [q8_0, q8_0, f16], [40, 36, 12])?;
    normed(bench, 1024, [f16, f16, f16], [40, 36, 12])?;
    for (columns, tokens) in [(512, 1), (8192, 1), (8192, 2), (1024, 7), (1024, 16)] {
        leaving(bench, columns, tokens)?;
    }
    // Rows that are odd, that teams can take two at a time, and four.
    for rows in [[40, 9, 33, 64], [40, 10, 34, 64], [40, 12, 36, 64]] {
        several_matrices(bench, rows)?;
    }
    for (format, columns) in [(BlockFormat::Q8_0x8, 256), (BlockFormat::Q8_0x8, 4096), (BlockFormat::F16, 512), (BlockFormat::Q8_0, 512)] {
        let mut alone = Vec::new();
        for tokens in [1, 2, 3, 5, 16] {
            let Some(made) = grouped(bench, format, columns, tokens)? else { continue };
            if tokens == 1 {
                alone = made.words;
            } else if !made.words.starts_with(&alone) {
                bench.fail(
                    made.kernel(),
                    &format!("groups, {tokens} tokens"),
                    "the first token's bits differ from those it has alone".into(),
                );
            }
        }
    }
    Ok(())
}

/// Tokens of a step, so that each size of code runs full or not, the first with one token alone.
const COMPANIES: [usize; 7] = [1, 2, 3, 4, 7, 13, 16];

/// Words of `x` in rows of `columns`, laid out as `lib/numbers/quantize` says.
pub fn words_of(x: &[f32], columns: usize) -> Vec<u32> {
    let mut words = Vec::new();
    for row in x.chunks_exact(columns) {
        let (codes, scales) = reference::quantize(row);
        let bytes: Vec<u8> = codes.iter().map(|&c| c as u8).collect();
        words.extend(bytes.as_chunks::<4>().0.iter().map(|&b| u32::from_le_bytes(b)));
        words.extend(scales.iter().map(|s| s.to_bits()));
    }
    words
}

impl Bench<'_> {
    /// `x`, rows of `columns`, rounded on the host.
    pub fn upload_int8(&self, x: &[f32], columns: usize) -> Result<Quantized> {
        Ok(Quantized { slice: self.upload(&words_of(x, columns))?, columns: columns as u32 })
    }

    /// Room for `rows` of `columns` values, if a kernel would leave them rounded.
    pub fn output_int8(&self, rows: Rows, columns: usize) -> Result<Option<(Output, Quantized)>> {
        let output = self.output((rows.count() * Quantized::words(columns as u32)) as usize)?;
        let quantized = Quantized::new(&self.kit.dialect, &output.slice(), columns as u32, rows);
        Ok(quantized.map(|q| (output, q)))
    }

    /// Compares a rounded result with the f32 one. Returns what the kernel left: a value halfway between two codes may go to either.
    pub fn compare_int8(&mut self, made: &Made, case: &str, exact: &[f32], columns: usize) -> Vec<f32> {
        let case = format!("{case}, int8");
        let mut got = Vec::new();
        for row in made.words.chunks_exact(Quantized::words(columns as u32) as usize) {
            let (codes, scales) = row.split_at(columns / 4);
            for (block, &scale) in codes.chunks_exact(8).zip(scales) {
                got.extend(block.iter().flat_map(|w| w.to_le_bytes()).map(|code| f32::from(code as i8) * f32::from_bits(scale)));
            }
        }
        self.compare(made, &case, &got, &reference::rounded(exact), Limit::INT8);
        got
    }
}

fn linear(bench: &mut Bench<'_>, format: BlockFormat, tokens: u32, rows: usize, columns: usize) -> Result<()> {
    let case = format!("{format} {rows}x{columns}, {tokens} tokens");
    let (bytes, matrix) = bench.matrix(format, rows, columns, 2)?;
    // x and y are parts of wider rows; Q8_0 by eight reads the rounded x, the others the f32 one.
    let wide = bench.floats(tokens as usize * (columns + 24));
    let own: Vec<f32> = wide.chunks_exact(columns + 24).flat_map(|row| &row[16..16 + columns]).copied().collect();
    let x = Strided { slice: bench.upload(&wide)?, stride: columns as u32 + 24, offset: 16, half: false };
    let x_int8 = bench.upload_int8(&own, columns)?;
    // A companion of that format makes every format take the kernel.
    let (other_bytes, other) = bench.matrix(BlockFormat::Q8_0x8, 3, columns, 1)?;
    let total = rows + 3;
    let out = bench.output(tokens as usize * total)?;
    let y = Strided::whole(&out.slice(), total as u32);
    let matrices = [&matrix, &other];
    let made = bench.run(&case, &[&out], Rows::Few(tokens), |pass| {
        record_linear_int8(pass, &matrices, Grouping::Shared, (&x, Some(&x_int8)), (&y, None));
    })?;
    let rounded = reference::rounded(&own);
    let part = reference::linear(&view(&matrix, &bytes), if format == BlockFormat::Q8_0x8 { &rounded } else { &own });
    let other = reference::linear(&view(&other, &other_bytes), &rounded);
    let want: Vec<f32> = part.chunks_exact(rows).zip(other.chunks_exact(3)).flat_map(|(a, b)| [a, b].concat()).collect();
    bench.compare(&made[0], &case, &made[0].floats(), &want, made[0].limit());
    Ok(())
}

/// Matrices of different formats in one buffer and one launch, and each token's bits the same in every company.
fn several_matrices(bench: &mut Bench<'_>, rows: [usize; 4]) -> Result<()> {
    let columns = 1024;
    let mut formats = [BlockFormat::Q8_0x8, BlockFormat::F16].into_iter().cycle();
    let shapes = rows.map(|rows| (formats.next().unwrap_or(BlockFormat::F16), rows));
    let built = bench.several(&shapes, columns)?;
    let total: usize = shapes.iter().map(|(_, rows)| rows).sum();
    let all = bench.floats(16 * columns);
    let mut alone: Vec<u32> = Vec::new();
    for tokens in COMPANIES {
        let case = format!("matrices of {rows:?} rows of q8_0x8 and f16, {tokens} tokens");
        let own = &all[..tokens * columns];
        let (x, x_int8) = (Strided::whole(&bench.upload(own)?, columns as u32), bench.upload_int8(own, columns)?);
        let out = bench.output(tokens * total)?;
        let y = Strided::whole(&out.slice(), total as u32);
        let matrices: Vec<&Matrix> = built.iter().map(|(_, matrix)| matrix).collect();
        let made = bench.run(&case, &[&out], Rows::Few(tokens as u32), |pass| {
            record_linear_int8(pass, &matrices, Grouping::Shared, (&x, Some(&x_int8)), (&y, None));
        })?;
        let rounded = reference::rounded(own);
        let mut want = vec![0f32; tokens * total];
        let mut first = 0;
        for (bytes, matrix) in &built {
            let rows = matrix.rows as usize;
            let part = reference::linear(&view(matrix, bytes), if matrix.format == BlockFormat::Q8_0x8 { &rounded } else { own });
            for (want, part) in want.chunks_exact_mut(total).zip(part.chunks_exact(rows)) {
                want[first..first + rows].copy_from_slice(part);
            }
            first += rows;
        }
        bench.compare(&made[0], &case, &made[0].floats(), &want, made[0].limit());
        if tokens == 1 {
            alone = made[0].words.clone();
        } else if made[0].words[..total] != alone[..] {
            bench.fail(made[0].kernel(), &case, "the first token's bits differ from those it has alone".into());
        }
    }
    Ok(())
}

/// Rows that are normalised on the way, and each token's bits the same in every company.
fn normed(bench: &mut Bench<'_>, columns: usize, formats: [BlockFormat; 3], rows: [usize; 3]) -> Result<()> {
    let built = bench.several(&[0, 1, 2].map(|n| (formats[n], rows[n])), columns)?;
    let matrices: Vec<&Matrix> = built.iter().map(|(_, matrix)| matrix).collect();
    let (total, stride) = (rows.iter().sum::<usize>(), columns + 24);
    // Whole numbers up to 127 in each block: no value lies between two codes, whatever a norm's last bit.
    let mut x: Vec<f32> = bench.floats(16 * stride).iter().map(|v| (v * 50.0).round().clamp(-126.0, 126.0)).collect();
    for row in x.chunks_exact_mut(stride) {
        row[16..16 + columns].iter_mut().step_by(32).for_each(|v| *v = 127.0);
    }
    let weight: Vec<f32> = bench.floats(columns / 32).iter().flat_map(|&v| [v; 32]).collect();
    let (x_gpu, norm) = (bench.upload(&x)?, bench.upload(&weight)?);
    let own: Vec<f32> = x.chunks_exact(stride).flat_map(|row| &row[16..16 + columns]).copied().collect();
    let rounded = reference::rounded(&reference::rms_norm(&own, &weight, 1e-6));
    let parts: Vec<Vec<f32>> = built.iter().map(|(bytes, matrix)| reference::linear(&view(matrix, bytes), &rounded)).collect();
    let row_of = |t: usize| parts.iter().zip(rows).flat_map(move |(part, rows)| &part[t * rows..][..rows]);
    let want: Vec<f32> = (0..16).flat_map(row_of).copied().collect();
    let x = Strided { slice: x_gpu, stride: stride as u32, offset: 16, half: false };
    let mut alone: Vec<u32> = Vec::new();
    for tokens in COMPANIES {
        let case = format!("{:?} {rows:?}x{columns}, {tokens} tokens", formats[2]);
        let out = bench.output(tokens * total)?;
        let y = Strided::whole(&out.slice(), total as u32);
        let Some(linear) = LinearNormed::new(&bench.kit, &matrices, Rows::Few(tokens as u32)) else {
            bench.fail(NOTHING, &case, "matvec_normed has no variant for it".into());
            continue;
        };
        let made = bench.run(&case, &[&out], Rows::Few(tokens as u32), |pass| linear.record(pass, &x, (&norm, 1e-6), &y))?;
        bench.compare(&made[0], &case, &made[0].floats(), &want[..tokens * total], made[0].limit());
        if tokens == 1 {
            alone = made[0].words.clone();
        } else if made[0].words[..total] != alone[..] {
            bench.fail(made[0].kernel(), &case, "the first token's bits differ from those it has alone".into());
        }
    }
    Ok(())
}

/// What may follow a matrix in its launch: streams of `tokens` rows of `dim` channels, and where they and their mix go.
pub struct Following {
    weights: HcWeights,
    streams: Slice,
    post: Slice,
    outputs: [Output; 2],
    slices: [Slice; 2],
}

impl Following {
    /// With random values.
    pub fn new(bench: &mut Bench<'_>, dim: usize, tokens: usize) -> Result<Self> {
        let (_, mix) = bench.matrix(BlockFormat::F16, 24, 4 * dim, 1)?;
        let (streams, post) = (bench.floats(tokens * 4 * dim), bench.floats(tokens * 32));
        let (streams, post) = (bench.upload(&streams)?, bench.upload(&post)?);
        let mix_words = hc_mix_words(&bench.kit.dialect, dim as u32, Rows::Few(tokens as u32)) as usize;
        let outputs = [bench.output(tokens * 4 * dim)?, bench.output(tokens * mix_words)?];
        let slices = outputs.each_ref().map(Output::slice);
        // The mix alone needs neither base nor norm.
        let weights = HcWeights { mix, base_scale: post.clone(), norm: post.clone() };
        Ok(Self { weights, streams, post, outputs, slices })
    }

    /// What is left.
    pub fn outputs(&self) -> [&Output; 2] {
        self.outputs.each_ref()
    }

    /// Behind the result `y`.
    pub fn update<'a>(&'a self, y: &'a Slice) -> HcUpdate<'a> {
        let [next, mix] = &self.slices;
        HcUpdate { weights: &self.weights, x: &self.streams, residual: HcResidual { post: &self.post, y, next }, mix }
    }
}

/// A matrix whose launch leaves the streams too: what the matrix alone and hc_mix behind it make, bit by bit.
fn leaving(bench: &mut Bench<'_>, columns: usize, tokens: u32) -> Result<()> {
    let (dim, t) = (256, tokens as usize);
    let case = format!("{dim}x{columns} and the streams, {tokens} tokens");
    let (_, matrix) = bench.matrix(BlockFormat::Q8_0x8, dim, columns, 1)?;
    let own = bench.floats(t * columns);
    let (x, x_int8) = (Strided::whole(&bench.upload(&own)?, columns as u32), bench.upload_int8(&own, columns)?);
    let following = Following::new(bench, dim, t)?;
    let y = bench.output(t * dim)?;
    let y_slice = y.slice();
    let update = following.update(&y_slice);
    let [next, mix] = following.outputs();
    let mut has_left = false;
    let together = bench.run(&case, &[&y, next, mix], Rows::Few(tokens), |pass| {
        has_left = record_linear_with_hc_mix(pass, &matrix, (&x, Some(&x_int8)), update);
    })?;
    let apart = bench.run(&case, &[&y, next, mix], Rows::Few(tokens), |pass| {
        let y = Strided::whole(&y_slice, dim as u32);
        record_linear_int8(pass, &[&matrix], Grouping::Shared, (&x, Some(&x_int8)), (&y, None));
        record_hc_mix(pass, update.weights, update.x, Some(update.residual), update.mix);
    })?;
    let kernel = together[0].kernel();
    if has_left && !together.iter().map(|own| &own.words).eq(apart.iter().map(|own| &own.words)) {
        bench.fail(kernel, &case, "differs from the same in two launches".into());
    }
    if has_left && together.iter().any(|own| own.kernel() != kernel) {
        bench.fail(kernel, &case, "says that it leaves the streams, which another launch does".into());
    }
    if !has_left && bench.kit.dialect.caps.invocations >= 1024 {
        bench.fail(NOTHING, &case, "not recorded".into());
    }
    Ok(())
}

/// Groups of rows with columns of their own, and the result rounded too, where the device rounds it. Returns the result.
fn grouped(bench: &mut Bench<'_>, format: BlockFormat, columns: usize, tokens: usize) -> Result<Option<Made>> {
    let (groups, rank) = (4, 64);
    let case = format!("{groups} groups of {format} {rank}x{columns}, {tokens} tokens");
    // The same weights and the same first row whatever the step.
    bench.rng.seed(7);
    let (bytes, matrix) = bench.matrix(format, groups * rank, columns, 2)?;
    let input = bench.floats(16 * groups * columns)[..tokens * groups * columns].to_vec();
    let x = Strided::whole(&bench.upload(&input)?, (groups * columns) as u32);
    let x_int8 = bench.upload_int8(&input, groups * columns)?;
    let out = bench.output(tokens * groups * rank)?;
    let y = Strided::whole(&out.slice(), (groups * rank) as u32);
    let Some((out_int8, y_int8)) = bench.output_int8(Rows::Few(tokens as u32), groups * rank)? else { return Ok(None) };
    let grouping = Grouping::Rows(rank as u32);
    let mut made = bench.run(&case, &[&out, &out_int8], Rows::Few(tokens as u32), |pass| {
        record_linear_int8(pass, &[&matrix], grouping, (&x, Some(&x_int8)), (&y, Some(&y_int8)));
    })?;
    let input = if format == BlockFormat::Q8_0x8 { reference::rounded(&input) } else { input };
    let (got, want) = (made[0].floats(), reference::linear_grouped(&view(&matrix, &bytes), groups, &input));
    bench.compare(&made[0], &case, &got, &want, made[0].limit());
    bench.compare_int8(&made[1], &case, &got, groups * rank);
    Ok(Some(made.swap_remove(0)))
}
