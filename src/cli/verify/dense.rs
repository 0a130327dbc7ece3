//! Checks of embedding, norms, hyper-connections and dense matrices.

use super::bench::{Bench, Limit, as_elements, as_floats, step_of, view, whole_blocks};
use crate::Result;
use crate::gpu::Slice;
use crate::kernels::{
    Ahead, DECODE_ROWS, Grouping, HcEnter, HcPost, HcRows, HcWeights, Matrix, Quantized, Row, SAMPLED, Strided, hc_mix_words,
    record_decode_runs, record_embed, record_hc_mix, record_hc_pre, record_hc_sinkhorn, record_linear, record_mtp_join, record_rms_norm,
};
use crate::quant::BlockFormat;
use crate::reference;

/// All checks of this file.
pub fn run(bench: &mut Bench<'_>) -> Result<()> {
    for format in BlockFormat::ALL {
        embed(bench, format, 1)?;
        for tokens in [1, 3, 16, 17, 130] {
            linear(bench, format, tokens, 1, whole_blocks(format, 512))?;
        }
        decode_runs(bench, format, whole_blocks(format, 512))?;
    }
    decode_runs(bench, BlockFormat::F16, 264)?;
    decode_runs(bench, BlockFormat::Bf16, 264)?;
    embed(bench, BlockFormat::F16, 3)?;
    linear(bench, BlockFormat::Q8_0, 5, 3, 512)?;
    linear(bench, BlockFormat::Q8_0, 70, 3, 512)?;
    // Rows that end within what is staged at a time.
    for tokens in [17, 130] {
        linear(bench, BlockFormat::F16, tokens, 1, 264)?;
        linear(bench, BlockFormat::Q8_0, tokens, 1, 288)?;
    }
    several_matrices(bench)?;
    for tokens in [2, 41] {
        grouped(bench, tokens)?;
        hyper_connections(bench, tokens, 264)?;
    }
    hyper_connections(bench, 16, 512)?;
    hyper_connections(bench, 1, 4096)?;
    norm(bench)
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
    let words = bench.run("embed", &case, &[&out], |rec, kit| record_embed(rec, kit, &table, &rows, &sampled, &out.slice(), tokens))?;
    let mut want = Vec::new();
    for id in ids {
        let mut row = vec![0f32; dim];
        view(&table, &bytes).row(id as usize, &mut row);
        want.extend(row.repeat(4));
    }
    // Formats with a minimum multiply and subtract in one step on the GPU, in two on the CPU.
    let limit = if matches!(format, BlockFormat::Q2K | BlockFormat::Q2Kx4 | BlockFormat::Q4K) { Limit::F32 } else { Limit::EXACT };
    bench.compare("embed", &case, &as_floats(&words[0]), &want, limit);
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
    let words = bench.run("decode_runs", &case, &[&out], |rec, kit| record_decode_runs(rec, kit, &matrix, &out.slice()))?;
    // A product with what is behind the columns must be zero, whatever x is.
    let mut want = vec![0f32; rows * padded];
    want.chunks_exact_mut(padded).enumerate().for_each(|(r, row)| view(&matrix, &bytes).row(r, &mut row[..columns]));
    bench.compare("decode_runs", &case, &as_floats(&words[0]), &want, Limit::HALF_STORED);
    Ok(())
}

/// The kernel that `tokens` rows of a dense matrix use.
fn linear_kernel(bench: &Bench<'_>, tokens: u32) -> &'static str {
    match tokens {
        0..=DECODE_ROWS => "matvec",
        _ if bench.kit.dialect.uses_half() => "matmul_coop",
        _ => "matmul",
    }
}

fn linear(bench: &mut Bench<'_>, format: BlockFormat, tokens: u32, slices: usize, columns: usize) -> Result<()> {
    let rows = 77;
    let case = format!("{format} {rows}x{columns}, {tokens} tokens, {slices} slices");
    let kernel = linear_kernel(bench, tokens);
    let (bytes, matrix) = bench.matrix(format, rows, columns, slices)?;
    // x and y are parts of wider rows.
    let wide = bench.floats(tokens as usize * (columns + 24));
    let own: Vec<f32> = wide.chunks_exact(columns + 24).flat_map(|row| &row[16..16 + columns]).copied().collect();
    let want = reference::linear(&view(&matrix, &bytes), &own);
    let limit = bench.matmul_limit(tokens);
    // Cooperative kernels take and leave f16, too.
    let halves: &[bool] = if kernel == "matmul_coop" { &[false, true] } else { &[false] };
    for (&x_half, &y_half) in halves.iter().flat_map(|x| halves.iter().map(move |y| (x, y))) {
        let x = Strided::whole(&bench.upload_elements(&wide, x_half)?, columns as u32 + 24).at(16).halved(x_half);
        let stride = rows.next_multiple_of(2);
        let out = bench.elements(tokens as usize * stride, y_half)?;
        let y = Strided::whole(&out.slice(), stride as u32).halved(y_half);
        let words =
            bench.run(kernel, &case, &[&out], |rec, kit| record_linear(rec, kit, &[&matrix], Grouping::Shared, &x, &y, step_of(tokens)))?;
        let got: Vec<f32> = as_elements(&words[0], y_half).chunks_exact(stride).flat_map(|row| row[..rows].to_vec()).collect();
        bench.compare(kernel, &case, &got, &want, limit);
    }
    Ok(())
}

/// Matrices of different formats in one buffer and one launch, and each token's bits the same in every company.
fn several_matrices(bench: &mut Bench<'_>) -> Result<()> {
    let columns = 256;
    let shapes = [(BlockFormat::Q8_0, 40), (BlockFormat::F16, 9), (BlockFormat::Q8_0, 33), (BlockFormat::F16, 64)];
    let made = bench.several(&shapes, columns)?;
    let total: usize = shapes.iter().map(|(_, rows)| rows).sum();
    let all = bench.floats(16 * columns);
    let mut alone: Vec<u32> = Vec::new();
    for tokens in [1u32, 2, 3, 8, 16] {
        let case = format!("4 matrices of q8_0 and f16, {tokens} tokens");
        let x = Strided { slice: bench.upload(&all[..tokens as usize * columns])?, stride: columns as u32, offset: 0, half: false };
        let out = bench.output(tokens as usize * total)?;
        let y = Strided { slice: out.slice(), stride: total as u32, offset: 0, half: false };
        let matrices: Vec<&Matrix> = made.iter().map(|(_, matrix)| matrix).collect();
        let words = bench
            .run("matvec", &case, &[&out], |rec, kit| record_linear(rec, kit, &matrices, Grouping::Shared, &x, &y, step_of(tokens)))?;
        let mut want = vec![0f32; tokens as usize * total];
        let mut first = 0;
        for (bytes, matrix) in &made {
            let rows = matrix.rows as usize;
            let part = reference::linear(&view(matrix, bytes), &all[..tokens as usize * columns]);
            for (want, part) in want.chunks_exact_mut(total).zip(part.chunks_exact(rows)) {
                want[first..first + rows].copy_from_slice(part);
            }
            first += rows;
        }
        bench.compare("matvec", &case, &as_floats(&words[0]), &want, Limit::F32);
        if tokens == 1 {
            alone = words[0].clone();
        } else if words[0][..total] != alone[..] {
            bench.fail("matvec", &case, "the first token's bits differ from those it has alone".into());
        }
    }
    Ok(())
}

fn grouped(bench: &mut Bench<'_>, tokens: u32) -> Result<()> {
    let (groups, rank, columns) = (3, 40, 256);
    let case = format!("{groups} groups of q8_0 {rank}x{columns}, {tokens} tokens");
    let kernel = linear_kernel(bench, tokens);
    let (bytes, matrix) = bench.matrix(BlockFormat::Q8_0, groups * rank, columns, 1)?;
    let input = bench.floats(tokens as usize * groups * columns);
    let x = Strided { slice: bench.upload(&input)?, stride: (groups * columns) as u32, offset: 0, half: false };
    let out = bench.output(tokens as usize * groups * rank)?;
    let y = Strided { slice: out.slice(), stride: (groups * rank) as u32, offset: 0, half: false };
    let grouping = Grouping::Rows(rank as u32);
    let words = bench.run(kernel, &case, &[&out], |rec, kit| record_linear(rec, kit, &[&matrix], grouping, &x, &y, step_of(tokens)))?;
    let want = reference::linear_grouped(&view(&matrix, &bytes), groups, &input);
    let limit = bench.matmul_limit(tokens);
    bench.compare(kernel, &case, &as_floats(&words[0]), &want, limit);
    Ok(())
}

/// What hc_mix left for each slice of a row's channels, added up. -> (T, outputs + 1).
fn mixed(words: &[u32], row_words: usize, outputs: usize) -> Vec<f32> {
    let output = |row: &[f32], o: usize| row.iter().skip(o).step_by(32).sum::<f32>();
    as_floats(words).chunks_exact(row_words).flat_map(|row| (0..=outputs).map(|o| output(row, o)).collect::<Vec<_>>()).collect()
}

/// What hc_pre reads and leaves.
fn entering<'a>(
    weights: &'a HcWeights,
    [mix, x, unread]: [&'a Slice; 3],
    normed: &'a Strided,
    normed_int8: Option<&'a Quantized>,
) -> HcEnter<'a> {
    HcEnter { weights, mix, x, normed, normed_int8, hc_eps: 1e-6, norm_eps: 1e-6, unread }
}

fn hyper_connections(bench: &mut Bench<'_>, tokens: u32, dim: usize) -> Result<()> {
    let t = tokens as usize;
    let case = format!("{tokens} tokens of 4x{dim}");
    let constants = reference::HcConstants { iterations: 20, hc_eps: 1e-6, norm_eps: 1e-6 };
    let x = bench.floats(t * 4 * dim);
    let norm = bench.floats_around(1.0, 0.1, dim);
    let x_gpu = bench.upload(&x)?;
    for (outputs, scales) in [(24usize, 3usize), (4, 1)] {
        let (bytes, matrix) = bench.matrix(BlockFormat::F16, outputs, 4 * dim, 1)?;
        let (base, scale) = (bench.floats(outputs), bench.floats_around(0.2, 0.05, scales));
        let weights =
            HcWeights { mix: matrix.clone(), base_scale: bench.upload(&[&base[..], &scale].concat())?, norm: bench.upload(&norm)? };
        let row_words = hc_mix_words(&bench.kit.dialect, dim as u32, step_of(tokens)) as usize;
        let mix = bench.output(t * row_words)?;
        let words = bench
            .run("hc_mix", &case, &[&mix], |rec, kit| record_hc_mix(rec, kit, &weights, &x_gpu, None, &mix.slice(), step_of(tokens)))?;
        let got = mixed(&words[0], row_words, outputs);
        let hc = reference::Hc { mix: view(&matrix, &bytes), base: &base, scale: &scale };
        bench.compare("hc_mix", &case, &got, &reference::hc_mix(&hc.mix, &x), Limit::F32);
        let int8 = bench.output_int8(t, dim)?;
        let normed_int8 = int8.as_ref().map(|(_, quantized)| quantized);
        let (mix_slice, unread) = (mix.slice(), bench.output(1)?.slice());
        let before = [&mix_slice, &x_gpu, &unread];
        // In decode steps the weights that follow are asked for, too.
        let ahead = if tokens <= DECODE_ROWS { [Ahead::of(&[&matrix]), Ahead::of(&[&matrix])].concat() } else { Vec::new() };
        if outputs == 4 {
            // Of a long step's rows few are wanted as a rule.
            let wanted: Vec<u32> = (0..tokens).rev().step_by(if tokens > DECODE_ROWS { 3 } else { 1 }).collect();
            let (wanted_gpu, rows) = (bench.upload(&wanted)?, wanted.len() as u32);
            let normed = bench.output(wanted.len() * dim)?;
            let outputs: Vec<_> = [&normed].into_iter().chain(int8.as_ref().map(|(output, _)| output)).collect();
            let words = bench.run("hc_pre", &case, &outputs, |rec, kit| {
                let normed = Strided::whole(&normed.slice(), dim as u32);
                record_hc_pre(
                    rec,
                    kit,
                    &entering(&weights, before, &normed, normed_int8),
                    &ahead,
                    HcRows::Wanted(&wanted_gpu, rows, step_of(tokens)),
                );
            })?;
            if let Some(words_int8) = words.get(1) {
                bench.compare_int8("hc_pre", &case, words_int8, &as_floats(&words[0]), dim);
            }
            let rows: Vec<f32> = wanted.iter().flat_map(|&t| &x[t as usize * 4 * dim..(t as usize + 1) * 4 * dim]).copied().collect();
            bench.compare("hc_pre", &case, &as_floats(&words[0]), &reference::hc_head(&hc, &norm, &rows, constants), Limit::F32);
            continue;
        }
        let post = bench.output(t * 32)?;
        let (want, mixes) = reference::hc_pre(&hc, &norm, &x, constants);
        for &half in bench.halves() {
            let normed = bench.elements(t * dim, half)?;
            let rows = Strided::whole(&normed.slice(), dim as u32).halved(half);
            let int8 = int8.as_ref().filter(|_| !half);
            let outputs: Vec<_> = [&normed].into_iter().chain(int8.map(|(output, _)| output)).collect();
            let words = bench.run("hc_pre", &case, &outputs, |rec, kit| {
                let enter = entering(&weights, before, &rows, int8.map(|(_, quantized)| quantized));
                record_hc_pre(rec, kit, &enter, &ahead, HcRows::All(step_of(tokens)));
            })?;
            bench.compare("hc_pre", &case, &as_elements(&words[0], half), &want, Bench::stored(half));
            if let Some(words_int8) = words.get(1) {
                bench.compare_int8("hc_pre", &case, words_int8, &as_floats(&words[0]), dim);
            }
        }
        let words = bench.run("hc_sinkhorn", &case, &[&post], |rec, kit| {
            record_hc_sinkhorn(rec, kit, &weights, &mix.slice(), &post.slice(), (20, 1e-6, 1e-6), &ahead, step_of(tokens));
        })?;
        let got: Vec<f32> = as_floats(&words[0]).chunks_exact(32).flat_map(|row| row[..20].to_vec()).collect();
        let want: Vec<f32> = mixes.iter().flat_map(|m| m.post.iter().chain(m.comb.iter().flatten()).map(|&v| v as f32)).collect();
        bench.compare("hc_sinkhorn", &case, &got, &want, Limit::F32);
        let y = bench.floats(t * dim);
        let (y_gpu, next) = (bench.upload(&y)?, bench.output(t * 4 * dim)?);
        let words = bench.run("hc_mix", &case, &[&next, &mix], |rec, kit| {
            let residual = HcPost { post: &post.slice(), y: &y_gpu, next: &next.slice() };
            record_hc_mix(rec, kit, &weights, &x_gpu, Some(residual), &mix.slice(), step_of(tokens));
        })?;
        let want = reference::hc_post(&y, &x, &mixes);
        bench.compare("hc_mix", &format!("{case}, residual"), &as_floats(&words[0]), &want, Limit::F32);
        let got = mixed(&words[1], row_words, outputs);
        bench.compare("hc_mix", &format!("{case}, mix of the residual"), &got, &reference::hc_mix(&hc.mix, &want), Limit::F32);
    }
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
            let y = Strided::whole(&out.slice(), columns as u32).halved(half);
            let words = bench.run("rms_norm", &case, &[&out], |rec, kit| {
                record_rms_norm(rec, kit, &x, &weight_gpu, &y, columns as u32, 1e-6, tokens as u32);
            })?;
            bench.compare("rms_norm", &case, &as_elements(&words[0], half), &want, Bench::stored(half));
        }
    }

    let (dim, tokens) = (72usize, 3usize);
    let (embedding, streams) = (bench.floats(tokens * dim), bench.floats(tokens * 4 * dim));
    let (embedding_gpu, streams_gpu, out) = (bench.upload(&embedding)?, bench.upload(&streams)?, bench.output(tokens * 4 * dim)?);
    let words = bench.run("mtp_join", "3 tokens of 72", &[&out], |rec, kit| {
        record_mtp_join(rec, kit, &embedding_gpu, &streams_gpu, &out.slice(), dim as u32, tokens as u32);
    })?;
    let want: Vec<f32> = streams.iter().enumerate().map(|(i, s)| s + embedding[i / (4 * dim) * dim + i % dim]).collect();
    bench.compare("mtp_join", "3 tokens of 72", &as_floats(&words[0]), &want, Limit::F32);
    Ok(())
}
