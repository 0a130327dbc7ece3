//! Cases of `matvec`, `matmul` and `matmul_coop`, which multiply matrices with f32 and f16 rows, and of the decoding of weights.

use crate::Result;
use crate::kernels::{Grouping, Matrix, Pass, Rows, Strided, record_decode_runs, record_linear};
use crate::model::Config;
use crate::quant::BlockFormat;
use crate::reference;
use crate::verify::bench::Bench;
use crate::verify::outcome::Limit;
use crate::verify::parts::{MOST_ROWS, MOST_TOKENS, picked, rows_at, sampled, side_by_side, view, weights_at, whole_blocks};

/// Every format, numbers of rows that select every variant, and rows and columns that fill no tile.
pub fn tiny(bench: &mut Bench<'_>) -> Result<()> {
    for format in BlockFormat::ALL {
        // Of the kinds of tiles the small and the large: how many rows one holds does not change how weights are read.
        for rows in [Rows::Few(1), Rows::Few(13), Rows::Many(5), Rows::Many(130)] {
            linear(bench, format, rows, (77, whole_blocks(format, 512)), 1)?;
        }
        decode_runs(bench, format, 9, whole_blocks(format, 512))?;
    }
    decode_runs(bench, BlockFormat::F16, 9, 264)?;
    decode_runs(bench, BlockFormat::Bf16, 9, 264)?;
    for rows in [Rows::Few(2), Rows::Few(3), Rows::Few(5), Rows::Few(16), Rows::Many(1), Rows::Many(17), Rows::Many(40), Rows::Many(70)] {
        linear(bench, BlockFormat::Q8_0, rows, (77, 512), 3)?;
    }
    // Rows whose columns end within a stage.
    for rows in [Rows::Many(5), Rows::Many(17), Rows::Many(130)] {
        linear(bench, BlockFormat::F16, rows, (77, 264), 1)?;
        linear(bench, BlockFormat::Q8_0, rows, (77, 288), 1)?;
    }
    several_matrices(bench)?;
    for rows in [Rows::Few(2), Rows::Many(1), Rows::Many(5), Rows::Many(41)] {
        grouped(bench, BlockFormat::Q8_0, rows, (3, 40, 256))?;
    }
    Ok(())
}

/// The matrices of V4 Flash: low ranks of queries with the keys, queries, output, shared gate and up, router, and for few rows the head.
pub fn flash(bench: &mut Bench<'_>) -> Result<()> {
    let c = Config::flash();
    let [dim, q_rank, heads, low, shared] =
        [c.dim, c.q_rank, c.heads * c.head_dim, c.o_groups * c.o_rank, 2 * c.expert_width].map(|n| n as usize);
    let dense = BlockFormat::Q8_0.on_device(dim);
    let shapes =
        [(dense, q_rank + 512, dim), (dense, heads, q_rank), (dense, dim, low), (dense, shared, dim), (BlockFormat::F16, 256, dim)];
    for rows in [Rows::Few(1), Rows::Few(8), Rows::Many(bench.piece())] {
        for (format, outputs, columns) in shapes {
            linear(bench, format, rows, (outputs, columns), 1)?;
        }
        grouped(bench, dense, rows, (c.o_groups as usize, c.o_rank as usize, heads / c.o_groups as usize))?;
    }
    let slices = bench.slices(c.vocabulary as usize * dense.row_bytes(dim).unwrap_or(0));
    linear(bench, dense, Rows::Few(1), (c.vocabulary as usize, dim), slices)?;
    decode_runs(bench, dense, 256, dim)
}

/// The weights as cooperative kernels decode them, on devices with f16.
fn decode_runs(bench: &mut Bench<'_>, format: BlockFormat, rows: usize, columns: usize) -> Result<()> {
    if !bench.kernels.profile.caps.f16 {
        return Ok(());
    }
    let case = format!("{format} {rows}x{columns}");
    let (bytes, matrix) = bench.matrix(format, rows, columns, 1)?;
    let padded = columns.next_multiple_of(32);
    let out = bench.output(rows * padded)?;
    let Some(made) = bench.run(&case, &[&out], Rows::Many(rows as u32), |pass| record_decode_runs(pass, &matrix, &out.slice()))? else {
        return Ok(());
    };
    // Values after the last column must be decoded as zeros, so that their products are zero.
    let mut want = vec![0f32; rows * padded];
    want.chunks_exact_mut(padded).enumerate().for_each(|(r, row)| view(&matrix, &bytes).row(r, &mut row[..columns]));
    bench.compare(&made[0], &case, &made[0].floats(), &want, Limit::HALF_STORED);
    Ok(())
}

fn linear(bench: &mut Bench<'_>, format: BlockFormat, rows: Rows, (outputs, columns): (usize, usize), slices: usize) -> Result<()> {
    let tokens = rows.count() as usize;
    let case = format!("{format} {outputs}x{columns}, {rows:?}, {slices} slices");
    let (bytes, matrix) = bench.matrix(format, outputs, columns, slices)?;
    // x and y are parts of wider rows.
    let wide = bench.floats(tokens * (columns + 24));
    let (some_tokens, some_rows) = (sampled(tokens, MOST_TOKENS), sampled(outputs, MOST_ROWS));
    let mut want = None;
    let element_types: &[bool] = if bench.takes_f16(rows) { &[false, true] } else { &[false] };
    for (&x_is_f16, &y_is_f16) in element_types.iter().flat_map(|x| element_types.iter().map(move |y| (x, y))) {
        let x = Strided::whole(&bench.upload_elements(&wide, x_is_f16)?, columns as u32 + 24).at(16).with_f16(x_is_f16);
        let stride = outputs.next_multiple_of(2);
        let out = bench.elements(tokens * stride, y_is_f16)?;
        let y = Strided::whole(&out.slice(), stride as u32).with_f16(y_is_f16);
        let record = |pass: &mut Pass<'_>| record_linear(pass, &[&matrix], Grouping::Shared, &x, &y);
        let Some(made) = bench.run(&case, &[&out], rows, record)? else { continue };
        let want = want.get_or_insert_with(|| {
            let some = weights_at(&matrix, &bytes, &some_rows);
            let own = rows_at(&wide, &some_tokens, columns + 24, 16, columns);
            reference::linear(&reference::Matrix { format, rows: some_rows.len(), columns, bytes: &some }, &own)
        });
        let got = picked(&made[0].elements(y_is_f16), &some_tokens, &some_rows, stride);
        bench.compare(&made[0], &case, &got, want, made[0].limit());
    }
    Ok(())
}

/// Matrices of different formats in one buffer and one launch. The bits of a token must be the same beside any number of others.
fn several_matrices(bench: &mut Bench<'_>) -> Result<()> {
    let columns = 256;
    let shapes = [(BlockFormat::Q8_0, 40), (BlockFormat::F16, 9), (BlockFormat::Q8_0, 33), (BlockFormat::F16, 64)];
    let built = bench.several(&shapes, columns)?;
    let total: usize = shapes.iter().map(|(_, rows)| rows).sum();
    let all = bench.floats(16 * columns);
    let mut alone: Vec<u32> = Vec::new();
    for tokens in [1u32, 2, 3, 8, 16] {
        let case = format!("4 matrices of q8_0 and f16, {tokens} tokens");
        let x = Strided { slice: bench.upload(&all[..tokens as usize * columns])?, stride: columns as u32, offset: 0, is_f16: false };
        let out = bench.output(tokens as usize * total)?;
        let y = Strided { slice: out.slice(), stride: total as u32, offset: 0, is_f16: false };
        let matrices: Vec<&Matrix> = built.iter().map(|(_, matrix)| matrix).collect();
        let record = |pass: &mut Pass<'_>| record_linear(pass, &matrices, Grouping::Shared, &x, &y);
        let Some(made) = bench.run(&case, &[&out], Rows::Few(tokens), record)? else { continue };
        let own = &all[..tokens as usize * columns];
        let want = side_by_side(&built, tokens as usize, |bytes, matrix| reference::linear(&view(matrix, bytes), own));
        bench.compare(&made[0], &case, &made[0].floats(), &want, made[0].limit());
        bench.compare_with_alone(&made[0], &case, tokens as usize, &mut alone);
    }
    Ok(())
}

/// `groups` groups of `rank` rows, each of which takes other `columns` columns.
fn grouped(bench: &mut Bench<'_>, format: BlockFormat, rows: Rows, (groups, rank, columns): (usize, usize, usize)) -> Result<()> {
    let (tokens, is_f16) = (rows.count() as usize, bench.takes_f16(rows));
    let case = format!("{groups} groups of {format} {rank}x{columns}, {rows:?}");
    let (bytes, matrix) = bench.matrix(format, groups * rank, columns, 1)?;
    let input = bench.floats(tokens * groups * columns);
    let x = Strided::whole(&bench.upload_elements(&input, is_f16)?, (groups * columns) as u32).with_f16(is_f16);
    let out = bench.output(tokens * groups * rank)?;
    let y = Strided::whole(&out.slice(), (groups * rank) as u32);
    let grouping = Grouping::Rows(rank as u32);
    let record = |pass: &mut Pass<'_>| record_linear(pass, &[&matrix], grouping, &x, &y);
    let Some(made) = bench.run(&case, &[&out], rows, record)? else { return Ok(()) };
    let tokens = sampled(tokens, MOST_TOKENS);
    let each = sampled(rank, MOST_ROWS / 2);
    let some_rows: Vec<usize> = (0..groups).flat_map(|group| each.iter().map(move |row| group * rank + row)).collect();
    let some = weights_at(&matrix, &bytes, &some_rows);
    let weights = reference::Matrix { format, rows: some_rows.len(), columns, bytes: &some };
    let want = reference::linear_grouped(&weights, groups, &rows_at(&input, &tokens, groups * columns, 0, groups * columns));
    let got = picked(&made[0].floats(), &tokens, &some_rows, groups * rank);
    bench.compare(&made[0], &case, &got, &want, made[0].limit());
    Ok(())
}
