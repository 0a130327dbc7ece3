//! Cases of `matvec_int8`, which multiplies matrices with activations rounded to int8.

use crate::Result;
use crate::kernels::{Grouping, Matrix, Pass, Rows, Strided, record_hc_mix, record_linear_int8, record_linear_with_hc_mix};
use crate::model::Config;
use crate::quant::BlockFormat;
use crate::reference;
use crate::verify::bench::Bench;
use crate::verify::following::Following;
use crate::verify::outcome::{Made, NOTHING};
use crate::verify::parts::{MOST_ROWS, picked, sampled, side_by_side, view, weights_at, whole_blocks};

/// Every format, teams of lanes of every size, and every number of tokens.
pub fn tiny(bench: &mut Bench<'_>) -> Result<()> {
    if !bench.kernels.profile.int8() {
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
    for (columns, tokens) in [(512, 1), (8192, 1), (8192, 2), (1024, 7), (1024, 16)] {
        fused_hc_mix(bench, (256, columns), tokens)?;
    }
    // Rows that are odd, that teams can take two at a time, and four.
    for rows in [[40, 9, 33, 64], [40, 10, 34, 64], [40, 12, 36, 64]] {
        several_matrices(bench, rows)?;
    }
    for (format, columns) in [(BlockFormat::Q8_0x8, 256), (BlockFormat::Q8_0x8, 4096), (BlockFormat::F16, 512), (BlockFormat::Q8_0, 512)] {
        grouped_in_companies(bench, format, (4, 64, columns), &[1, 2, 3, 5, 16])?;
    }
    Ok(())
}

/// The matrices of V4 Flash: low ranks of queries with the keys, shared gate and up, head, and the two of the output.
pub fn flash(bench: &mut Bench<'_>) -> Result<()> {
    if !bench.kernels.profile.int8() {
        return Ok(());
    }
    let c = Config::flash();
    let [dim, keys, low, shared] = [c.dim, c.q_rank + c.head_dim, c.o_groups * c.o_rank, 2 * c.expert_width].map(|n| n as usize);
    for tokens in [1, 8] {
        linear(bench, BlockFormat::Q8_0x8, tokens, keys, dim)?;
        linear(bench, BlockFormat::Q8_0x8, tokens, shared, dim)?;
        linear(bench, BlockFormat::Q8_0x8, tokens, dim, c.expert_width as usize)?;
        fused_hc_mix(bench, (dim, low), tokens)?;
    }
    linear(bench, BlockFormat::Q8_0x8, 1, c.vocabulary as usize, dim)?;
    let (groups, rank) = (c.o_groups as usize, c.o_rank as usize);
    grouped_in_companies(bench, BlockFormat::Q8_0x8, (groups, rank, (c.heads * c.head_dim) as usize / groups), &[1, 8])
}

/// Numbers of tokens of a step, which select every variant, with all its tokens and with fewer. The first is 1, with which the others are
/// compared.
pub const COMPANIES: [usize; 7] = [1, 2, 3, 4, 7, 13, 16];

fn linear(bench: &mut Bench<'_>, format: BlockFormat, tokens: u32, rows: usize, columns: usize) -> Result<()> {
    let case = format!("{format} {rows}x{columns}, {tokens} tokens");
    let slices = bench.slices(rows * format.row_bytes(columns).unwrap_or(0)).max(2);
    let (bytes, matrix) = bench.matrix(format, rows, columns, slices)?;
    // x and y are parts of wider rows; Q8_0 by eight reads the rounded x, the others the f32 one.
    let wide = bench.floats(tokens as usize * (columns + 24));
    let own: Vec<f32> = wide.chunks_exact(columns + 24).flat_map(|row| &row[16..16 + columns]).copied().collect();
    let x = Strided { slice: bench.upload(&wide)?, stride: columns as u32 + 24, offset: 16, is_f16: false };
    let x_int8 = bench.upload_int8(&own, columns)?;
    // A second matrix of that format in the launch makes matrices of every format take the kernel.
    let (other_bytes, other) = bench.matrix(BlockFormat::Q8_0x8, 3, columns, 1)?;
    let total = rows + 3;
    let out = bench.output(tokens as usize * total)?;
    let y = Strided::whole(&out.slice(), total as u32);
    let matrices = [&matrix, &other];
    let record = |pass: &mut Pass<'_>| {
        record_linear_int8(pass, &matrices, Grouping::Shared, (&x, Some(&x_int8)), (&y, None));
    };
    let Some(made) = bench.run(&case, &[&out], Rows::Few(tokens), record)? else { return Ok(()) };
    let rounded = reference::rounded(&own);
    let some = sampled(rows, MOST_ROWS);
    let weights = weights_at(&matrix, &bytes, &some);
    let weights = reference::Matrix { format, rows: some.len(), columns, bytes: &weights };
    let part = reference::linear(&weights, if format == BlockFormat::Q8_0x8 { &rounded } else { &own });
    let other = reference::linear(&view(&other, &other_bytes), &rounded);
    let want: Vec<f32> = part.chunks_exact(some.len()).zip(other.chunks_exact(3)).flat_map(|(a, b)| [a, b].concat()).collect();
    let places: Vec<usize> = some.into_iter().chain(rows..total).collect();
    let got = picked(&made[0].floats(), &(0..tokens as usize).collect::<Vec<_>>(), &places, total);
    bench.compare(&made[0], &case, &got, &want, made[0].limit());
    Ok(())
}

/// Matrices of different formats in one buffer and one launch. The bits of a token must be the same beside any number of others.
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
        let record = |pass: &mut Pass<'_>| {
            record_linear_int8(pass, &matrices, Grouping::Shared, (&x, Some(&x_int8)), (&y, None));
        };
        let Some(made) = bench.run(&case, &[&out], Rows::Few(tokens as u32), record)? else { continue };
        let rounded = reference::rounded(own);
        let x_of = |matrix: &Matrix| if matrix.format == BlockFormat::Q8_0x8 { &rounded[..] } else { own };
        let want = side_by_side(&built, tokens, |bytes, matrix| reference::linear(&view(matrix, bytes), x_of(matrix)));
        bench.compare(&made[0], &case, &made[0].floats(), &want, made[0].limit());
        bench.compare_with_alone(&made[0], &case, tokens, &mut alone);
    }
    Ok(())
}

/// A matrix with a fused hc_mix. It must make the same bits as the matrix alone and hc_mix after it.
fn fused_hc_mix(bench: &mut Bench<'_>, (dim, columns): (usize, usize), tokens: u32) -> Result<()> {
    let t = tokens as usize;
    let case = format!("{dim}x{columns} and the streams, {tokens} tokens");
    let (_, matrix) = bench.matrix(BlockFormat::Q8_0x8, dim, columns, 1)?;
    let own = bench.floats(t * columns);
    let (x, x_int8) = (Strided::whole(&bench.upload(&own)?, columns as u32), bench.upload_int8(&own, columns)?);
    let following = Following::new(bench, dim, t)?;
    let y = bench.output(t * dim)?;
    let y_slice = y.slice();
    let update = following.update(&y_slice);
    let [next, mix] = following.outputs();
    let mut is_fused = false;
    let together = bench.run(&case, &[&y, next, mix], Rows::Few(tokens), |pass| {
        is_fused = record_linear_with_hc_mix(pass, &matrix, (&x, Some(&x_int8)), update);
    })?;
    let apart = bench.run(&case, &[&y, next, mix], Rows::Few(tokens), |pass| {
        let y = Strided::whole(&y_slice, dim as u32);
        record_linear_int8(pass, &[&matrix], Grouping::Shared, (&x, Some(&x_int8)), (&y, None));
        record_hc_mix(pass, update.weights, update.x, Some(update.residual), update.mix);
    })?;
    let (Some(together), Some(apart)) = (together, apart) else { return Ok(()) };
    let kernel = together[0].kernel();
    if is_fused && !together.iter().map(|own| &own.words).eq(apart.iter().map(|own| &own.words)) {
        bench.fail(kernel, &case, "differs from the same in two launches".into());
    }
    if is_fused && together.iter().any(|own| own.kernel() != kernel) {
        bench.fail(kernel, &case, "says that it updates the streams, which another launch does".into());
    }
    if !is_fused && bench.kernels.profile.caps.invocations >= 1024 {
        bench.fail(NOTHING, &case, "not recorded".into());
    }
    Ok(())
}

/// [`grouped`] for each number of tokens in `companies`. The bits of the first token must be the same in all of them.
fn grouped_in_companies(bench: &mut Bench<'_>, format: BlockFormat, shape: (usize, usize, usize), companies: &[usize]) -> Result<()> {
    let mut alone = Vec::new();
    for &tokens in companies {
        let Some(made) = grouped(bench, format, shape, tokens)? else { continue };
        if tokens == 1 {
            alone = made.words;
        } else if !made.words.starts_with(&alone) {
            let case = format!("groups, {tokens} tokens");
            bench.fail(made.kernel(), &case, "the first token's bits differ from those it has alone".into());
        }
    }
    Ok(())
}

/// Groups of rows, each with other columns. If the device rounds the result, that is compared too. Returns the result.
fn grouped(
    bench: &mut Bench<'_>,
    format: BlockFormat,
    (groups, rank, columns): (usize, usize, usize),
    tokens: usize,
) -> Result<Option<Made>> {
    let case = format!("{groups} groups of {format} {rank}x{columns}, {tokens} tokens");
    // Every number of tokens gets the same weights and the same first row.
    bench.rng.seed(7);
    let (bytes, matrix) = bench.matrix(format, groups * rank, columns, 2)?;
    let input = bench.floats(16 * groups * columns)[..tokens * groups * columns].to_vec();
    let x = Strided::whole(&bench.upload(&input)?, (groups * columns) as u32);
    let x_int8 = bench.upload_int8(&input, groups * columns)?;
    let out = bench.output(tokens * groups * rank)?;
    let y = Strided::whole(&out.slice(), (groups * rank) as u32);
    let Some((out_int8, y_int8)) = bench.output_int8(Rows::Few(tokens as u32), groups * rank)? else { return Ok(None) };
    let grouping = Grouping::Rows(rank as u32);
    let made = bench.run(&case, &[&out, &out_int8], Rows::Few(tokens as u32), |pass| {
        record_linear_int8(pass, &[&matrix], grouping, (&x, Some(&x_int8)), (&y, Some(&y_int8)));
    })?;
    let Some(mut made) = made else { return Ok(None) };
    let input = if format == BlockFormat::Q8_0x8 { reference::rounded(&input) } else { input };
    let (got, want) = (made[0].floats(), reference::linear_grouped(&view(&matrix, &bytes), groups, &input));
    bench.compare(&made[0], &case, &got, &want, made[0].limit());
    bench.compare_int8(&made[1], &case, &got, groups * rank);
    Ok(Some(made.swap_remove(0)))
}
