//! Cases of attention: keys of the window and of the step itself, compressed rows, and the rings after the step.

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
    // Heads for cooperative matrices: generated rows with one part, with several, and with parts that take several stages.
    for rows in [Rows::Few(1), Rows::Few(3)] {
        attention(bench, (128, rows, &runs(rows)), FEW_KEYS, (512, 64, 32), 1)?;
        attention(bench, (4, rows, &runs(rows)), (150, 100), (512, 32, 32), 1)?;
        attention(bench, (4, rows, &runs(rows)), (150, 100), (128, 16, 32), 2)?;
    }
    Ok(())
}

/// V4 Flash after 32,768 tokens: one row, a row of each of eight sessions, and a tile of rows of a prompt.
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

/// The keys that a row of the small cases sees: of its window, and chosen compressed rows.
const FEW_KEYS: (usize, usize) = (40, 30);

/// What a case reads, on the host. `window` and `top_k` are the largest numbers of window keys and of compressed rows that a row sees.
struct Inputs {
    ratio: u32,
    window: usize,
    top_k: usize,
    dim: usize,
    heads: usize,
    rows: Vec<Row>,
    slots: usize,
    ring_rows: usize,
    paged: Paged,
    q_stride: usize,
    q: Vec<f32>,
    /// Keys of the step's rows.
    fresh: Vec<f32>,
    ring: Vec<f32>,
    sinks: Vec<f32>,
    turns: Vec<Vec<(f32, f32)>>,
    /// Compressed rows that the indexer chose: every second of the visible ones, as many as fit.
    selected: Vec<u32>,
}

impl Inputs {
    /// Random inputs for the sessions of `runs`: (slot, first position, rows).
    fn new(
        bench: &mut Bench<'_>,
        (ratio, runs): (u32, &[(u32, u32, u32)]),
        (window, top_k): (usize, usize),
        (dim, heads, rope): (usize, usize, usize),
    ) -> Self {
        let kv = bench.kernels.profile.kv;
        let ring_rows = window + 16;
        let page_rows = if ratio == 128 { 4 } else { 128 };
        let rows = rows_of(runs);
        let slots = runs.iter().map(|run| run.0 as usize + 1).fold(2, usize::max);
        let pages_each = rows.iter().map(|row| compressed_rows(row, ratio)).max().unwrap_or(0).div_ceil(page_rows).max(3);
        let paged = Paged::new(bench, dim, page_rows, slots, pages_each);
        let (t, q_stride) = (rows.len(), heads * dim + 20);
        let q = bench.floats(t * q_stride);
        let round = |values: Vec<f32>| -> Vec<f32> { values.into_iter().map(|v| cached(kv, v)).collect() };
        let fresh = round(bench.floats(t * dim));
        let ring = round(bench.floats(slots * ring_rows * dim));
        let sinks = bench.floats(heads);
        let mut selected = vec![u32::MAX; t * top_k];
        for (row, selected) in rows.iter().zip(selected.chunks_exact_mut(top_k)) {
            let visible = compressed_rows(row, ratio);
            if ratio == 4 && visible > top_k {
                selected.iter_mut().enumerate().for_each(|(i, s)| *s = (visible - top_k + i) as u32 - i as u32 % 2);
            }
        }
        let turns = angles(t * 2, rope);
        Self { ratio, window, top_k, dim, heads, rows, slots, ring_rows, paged, q_stride, q, fresh, ring, sinks, turns, selected }
    }

    /// The number of keys that each row sees.
    fn counts(&self) -> Vec<u32> {
        let most = if self.ratio == 4 { self.top_k } else { usize::MAX };
        let window = |row: &Row| row.position.min(self.window as u32 - 1) + 1;
        self.rows.iter().map(|row| window(row) + compressed_rows(row, self.ratio).min(most) as u32).collect()
    }

    /// The keys that row `i` sees.
    fn keys(&self, i: usize) -> Vec<&[f32]> {
        let (row, dim) = (&self.rows[i], self.dim);
        let mut keys: Vec<&[f32]> = Vec::new();
        for position in (row.position + 1).saturating_sub(self.window as u32)..=row.position {
            keys.push(if position >= row.first_position {
                &self.fresh[(row.first_row + position - row.first_position) as usize * dim..][..dim]
            } else {
                &self.ring[(row.slot as usize * self.ring_rows + position as usize % self.ring_rows) * dim..][..dim]
            });
        }
        let visible = compressed_rows(row, self.ratio);
        if self.ratio == 4 && visible > self.top_k {
            let selected = &self.selected[i * self.top_k..][..self.top_k];
            keys.extend(selected.iter().map(|&s| self.paged.row(row.slot, s as usize)));
        } else {
            keys.extend((0..visible).map(|n| self.paged.row(row.slot, n)));
        }
        keys
    }

    /// What the reference makes of row `i`: the result of all heads, and the scores of each.
    fn expected(&self, i: usize) -> (Vec<f32>, Vec<Vec<f32>>) {
        let (dim, keys) = (self.dim, self.keys(i));
        let turn = &self.turns[2 * i + usize::from(self.ratio > 0)];
        let mut q = self.q[i * self.q_stride..][..self.heads * dim].to_vec();
        reference::normalise(&mut q, dim, 1e-6);
        q.chunks_exact_mut(dim).for_each(|head| reference::rotate(head, turn));
        let mut want = Vec::new();
        for (q, &sink) in q.chunks_exact(dim).zip(&self.sinks) {
            let mut out = reference::attention(q, &keys, sink);
            reference::rotate_back(&mut out, turn);
            want.extend(out);
        }
        (want, q.chunks_exact(dim).map(|q| keys.iter().map(|k| dot(q, k)).collect()).collect())
    }

    /// The rings after the step. They start as zeros, because the step's keys go into other rings than those that are read.
    fn stored(&self) -> Vec<f32> {
        let mut kept = vec![0f32; self.slots * self.ring_rows * self.dim];
        for (row, key) in self.rows.iter().zip(self.fresh.chunks_exact(self.dim)) {
            let place = row.slot as usize * self.ring_rows + row.position as usize % self.ring_rows;
            kept[place * self.dim..][..self.dim].copy_from_slice(key);
        }
        kept
    }
}

/// The number of compressed rows that `row` sees.
fn compressed_rows(row: &Row, ratio: u32) -> usize {
    (row.position + 1).checked_div(ratio).unwrap_or(0) as usize
}

/// A step of `runs`, each of which is (slot, first position, rows) of a session. `most` is (window, top_k) of [`Inputs`].
fn attention(
    bench: &mut Bench<'_>,
    (ratio, step, runs): (u32, Rows, &[(u32, u32, u32)]),
    most: (usize, usize),
    (dim, heads, rope): (usize, usize, usize),
    segments: usize,
) -> Result<()> {
    let kv = bench.kernels.profile.kv;
    let case = format!("ratio {ratio}, {step:?}, window {}, {heads} heads of {dim}, {segments} buffers", most.0);
    let inputs = Inputs::new(bench, (ratio, runs), most, (dim, heads, rope));
    let (t, slots, ring_rows, paged) = (inputs.rows.len(), inputs.slots, inputs.ring_rows, &inputs.paged);
    let counts = inputs.counts();
    let most_keys = counts.iter().copied().max().unwrap_or(0);
    let row_words = kv.words(dim as u32) as usize;
    let ring_gpu = pool(bench, &pack(kv, &inputs.ring), row_words, (slots * ring_rows).div_ceil(segments))?;
    let pages_gpu = paged.pool(bench, segments)?;
    let [rows_gpu, table_gpu] = [bench.upload(&inputs.rows)?, bench.upload(&paged.table)?];
    let q_gpu = Strided::whole(&bench.upload(&inputs.q)?, inputs.q_stride as u32);
    let [sinks_gpu, kv_gpu] = [bench.upload(&inputs.sinks)?, bench.upload(&pack(kv, &inputs.fresh))?];
    let [selected_gpu, angles_gpu] = [bench.upload(&inputs.selected)?, bench.upload(&flat(&inputs.turns))?];
    // Devices on which pools are split have small bindings, and so fewer parts.
    let max_parts = if segments == 1 { MAX_PARTS } else { 3 };
    let decode = if step.are_few() { t } else { 1 };
    let partial = bench.output(decode * max_parts as usize * heads * dim)?;
    let stats = bench.output((decode * max_parts as usize * heads * 2).max(t * heads.next_multiple_of(64) * 2))?;
    // The scratch has room for the scores of two rows, so that a step takes several tiles of rows.
    let scores = bench.output((score_bytes(&bench.kernels.profile, heads as u32, most_keys, 2) / 4).max(1) as usize)?;
    let places = bench.output((scores.slice().bytes / 4) as usize)?;
    let is_f16 = bench.takes_f16(step);
    let out = bench.elements(t * heads * dim, is_f16)?;
    let sizes = Attention {
        heads: heads as u32,
        dim: dim as u32,
        rope: rope as u32,
        norm_eps: 1e-6,
        window: inputs.window as u32,
        ratio,
        top_k: if ratio == 4 { inputs.top_k as u32 } else { u32::MAX },
        max_parts,
        ring_rows: ring_rows as u32,
        page_rows: if ratio == 128 { 4 } else { 128 },
        max_pages: paged.pages_each(),
        ring: &ring_gpu,
        pages: Some(&pages_gpu),
        page_table: &table_gpu,
        sinks: &sinks_gpu,
    };
    let int8 = bench.output_int8(step, heads * dim)?;
    let buffers = AttentionBuffers {
        rows: &rows_gpu,
        q: &q_gpu,
        kv: &kv_gpu,
        selected: &selected_gpu,
        angles: &angles_gpu,
        partial: &partial.slice(),
        stats: &stats.slice(),
        scores: &scores.slice(),
        places: &places.slice(),
        out: &Strided::whole(&out.slice(), (heads * dim) as u32).with_f16(is_f16),
        out_int8: int8.as_ref().map(|(_, quantized)| quantized),
    };
    let segment_rows = slots * ring_rows / segments;
    let stored: Vec<Output> = (0..segments).map(|_| bench.output_with(&vec![0.0; segment_rows * row_words])).collect::<Result<_>>()?;
    let stored_pool = Pool { segments: stored.iter().map(Output::slice).collect(), units_per_segment: segment_rows as u32 };
    let source = Strided::whole(&kv_gpu, row_words as u32);
    let store = RingStore { ring: &stored_pool, size: ring_rows as u32, words: row_words as u32, source };
    let rings = Rings { stores: vec![store], live: &bench.upload(&vec![1u32; slots])? };
    let scratch: Vec<_> = [&out, &partial, &stats, &scores, &places].into_iter().chain(int8.as_ref().map(|(output, _)| output)).collect();
    let outputs: Vec<_> = scratch.iter().copied().chain(&stored).collect();
    let record = |pass: &mut Pass<'_>| record_attention(pass, &sizes, &buffers, &rings, &counts, |_: &mut Pass<'_>| ());
    let Some(mut made) = bench.run(&case, &outputs, step, record)? else { return Ok(()) };
    let stored = Made::joined(made.split_off(scratch.len()));
    bench.compare(&stored, &format!("{case}, rings"), &unpack(kv, &stored.words), &inputs.stored(), Limit::EXACT);
    compare(bench, &case, &inputs, &made, is_f16);
    Ok(())
}

/// Compares what a run made with the reference: the result, what the cooperative kernels of prompts pass to each other, and the rounded
/// result.
fn compare(bench: &mut Bench<'_>, case: &str, inputs: &Inputs, made: &[Made], is_f16: bool) {
    let (t, dim, columns) = (inputs.rows.len(), inputs.dim, inputs.heads * inputs.dim);
    // The last row is always among them, because its scores are compared too.
    let some = sampled(t, 20);
    let (mut want, mut last_scores) = (Vec::new(), Vec::new());
    for &i in &some {
        let (row, scores) = inputs.expected(i);
        want.extend(row);
        last_scores = scores;
    }
    let all = made[0].elements(is_f16);
    bench.compare(&made[0], case, &rows_at(&all, &some, columns, 0, columns), &want, made[0].limit());
    // The scratch of the cooperative kernels still holds the last tile, which is the last row, or the last two if their number is even.
    if let Some(padded) = made[3].by().and_then(|scores| scores.value("HEADS")) {
        let last = *inputs.counts().last().unwrap_or(&0);
        let score_columns = (score_bytes(&bench.kernels.profile, inputs.heads as u32, last, 1) / 4) as usize / padded as usize;
        let first = (1 - t % 2) * padded as usize;
        compare_scores(bench, case, (&last_scores, &inputs.sinks), (&made[3], &made[2]), (first, score_columns), dim);
    }
    if let Some(int8) = made.get(5) {
        bench.compare_int8(int8, case, &all, columns);
    }
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>() as f32
}

/// Compares the scores of one row and their statistics, which the cooperative kernels pass to each other. Its heads start at `first`, in
/// rows of `columns` scores.
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
