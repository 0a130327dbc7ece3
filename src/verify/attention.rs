//! Attention: window keys, those of the step itself, compressed rows, and the rings that the step leaves.

use super::bench::{Bench, Output};
use super::cached::{Paged, angles, cached, flat, pack, pool, rows_of, unpack};
use super::outcome::{Limit, Made};
use super::parts::{rows_at, sampled};
use crate::Result;
use crate::kernels::{
    Attention, AttentionBuffers, MAX_PARTS, Pass, Pool, RingStore, Rings, Row, Rows, Strided, record_attention, score_bytes,
};
use crate::model::Config;
use crate::reference;

/// Every ratio, heads of several sizes, pools in one buffer and in two.
pub fn tiny(bench: &mut Bench<'_>) -> Result<()> {
    // The last session's run starts at its first token.
    let runs = |rows: Rows| match rows.count() {
        1 => vec![(1, 700, 1)],
        3 => vec![(0, 1000, 1), (1, 0, 2)],
        tokens => vec![(0, 900, tokens - 2), (1, 60, 2)],
    };
    for rows in [Rows::Few(1), Rows::Few(3), Rows::Many(1), Rows::Many(5)] {
        for ratio in [0, 4, 128] {
            attention(bench, (ratio, rows, &runs(rows)), FEW_KEYS, (512, 8, 32), 1)?;
        }
        attention(bench, (4, rows, &runs(rows)), FEW_KEYS, (128, 4, 32), 2)?;
        attention(bench, (128, rows, &runs(rows)), FEW_KEYS, (64, 6, 32), 1)?;
    }
    let rows = Rows::Many(20);
    attention(bench, (4, rows, &runs(rows)), FEW_KEYS, (512, 8, 32), 1)?;
    // Heads for cooperative matrices in steps of few rows: one part, several, and parts that take more stages than one.
    for rows in [Rows::Few(1), Rows::Few(3)] {
        attention(bench, (128, rows, &runs(rows)), FEW_KEYS, (512, 64, 32), 1)?;
        attention(bench, (4, rows, &runs(rows)), (150, 100), (512, 32, 32), 1)?;
        attention(bench, (4, rows, &runs(rows)), (150, 100), (128, 16, 32), 2)?;
    }
    Ok(())
}

/// V4 Flash behind 32,768 tokens: one row, a row of each of eight sessions, and a tile of a prompt's.
pub fn flash(bench: &mut Bench<'_>) -> Result<()> {
    const POSITION: u32 = 32_768;
    let c = Config::flash();
    let heads = (c.head_dim as usize, c.heads as usize, c.rope_dim as usize);
    let keys = (c.window as usize, c.index_top_k as usize);
    let tokens = bench.piece().min(256);
    for ratio in [0, 4, 128] {
        attention(bench, (ratio, Rows::Few(1), &[(0, POSITION, 1)]), keys, heads, 1)?;
        let eight: Vec<_> = (0..8).map(|slot| (slot, POSITION, 1)).collect();
        attention(bench, (ratio, Rows::Few(8), &eight), keys, heads, 1)?;
        attention(bench, (ratio, Rows::Many(tokens), &[(0, POSITION, tokens)]), keys, heads, 1)?;
    }
    Ok(())
}

/// A window, and a choice of compressed rows.
const FEW_KEYS: (usize, usize) = (40, 30);

/// `runs`: (slot, first position, rows) of the step's sessions. `window` and `top_k`: keys of the window, and compressed rows, that a row sees at most.
fn attention(
    bench: &mut Bench<'_>,
    (ratio, step, runs): (u32, Rows, &[(u32, u32, u32)]),
    (window, top_k): (usize, usize),
    (dim, heads, rope): (usize, usize, usize),
    segments: usize,
) -> Result<()> {
    let kv = bench.kernels.profile.kv;
    let case = format!("ratio {ratio}, {step:?}, window {window}, {heads} heads of {dim}, {segments} buffers");
    let ring_rows = window + 16;
    let page_rows = if ratio == 128 { 4 } else { 128 };
    let rows = rows_of(runs);
    let slots = runs.iter().map(|run| run.0 as usize + 1).fold(2, usize::max);
    let seen = |row: &Row| (row.position + 1).checked_div(ratio).unwrap_or(0) as usize;
    let pages_each = rows.iter().map(seen).max().unwrap_or(0).div_ceil(page_rows).max(3);
    let paged = Paged::new(bench, dim, page_rows, slots, pages_each);
    let t = rows.len();
    let q_stride = heads * dim + 20;
    let raw = bench.floats(t * q_stride);
    let round = |values: Vec<f32>| -> Vec<f32> { values.into_iter().map(|v| cached(kv, v)).collect() };
    let fresh = round(bench.floats(t * dim));
    let ring = round(bench.floats(slots * ring_rows * dim));
    let sinks = bench.floats(heads);
    let turns = angles(t * 2, rope);
    // The indexer's choice: every second of the visible rows, as many as fit.
    let mut selected = vec![u32::MAX; t * top_k];
    for (row, selected) in rows.iter().zip(selected.chunks_exact_mut(top_k)) {
        if ratio == 4 && seen(row) > top_k {
            selected.iter_mut().enumerate().for_each(|(i, s)| *s = (seen(row) - top_k + i) as u32 - i as u32 % 2);
        }
    }
    let keys_of = |row: &Row| row.position.min(window as u32 - 1) as usize + 1 + seen(row).min(if ratio == 4 { top_k } else { usize::MAX });
    let counts: Vec<u32> = rows.iter().map(|row| keys_of(row) as u32).collect();
    let most_keys = counts.iter().copied().max().unwrap_or(0);
    let row_words = kv.words(dim as u32) as usize;
    let ring_gpu = pool(bench, &pack(kv, &ring), row_words, (slots * ring_rows).div_ceil(segments))?;
    let pages_gpu = paged.pool(bench, segments)?;
    let [rows_gpu, table_gpu] = [bench.upload(&rows)?, bench.upload(&paged.table)?];
    let q_gpu = Strided { slice: bench.upload(&raw)?, stride: q_stride as u32, offset: 0, half: false };
    let [sinks_gpu, kv_gpu] = [bench.upload(&sinks)?, bench.upload(&pack(kv, &fresh))?];
    let [selected_gpu, angles_gpu] = [bench.upload(&selected)?, bench.upload(&flat(&turns))?];
    // A split pool goes with a device that can bind little: fewer parts then, too.
    let max_parts = if segments == 1 { MAX_PARTS } else { 3 };
    let decode = if step.are_few() { t } else { 1 };
    let partial = bench.output(decode * max_parts as usize * heads * dim)?;
    let stats = bench.output((decode * max_parts as usize * heads * 2).max(t * heads.next_multiple_of(64) * 2))?;
    // Scores of two rows at a time: more tiles than one.
    let scores = bench.output((score_bytes(&bench.kernels.profile, heads as u32, most_keys, 2) / 4).max(1) as usize)?;
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
        max_pages: paged.pages_each(),
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
        (0..segments).map(|_| bench.output_with(&vec![0.0; slots * ring_rows / segments * row_words])).collect::<Result<_>>()?;
    let stored_pool = Pool { segments: stored.iter().map(Output::slice).collect(), held: (slots * ring_rows / segments) as u32 };
    let live = bench.upload(&vec![1u32; slots])?;
    let source = Strided::whole(&kv_gpu, row_words as u32);
    let rings =
        Rings { stores: vec![RingStore { ring: &stored_pool, size: ring_rows as u32, words: row_words as u32, source }], live: &live };
    let own: Vec<_> = [&out, &partial, &stats, &scores, &places].into_iter().chain(int8.as_ref().map(|(output, _)| output)).collect();
    let outputs: Vec<_> = own.iter().copied().chain(&stored).collect();
    let record = |pass: &mut Pass<'_>| record_attention(pass, &sizes, &buffers, &rings, &counts, |_: &mut Pass<'_>| ());
    let Some(mut made) = bench.run(&case, &outputs, step, record)? else { return Ok(()) };
    let stored = Made::joined(made.split_off(own.len()));
    let mut kept = vec![0f32; slots * ring_rows * dim];
    for (row, key) in rows.iter().zip(fresh.chunks_exact(dim)) {
        kept[(row.slot as usize * ring_rows + row.position as usize % ring_rows) * dim..][..dim].copy_from_slice(key);
    }
    bench.compare(&stored, &format!("{case}, rings"), &unpack(kv, &stored.words), &kept, Limit::EXACT);

    // The last row is compared in any case: of it some kernels leave more than their result.
    let some = sampled(t, 20);
    let (mut want, mut last_scores) = (Vec::new(), Vec::new());
    for &i in &some {
        let row = &rows[i];
        let turn = &turns[2 * i + usize::from(ratio > 0)];
        let mut q = raw[i * q_stride..][..heads * dim].to_vec();
        reference::normalise(&mut q, dim, 1e-6);
        q.chunks_exact_mut(dim).for_each(|head| reference::rotate(head, turn));
        let mut keys: Vec<&[f32]> = Vec::new();
        for position in (row.position + 1).saturating_sub(window as u32)..=row.position {
            keys.push(if position >= row.first_position {
                &fresh[(row.first_row + position - row.first_position) as usize * dim..][..dim]
            } else {
                &ring[(row.slot as usize * ring_rows + position as usize % ring_rows) * dim..][..dim]
            });
        }
        if ratio == 4 && seen(row) > top_k {
            keys.extend(selected[i * top_k..][..top_k].iter().map(|&s| paged.row(row.slot, s as usize)));
        } else {
            keys.extend((0..seen(row)).map(|n| paged.row(row.slot, n)));
        }
        last_scores = q.chunks_exact(dim).map(|q| keys.iter().map(|k| dot(q, k)).collect()).collect();
        for (q, &sink) in q.chunks_exact(dim).zip(&sinks) {
            let mut out = reference::attention(q, &keys, sink);
            reference::rotate_back(&mut out, turn);
            want.extend(out);
        }
    }
    let all = made[0].elements(half);
    bench.compare(&made[0], &case, &rows_at(&all, &some, heads * dim, 0, heads * dim), &want, made[0].limit());
    // Of the cooperative kernels the last row is what the scratch still holds, behind the one before it where rows are an even number.
    if let Some(padded) = made[3].by().and_then(|scores| scores.value("HEADS")) {
        let columns = (score_bytes(&bench.kernels.profile, heads as u32, counts[t - 1], 1) / 4) as usize / padded as usize;
        let first = (1 - t % 2) * padded as usize;
        compare_scores(bench, &case, (&last_scores, &sinks), (&made[3], &made[2]), (first, columns), dim);
    }
    if let Some(int8) = made.get(5) {
        bench.compare_int8(int8, &case, &all, heads * dim);
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
