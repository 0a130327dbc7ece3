//! The contents of a session's memory on the host: rounded values, rotation angles, rows of a step, pools and pages.

use super::bench::Bench;
use super::outcome::{Limit, as_floats};
use crate::Result;
use crate::kernels::{Pool, Row};
use crate::num::KvType;
use half::f16;

/// A value as the cache rounds it.
pub fn cached(kv: KvType, value: f32) -> f32 {
    match kv {
        KvType::F16 => f16::from_f32(value).to_f32(),
        KvType::F32 => value,
    }
}

/// Values as words of the cache.
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

/// Words of the cache as values.
pub fn unpack(kv: KvType, words: &[u32]) -> Vec<f32> {
    match kv {
        KvType::F16 => words.iter().flat_map(|&w| [w as u16, (w >> 16) as u16]).map(|b| f16::from_bits(b).to_f32()).collect(),
        KvType::F32 => as_floats(words),
    }
}

/// The limit for values that are stored in the cache.
pub fn stored_limit(kv: KvType) -> Limit {
    match kv {
        KvType::F16 => Limit::HALF_STORED,
        KvType::F32 => Limit::F32,
    }
}

/// (cos, sin) of `count` rotations of `rope` channels, each of another position.
pub fn angles(count: usize, rope: usize) -> Vec<Vec<(f32, f32)>> {
    let frequencies: Vec<f32> = (0..rope / 2).map(|i| 10_000f32.powf(-2.0 * i as f32 / rope as f32)).collect();
    (0..count).map(|i| crate::model::angles(i as u32 * 17 + 3, &frequencies)).collect()
}

/// Angles in the order of GPU memory.
pub fn flat(angles: &[Vec<(f32, f32)>]) -> Vec<[f32; 2]> {
    angles.iter().flatten().map(|&(cos, sin)| [cos, sin]).collect()
}

/// The rows of a step. Each run (slot, first position, count) belongs to one session.
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

/// A pool of `words`, in units of `unit` words, `units_per_segment` in each segment.
pub fn pool(bench: &Bench<'_>, words: &[u32], unit: usize, units_per_segment: usize) -> Result<Pool> {
    let segments = words.chunks(unit * units_per_segment).map(|part| bench.upload(part)).collect::<Result<_>>()?;
    Ok(Pool { segments, units_per_segment: units_per_segment as u32 })
}

/// Random compressed rows of several sessions, in shuffled pages.
pub struct Paged {
    dim: usize,
    page_rows: usize,
    each: usize,
    /// Page table (sessions, pages of each).
    pub table: Vec<u32>,
    /// All pages, as the cache stores them.
    pub words: Vec<u32>,
    values: Vec<f32>,
}

impl Paged {
    /// Makes rows of `dim` values for `sessions` sessions with `each` pages of `page_rows` rows.
    pub fn new(bench: &mut Bench<'_>, dim: usize, page_rows: usize, sessions: usize, each: usize) -> Self {
        let kv = bench.kernels.profile.kv;
        let count = sessions * each;
        let mut table: Vec<u32> = (0..count as u32).collect();
        bench.rng.shuffle(&mut table);
        let values: Vec<f32> = bench.floats(count * page_rows * dim).iter().map(|&v| cached(kv, v)).collect();
        Self { dim, page_rows, each, table, words: pack(kv, &values), values }
    }

    /// Row `i` of a session, as the cache rounds it.
    pub fn row(&self, slot: u32, i: usize) -> &[f32] {
        let page = self.table[slot as usize * self.each + i / self.page_rows] as usize;
        &self.values[(page * self.page_rows + i % self.page_rows) * self.dim..][..self.dim]
    }

    /// The number of pages of each session.
    pub fn pages_each(&self) -> u32 {
        self.each as u32
    }

    /// The pages as a pool of `segments` segments.
    pub fn pool(&self, bench: &Bench<'_>, segments: usize) -> Result<Pool> {
        pool(bench, &self.words, self.words.len() / self.table.len(), self.table.len().div_ceil(segments))
    }
}
