//! Cases of compressed rows, which are pooled from a window when it closes.

use super::bench::{Bench, Output};
use super::cached::{angles, flat, pool, rows_of, stored_limit, unpack};
use super::outcome::Made;
use crate::Result;
use crate::kernels::{Compress, Pool, Row, Rows, Strided, Window, Windows, record_compress};
use crate::model::{Config, frontier_rows};
use crate::reference::{self, Candidates};

/// Sessions of a case.
const SLOTS: usize = 2;

/// Both ratios, with frontiers in one buffer and in two.
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

/// What a case reads, on the host: one session closes a window that it was in the middle of, another starts.
struct Inputs {
    ratio: u32,
    dim: usize,
    /// Number of values of a token, which is the number of its gates too.
    width: usize,
    rows: Vec<Row>,
    stride: usize,
    values: Vec<f32>,
    ring: usize,
    frontier: Vec<f32>,
    ape: Vec<f32>,
    norm: Vec<f32>,
    windows: Vec<Window>,
    turns: Vec<Vec<(f32, f32)>>,
}

impl Inputs {
    /// Random inputs. The session that starts runs `tokens` tokens.
    fn new(bench: &mut Bench<'_>, ratio: u32, (dim, rope): (usize, usize), tokens: u32) -> Self {
        let ring = frontier_rows(ratio) as usize;
        let width = if ratio == 4 { 2 * dim } else { dim };
        let rows = rows_of(&[(1, 2 * ratio - 3, ratio + 5), (0, 0, tokens)]);
        let stride = 2 * width + 8;
        let values = bench.floats_around(0.2, 1.5, rows.len() * stride);
        let frontier = bench.floats_around(0.2, 1.5, SLOTS * ring * 2 * width);
        let (ape, norm) = (bench.floats(ratio as usize * width), bench.floats_around(1.0, 0.2, dim));
        let closing = (0u32..).zip(&rows).filter(|(_, row)| (row.position + 1).is_multiple_of(ratio));
        let windows: Vec<_> = closing.map(|(t, row)| Window { last_row: t, index: row.position / ratio }).collect();
        let turns = angles(windows.len(), rope);
        Self { ratio, dim, width, rows, stride, values, ring, frontier, ape, norm, windows, turns }
    }

    /// Values and gates of a session's token: a row of the step, or one that the frontier holds.
    fn token(&self, slot: u32, position: u32) -> (&[f32], &[f32]) {
        let run = self.rows.iter().find(|row| row.slot == slot).filter(|row| position >= row.first_position);
        let row = match run.map(|run| (run.first_row + position - run.first_position) as usize) {
            Some(t) => &self.values[t * self.stride + 4..],
            None => &self.frontier[(slot as usize * self.ring + position as usize % self.ring) * 2 * self.width..],
        };
        row[..2 * self.width].split_at(self.width)
    }

    /// The compressed row that the reference makes of window `i`.
    fn expected(&self, i: usize) -> Vec<f32> {
        let &Self { ratio, dim, .. } = self;
        let (window, slot) = (self.windows[i], self.slot(i));
        let start = window.index * ratio;
        let mut candidates = Candidates::default();
        let mut add = |position: u32, half: usize| {
            let (values, gates) = self.token(slot, position);
            let ape = &self.ape[(position % ratio) as usize * self.width..][half * dim..][..dim];
            candidates.values.push(&values[half * dim..][..dim]);
            candidates.gates.push(gates[half * dim..][..dim].iter().zip(ape).map(|(g, a)| g + a).collect());
        };
        if ratio == 4 && start > 0 {
            (start - ratio..start).for_each(|p| add(p, 0));
        }
        (start..start + ratio).for_each(|p| add(p, usize::from(ratio == 4)));
        let mut row = reference::rms_norm(&reference::pool(&candidates), &self.norm, 1e-6);
        reference::rotate(&mut row, &self.turns[i]);
        row
    }

    /// The slot of window `i`.
    fn slot(&self, i: usize) -> u32 {
        self.rows[self.windows[i].last_row as usize].slot
    }
}

fn compress(bench: &mut Bench<'_>, ratio: u32, (dim, rope): (usize, usize), tokens: u32, segments: usize) -> Result<()> {
    let kv = bench.kernels.profile.kv;
    let case = format!("ratio {ratio}, {dim} channels, {tokens} tokens from the start, {segments} frontier buffers");
    let page_rows = 512 / ratio as usize;
    let inputs = Inputs::new(bench, ratio, (dim, rope), tokens);
    let (ring, width) = (inputs.ring, inputs.width);
    // The pages are out of order: those of slot 1 come first.
    let pages_each = inputs.rows.len().div_ceil(512).max(2);
    let page_table: Vec<u32> = (0..2 * pages_each as u32).rev().collect();
    let page_words = page_rows * kv.words(dim as u32) as usize;

    let frontier_words: Vec<u32> = inputs.frontier.iter().map(|v| v.to_bits()).collect();
    let frontier_gpu = pool(bench, &frontier_words, 2 * width, (SLOTS * ring).div_ceil(segments))?;
    let pages_in_first = 2 * pages_each - 1;
    let outs = [bench.output_with(&vec![0.0; pages_in_first * page_words])?, bench.output_with(&vec![0.0; page_words])?];
    let pages = Pool { segments: outs.iter().map(Output::slice).collect(), units_per_segment: pages_in_first as u32 };
    let [ape_gpu, norm_gpu, table_gpu] = [bench.upload(&inputs.ape)?, bench.upload(&inputs.norm)?, bench.upload(&page_table)?];
    let [windows_gpu, angles_gpu] = [bench.upload(&inputs.windows)?, bench.upload(&flat(&inputs.turns))?];
    let [rows_gpu, live_gpu] = [bench.upload(&inputs.rows)?, bench.upload(&[1u32, 1])?];
    let values_gpu = Strided::whole(&bench.upload(&inputs.values)?, inputs.stride as u32).at(4);
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
    let count = inputs.windows.len() as u32;
    let made = bench.run(&case, &[&outs[0], &outs[1]], Rows::Many(inputs.rows.len() as u32), |pass| {
        let windows = Windows { list: &windows_gpu, angles: &angles_gpu, first: 0, count, rows: &rows_gpu, live: &live_gpu };
        record_compress(pass, &sizes, &windows, &values_gpu);
    })?;
    let Some(made) = made else { return Ok(()) };
    let made = Made::joined(made);
    let mut all = unpack(kv, &made.words);
    let place = |(i, window): (usize, &Window)| {
        let page = page_table[inputs.slot(i) as usize * pages_each + window.index as usize / page_rows] as usize;
        page * page_rows + window.index as usize % page_rows
    };
    let places: Vec<usize> = inputs.windows.iter().enumerate().map(place).collect();
    let want: Vec<f32> = (0..places.len()).flat_map(|i| inputs.expected(i)).collect();
    let written: Vec<f32> = places.iter().flat_map(|place| all[place * dim..][..dim].to_vec()).collect();
    bench.compare(&made, &case, &written, &want, stored_limit(kv));
    places.iter().for_each(|place| all[place * dim..][..dim].fill(0.0));
    if all.iter().any(|&v| v != 0.0) {
        bench.fail(made.kernel(), &case, "wrote to rows of windows that do not close".into());
    }
    Ok(())
}
