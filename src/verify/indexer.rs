//! Checks of the indexer.

use crate::Result;
use crate::kernels::{IndexQueries, IndexScore, Rows, Scores, Strided, record_index_score, record_top_k};
use crate::reference;
use crate::verify::bench::Bench;
use crate::verify::cached::{angles, flat, paged, pool, rows_of};

/// All checks of this file.
pub fn run(bench: &mut Bench<'_>) -> Result<()> {
    // (Slot, first position, rows) of sessions: a row behind the first, which is left out; a few; more than workgroups take at a time.
    let (one, few, many) = ([(1, 200, 2)], [(1, 200, 3), (0, 380, 2), (1, 2, 2)], [(1, 200, 11), (0, 330, 19), (1, 2, 7)]);
    // Heads that kernels stage at a time, and more.
    for (dim, segments) in [(64, 1), (128, 1), (128, 2)] {
        for heads in [22, 70] {
            index(bench, dim, segments, heads, Rows::Few, &few)?;
            index(bench, dim, segments, heads, Rows::Many, &few)?;
        }
        index(bench, dim, segments, 70, Rows::Many, &one)?;
        index(bench, dim, segments, 70, Rows::Many, &many)?;
    }
    top_k(bench)
}

/// `runs`: the sessions of a step of this kind.
fn index(bench: &mut Bench<'_>, dim: usize, segments: usize, heads: usize, kind: fn(u32) -> Rows, runs: &[(u32, u32, u32)]) -> Result<()> {
    let kv = bench.kit.dialect.kv;
    let (page_rows, columns) = (32usize, 96usize);
    let (pool_words, page_table, keys) = paged(bench, dim, page_rows);
    let rows = rows_of(runs);
    let (first, count) = (1usize, rows.len() - 1);
    let step = kind(count as u32);
    let case = format!("{step:?}, {heads} heads of {dim}, {segments} buffers of pages");
    let q_stride = heads * dim + 12;
    let q = bench.floats(rows.len() * q_stride);
    let rope = dim / 2;
    let turns = angles(2 * rows.len(), rope);
    let hw_stride = heads + 5;
    let hw = bench.floats_around(0.0, 1.0, rows.len() * hw_stride);
    let unit = page_rows * kv.words(dim as u32) as usize;
    let pages = pool(bench, &pool_words, unit, 6usize.div_ceil(segments))?;
    let [rows_gpu, table_gpu] = [bench.upload(&rows)?, bench.upload(&page_table)?];
    let angles_gpu = bench.upload(&flat(&turns))?;
    let q_gpu = Strided { slice: bench.upload(&q)?, stride: q_stride as u32, offset: 4, half: false };
    let hw_gpu = Strided { slice: bench.upload(&hw)?, stride: hw_stride as u32, offset: 4, half: false };
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
    let made = bench.run(&case, &[&scores], step, |pass| {
        let queries = IndexQueries { q: &q_gpu, angles: &angles_gpu, head_weights: &hw_gpu };
        let scores = Scores { rows: &rows_gpu, first: first as u32, scores: &scores.slice(), columns: columns as u32 };
        record_index_score(pass, &sizes, &queries, &scores, &rows[first..]);
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
    bench.compare(&made[0], &case, &made[0].floats(), &want, made[0].limit());
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
        let count = rows.len() as u32;
        let made = bench.run(&case, &[&out], Rows::Many(count), |pass| {
            let scores = Scores { rows: &rows_gpu, first: 0, scores: &scores_gpu, columns: columns as u32 };
            record_top_k(pass, (4, k as u32), &scores, count, &out.slice());
        })?;
        let mut want = vec![u32::MAX; rows.len() * k];
        for (t, row) in rows.iter().enumerate() {
            let seen = (row.position as usize + 1) / 4;
            if seen > k {
                want[t * k..][..k].copy_from_slice(&reference::top_k(&scores[t * columns..][..seen], k));
            }
        }
        bench.compare_ids(&made[0], &case, &made[0].words, &want);
    }
    Ok(())
}
