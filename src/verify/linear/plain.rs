//! Checks of embedding, norms, dense matrices, and of what reads memory.

use crate::Result;
use crate::kernels::{
    Grouping, Matrix, Row, Rows, SAMPLED, Strided, record_decode_runs, record_embed, record_linear, record_mtp_join, record_rms_norm,
    record_stream_read,
};
use crate::quant::BlockFormat;
use crate::reference;
use crate::verify::bench::{Bench, view, whole_blocks};
use crate::verify::outcome::Limit;

/// All checks of this file.
pub fn run(bench: &mut Bench<'_>) -> Result<()> {
    for format in BlockFormat::ALL {
        embed(bench, format, 1)?;
        // Of the kinds of tiles the small and the large: how many rows one holds does not change how weights are read.
        for rows in [Rows::Few(1), Rows::Few(13), Rows::Many(5), Rows::Many(130)] {
            linear(bench, format, rows, 1, whole_blocks(format, 512))?;
        }
        decode_runs(bench, format, whole_blocks(format, 512))?;
    }
    decode_runs(bench, BlockFormat::F16, 264)?;
    decode_runs(bench, BlockFormat::Bf16, 264)?;
    embed(bench, BlockFormat::F16, 3)?;
    for rows in [Rows::Few(2), Rows::Few(3), Rows::Few(5), Rows::Few(16), Rows::Many(1), Rows::Many(17), Rows::Many(40), Rows::Many(70)] {
        linear(bench, BlockFormat::Q8_0, rows, 3, 512)?;
    }
    // Rows that end within what is staged at a time.
    for rows in [Rows::Many(5), Rows::Many(17), Rows::Many(130)] {
        linear(bench, BlockFormat::F16, rows, 1, 264)?;
        linear(bench, BlockFormat::Q8_0, rows, 1, 288)?;
    }
    several_matrices(bench)?;
    for rows in [Rows::Few(2), Rows::Many(1), Rows::Many(5), Rows::Many(41)] {
        grouped(bench, rows)?;
    }
    norm(bench)?;
    stream(bench)
}

fn embed(bench: &mut Bench<'_>, format: BlockFormat, slices: usize) -> Result<()> {
    let (ids, dim, tokens) = (50, whole_blocks(format, 512), 7u32);
    let case = format!("{format} {ids}x{dim} in {slices} slices");
    let (bytes, table) = bench.matrix(format, ids, dim, slices)?;
    let ids: Vec<u32> = (0..tokens).map(|t| t * 8 + 1).collect();
    // The last row takes the id that the sampler left for its slot.
    let rows: Vec<Row> = (0..tokens)
        .map(|t| Row { slot: t % 3, token: if t + 1 == tokens { SAMPLED } else { ids[t as usize] }, ..Row::default() })
        .collect();
    let (rows, sampled) = (bench.upload(&rows)?, bench.upload(&[ids[6], 3, 5])?);
    let out = bench.output(tokens as usize * 4 * dim)?;
    let made = bench.run(&case, &[&out], Rows::Many(tokens), |pass| record_embed(pass, &table, &rows, &sampled, &out.slice()))?;
    let mut want = Vec::new();
    for id in ids {
        let mut row = vec![0f32; dim];
        view(&table, &bytes).row(id as usize, &mut row);
        want.extend(row.repeat(4));
    }
    // Formats with a minimum multiply and subtract in one step on the GPU, in two on the CPU.
    let limit = if matches!(format, BlockFormat::Q2K | BlockFormat::Q2Kx4 | BlockFormat::Q4K) { Limit::F32 } else { Limit::EXACT };
    bench.compare(&made[0], &case, &made[0].floats(), &want, limit);
    Ok(())
}

/// What cooperative kernels decode, where there are halves to decode to.
fn decode_runs(bench: &mut Bench<'_>, format: BlockFormat, columns: usize) -> Result<()> {
    if !bench.kit.dialect.caps.f16 {
        return Ok(());
    }
    let (case, rows) = (format!("{format} 9x{columns}"), 9);
    let (bytes, matrix) = bench.matrix(format, rows, columns, 1)?;
    let padded = columns.next_multiple_of(32);
    let out = bench.output(rows * padded)?;
    let made = bench.run(&case, &[&out], Rows::Many(rows as u32), |pass| record_decode_runs(pass, &matrix, &out.slice()))?;
    // A product with what is behind the columns must be zero, whatever x is.
    let mut want = vec![0f32; rows * padded];
    want.chunks_exact_mut(padded).enumerate().for_each(|(r, row)| view(&matrix, &bytes).row(r, &mut row[..columns]));
    bench.compare(&made[0], &case, &made[0].floats(), &want, Limit::HALF_STORED);
    Ok(())
}

fn linear(bench: &mut Bench<'_>, format: BlockFormat, rows: Rows, slices: usize, columns: usize) -> Result<()> {
    let (tokens, outputs) = (rows.count() as usize, 77);
    let case = format!("{format} {outputs}x{columns}, {rows:?}, {slices} slices");
    let (bytes, matrix) = bench.matrix(format, outputs, columns, slices)?;
    // x and y are parts of wider rows.
    let wide = bench.floats(tokens * (columns + 24));
    let own: Vec<f32> = wide.chunks_exact(columns + 24).flat_map(|row| &row[16..16 + columns]).copied().collect();
    let want = reference::linear(&view(&matrix, &bytes), &own);
    let halves: &[bool] = if bench.takes_half(rows) { &[false, true] } else { &[false] };
    for (&x_half, &y_half) in halves.iter().flat_map(|x| halves.iter().map(move |y| (x, y))) {
        let x = Strided::whole(&bench.upload_elements(&wide, x_half)?, columns as u32 + 24).at(16).with_f16(x_half);
        let stride = outputs.next_multiple_of(2);
        let out = bench.elements(tokens * stride, y_half)?;
        let y = Strided::whole(&out.slice(), stride as u32).with_f16(y_half);
        let made = bench.run(&case, &[&out], rows, |pass| record_linear(pass, &[&matrix], Grouping::Shared, &x, &y))?;
        let got: Vec<f32> = made[0].elements(y_half).chunks_exact(stride).flat_map(|row| row[..outputs].to_vec()).collect();
        bench.compare(&made[0], &case, &got, &want, made[0].limit());
    }
    Ok(())
}

/// Matrices of different formats in one buffer and one launch, and each token's bits the same in every company.
fn several_matrices(bench: &mut Bench<'_>) -> Result<()> {
    let columns = 256;
    let shapes = [(BlockFormat::Q8_0, 40), (BlockFormat::F16, 9), (BlockFormat::Q8_0, 33), (BlockFormat::F16, 64)];
    let built = bench.several(&shapes, columns)?;
    let total: usize = shapes.iter().map(|(_, rows)| rows).sum();
    let all = bench.floats(16 * columns);
    let mut alone: Vec<u32> = Vec::new();
    for tokens in [1u32, 2, 3, 8, 16] {
        let case = format!("4 matrices of q8_0 and f16, {tokens} tokens");
        let x = Strided { slice: bench.upload(&all[..tokens as usize * columns])?, stride: columns as u32, offset: 0, half: false };
        let out = bench.output(tokens as usize * total)?;
        let y = Strided { slice: out.slice(), stride: total as u32, offset: 0, half: false };
        let matrices: Vec<&Matrix> = built.iter().map(|(_, matrix)| matrix).collect();
        let made = bench.run(&case, &[&out], Rows::Few(tokens), |pass| record_linear(pass, &matrices, Grouping::Shared, &x, &y))?;
        let mut want = vec![0f32; tokens as usize * total];
        let mut first = 0;
        for (bytes, matrix) in &built {
            let rows = matrix.rows as usize;
            let part = reference::linear(&view(matrix, bytes), &all[..tokens as usize * columns]);
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

fn grouped(bench: &mut Bench<'_>, rows: Rows) -> Result<()> {
    let (groups, rank, columns, tokens) = (3, 40, 256, rows.count() as usize);
    let case = format!("{groups} groups of q8_0 {rank}x{columns}, {rows:?}");
    let (bytes, matrix) = bench.matrix(BlockFormat::Q8_0, groups * rank, columns, 1)?;
    let input = bench.floats(tokens * groups * columns);
    let x = Strided::whole(&bench.upload(&input)?, (groups * columns) as u32);
    let out = bench.output(tokens * groups * rank)?;
    let y = Strided::whole(&out.slice(), (groups * rank) as u32);
    let grouping = Grouping::Rows(rank as u32);
    let made = bench.run(&case, &[&out], rows, |pass| record_linear(pass, &[&matrix], grouping, &x, &y))?;
    let want = reference::linear_grouped(&view(&matrix, &bytes), groups, &input);
    bench.compare(&made[0], &case, &made[0].floats(), &want, made[0].limit());
    Ok(())
}

fn norm(bench: &mut Bench<'_>) -> Result<()> {
    for (tokens, columns, stride) in [(5usize, 196, 212), (3, 768, 800)] {
        let case = format!("{tokens} rows of {columns}");
        let wide = bench.floats(tokens * stride);
        let weight = bench.floats(columns);
        let x = Strided { slice: bench.upload(&wide)?, stride: stride as u32, offset: 8, half: false };
        let weight_gpu = bench.upload(&weight)?;
        let own: Vec<f32> = wide.chunks_exact(stride).flat_map(|row| &row[8..8 + columns]).copied().collect();
        let want = reference::rms_norm(&own, &weight, 1e-6);
        for &half in bench.halves() {
            let out = bench.elements(tokens * columns, half)?;
            let y = Strided::whole(&out.slice(), columns as u32).with_f16(half);
            let made = bench.run(&case, &[&out], Rows::Many(tokens as u32), |pass| {
                record_rms_norm(pass, &x, (&weight_gpu, 1e-6), &y, columns as u32);
            })?;
            bench.compare(&made[0], &case, &made[0].elements(half), &want, made[0].limit());
        }
    }

    let (dim, tokens) = (72usize, 3usize);
    let (embedding, streams) = (bench.floats(tokens * dim), bench.floats(tokens * 4 * dim));
    let (embedding_gpu, streams_gpu, out) = (bench.upload(&embedding)?, bench.upload(&streams)?, bench.output(tokens * 4 * dim)?);
    let made = bench.run("3 tokens of 72", &[&out], Rows::Many(tokens as u32), |pass| {
        record_mtp_join(pass, &embedding_gpu, &streams_gpu, &out.slice(), dim as u32);
    })?;
    let want: Vec<f32> = streams.iter().enumerate().map(|(i, s)| s + embedding[i / (4 * dim) * dim + i % dim]).collect();
    bench.compare(&made[0], "3 tokens of 72", &made[0].floats(), &want, Limit::F32);
    Ok(())
}

/// The yardstick of the benchmarks. An invocation writes its number only if all that it reads adds up to a certain word: here one of each
/// workgroup meets it, in another turn and another component each.
fn stream(bench: &mut Bench<'_>) -> Result<()> {
    const WRITES: u32 = 0x9e37_79b9;
    let (workgroups, vectors) = (3, 1900);
    let case = format!("{vectors} vectors by {workgroups} workgroups");
    let mut source = vec![0u32; 4 * vectors];
    let mut want = [0; 3];
    for (component, vector) in [(3, 1800), (1, 520), (2, 770)] {
        source[4 * vector + component] = WRITES;
        want[vector / 256 % 3] = vector as u32 % 256;
    }
    let source = bench.upload(&source)?;
    let sums = bench.output(want.len())?;
    let made = bench.run(&case, &[&sums], Rows::Many(1), |pass| record_stream_read(pass, &source, &sums.slice(), workgroups))?;
    bench.compare_ids(&made[0], &case, &made[0].words, &want);
    Ok(())
}
