//! Compressed rows: what is pooled from a window when it closes.

use super::bench::{Bench, Output};
use super::cached::{angles, flat, pool, rows_of, stored_limit, unpack};
use super::outcome::Made;
use crate::Result;
use crate::kernels::{Compress, Pool, Rows, Strided, Window, Windows, record_compress};
use crate::model::{Config, frontier_rows};
use crate::reference::{self, Candidates};

/// Both ratios, frontiers in one buffer and in two, a window at a session's start and one that the step began in the middle of.
pub fn tiny(bench: &mut Bench<'_>) -> Result<()> {
    for ratio in [4, 128] {
        for segments in [1, 2] {
            compress(bench, ratio, (128, 64), ratio, segments)?;
        }
    }
    compress(bench, 4, (512, 64), 4, 1)
}

/// The compressors of V4 Flash and its indexer.
pub fn flash(bench: &mut Bench<'_>) -> Result<()> {
    let (c, tokens) = (Config::flash(), bench.piece());
    for (ratio, dim) in [(4, c.head_dim), (4, c.index_dim), (128, c.head_dim)] {
        compress(bench, ratio, (dim as usize, c.rope_dim as usize), tokens.max(ratio), 1)?;
    }
    Ok(())
}

/// One session runs `tokens` tokens from its start, another closes a window that it was in the middle of.
fn compress(bench: &mut Bench<'_>, ratio: u32, (dim, rope): (usize, usize), tokens: u32, segments: usize) -> Result<()> {
    let kv = bench.kernels.profile.kv;
    let case = format!("ratio {ratio}, {dim} channels, {tokens} tokens from the start, {segments} frontier buffers");
    let slots = 2usize;
    let ring = frontier_rows(ratio) as usize;
    let width = if ratio == 4 { 2 * dim } else { dim };
    let page_rows = 512 / ratio as usize;
    // One session in the middle of a window, one at its very start.
    let runs = [(1u32, 2 * ratio - 3, ratio + 5), (0, 0, tokens)];
    let rows = rows_of(&runs);
    let (tokens, stride) = (rows.len(), 2 * width + 8);
    let inputs = bench.floats_around(0.2, 1.5, tokens * stride);
    let frontier = bench.floats_around(0.2, 1.5, slots * ring * 2 * width);
    let (ape, norm) = (bench.floats(ratio as usize * width), bench.floats_around(1.0, 0.2, dim));
    let mut windows = Vec::new();
    for (t, row) in rows.iter().enumerate() {
        if (row.position + 1).is_multiple_of(ratio) {
            windows.push(Window { last_row: t as u32, index: row.position / ratio });
        }
    }
    let turns = angles(windows.len(), rope);
    // Pages out of order, those of slot 1 first.
    let pages_each = tokens.div_ceil(512).max(2);
    let page_table: Vec<u32> = (0..2 * pages_each as u32).rev().collect();
    let page_words = page_rows * kv.words(dim as u32) as usize;

    let token = |slot: u32, position: u32| -> &[f32] {
        let run = rows.iter().position(|r| r.slot == slot).map(|t| &rows[t]);
        let t = run.filter(|r| position >= r.first_position).map(|r| (r.first_row + position - r.first_position) as usize);
        match t {
            Some(t) => &inputs[t * stride + 4..][..2 * width],
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
        let page = page_table[slot as usize * pages_each + window.index as usize / page_rows] as usize;
        places.push(page * page_rows + window.index as usize % page_rows);
        want.extend(row);
    }

    let held = (slots * ring).div_ceil(segments);
    let frontier_words: Vec<u32> = frontier.iter().map(|v| v.to_bits()).collect();
    let frontier_gpu = pool(bench, &frontier_words, 2 * width, held)?;
    let held = 2 * pages_each - 1;
    let outs = [bench.output_with(&vec![0.0; held * page_words])?, bench.output_with(&vec![0.0; page_words])?];
    let pages = Pool { segments: outs.iter().map(Output::slice).collect(), held: held as u32 };
    let [ape_gpu, norm_gpu, table_gpu] = [bench.upload(&ape)?, bench.upload(&norm)?, bench.upload(&page_table)?];
    let [windows_gpu, angles_gpu] = [bench.upload(&windows)?, bench.upload(&flat(&turns))?];
    let [rows_gpu, live_gpu] = [bench.upload(&rows)?, bench.upload(&[1u32, 1])?];
    let inputs = Strided { slice: bench.upload(&inputs)?, stride: stride as u32, offset: 4, half: false };
    let sizes = Compress {
        ratio,
        dim: dim as u32,
        rope: rope as u32,
        eps: 1e-6,
        ring: ring as u32,
        page_rows: page_rows as u32,
        max_pages: pages_each as u32,
        ape: &ape_gpu,
        norm: &norm_gpu,
        frontier: &frontier_gpu,
        pages: &pages,
        page_table: &table_gpu,
    };
    let count = windows.len() as u32;
    let made = bench.run(&case, &[&outs[0], &outs[1]], Rows::Many(rows.len() as u32), |pass| {
        let windows = Windows { list: &windows_gpu, angles: &angles_gpu, first: 0, count, rows: &rows_gpu, live: &live_gpu };
        record_compress(pass, &sizes, &windows, &inputs);
    })?;
    let Some(made) = made else { return Ok(()) };
    let made = Made::joined(made);
    let mut all = unpack(kv, &made.words);
    let written: Vec<f32> = places.iter().flat_map(|place| all[place * dim..][..dim].to_vec()).collect();
    bench.compare(&made, &case, &written, &want, stored_limit(kv));
    places.iter().for_each(|place| all[place * dim..][..dim].fill(0.0));
    if all.iter().any(|&v| v != 0.0) {
        bench.fail(made.kernel(), &case, "wrote to rows of windows that do not close".into());
    }
    Ok(())
}
