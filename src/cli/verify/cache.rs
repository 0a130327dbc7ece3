//! Checks of what touches a session's memory: rotation, window keys, rings, compressed rows, indexer, attention.

use super::bench::{Bench, Limit, Output, as_elements, as_floats, step_of};
use crate::Result;
use crate::kernels::{
    Attention, AttentionBuffers, Compress, DECODE_ROWS, IndexScore, KvRow, MAX_PARTS, Pool, QRope, RingStore, Rings, Row, Strided, Window,
    Windows, chooses_few, record_attention, record_compress, record_index_score, record_kv_row, record_q_rope, record_ring_store,
    record_top_k, score_bytes, score_shape, scores_few,
};
use crate::num::KvType;
use crate::reference::{self, Candidates};
use half::f16;

/// All checks of this file.
pub fn run(bench: &mut Bench<'_>) -> Result<()> {
    rotations(bench)?;
    rings(bench)?;
    for ratio in [4, 128] {
        for segments in [1, 2] {
            compress(bench, ratio, 128, segments)?;
        }
    }
    compress(bench, 4, 512, 1)?;
    // A few rows of decode steps; as many as a prefill step has, with more heads than a kernel stages at a time.
    let (few, many) = ([(1, 200, 3), (0, 380, 2), (1, 2, 2)], [(1, 200, 11), (0, 330, 19), (1, 2, 7)]);
    for (dim, segments) in [(64, 1), (128, 1), (128, 2)] {
        index(bench, dim, segments, 22, &few)?;
        index(bench, dim, segments, 70, &few)?;
        index(bench, dim, segments, 70, &many)?;
    }
    top_k(bench)?;
    for tokens in [1, 3, 20] {
        for ratio in [0, 4, 128] {
            attention(bench, (ratio, tokens), FEW_KEYS, (512, 8), 1)?;
        }
        attention(bench, (4, tokens), FEW_KEYS, (128, 4), 2)?;
        attention(bench, (128, tokens), FEW_KEYS, (64, 6), 1)?;
    }
    // Heads for cooperative matrices in steps of few rows: one part, several, and parts that take more stages than one.
    for tokens in [1, 3] {
        attention(bench, (128, tokens), FEW_KEYS, (512, 64), 1)?;
        attention(bench, (4, tokens), (150, 100), (512, 32), 1)?;
        attention(bench, (4, tokens), (150, 100), (128, 16), 2)?;
    }
    Ok(())
}

/// A window, and a choice of compressed rows.
const FEW_KEYS: (usize, usize) = (40, 30);

/// What the cache keeps of a value.
fn cached(kv: KvType, value: f32) -> f32 {
    match kv {
        KvType::F16 => f16::from_f32(value).to_f32(),
        KvType::F32 => value,
    }
}

/// Rows as the cache stores them.
fn pack(kv: KvType, values: &[f32]) -> Vec<u32> {
    match kv {
        KvType::F16 => values
            .as_chunks::<2>()
            .0
            .iter()
            .map(|&[a, b]| u32::from(f16::from_f32(a).to_bits()) | u32::from(f16::from_f32(b).to_bits()) << 16)
            .collect(),
        KvType::F32 => values.iter().map(|v| v.to_bits()).collect(),
    }
}

pub(super) fn unpack(kv: KvType, words: &[u32]) -> Vec<f32> {
    match kv {
        KvType::F16 => words.iter().flat_map(|&w| [w as u16, (w >> 16) as u16]).map(|b| f16::from_bits(b).to_f32()).collect(),
        KvType::F32 => as_floats(words),
    }
}

pub(super) fn stored_limit(kv: KvType) -> Limit {
    match kv {
        KvType::F16 => Limit::HALF_STORED,
        KvType::F32 => Limit::F32,
    }
}

/// (cos, sin) of some position for each of `rows` x `sets` rotations of `rope` channels.
pub(super) fn angles(count: usize, rope: usize) -> Vec<Vec<(f32, f32)>> {
    let frequencies: Vec<f32> = (0..rope / 2).map(|i| 10_000f32.powf(-2.0 * i as f32 / rope as f32)).collect();
    (0..count).map(|i| crate::model::angles(i as u32 * 17 + 3, &frequencies)).collect()
}

pub(super) fn flat(angles: &[Vec<(f32, f32)>]) -> Vec<[f32; 2]> {
    angles.iter().flatten().map(|&(cos, sin)| [cos, sin]).collect()
}

fn rotations(bench: &mut Bench<'_>) -> Result<()> {
    let kv = bench.kit.dialect.kv;
    for (dim, rope, heads) in [(512usize, 64usize, 3usize), (128, 64, 5), (64, 32, 2)] {
        let tokens = 4usize;
        let case = format!("{heads} heads of {dim}, {rope} rotated");
        let stride = heads * dim + 16;
        let wide = bench.floats(tokens * stride);
        let turns = angles(tokens * 2, rope);
        let angles_gpu = bench.upload(&flat(&turns))?;
        let out = bench.output_with(&wide)?;
        let x = Strided { slice: out.slice(), stride: stride as u32, offset: 8, half: false };
        let sizes = QRope { heads: heads as u32, dim: dim as u32, rope: rope as u32, compressed: true, norm_eps: 1e-6 };
        let words = bench.run("q_rope", &case, &[&out], |rec, kit| record_q_rope(rec, kit, sizes, &angles_gpu, &x, tokens as u32))?;
        // What lies around the heads stays as it is.
        let mut want = wide.clone();
        for (t, row) in want.chunks_exact_mut(stride).enumerate() {
            for head in row[8..8 + heads * dim].chunks_exact_mut(dim) {
                reference::normalise(head, dim, 1e-6);
                reference::rotate(head, &turns[2 * t + 1]);
            }
        }
        bench.compare("q_rope", &case, &as_floats(&words[0]), &want, Limit::F32);
        let x = bench.upload(&wide)?;
        let weight = bench.floats(dim);
        let (weight_gpu, x) = (bench.upload(&weight)?, Strided { slice: x, stride: stride as u32, offset: 8, half: false });
        let out = bench.output(tokens * kv.words(dim as u32) as usize)?;
        let sizes = KvRow { dim: dim as u32, rope: rope as u32, compressed: false, eps: 1e-6 };
        let words = bench.run("kv_row", &case, &[&out], |rec, kit| {
            record_kv_row(rec, kit, sizes, &x, &weight_gpu, &angles_gpu, &out.slice(), tokens as u32);
        })?;
        let own: Vec<f32> = wide.chunks_exact(stride).flat_map(|row| &row[8..8 + dim]).copied().collect();
        let mut want = reference::rms_norm(&own, &weight, 1e-6);
        for (t, row) in want.chunks_exact_mut(dim).enumerate() {
            reference::rotate(row, &turns[2 * t]);
        }
        bench.compare("kv_row", &case, &unpack(kv, &words[0]), &want, stored_limit(kv));
    }
    Ok(())
}

/// Rows of a step: each (slot, first position, count) is a session's run.
pub(super) fn rows_of(runs: &[(u32, u32, u32)]) -> Vec<Row> {
    let mut rows = Vec::new();
    for &(slot, first_position, count) in runs {
        let first_row = rows.len() as u32;
        rows.extend((0..count).map(|i| Row {
            slot,
            position: first_position + i,
            first_row,
            first_position,
            last_row: first_row + count - 1,
            ..Row::default()
        }));
    }
    rows
}

/// Buffers of `units` units of `words` words, `held` in each.
pub(super) fn pool(bench: &Bench<'_>, words: &[u32], unit: usize, held: usize) -> Result<Pool> {
    let segments = words.chunks(unit * held).map(|part| bench.upload(part)).collect::<Result<_>>()?;
    Ok(Pool { segments, held: held as u32 })
}

fn rings(bench: &mut Bench<'_>) -> Result<()> {
    let (stride, slots) = (320usize, 3usize);
    // Rows of a session, words of a row, and where they are in the source.
    let shapes = [(11usize, 300usize, 8usize), (30, 40, 100), (4, 257, 0)];
    let rows = rows_of(&[(2, 5, 4), (0, 100, 25), (1, 7, 1)]);
    // Slot 1 is not live.
    let live = [1u32, 0, 1];
    let source: Vec<u32> = (0..rows.len() * stride).map(|i| i as u32 * 3 + 1).collect();
    let mut want = Vec::new();
    for (size, words, offset) in shapes {
        let mut ring: Vec<u32> = vec![9; slots * size * words];
        for (t, row) in rows.iter().enumerate() {
            if live[row.slot as usize] == 1 && row.last_row as usize - t < size {
                let place = row.slot as usize * size + row.position as usize % size;
                ring[place * words..][..words].copy_from_slice(&source[t * stride + offset..][..words]);
            }
        }
        want.extend(ring);
    }
    let (rows_gpu, live_gpu, source) = (bench.upload(&rows)?, bench.upload(&live)?, bench.upload(&source)?);
    // Whole rings, and rings in several buffers.
    for held in [usize::MAX, 14] {
        let case = format!("3 rings for {slots} slots, {} rows a buffer", if held == 14 { "14" } else { "all" });
        let nines = |count: usize| vec![f32::from_bits(9); count];
        let (mut outs, mut pools) = (Vec::new(), Vec::new());
        for (size, words, _) in shapes {
            let (total, first) = (slots * size, outs.len());
            let held = held.min(total);
            for row in (0..total).step_by(held) {
                outs.push(bench.output_with(&nines(held.min(total - row) * words))?);
            }
            pools.push(Pool { segments: outs[first..].iter().map(Output::slice).collect(), held: held as u32 });
        }
        let all: Vec<&Output> = outs.iter().collect();
        let store = |(&(size, words, offset), ring)| {
            let source = Strided { slice: source.clone(), stride: stride as u32, offset: offset as u32, half: false };
            RingStore { ring, size: size as u32, words: words as u32, source }
        };
        let rings = Rings { stores: shapes.iter().zip(&pools).map(store).collect(), live: &live_gpu };
        let got = bench.run("ring_store", &case, &all, |rec, kit| {
            record_ring_store(rec, kit, &rings, &rows_gpu, rows.len() as u32);
        })?;
        bench.compare_ids("ring_store", &case, &got.concat(), &want);
    }
    Ok(())
}

fn compress(bench: &mut Bench<'_>, ratio: u32, dim: usize, segments: usize) -> Result<()> {
    let kv = bench.kit.dialect.kv;
    let case = format!("ratio {ratio}, {dim} channels, {segments} frontier buffers");
    let (slots, rope) = (2usize, 64usize.min(dim));
    let ring = (if ratio == 4 { 16 } else { 136 }) as usize;
    let width = if ratio == 4 { 2 * dim } else { dim };
    let page_rows = 512 / ratio as usize;
    // One session in the middle of a window, one at its very start.
    let runs = [(1u32, 2 * ratio - 3, ratio + 5), (0, 0, ratio)];
    let rows = rows_of(&runs);
    let (tokens, stride) = (rows.len(), 2 * width + 8);
    let fresh = bench.floats_around(0.2, 1.5, tokens * stride);
    let frontier = bench.floats_around(0.2, 1.5, slots * ring * 2 * width);
    let (ape, norm) = (bench.floats(ratio as usize * width), bench.floats_around(1.0, 0.2, dim));
    let mut windows = Vec::new();
    for (t, row) in rows.iter().enumerate() {
        if (row.position + 1).is_multiple_of(ratio) {
            windows.push(Window { last_row: t as u32, index: row.position / ratio });
        }
    }
    let turns = angles(windows.len(), rope);
    // Pages out of order; page 0 belongs to slot 1.
    let page_table = [3u32, 2, 0, 1];
    let page_words = page_rows * kv.words(dim as u32) as usize;

    let token = |slot: u32, position: u32| -> &[f32] {
        let t = rows.iter().position(|r| r.slot == slot && r.position == position);
        match t {
            Some(t) => &fresh[t * stride + 4..][..2 * width],
            None => &frontier[(slot as usize * ring + position as usize % ring) * 2 * width..][..2 * width],
        }
    };
    let (mut want, mut places) = (Vec::new(), Vec::new());
    for (window, turn) in windows.iter().zip(&turns) {
        let slot = rows[window.last_row as usize].slot;
        let start = window.index * ratio;
        let mut candidates = Candidates::default();
        let mut add = |position: u32, half: usize| {
            let (values, gates) = token(slot, position).split_at(width);
            let ape = &ape[(position % ratio) as usize * width..][half * dim..][..dim];
            candidates.values.push(&values[half * dim..][..dim]);
            candidates.gates.push(gates[half * dim..][..dim].iter().zip(ape).map(|(g, a)| g + a).collect());
        };
        if ratio == 4 && start > 0 {
            (start - ratio..start).for_each(|p| add(p, 0));
        }
        (start..start + ratio).for_each(|p| add(p, usize::from(ratio == 4)));
        let mut row = reference::rms_norm(&reference::pool(&candidates), &norm, 1e-6);
        reference::rotate(&mut row, turn);
        let page = page_table[slot as usize * 2 + window.index as usize / page_rows] as usize;
        places.push(page * page_rows + window.index as usize % page_rows);
        want.extend(row);
    }

    let held = (slots * ring).div_ceil(segments);
    let frontier_words: Vec<u32> = frontier.iter().map(|v| v.to_bits()).collect();
    let frontier_gpu = pool(bench, &frontier_words, 2 * width, held)?;
    let outs = [bench.output_with(&vec![0.0; 3 * page_words])?, bench.output_with(&vec![0.0; page_words])?];
    let pages = Pool { segments: outs.iter().map(Output::slice).collect(), held: 3 };
    let [ape_gpu, norm_gpu, table_gpu] = [bench.upload(&ape)?, bench.upload(&norm)?, bench.upload(&page_table)?];
    let [windows_gpu, angles_gpu] = [bench.upload(&windows)?, bench.upload(&flat(&turns))?];
    let [rows_gpu, live_gpu] = [bench.upload(&rows)?, bench.upload(&[1u32, 1])?];
    let fresh = Strided { slice: bench.upload(&fresh)?, stride: stride as u32, offset: 4, half: false };
    let sizes = Compress {
        ratio,
        dim: dim as u32,
        rope: rope as u32,
        eps: 1e-6,
        ring: ring as u32,
        page_rows: page_rows as u32,
        max_pages: 2,
        ape: &ape_gpu,
        norm: &norm_gpu,
        frontier: &frontier_gpu,
        pages: &pages,
        page_table: &table_gpu,
    };
    let count = windows.len() as u32;
    let got = bench.run("compress", &case, &[&outs[0], &outs[1]], |rec, kit| {
        let windows = Windows { list: &windows_gpu, angles: &angles_gpu, first: 0, count, rows: &rows_gpu, live: &live_gpu };
        record_compress(rec, kit, &sizes, &windows, &fresh);
    })?;
    let mut all = unpack(kv, &got.concat());
    let written: Vec<f32> = places.iter().flat_map(|place| all[place * dim..][..dim].to_vec()).collect();
    bench.compare("compress", &case, &written, &want, stored_limit(kv));
    places.iter().for_each(|place| all[place * dim..][..dim].fill(0.0));
    if all.iter().any(|&v| v != 0.0) {
        bench.fail("compress", &case, "wrote to rows of windows that do not close".into());
    }
    Ok(())
}

/// Two sessions' compressed rows in shuffled pages: the pool's words, the page table (2, 3), and the rows as the cache keeps them.
fn paged(bench: &mut Bench<'_>, dim: usize, page_rows: usize) -> (Vec<u32>, Vec<u32>, [Vec<Vec<f32>>; 2]) {
    let kv = bench.kit.dialect.kv;
    let page_table = vec![4u32, 1, 3, 0, 5, 2];
    let pool: Vec<f32> = bench.floats(6 * page_rows * dim).iter().map(|&v| cached(kv, v)).collect();
    let row = |slot: usize, i: usize| {
        let page = page_table[slot * 3 + i / page_rows] as usize;
        pool[(page * page_rows + i % page_rows) * dim..][..dim].to_vec()
    };
    let rows = [0, 1].map(|slot| (0..3 * page_rows).map(|i| row(slot, i)).collect());
    (pack(kv, &pool), page_table, rows)
}

fn index(bench: &mut Bench<'_>, dim: usize, segments: usize, heads: usize, runs: &[(u32, u32, u32)]) -> Result<()> {
    let kv = bench.kit.dialect.kv;
    let (page_rows, columns) = (32usize, 96usize);
    let (pool_words, page_table, keys) = paged(bench, dim, page_rows);
    let rows = rows_of(runs);
    let case = format!("{} tokens, {heads} heads of {dim}, {segments} buffers of pages", rows.len());
    let q_stride = heads * dim + 12;
    let q = bench.floats(rows.len() * q_stride);
    let rope = dim / 2;
    let turns = angles(2 * rows.len(), rope);
    let (hw_stride, first) = (heads + 5, 1usize);
    let hw = bench.floats_around(0.0, 1.0, rows.len() * hw_stride);
    let unit = page_rows * kv.words(dim as u32) as usize;
    let pages = pool(bench, &pool_words, unit, 6usize.div_ceil(segments))?;
    let [rows_gpu, table_gpu] = [bench.upload(&rows)?, bench.upload(&page_table)?];
    let angles_gpu = bench.upload(&flat(&turns))?;
    let q_gpu = Strided { slice: bench.upload(&q)?, stride: q_stride as u32, offset: 4, half: false };
    let hw_gpu = Strided { slice: bench.upload(&hw)?, stride: hw_stride as u32, offset: 4, half: false };
    let count = rows.len() - first;
    let scores = bench.output_with(&vec![7.0; count * columns])?;
    let sizes = IndexScore {
        heads: heads as u32,
        dim: dim as u32,
        rope: rope as u32,
        ratio: 4,
        page_rows: page_rows as u32,
        max_pages: 3,
        pages: &pages,
        page_table: &table_gpu,
    };
    let is_long = count > DECODE_ROWS as usize && bench.kit.dialect.uses_half();
    let is_few = count <= DECODE_ROWS as usize && scores_few(&bench.kit.dialect, dim as u32);
    let (kernel, limit) = match (is_long, is_few) {
        (true, _) => ("index_score_coop", Limit::HALF),
        (_, true) => ("index_score_few", Limit::HALF),
        _ => ("index_score", Limit::F32),
    };
    let got = bench.run(kernel, &case, &[&scores], |rec, kit| {
        let tile = (step_of(count as u32), first as u32, &rows[first..]);
        record_index_score(rec, kit, &sizes, &rows_gpu, &q_gpu, &angles_gpu, &hw_gpu, &scores.slice(), columns as u32, tile);
    })?;
    let mut want = vec![7f32; count * columns];
    for (row, (t, want)) in rows[first..].iter().zip((first..).zip(want.chunks_exact_mut(columns))) {
        let seen = (row.position as usize + 1) / 4;
        let own = keys[row.slot as usize][..seen].iter().map(|k| &k[..]);
        let mut queries = q[t * q_stride + 4..][..heads * dim].to_vec();
        queries.chunks_exact_mut(dim).for_each(|head| reference::rotate(head, &turns[2 * t + 1]));
        let scored = reference::index_score(&queries, &hw[t * hw_stride + 4..][..heads], own);
        want[..seen].copy_from_slice(&scored);
    }
    bench.compare(kernel, &case, &as_floats(&got[0]), &want, limit);
    Ok(())
}

fn top_k(bench: &mut Bench<'_>) -> Result<()> {
    for (k, columns) in [(8usize, 300usize), (512, 601), (512, 2000), (512, 4096), (512, 4097), (512, 40_000)] {
        let case = format!("{k} of up to {columns}");
        let positions = [columns * 4 - 1, columns * 4 - 1, columns * 4 - 1, k * 4 + 7, k * 4 + 3, 2, columns * 2];
        let runs: Vec<(u32, u32, u32)> = positions.iter().map(|&p| (0, p as u32, 1)).collect();
        let rows = rows_of(&runs);
        let mut scores = bench.floats_around(0.0, 1.0, rows.len() * columns);
        // Row 0: NaN and infinities; row 1: all equal; row 2: few distinct values.
        scores[..columns / 2].fill(f32::NAN);
        scores[columns / 2..][..4].copy_from_slice(&[f32::INFINITY, f32::NEG_INFINITY, -0.0, 0.0]);
        scores[columns..2 * columns].fill(1.5);
        scores[2 * columns..3 * columns].iter_mut().for_each(|s| *s = s.round());
        let (rows_gpu, scores_gpu) = (bench.upload(&rows)?, bench.upload(&scores)?);
        let out = bench.output_with(&vec![f32::from_bits(u32::MAX); rows.len() * k])?;
        let kernel = if chooses_few(&bench.kit.dialect, columns as u32) { "top_k_few" } else { "top_k" };
        let got = bench.run(kernel, &case, &[&out], |rec, kit| {
            let tile = (0, rows.len() as u32);
            record_top_k(rec, kit, (4, k as u32), &rows_gpu, &scores_gpu, columns as u32, &out.slice(), tile);
        })?;
        let mut want = vec![u32::MAX; rows.len() * k];
        for (t, row) in rows.iter().enumerate() {
            let seen = (row.position as usize + 1) / 4;
            if seen > k {
                want[t * k..][..k].copy_from_slice(&reference::top_k(&scores[t * columns..][..seen], k));
            }
        }
        bench.compare_ids(kernel, &case, &got[0], &want);
    }
    Ok(())
}

/// `window` and `top_k`: keys of the window, and compressed rows, that a row sees at most.
fn attention(
    bench: &mut Bench<'_>,
    (ratio, tokens): (u32, u32),
    (window, top_k): (usize, usize),
    (dim, heads): (usize, usize),
    segments: usize,
) -> Result<()> {
    let kv = bench.kit.dialect.kv;
    let case = format!("ratio {ratio}, {tokens} tokens, window {window}, {heads} heads of {dim}, {segments} buffers");
    let (ring_rows, rope) = (window + 16, 32usize);
    let page_rows = if ratio == 128 { 4 } else { 128 };
    let (pool_words, page_table, compressed) = paged(bench, dim, page_rows);
    // The last session's run starts at its first token.
    let runs = match tokens {
        1 => vec![(1, 700, 1)],
        3 => vec![(0, 1000, 1), (1, 0, 2)],
        _ => vec![(0, 900, tokens - 2), (1, 60, 2)],
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
    let decode = t.min(DECODE_ROWS as usize);
    let partial = bench.output(decode * max_parts as usize * heads * dim)?;
    let stats = bench.output((decode * max_parts as usize * heads * 2).max(t * heads.next_multiple_of(64) * 2))?;
    // Scores of two rows at a time: more tiles than one.
    let scores = bench.output((score_bytes(&bench.kit.dialect, heads as u32, most_keys as u32, 2) / 4).max(1) as usize)?;
    let places = bench.output((scores.slice().bytes / 4) as usize)?;
    let half = tokens > DECODE_ROWS && bench.kit.dialect.uses_half();
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
        pages: &pages_gpu,
        page_table: &table_gpu,
        sinks: &sinks_gpu,
    };
    let int8 = bench.output_int8(t, heads * dim)?;
    let [partial_slice, stats_slice] = [partial.slice(), stats.slice()];
    let (scores_slice, places_slice) = (scores.slice(), places.slice());
    let out_rows = Strided::whole(&out.slice(), (heads * dim) as u32).halved(half);
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
    let coop = sizes.uses_half(&bench.kit.dialect, step_of(t as u32));
    let kernel = match (tokens <= DECODE_ROWS, coop) {
        (true, true) => "attention_coop",
        (true, false) => "attention_merge",
        (false, true) => "attention_values",
        (false, false) => "attention",
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
    let mut got = bench.run(kernel, &case, &outputs, |rec, kit| {
        record_attention(rec, kit, &sizes, &buffers, &rings, (step_of(t as u32), &counts), |_| ())
    })?;
    let stored = unpack(kv, &got.split_off(own.len()).concat());
    let mut kept = vec![0f32; 2 * ring_rows * dim];
    for (row, key) in rows.iter().zip(fresh.chunks_exact(dim)) {
        kept[(row.slot as usize * ring_rows + row.position as usize % ring_rows) * dim..][..dim].copy_from_slice(key);
    }
    bench.compare(kernel, &format!("{case}, rings"), &stored, &kept, Limit::EXACT);
    let case = format!("{case}, {} parts", sizes.parts(&bench.kit.dialect, most_keys as u32));
    bench.compare(kernel, &case, &as_elements(&got[0], half), &want, if coop { Limit::HALF } else { Limit::F32 });
    if let (true, Some([padded, columns])) = (half, score_shape(&bench.kit.dialect, heads as u32, counts[t - 1])) {
        // The last row is what the scratch still holds, behind the one before it where rows are an even number.
        let first = (1 - t % 2) * padded as usize;
        compare_scores(bench, &case, (&last_scores, &sinks), &as_floats(&got[3]), &as_floats(&got[2]), (first, columns as usize), dim);
    }
    if let Some(words_int8) = got.get(5) {
        bench.compare_int8(kernel, &case, words_int8, &as_floats(&got[0]), heads * dim);
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
    scores: &[f32],
    stats: &[f32],
    (first, columns): (usize, usize),
    dim: usize,
) {
    let limit = bench.matmul_limit(DECODE_ROWS + 1);
    for (h, (want, &sink)) in want.iter().zip(sinks).enumerate() {
        bench.compare("attention_scores", case, &scores[(first + h) * columns..][..want.len()], want, limit);
        let scaled: Vec<f64> = want.iter().map(|&s| f64::from(s) / (dim as f64).sqrt()).collect();
        let most = scaled.iter().copied().fold(f64::from(sink), f64::max);
        let sum: f64 = scaled.iter().chain([&f64::from(sink)]).map(|s| (s - most).exp()).sum();
        bench.compare("attention_stats", case, &stats[(first + h) * 2..][..2], &[most as f32, (1.0 / sum) as f32], limit);
    }
}
