//! Cases of the indexer: scores of compressed rows, and the choice of the highest.

use super::bench::Bench;
use super::cached::{Paged, angles, flat, rows_of};
use super::parts::{MOST_TOKENS, rows_at, sampled};
use crate::Result;
use crate::kernels::{IndexQueries, IndexScore, Rows, Scores, Strided, record_index_score, record_top_k};
use crate::model::Config;
use crate::reference;

/// As many heads as kernels stage at a time, and more. A few rows, and more rows than a workgroup takes at a time.
pub fn tiny(bench: &mut Bench<'_>) -> Result<()> {
    // Each run is (slot, first position, rows) of a session. The first row of each step is not scored.
    let (one, few, many) = ([(1, 200, 2)], [(1, 200, 3), (0, 380, 2), (1, 2, 2)], [(1, 200, 11), (0, 330, 19), (1, 2, 7)]);
    let small = |dim, heads, segments| Sizes { dim, heads, rope: dim / 2, page_rows: 32, pages_each: 3, segments };
    for (dim, segments) in [(64, 1), (128, 1), (128, 2)] {
        for heads in [22, 70] {
            index(bench, small(dim, heads, segments), Rows::Few, &few)?;
            index(bench, small(dim, heads, segments), Rows::Many, &few)?;
        }
        index(bench, small(dim, 70, segments), Rows::Many, &one)?;
        index(bench, small(dim, 70, segments), Rows::Many, &many)?;
    }
    for (k, columns) in [(8usize, 300usize), (512, 601), (512, 2000), (512, 4096), (512, 4097), (512, 40_000)] {
        top_k(bench, k, columns, None)?;
    }
    Ok(())
}

/// V4 Flash after 32,768 tokens.
pub fn flash(bench: &mut Bench<'_>) -> Result<()> {
    const POSITION: u32 = 32_768;
    let (c, tokens) = (Config::flash(), bench.piece().min(256));
    let pages_each = (POSITION + tokens).div_ceil(512) as usize;
    let [dim, heads, rope] = [c.index_dim, c.index_heads, c.rope_dim].map(|n| n as usize);
    let sizes = Sizes { dim, heads, rope, page_rows: 128, pages_each, segments: 1 };
    index(bench, sizes, Rows::Few, &[(1, POSITION, 2)])?;
    index(bench, sizes, Rows::Many, &[(1, POSITION, tokens + 1)])?;
    for rows in [1, tokens as usize] {
        // At the smaller position there are few enough scores for `top_k_few`, which keeps them in registers.
        for position in [POSITION / 4, POSITION] {
            top_k(bench, c.index_top_k as usize, position as usize / 4, Some(rows))?;
        }
    }
    Ok(())
}

/// Sizes of the indexer and of the pages that hold its keys.
#[derive(Clone, Copy)]
struct Sizes {
    dim: usize,
    heads: usize,
    rope: usize,
    page_rows: usize,
    pages_each: usize,
    segments: usize,
}

/// Scores of a step of this kind. `runs` are its sessions.
fn index(bench: &mut Bench<'_>, sizes: Sizes, kind: fn(u32) -> Rows, runs: &[(u32, u32, u32)]) -> Result<()> {
    let Sizes { dim, heads, rope, page_rows, pages_each, segments } = sizes;
    let columns = page_rows * pages_each;
    let paged = Paged::new(bench, dim, page_rows, 2, pages_each);
    let rows = rows_of(runs);
    let (first, count) = (1usize, rows.len() - 1);
    let step = kind(count as u32);
    let case = format!("{step:?} of {columns} keys, {heads} heads of {dim}, {segments} buffers of pages");
    let q_stride = heads * dim + 12;
    let q = bench.floats(rows.len() * q_stride);
    let turns = angles(2 * rows.len(), rope);
    let hw_stride = heads + 5;
    let hw = bench.floats_around(0.0, 1.0, rows.len() * hw_stride);
    let pages = paged.pool(bench, segments)?;
    let [rows_gpu, table_gpu] = [bench.upload(&rows)?, bench.upload(&paged.table)?];
    let angles_gpu = bench.upload(&flat(&turns))?;
    let q_gpu = Strided { slice: bench.upload(&q)?, stride: q_stride as u32, offset: 4, is_f16: false };
    let hw_gpu = Strided { slice: bench.upload(&hw)?, stride: hw_stride as u32, offset: 4, is_f16: false };
    let scores = bench.output_with(&vec![7.0; count * columns])?;
    let sizes = IndexScore {
        heads: heads as u32,
        dim: dim as u32,
        rope: rope as u32,
        ratio: 4,
        page_rows: page_rows as u32,
        max_pages: paged.pages_each(),
        pages: &pages,
        page_table: &table_gpu,
    };
    let made = bench.run(&case, &[&scores], step, |pass| {
        let queries = IndexQueries { q: &q_gpu, angles: &angles_gpu, head_weights: &hw_gpu };
        let scores = Scores { rows: &rows_gpu, first: first as u32, scores: &scores.slice(), columns: columns as u32 };
        record_index_score(pass, &sizes, &queries, &scores, &rows[first..]);
    })?;
    let Some(made) = made else { return Ok(()) };
    let some = sampled(count, if columns > 1000 { 6 } else { MOST_TOKENS });
    let mut want = vec![7f32; some.len() * columns];
    for (t, want) in some.iter().map(|t| first + t).zip(want.chunks_exact_mut(columns)) {
        let row = &rows[t];
        let seen = (row.position as usize + 1) / 4;
        let own = (0..seen).map(|i| paged.row(row.slot, i));
        let mut queries = q[t * q_stride + 4..][..heads * dim].to_vec();
        queries.chunks_exact_mut(dim).for_each(|head| reference::rotate(head, &turns[2 * t + 1]));
        let scored = reference::index_score(&queries, &hw[t * hw_stride + 4..][..heads], own);
        want[..seen].copy_from_slice(&scored);
    }
    let got = rows_at(&made[0].floats(), &some, columns, 0, columns);
    bench.compare(&made[0], &case, &got, &want, made[0].limit());
    Ok(())
}

/// The `k` highest of `columns` scores: for rows whose scores are special or that see fewer, or for `plain` rows that see all.
fn top_k(bench: &mut Bench<'_>, k: usize, columns: usize, plain: Option<usize>) -> Result<()> {
    let all = columns * 4 - 1;
    let positions = plain.map_or_else(|| vec![all, all, all, k * 4 + 7, k * 4 + 3, 2, columns * 2], |rows| vec![all; rows]);
    let case = format!("{k} of up to {columns}, {} rows", positions.len());
    let runs: Vec<(u32, u32, u32)> = positions.iter().map(|&p| (0, p as u32, 1)).collect();
    let rows = rows_of(&runs);
    let mut scores = bench.floats_around(0.0, 1.0, rows.len() * columns);
    if plain.is_none() {
        // Row 0: NaN and infinities; row 1: all equal; row 2: few distinct values.
        scores[..columns / 2].fill(f32::NAN);
        scores[columns / 2..][..4].copy_from_slice(&[f32::INFINITY, f32::NEG_INFINITY, -0.0, 0.0]);
        scores[columns..2 * columns].fill(1.5);
        scores[2 * columns..3 * columns].iter_mut().for_each(|s| *s = s.round());
    }
    let (rows_gpu, scores_gpu) = (bench.upload(&rows)?, bench.upload(&scores)?);
    let out = bench.output_with(&vec![f32::from_bits(u32::MAX); rows.len() * k])?;
    let made = bench.run(&case, &[&out], Rows::Many(rows.len() as u32), |pass| {
        let scores = Scores { rows: &rows_gpu, first: 0, scores: &scores_gpu, columns: columns as u32 };
        record_top_k(pass, (4, k as u32), &scores, rows.len() as u32, &out.slice());
    })?;
    let Some(made) = made else { return Ok(()) };
    let mut want = vec![u32::MAX; rows.len() * k];
    for (t, row) in rows.iter().enumerate() {
        let seen = (row.position as usize + 1) / 4;
        if seen > k {
            want[t * k..][..k].copy_from_slice(&reference::top_k(&scores[t * columns..][..seen], k));
        }
    }
    bench.compare_ids(&made[0], &case, &made[0].words, &want);
    Ok(())
}
