//! Checks of what fills a session's memory: rotation, window keys, rings; and what the checks of its readers build it from.

use crate::Result;
use crate::kernels::{
    KvRow, Latents, Pool, QRope, RingStore, Rings, Row, Rows, Strided, Windows, record_latents, record_q_rope, record_ring_store,
};
use crate::num::KvType;
use crate::reference;
use crate::verify::bench::{Bench, Output};
use crate::verify::outcome::{Limit, Made, as_floats};
use half::f16;

/// All checks of this file.
pub fn run(bench: &mut Bench<'_>) -> Result<()> {
    rotations(bench)?;
    rings(bench)
}

/// What the cache keeps of a value.
pub fn cached(kv: KvType, value: f32) -> f32 {
    match kv {
        KvType::F16 => f16::from_f32(value).to_f32(),
        KvType::F32 => value,
    }
}

/// Rows as the cache stores them.
pub fn pack(kv: KvType, values: &[f32]) -> Vec<u32> {
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

/// Cached rows as floats.
pub fn unpack(kv: KvType, words: &[u32]) -> Vec<f32> {
    match kv {
        KvType::F16 => words.iter().flat_map(|&w| [w as u16, (w >> 16) as u16]).map(|b| f16::from_bits(b).to_f32()).collect(),
        KvType::F32 => as_floats(words),
    }
}

/// The limit for what goes into the cache.
pub fn stored_limit(kv: KvType) -> Limit {
    match kv {
        KvType::F16 => Limit::HALF_STORED,
        KvType::F32 => Limit::F32,
    }
}

/// (cos, sin) of some position for each of `rows` x `sets` rotations of `rope` channels.
pub fn angles(count: usize, rope: usize) -> Vec<Vec<(f32, f32)>> {
    let frequencies: Vec<f32> = (0..rope / 2).map(|i| 10_000f32.powf(-2.0 * i as f32 / rope as f32)).collect();
    (0..count).map(|i| crate::model::angles(i as u32 * 17 + 3, &frequencies)).collect()
}

/// Angles as they lie in GPU memory.
pub fn flat(angles: &[Vec<(f32, f32)>]) -> Vec<[f32; 2]> {
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
        let made = bench.run(&case, &[&out], Rows::Many(tokens as u32), |pass| record_q_rope(pass, sizes, &angles_gpu, &x))?;
        // What lies around the heads stays as it is.
        let mut want = wide.clone();
        for (t, row) in want.chunks_exact_mut(stride).enumerate() {
            for head in row[8..8 + heads * dim].chunks_exact_mut(dim) {
                reference::normalise(head, dim, 1e-6);
                reference::rotate(head, &turns[2 * t + 1]);
            }
        }
        bench.compare(&made[0], &case, &made[0].floats(), &want, made[0].limit());
        let x = bench.upload(&wide)?;
        let weight = bench.floats(dim);
        let none = bench.upload(&[0u32])?;
        let (weight_gpu, x) = (bench.upload(&weight)?, Strided { slice: x, stride: stride as u32, offset: 8, half: false });
        let out = bench.output(tokens * kv.words(dim as u32) as usize)?;
        let key = KvRow { dim: dim as u32, rope: rope as u32, compressed: false, eps: 1e-6 };
        // Of latents that are keys alone, a long step's: they have a kernel of their own.
        let kv_slice = out.slice();
        let latents = Latents {
            queries: None,
            keys: x,
            key,
            kv_norm: &weight_gpu,
            angles: &angles_gpu,
            kv: &kv_slice,
            compressors: Vec::new(),
            windows: Windows { list: &none, angles: &none, first: 0, count: 0, rows: &none, live: &none },
        };
        let made = bench.run(&case, &[&out], Rows::Many(tokens as u32), |pass| record_latents(pass, &latents))?;
        let own: Vec<f32> = wide.chunks_exact(stride).flat_map(|row| &row[8..8 + dim]).copied().collect();
        let mut want = reference::rms_norm(&own, &weight, 1e-6);
        for (t, row) in want.chunks_exact_mut(dim).enumerate() {
            reference::rotate(row, &turns[2 * t]);
        }
        bench.compare(&made[0], &case, &unpack(kv, &made[0].words), &want, stored_limit(kv));
    }
    Ok(())
}

/// Rows of a step: each (slot, first position, count) is a session's run.
pub fn rows_of(runs: &[(u32, u32, u32)]) -> Vec<Row> {
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
pub fn pool(bench: &Bench<'_>, words: &[u32], unit: usize, held: usize) -> Result<Pool> {
    let segments = words.chunks(unit * held).map(|part| bench.upload(part)).collect::<Result<_>>()?;
    Ok(Pool { segments, held: held as u32 })
}

/// Two sessions' compressed rows in shuffled pages: the pool's words, the page table (2, 3), and the rows as the cache keeps them.
pub fn paged(bench: &mut Bench<'_>, dim: usize, page_rows: usize) -> (Vec<u32>, Vec<u32>, [Vec<Vec<f32>>; 2]) {
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
        let made = bench.run(&case, &all, Rows::Many(rows.len() as u32), |pass| {
            record_ring_store(pass, &rings, &rows_gpu);
        })?;
        let made = Made::joined(made);
        bench.compare_ids(&made, &case, &made.words, &want);
    }
    Ok(())
}
