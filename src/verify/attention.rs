//! Checks of attention.

use crate::Result;
use crate::kernels::{Attention, AttentionBuffers, MAX_PARTS, Pool, RingStore, Rings, Row, Rows, Strided, record_attention, score_bytes};
use crate::reference;
use crate::verify::bench::{Bench, Output};
use crate::verify::cached::{angles, cached, flat, pack, paged, pool, rows_of, unpack};
use crate::verify::outcome::{Limit, Made};

/// All checks of this file.
pub fn run(bench: &mut Bench<'_>) -> Result<()> {
    for rows in [Rows::Few(1), Rows::Few(3), Rows::Many(1), Rows::Many(5)] {
        for ratio in [0, 4, 128] {
            attention(bench, (ratio, rows), FEW_KEYS, (512, 8), 1)?;
        }
        attention(bench, (4, rows), FEW_KEYS, (128, 4), 2)?;
        attention(bench, (128, rows), FEW_KEYS, (64, 6), 1)?;
    }
    attention(bench, (4, Rows::Many(20)), FEW_KEYS, (512, 8), 1)?;
    // Heads for cooperative matrices in steps of few rows: one part, several, and parts that take more stages than one.
    for tokens in [1, 3] {
        attention(bench, (128, Rows::Few(tokens)), FEW_KEYS, (512, 64), 1)?;
        attention(bench, (4, Rows::Few(tokens)), (150, 100), (512, 32), 1)?;
        attention(bench, (4, Rows::Few(tokens)), (150, 100), (128, 16), 2)?;
    }
    Ok(())
}

/// A window, and a choice of compressed rows.
const FEW_KEYS: (usize, usize) = (40, 30);

/// `window` and `top_k`: keys of the window, and compressed rows, that a row sees at most.
fn attention(
    bench: &mut Bench<'_>,
    (ratio, step): (u32, Rows),
    (window, top_k): (usize, usize),
    (dim, heads): (usize, usize),
    segments: usize,
) -> Result<()> {
    let kv = bench.kit.dialect.kv;
    let case = format!("ratio {ratio}, {step:?}, window {window}, {heads} heads of {dim}, {segments} buffers");
    let (ring_rows, rope) = (window + 16, 32usize);
    let page_rows = if ratio == 128 { 4 } else { 128 };
    let (pool_words, page_table, compressed) = paged(bench, dim, page_rows);
    // The last session's run starts at its first token.
    let runs = match step.count() {
        1 => vec![(1, 700, 1)],
        3 => vec![(0, 1000, 1), (1, 0, 2)],
        tokens => vec![(0, 900, tokens - 2), (1, 60, 2)],
    };
    let rows = rows_of(&runs);
    let t = rows.len();
    let q_stride = heads * dim + 20;
    let raw = bench.floats(t * q_stride);
    let round = |values: Vec<f32>| -> Vec<f32> { values.into_iter().map(|v| cached(kv, v)).collect() };
    let fresh = round(bench.floats(t * dim));
    let ring = round(bench.floats(2 * ring_rows * dim));
    let sinks = bench.floats(heads);
    let turns = angles(t * 2, rope);
    let seen = |row: &Row| (row.position + 1).checked_div(ratio).unwrap_or(0) as usize;
    // The indexer's choice: every second of the visible rows, as many as fit.
    let mut selected = vec![u32::MAX; t * top_k];
    for (row, selected) in rows.iter().zip(selected.chunks_exact_mut(top_k)) {
        if ratio == 4 && seen(row) > top_k {
            selected.iter_mut().enumerate().for_each(|(i, s)| *s = (seen(row) - top_k + i) as u32 - i as u32 % 2);
        }
    }
    let mut q = raw.clone();
    for (i, q) in q.chunks_exact_mut(q_stride).enumerate() {
        reference::normalise(&mut q[..heads * dim], dim, 1e-6);
        q[..heads * dim].chunks_exact_mut(dim).for_each(|head| reference::rotate(head, &turns[2 * i + usize::from(ratio > 0)]));
    }
    let mut want = Vec::new();
    let (mut most_keys, mut counts, mut last_scores) = (0, Vec::new(), Vec::new());
    for (i, row) in rows.iter().enumerate() {
        let mut keys: Vec<&[f32]> = Vec::new();
        for position in (row.position + 1).saturating_sub(window as u32)..=row.position {
            keys.push(if position >= row.first_position {
                &fresh[(row.first_row + position - row.first_position) as usize * dim..][..dim]
            } else {
                &ring[(row.slot as usize * ring_rows + position as usize % ring_rows) * dim..][..dim]
            });
        }
        let own = &compressed[row.slot as usize];
        if ratio == 4 && seen(row) > top_k {
            keys.extend(selected[i * top_k..][..top_k].iter().map(|&s| &own[s as usize][..]));
        } else {
            keys.extend(own[..seen(row)].iter().map(|k| &k[..]));
        }
        most_keys = most_keys.max(keys.len());
        counts.push(keys.len() as u32);
        last_scores = q[i * q_stride..][..heads * dim].chunks_exact(dim).map(|q| keys.iter().map(|k| dot(q, k)).collect()).collect();
        for (h, &sink) in sinks.iter().enumerate() {
            let mut out = reference::attention(&q[i * q_stride + h * dim..][..dim], &keys, sink);
            reference::rotate_back(&mut out, &turns[2 * i + usize::from(ratio > 0)]);
            want.extend(out);
        }
    }
    let row_words = kv.words(dim as u32) as usize;
    let ring_gpu = pool(bench, &pack(kv, &ring), row_words, (2 * ring_rows).div_ceil(segments))?;
    let pages_gpu = pool(bench, &pool_words, page_rows * row_words, 6usize.div_ceil(segments))?;
    let [rows_gpu, table_gpu] = [bench.upload(&rows)?, bench.upload(&page_table)?];
    let q_gpu = Strided { slice: bench.upload(&raw)?, stride: q_stride as u32, offset: 0, half: false };
    let [sinks_gpu, kv_gpu] = [bench.upload(&sinks)?, bench.upload(&pack(kv, &fresh))?];
    let [selected_gpu, angles_gpu] = [bench.upload(&selected)?, bench.upload(&flat(&turns))?];
    // A split pool goes with a device that can bind little: fewer parts then, too.
    let max_parts = if segments == 1 { MAX_PARTS } else { 3 };
    let decode = if step.are_few() { t } else { 1 };
    let partial = bench.output(decode * max_parts as usize * heads * dim)?;
    let stats = bench.output((decode * max_parts as usize * heads * 2).max(t * heads.next_multiple_of(64) * 2))?;
    // Scores of two rows at a time: more tiles than one.
    let scores = bench.output((score_bytes(&bench.kit.dialect, heads as u32, most_keys as u32, 2) / 4).max(1) as usize)?;
    let places = bench.output((scores.slice().bytes / 4) as usize)?;
    let half = bench.takes_half(step);
    let out = bench.elements(t * heads * dim, half)?;
    let sizes = Attention {
        heads: heads as u32,
        dim: dim as u32,
        rope: rope as u32,
        norm_eps: 1e-6,
        window: window as u32,
        ratio,
        top_k: if ratio == 4 { top_k as u32 } else { u32::MAX },
        max_parts,
        ring_rows: ring_rows as u32,
        page_rows: page_rows as u32,
        max_pages: 3,
        ring: &ring_gpu,
        pages: Some(&pages_gpu),
        page_table: &table_gpu,
        sinks: &sinks_gpu,
    };
    let int8 = bench.output_int8(step, heads * dim)?;
    let [partial_slice, stats_slice] = [partial.slice(), stats.slice()];
    let (scores_slice, places_slice) = (scores.slice(), places.slice());
    let out_rows = Strided::whole(&out.slice(), (heads * dim) as u32).with_f16(half);
    let buffers = AttentionBuffers {
        rows: &rows_gpu,
        q: &q_gpu,
        kv: &kv_gpu,
        selected: &selected_gpu,
        angles: &angles_gpu,
        partial: &partial_slice,
        stats: &stats_slice,
        scores: &scores_slice,
        places: &places_slice,
        out: &out_rows,
        out_int8: int8.as_ref().map(|(_, quantized)| quantized),
    };
    // The step's keys go into other rings than those that are read, so that both can be looked at.
    let stored: Vec<Output> =
        (0..segments).map(|_| bench.output_with(&vec![0.0; 2 * ring_rows / segments * row_words])).collect::<Result<_>>()?;
    let stored_pool = Pool { segments: stored.iter().map(Output::slice).collect(), held: (2 * ring_rows / segments) as u32 };
    let live = bench.upload(&[1u32, 1])?;
    let source = Strided::whole(&kv_gpu, row_words as u32);
    let rings =
        Rings { stores: vec![RingStore { ring: &stored_pool, size: ring_rows as u32, words: row_words as u32, source }], live: &live };
    let own: Vec<_> = [&out, &partial, &stats, &scores, &places].into_iter().chain(int8.as_ref().map(|(output, _)| output)).collect();
    let outputs: Vec<_> = own.iter().copied().chain(&stored).collect();
    let mut made = bench.run(&case, &outputs, step, |pass| record_attention(pass, &sizes, &buffers, &rings, &counts, |_| ()))?;
    let stored = Made::joined(made.split_off(own.len()));
    let mut kept = vec![0f32; 2 * ring_rows * dim];
    for (row, key) in rows.iter().zip(fresh.chunks_exact(dim)) {
        kept[(row.slot as usize * ring_rows + row.position as usize % ring_rows) * dim..][..dim].copy_from_slice(key);
    }
    bench.compare(&stored, &format!("{case}, rings"), &unpack(kv, &stored.words), &kept, Limit::EXACT);
    bench.compare(&made[0], &case, &made[0].elements(half), &want, made[0].limit());
    // Of the cooperative kernels the last row is what the scratch still holds, behind the one before it where rows are an even number.
    if let Some(padded) = made[3].by().and_then(|scores| scores.value("HEADS")) {
        let columns = (score_bytes(&bench.kit.dialect, heads as u32, counts[t - 1], 1) / 4) as usize / padded as usize;
        let first = (1 - t % 2) * padded as usize;
        compare_scores(bench, &case, (&last_scores, &sinks), (&made[3], &made[2]), (first, columns), dim);
    }
    if let Some(int8) = made.get(5) {
        bench.compare_int8(int8, &case, &made[0].floats(), heads * dim);
    }
    Ok(())
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>() as f32
}

/// What the cooperative kernels leave for each other of one row, whose heads start at `first` in rows of `columns` scores.
fn compare_scores(
    bench: &mut Bench<'_>,
    case: &str,
    (want, sinks): (&[Vec<f32>], &[f32]),
    (scores, stats): (&Made, &Made),
    (first, columns): (usize, usize),
    dim: usize,
) {
    let (got_scores, got_stats) = (scores.floats(), stats.floats());
    for (h, (want, &sink)) in want.iter().zip(sinks).enumerate() {
        bench.compare(scores, case, &got_scores[(first + h) * columns..][..want.len()], want, scores.limit());
        let scaled: Vec<f64> = want.iter().map(|&s| f64::from(s) / (dim as f64).sqrt()).collect();
        let most = scaled.iter().copied().fold(f64::from(sink), f64::max);
        let sum: f64 = scaled.iter().chain([&f64::from(sink)]).map(|s| (s - most).exp()).sum();
        bench.compare(stats, case, &got_stats[(first + h) * 2..][..2], &[most as f32, (1.0 / sum) as f32], stats.limit());
    }
}
