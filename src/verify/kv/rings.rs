//! Cases of rings, which keep the newest rows of each session.

use crate::Result;
use crate::kernels::{Pool, RingStore, Rings, Rows, Strided, record_ring_store};
use crate::model::{Config, frontier_rows};
use crate::verify::bench::{Bench, Output};
use crate::verify::cached::rows_of;
use crate::verify::outcome::Made;

/// Whole rings, and rings in several buffers. Some runs are longer than a ring, and one session is not live.
pub fn tiny(bench: &mut Bench<'_>) -> Result<()> {
    let shapes = [(11, 300, 8), (30, 40, 100), (4, 257, 0)];
    rings(bench, 320, shapes, &[(2, 5, 4), (0, 100, 25), (1, 7, 1)], &[usize::MAX, 14])
}

/// The rings of a layer of V4 Flash: keys, and the inputs of two compressors.
pub fn flash(bench: &mut Bench<'_>) -> Result<()> {
    let c = Config::flash();
    let [keys, window] = [bench.kernels.profile.kv.words(c.head_dim), c.window + 16].map(|n| n as usize);
    let (compressor, index, frontier) = (4 * c.head_dim as usize, 4 * c.index_dim as usize, frontier_rows(4) as usize);
    let shapes = [(window, keys, 0), (frontier, compressor, keys), (frontier, index, keys + compressor)];
    for tokens in [1, bench.piece()] {
        rings(bench, keys + compressor + index, shapes, &[(0, 1000, tokens)], &[usize::MAX])?;
    }
    Ok(())
}

/// `shapes` has for each ring the rows of a session, the words of a row, and their offset in the source. `helds` are numbers of rows in a
/// segment.
fn rings(
    bench: &mut Bench<'_>,
    stride: usize,
    shapes: [(usize, usize, usize); 3],
    runs: &[(u32, u32, u32)],
    helds: &[usize],
) -> Result<()> {
    let slots = 3usize;
    let rows = rows_of(runs);
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
    for &held in helds {
        let held_rows = if held == usize::MAX { "all".into() } else { held.to_string() };
        let case = format!("3 rings of up to {} rows for {slots} slots, {} rows, {held_rows} rows a buffer", shapes[0].0, rows.len());
        let nines = |count: usize| vec![f32::from_bits(9); count];
        let (mut outs, mut pools) = (Vec::new(), Vec::new());
        for (size, words, _) in shapes {
            let (total, first) = (slots * size, outs.len());
            let held = held.min(total);
            for row in (0..total).step_by(held) {
                outs.push(bench.output_with(&nines(held.min(total - row) * words))?);
            }
            pools.push(Pool { segments: outs[first..].iter().map(Output::slice).collect(), units_per_segment: held as u32 });
        }
        let all: Vec<&Output> = outs.iter().collect();
        let store = |(&(size, words, offset), ring)| {
            let source = Strided { slice: source.clone(), stride: stride as u32, offset: offset as u32, is_f16: false };
            RingStore { ring, size: size as u32, words: words as u32, source }
        };
        let rings = Rings { stores: shapes.iter().zip(&pools).map(store).collect(), live: &live_gpu };
        let made = bench.run(&case, &all, Rows::Many(rows.len() as u32), |pass| {
            record_ring_store(pass, &rings, &rows_gpu);
        })?;
        let Some(made) = made else { continue };
        let made = Made::joined(made);
        bench.compare_ids(&made, &case, &made.words, &want);
    }
    Ok(())
}
