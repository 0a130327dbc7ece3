//! Checks of activations rounded to int8 and of dense matrices that multiply them.

use super::bench::{Bench, Limit, Output, as_floats, view};
use crate::Result;
use crate::kernels::{
    Experts, Grouping, HcLeave, HcPost, HcWeights, Matrix, Moe, MoeInt8, Quantized, Router, Routing, Row, SAMPLED, SharedAct, Strided,
    hc_mix_words, record_hc_mix, record_linear_int8, record_linear_leaving, record_linear_normed, record_moe_int8,
};
use crate::quant::BlockFormat;
use crate::reference::{self, Choice};

/// All checks of this file, where the device has a use for int8.
pub fn run(bench: &mut Bench<'_>) -> Result<()> {
    if !bench.kit.dialect.int8() {
        return Ok(());
    }
    for format in BlockFormat::ALL {
        linear(bench, format, 1, 77, 512)?;
    }
    for tokens in 2..=16 {
        linear(bench, BlockFormat::Q8_0x8, tokens, 77, 512)?;
    }
    // Teams of lanes of every size, rows that are no power of two, and a last workgroup with few rows.
    for columns in [256, 768, 1024, 2048, 4096, 8192, 16384] {
        linear(bench, BlockFormat::Q8_0x8, 1, 35, columns)?;
        linear(bench, BlockFormat::F16, 2, 35, columns)?;
    }
    let pair = [BlockFormat::Iq2Xxs, BlockFormat::Q2K];
    let alone = moe(bench, pair, 1, (8, 512), Choosing::Scored)?;
    for tokens in 2..=16 {
        if moe(bench, pair, tokens, (8, 512), Choosing::Scored)? != alone {
            bench.fail("moe_down_int8", &format!("{tokens} tokens"), "the first token's bits differ from those it has alone".into());
        }
    }
    for tokens in [1, 7] {
        moe(bench, pair, tokens, (8, 512), Choosing::Hashed)?;
    }
    for format in BlockFormat::ALL {
        moe(bench, [format; 2], 2, (3, 256), Choosing::Scored)?;
    }
    moe(bench, pair, 3, (5, 4096), Choosing::Scored)?;
    moe(bench, pair, 1, (5, 7168), Choosing::Hashed)?;
    for columns in [256, 768, 1024] {
        normed(bench, columns)?;
    }
    for (columns, tokens) in [(512, 1), (8192, 1), (8192, 2), (1024, 7), (1024, 16)] {
        leaving(bench, columns, tokens)?;
    }
    // Rows that are odd, that teams can take two at a time, and four.
    for rows in [[40, 9, 33, 64], [40, 10, 34, 64], [40, 12, 36, 64]] {
        several_matrices(bench, rows)?;
    }
    for (format, columns) in [(BlockFormat::Q8_0x8, 256), (BlockFormat::Q8_0x8, 4096), (BlockFormat::F16, 512), (BlockFormat::Q8_0, 512)] {
        let alone = grouped(bench, format, columns, 1)?;
        for tokens in [2, 3, 5, 16] {
            if grouped(bench, format, columns, tokens)? != alone {
                bench.fail(
                    "matvec_int8",
                    &format!("groups, {tokens} tokens"),
                    "the first token's bits differ from those it has alone".into(),
                );
            }
        }
    }
    Ok(())
}

/// Words of `x` in rows of `columns`, laid out as `lib/quantize` says.
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

    /// Room for `tokens` rows of `columns` values, if a kernel would leave them rounded.
    pub fn output_int8(&self, tokens: usize, columns: usize) -> Result<Option<(Output, Quantized)>> {
        let output = self.output(tokens * Quantized::words(columns as u32) as usize)?;
        let quantized = Quantized::new(&self.kit.dialect, &output.slice(), columns as u32, tokens as u32);
        Ok(quantized.map(|q| (output, q)))
    }

    /// Compares a kernel's rounded result with its f32 one. Returns what the kernel left: a value halfway between two codes may go to either.
    pub fn compare_int8(&mut self, kernel: &'static str, case: &str, words: &[u32], exact: &[f32], columns: usize) -> Vec<f32> {
        let case = format!("{case}, int8");
        let mut got = Vec::new();
        for row in words.chunks_exact(Quantized::words(columns as u32) as usize) {
            let (codes, scales) = row.split_at(columns / 4);
            for (block, &scale) in codes.chunks_exact(8).zip(scales) {
                got.extend(block.iter().flat_map(|w| w.to_le_bytes()).map(|code| f32::from(code as i8) * f32::from_bits(scale)));
            }
        }
        self.compare(kernel, &case, &got, &reference::rounded(exact), Limit::INT8);
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
    let words = bench.run("matvec_int8", &case, &[&out], |rec, kit| {
        record_linear_int8(rec, kit, &matrices, Grouping::Shared, (&x, Some(&x_int8)), (&y, None), tokens);
    })?;
    let rounded = reference::rounded(&own);
    let part = reference::linear(&view(&matrix, &bytes), if format == BlockFormat::Q8_0x8 { &rounded } else { &own });
    let other = reference::linear(&view(&other, &other_bytes), &rounded);
    let want: Vec<f32> = part.chunks_exact(rows).zip(other.chunks_exact(3)).flat_map(|(a, b)| [a, b].concat()).collect();
    bench.compare("matvec_int8", &case, &as_floats(&words[0]), &want, Limit::F32);
    Ok(())
}

/// Matrices of different formats in one buffer and one launch, and each token's bits the same in every company.
fn several_matrices(bench: &mut Bench<'_>, rows: [usize; 4]) -> Result<()> {
    let columns = 1024;
    let mut formats = [BlockFormat::Q8_0x8, BlockFormat::F16].into_iter().cycle();
    let shapes = rows.map(|rows| (formats.next().unwrap_or(BlockFormat::F16), rows));
    let made = bench.several(&shapes, columns)?;
    let total: usize = shapes.iter().map(|(_, rows)| rows).sum();
    let all = bench.floats(16 * columns);
    let mut alone: Vec<u32> = Vec::new();
    for tokens in 1..=16usize {
        let case = format!("matrices of {rows:?} rows of q8_0x8 and f16, {tokens} tokens");
        let own = &all[..tokens * columns];
        let (x, x_int8) = (Strided::whole(&bench.upload(own)?, columns as u32), bench.upload_int8(own, columns)?);
        let out = bench.output(tokens * total)?;
        let y = Strided::whole(&out.slice(), total as u32);
        let matrices: Vec<&Matrix> = made.iter().map(|(_, matrix)| matrix).collect();
        let words = bench.run("matvec_int8", &case, &[&out], |rec, kit| {
            record_linear_int8(rec, kit, &matrices, Grouping::Shared, (&x, Some(&x_int8)), (&y, None), tokens as u32);
        })?;
        let rounded = reference::rounded(own);
        let mut want = vec![0f32; tokens * total];
        let mut first = 0;
        for (bytes, matrix) in &made {
            let rows = matrix.rows as usize;
            let part = reference::linear(&view(matrix, bytes), if matrix.format == BlockFormat::Q8_0x8 { &rounded } else { own });
            for (want, part) in want.chunks_exact_mut(total).zip(part.chunks_exact(rows)) {
                want[first..first + rows].copy_from_slice(part);
            }
            first += rows;
        }
        bench.compare("matvec_int8", &case, &as_floats(&words[0]), &want, Limit::F32);
        if tokens == 1 {
            alone = words[0].clone();
        } else if words[0][..total] != alone[..] {
            bench.fail("matvec_int8", &case, "the first token's bits differ from those it has alone".into());
        }
    }
    Ok(())
}

/// Rows that are normalised on the way, and each token's bits the same in every company.
fn normed(bench: &mut Bench<'_>, columns: usize) -> Result<()> {
    let made = bench.several(&[(BlockFormat::Q8_0x8, 40), (BlockFormat::Q8_0x8, 33)], columns)?;
    let matrices: Vec<Matrix> = made.iter().map(|(_, matrix)| matrix.clone()).collect();
    let (total, stride) = (73, columns + 24);
    // Whole numbers up to 127 in each block: no value lies between two codes, whatever a norm's last bit.
    let mut x: Vec<f32> = bench.floats(16 * stride).iter().map(|v| (v * 50.0).round().clamp(-126.0, 126.0)).collect();
    for row in x.chunks_exact_mut(stride) {
        row[16..16 + columns].iter_mut().step_by(32).for_each(|v| *v = 127.0);
    }
    let weight: Vec<f32> = bench.floats(columns / 32).iter().flat_map(|&v| [v; 32]).collect();
    let (x_gpu, norm) = (bench.upload(&x)?, bench.upload(&weight)?);
    let own: Vec<f32> = x.chunks_exact(stride).flat_map(|row| &row[16..16 + columns]).copied().collect();
    let rounded = reference::rounded(&reference::rms_norm(&own, &weight, 1e-6));
    let parts: Vec<Vec<f32>> = made.iter().map(|(bytes, matrix)| reference::linear(&view(matrix, bytes), &rounded)).collect();
    let want: Vec<f32> = parts[0].chunks_exact(40).zip(parts[1].chunks_exact(33)).flat_map(|(a, b)| [a, b].concat()).collect();
    let x = Strided { slice: x_gpu, stride: stride as u32, offset: 16, half: false };
    let mut alone: Vec<u32> = Vec::new();
    for tokens in 1..=16usize {
        let case = format!("73x{columns}, {tokens} tokens");
        let out = bench.output(tokens * total)?;
        let y = Strided::whole(&out.slice(), total as u32);
        let mut is_done = false;
        let words = bench.run("matvec_normed", &case, &[&out], |rec, kit| {
            is_done = record_linear_normed(rec, kit, &matrices, &x, (&norm, 1e-6), &y, tokens as u32);
        })?;
        if !is_done {
            bench.fail("matvec_normed", &case, "not recorded".into());
        }
        bench.compare("matvec_normed", &case, &as_floats(&words[0]), &want[..tokens * total], Limit::F32);
        if tokens == 1 {
            alone = words[0].clone();
        } else if words[0][..total] != alone[..] {
            bench.fail("matvec_normed", &case, "the first token's bits differ from those it has alone".into());
        }
    }
    Ok(())
}

/// A matrix whose launch leaves the streams too: what the matrix alone and hc_mix behind it make, bit by bit.
fn leaving(bench: &mut Bench<'_>, columns: usize, tokens: u32) -> Result<()> {
    let (dim, t) = (256, tokens as usize);
    let case = format!("{dim}x{columns} and the streams, {tokens} tokens");
    let (_, matrix) = bench.matrix(BlockFormat::Q8_0x8, dim, columns, 1)?;
    let own = bench.floats(t * columns);
    let (x, x_int8) = (Strided::whole(&bench.upload(&own)?, columns as u32), bench.upload_int8(&own, columns)?);
    let (_, mix_matrix) = bench.matrix(BlockFormat::F16, 24, 4 * dim, 1)?;
    let weights = HcWeights { mix: mix_matrix, base_scale: x.slice.clone(), norm: x.slice.clone() };
    let (streams, post) = (bench.floats(t * 4 * dim), bench.floats(t * 32));
    let (streams, post) = (bench.upload(&streams)?, bench.upload(&post)?);
    let mix_words = hc_mix_words(&bench.kit.dialect, dim as u32, tokens) as usize;
    let [y, next, mix] = [bench.output(t * dim)?, bench.output(t * 4 * dim)?, bench.output(t * mix_words)?];
    let (y_slice, next_slice, mix_slice) = (y.slice(), next.slice(), mix.slice());
    let residual = HcPost { post: &post, y: &y_slice, next: &next_slice };
    let leave = HcLeave { weights: &weights, x: &streams, residual, mix: &mix_slice };
    let mut has_left = false;
    let together = bench.run("matvec_int8", &case, &[&y, &next, &mix], |rec, kit| {
        has_left = record_linear_leaving(rec, kit, &matrix, (&x, Some(&x_int8)), leave, tokens);
    })?;
    let apart = bench.run("matvec_int8", &case, &[&y, &next, &mix], |rec, kit| {
        let y = Strided::whole(&y_slice, dim as u32);
        record_linear_int8(rec, kit, &[&matrix], Grouping::Shared, (&x, Some(&x_int8)), (&y, None), tokens);
        record_hc_mix(rec, kit, &weights, &streams, Some(residual), &mix_slice, tokens);
    })?;
    if has_left && together != apart {
        bench.fail("matvec_int8", &case, "differs from the same in two launches".into());
    }
    if !has_left && bench.kit.dialect.caps.invocations >= 1024 {
        bench.fail("matvec_int8", &case, "not recorded".into());
    }
    Ok(())
}

/// Groups of rows with columns of their own, and the result rounded too. Returns the first token's bits.
fn grouped(bench: &mut Bench<'_>, format: BlockFormat, columns: usize, tokens: usize) -> Result<Vec<u32>> {
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
    let Some((out_int8, y_int8)) = bench.output_int8(tokens, groups * rank)? else { return Ok(Vec::new()) };
    let grouping = Grouping::Rows(rank as u32);
    let words = bench.run("matvec_int8", &case, &[&out, &out_int8], |rec, kit| {
        record_linear_int8(rec, kit, &[&matrix], grouping, (&x, Some(&x_int8)), (&y, Some(&y_int8)), tokens as u32);
    })?;
    let input = if format == BlockFormat::Q8_0x8 { reference::rounded(&input) } else { input };
    let (got, want) = (as_floats(&words[0]), reference::linear_grouped(&view(&matrix, &bytes), groups, &input));
    bench.compare("matvec_int8", &case, &got, &want, Limit::F32);
    bench.compare_int8("matvec_int8", &case, &words[1], &got, groups * rank);
    Ok(words[0][..groups * rank].to_vec())
}

/// How [`moe`] has its experts chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Choosing {
    Scored,
    Hashed,
}

/// The router, routed experts and the shared one. Returns the first token's bits.
fn moe(
    bench: &mut Bench<'_>,
    formats: [BlockFormat; 2],
    tokens: usize,
    (experts_each, dim): (usize, usize),
    choosing: Choosing,
) -> Result<Vec<u32>> {
    // With two experts of 512 rows a token: some workgroups have rows of two tokens.
    let used = if choosing == Choosing::Scored { 2 } else { 3 };
    let (experts, width, limit) = (8usize, 512usize, 2.0);
    let case = format!("{} and {} of {dim}, {choosing:?}, {tokens} tokens, {experts_each} experts a slice", formats[0], formats[1]);
    // The same weights and the same first row whatever the step.
    bench.rng.seed(7);
    let (gate_up_bytes, gate_up) = bench.experts(&[formats[0]; 2], (experts, width, dim), experts_each)?;
    let (down_bytes, down) = bench.experts(&[formats[1]], (experts, dim, width), experts_each)?;
    let (shared_bytes, shared_down) = bench.matrix(BlockFormat::Q8_0x8, dim, width, 1)?;
    let x = bench.floats(16 * dim)[..tokens * dim].to_vec();
    // Logits, and behind them gate and up of the shared expert, with gaps.
    let (gate, stride) = (experts + 8, experts + 2 * width + 24);
    let up = gate + width + 4;
    let mut inputs = bench.floats(16 * stride)[..tokens * stride].to_vec();
    let mut bias = bench.floats_around(0.0, 0.2, experts);
    // Ties among the best, and experts that no score chooses.
    bias[2..5].fill(2.0);
    for (t, row) in inputs.chunks_exact_mut(stride).enumerate() {
        match t % 4 {
            1 => row[4..][..experts].fill(-0.5),
            2 if choosing == Choosing::Scored => row[4..][1..experts - used].fill(f32::NAN),
            _ => {}
        }
    }
    let table: Vec<u32> = (0..16 * used).map(|i| ((i / used * 5 + i % used * 3) % experts) as u32).collect();
    // The second token is one that the sampler left.
    let row = |t: u32| Row { token: if t == 1 { SAMPLED } else { t }, slot: t % 3, ..Row::default() };
    let rows: Vec<Row> = (0..tokens as u32).map(row).collect();
    let shared: Vec<f32> = inputs
        .chunks_exact(stride)
        .flat_map(|row| (0..width).map(|f| reference::swiglu(row[gate + f], row[up + f], limit)).collect::<Vec<_>>())
        .collect();
    let routed: Vec<reference::Routed> = inputs
        .chunks_exact(stride)
        .enumerate()
        .map(|(t, row)| {
            let named = &table[t * used..][..used];
            let choice = if choosing == Choosing::Hashed { Choice::Named(named) } else { Choice::Scored(&bias) };
            reference::router(&row[4..][..experts], choice, used, 1.5)
        })
        .collect();
    let pairs = tokens * used;
    let (x_gpu, x_int8) = (bench.upload(&x)?, bench.upload_int8(&x, dim)?);
    let inputs_gpu = Strided { slice: bench.upload(&inputs)?, stride: stride as u32, offset: 4, half: false };
    let (bias_gpu, table_gpu) = (bench.upload(&bias)?, bench.upload(&table)?);
    let (rows_gpu, sampled) = (bench.upload(&rows)?, bench.upload(&[0u32, 1, 0])?);
    let router = match choosing {
        Choosing::Scored => Router::Scored(&bias_gpu),
        Choosing::Hashed => Router::Hashed { table: &table_gpu, rows: &rows_gpu, sampled: &sampled },
    };
    let (act, y, shared_act) = (bench.output(pairs * width)?, bench.output(tokens * dim)?, bench.output(tokens * width)?);
    let (chosen, weights) = (bench.output(pairs)?, bench.output(pairs)?);
    let Some((act_int8, act_out)) = bench.output_int8(tokens, used * width)? else { return Ok(Vec::new()) };
    let act_out = Quantized { columns: width as u32, ..act_out };
    let Some((shared_int8, shared_out)) = bench.output_int8(tokens, width)? else { return Ok(Vec::new()) };
    let moe = Moe { gate_up: &gate_up, down: &down, used: used as u32, limit };
    let (act_slice, y_slice) = (act.slice(), y.slice());
    let (chosen_slice, weights_slice) = (chosen.slice(), weights.slice());
    let shared_gpu = Strided::whole(&shared_act.slice(), width as u32);
    let routing = Routing {
        router,
        experts: experts as u32,
        used: used as u32,
        scale: 1.5,
        inputs: &inputs_gpu,
        chosen: &chosen_slice,
        weights: &weights_slice,
        shared: SharedAct {
            gate: gate as u32,
            up: (up - gate) as u32,
            width: width as u32,
            limit,
            act: &shared_gpu,
            act_int8: Some(&shared_out),
        },
    };
    let int8 = MoeInt8 { x: &x_int8, act: &act_out, shared_down: &shared_down, leave: None };
    let outputs = [&act, &act_int8, &y, &chosen, &weights, &shared_act, &shared_int8];
    let words = bench.run("moe_down_int8", &case, &outputs, |rec, kit| {
        record_moe_int8(rec, kit, (&moe, &int8), &routing, &act_slice, &x_gpu, &y_slice, tokens as u32);
    })?;
    // Formats without units go through the f32 kernels.
    let has_units = |format: BlockFormat| matches!(format, BlockFormat::Iq2Xxs | BlockFormat::Q2K);
    let left = |x: &[f32], rounds: bool| if rounds { reference::rounded(x) } else { x.to_vec() };
    let got_act = as_floats(&words[0]);
    let kernels = if has_units(formats[0]) { ["moe_gate_up_int8", "moe_down_int8"] } else { ["moe_gate_up", "moe_down"] };
    let want_ids: Vec<u32> = routed.iter().flat_map(|r| r.experts.iter().copied()).collect();
    let want_weights: Vec<f32> = routed.iter().flat_map(|r| r.weights.iter().copied()).collect();
    bench.compare_ids(kernels[0], &case, &words[3], &want_ids);
    bench.compare(kernels[0], &format!("{case}, weights"), &as_floats(&words[4]), &want_weights, Limit::F32);
    let (chosen, weights, got_shared) = (&words[3], as_floats(&words[4]), as_floats(&words[5]));
    bench.compare(kernels[0], &format!("{case}, shared act"), &got_shared, &shared, Limit::F32);
    let left_shared = bench.compare_int8(kernels[0], &format!("{case}, shared act"), &words[6], &got_shared, width);
    let left_act = if has_units(formats[0]) { bench.compare_int8(kernels[0], &case, &words[1], &got_act, width) } else { Vec::new() };
    let (mut want_act, mut want) = (Vec::new(), Vec::new());
    for t in 0..tokens {
        let own = left(&x[t * dim..][..dim], has_units(formats[0]));
        let mut sums: Vec<f64> = vec![0.0; dim];
        let product = reference::linear(&view(&shared_down, &shared_bytes), &left_shared[t * width..][..width]);
        sums.iter_mut().zip(product).for_each(|(sum, v)| *sum += f64::from(v));
        for pair in t * used..(t + 1) * used {
            let [gate, up] = [0, 1].map(|m| expert_part(&gate_up_bytes[m], &gate_up, chosen[pair]));
            want_act.extend(reference::gate_up(&gate, &up, &own, limit));
            let act = if has_units(formats[0]) && has_units(formats[1]) { &left_act } else { &got_act };
            let product = reference::linear(&expert_part(&down_bytes[0], &down, chosen[pair]), &act[pair * width..][..width]);
            sums.iter_mut().zip(product).for_each(|(sum, v)| *sum += f64::from(weights[pair]) * f64::from(v));
        }
        want.extend(sums.iter().map(|&v| v as f32));
    }
    bench.compare(kernels[0], &case, &got_act, &want_act, Limit::F32);
    bench.compare(kernels[1], &case, &as_floats(&words[2]), &want, Limit::F32);
    // The streams behind the experts: what hc_mix makes of the same y, bit by bit.
    let (_, matrix) = bench.matrix(BlockFormat::F16, 24, 4 * dim, 1)?;
    let weights = HcWeights { mix: matrix, base_scale: x_gpu.clone(), norm: x_gpu.clone() };
    let (streams, post) = (bench.floats(tokens * 4 * dim), bench.floats(tokens * 32));
    let (streams, post) = (bench.upload(&streams)?, bench.upload(&post)?);
    let mix_words = hc_mix_words(&bench.kit.dialect, dim as u32, tokens as u32) as usize;
    let [next, mix] = [bench.output(tokens * 4 * dim)?, bench.output(tokens * mix_words)?];
    let (next_slice, mix_slice) = (next.slice(), mix.slice());
    let residual = HcPost { post: &post, y: &y_slice, next: &next_slice };
    let leave = Some(HcLeave { weights: &weights, x: &streams, residual, mix: &mix_slice });
    let int8 = MoeInt8 { leave, ..int8 };
    let mut has_left = false;
    let left = bench.run("moe_down_int8", &case, &[&next, &mix, &y], |rec, kit| {
        has_left = record_moe_int8(rec, kit, (&moe, &int8), &routing, &act_slice, &x_gpu, &y_slice, tokens as u32);
    })?;
    let apart = bench.run("hc_mix", &case, &[&next, &mix, &y], |rec, kit| {
        record_hc_mix(rec, kit, &weights, &streams, Some(residual), &mix_slice, tokens as u32);
    })?;
    if has_left && left != apart {
        bench.fail("moe_down_int8", &case, "leaves other streams than hc_mix would".into());
    }
    let caps = &bench.kit.dialect.caps;
    let has_two_teams = caps.subgroup.is_some_and(|size| 2 * (used as u32 + 4) * size <= caps.invocations);
    if has_left != (experts_each == experts && formats.iter().all(|&f| has_units(f)) && has_two_teams) {
        bench.fail("moe_down_int8", &case, format!("leaves the streams: {has_left}"));
    }
    Ok(words[2][..dim].to_vec())
}

fn expert_part<'a>(bytes: &'a [u8], stack: &Experts, expert: u32) -> reference::Matrix<'a> {
    let (rows, columns) = ((stack.rows * stack.experts) as usize, stack.columns as usize);
    let format = stack.formats[0];
    reference::Matrix { format, rows, columns, bytes }.part((expert * stack.rows) as usize, stack.rows as usize)
}
