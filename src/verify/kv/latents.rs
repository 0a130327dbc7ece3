//! Cases of `latents`, the launch that computes queries, keys and compressed rows of generated rows. They compare it with the separate
//! kernels that rows of a prompt take, which other cases compare with the reference.

use crate::Result;
use crate::gpu::Slice;
use crate::kernels::{Compress, KvRow, Latents, LowQueries, Pool, Row, Rows, Strided, Window, Windows, record_latents};
use crate::model::Config;
use crate::verify::bench::{Bench, Output};
use crate::verify::cached::{angles, flat, pool, rows_of, stored_limit, unpack};

/// Number of sessions. Each has a row in the page table.
const SLOTS: usize = 2;

/// Channels of low-rank queries and of keys, and rotated channels of keys.
#[derive(Clone, Copy)]
struct Sizes {
    q_rank: usize,
    dim: usize,
    rope: usize,
}

/// Layers without a compressor, with one, and with that of the indexer too. Queries are normalised here, or left to another launch.
pub fn tiny(bench: &mut Bench<'_>) -> Result<()> {
    let (sizes, index_dim) = (Sizes { q_rank: 256, dim: 128, rope: 32 }, 64);
    for with_queries in [true, false] {
        latents(bench, sizes, 0, &[], with_queries)?;
        latents(bench, sizes, 128, &[sizes.dim], with_queries)?;
        latents(bench, sizes, 4, &[sizes.dim, index_dim], with_queries)?;
    }
    Ok(())
}

/// Layers of V4 Flash.
pub fn flash(bench: &mut Bench<'_>) -> Result<()> {
    let c = Config::flash();
    let [q_rank, dim, rope, index_dim] = [c.q_rank, c.head_dim, c.rope_dim, c.index_dim].map(|n| n as usize);
    let sizes = Sizes { q_rank, dim, rope };
    let with_queries = !bench.kernels.profile.int8();
    latents(bench, sizes, 128, &[dim], with_queries)?;
    latents(bench, sizes, 4, &[dim, index_dim], with_queries)
}

/// What a run writes: keys, the pages of each compressor, and queries if they are part of the case.
struct Outputs {
    tokens: u32,
    low: Option<Output>,
    kv: Output,
    pages: Vec<Output>,
}

impl Outputs {
    fn new(bench: &Bench<'_>, sizes: Sizes, tokens: usize, page_words: &[usize], with_queries: bool) -> Result<Self> {
        let words = bench.kernels.profile.kv.words(sizes.dim as u32) as usize;
        Ok(Self {
            tokens: tokens as u32,
            low: if with_queries { Some(bench.output(tokens * sizes.q_rank)?) } else { None },
            kv: bench.output(tokens * words)?,
            pages: page_words.iter().map(|&words| bench.output_with(&vec![0.0; words])).collect::<Result<_>>()?,
        })
    }

    fn all(&self) -> Vec<&Output> {
        [&self.kv].into_iter().chain(&self.pages).chain(&self.low).collect()
    }

    fn low(&self, rank: usize) -> Option<Strided> {
        self.low.as_ref().map(|output| Strided::whole(&output.slice(), rank as u32))
    }
}

/// A step of two sessions, one in the middle of a window and one at its start, with a compressor for each of `dims`.
fn latents(bench: &mut Bench<'_>, widths: Sizes, ratio: u32, dims: &[usize], with_queries: bool) -> Result<()> {
    let kv_type = bench.kernels.profile.kv;
    let Sizes { q_rank, dim: key_dim, rope } = widths;
    let case = format!("keys of {key_dim}, ratio {ratio}, {} compressors{}", dims.len(), if with_queries { "" } else { ", no queries" });
    let rows = rows_of(&[(1, (2 * ratio).saturating_sub(2), 5), (0, 0, 4)]);
    let tokens = rows.len();
    let ring = if ratio == 4 { 16 } else { 136 };
    let width = |dim: usize| if ratio == 4 { 2 * dim } else { dim };
    let inputs = activations(bench, tokens, q_rank + key_dim)?;
    let mut fresh = activations(bench, tokens, dims.iter().map(|&dim| 2 * width(dim)).sum())?;

    let lengths = [q_rank, key_dim].into_iter().chain(dims.iter().flat_map(|&dim| [ratio as usize * width(dim), dim]));
    let vectors = small_vectors(bench, lengths)?;

    let list = closing_windows(&rows, ratio);
    let page_rows = 512 / ratio.max(1);
    let page_words: Vec<usize> = dims.iter().map(|&dim| (SLOTS as u32 * page_rows * kv_type.words(dim as u32)) as usize).collect();
    let [ours, theirs] = [(); 2].map(|()| Outputs::new(bench, widths, tokens, &page_words, with_queries));
    let (ours, theirs) = (ours?, theirs?);
    let frontiers = dims.iter().map(|&dim| frontier(bench, 2 * width(dim), ring)).collect::<Result<Vec<_>>>()?;
    let page_table = bench.upload(&[1u32, 0])?;
    let [angles_gpu, turns] = [bench.upload(&flat(&angles(2 * tokens, rope)))?, bench.upload(&flat(&angles(list.len().max(1), rope)))?];
    // A buffer has at least one element, even if no window closes.
    let windows_gpu = bench.upload(&[&list[..], &[Window { last_row: 0, index: 0 }]].concat())?;
    let [rows_gpu, live] = [bench.upload(&rows)?, bench.upload(&[1u32, 1])?];
    let windows = Windows { list: &windows_gpu, angles: &turns, first: 0, count: list.len() as u32, rows: &rows_gpu, live: &live };
    let key = KvRow { dim: key_dim as u32, rope: rope as u32, compressed: ratio > 0, eps: 1e-6 };

    let pools = |outputs: &Outputs| -> Vec<Pool> {
        outputs.pages.iter().map(|output| Pool { segments: vec![output.slice()], units_per_segment: SLOTS as u32 }).collect()
    };
    let (our_pools, their_pools) = (pools(&ours), pools(&theirs));
    let mut compressors = Vec::new();
    for (n, &dim) in dims.iter().enumerate() {
        let sizes = Compress {
            ratio,
            dim: dim as u32,
            rope: rope as u32,
            eps: key.eps,
            ring: ring as u32,
            page_rows,
            max_pages: 1,
            ape: &vectors[2 + 2 * n],
            norm: &vectors[3 + 2 * n],
            frontier: &frontiers[n],
            pages: &our_pools[n],
            page_table: &page_table,
        };
        let next = fresh.at(2 * sizes.width());
        compressors.push((sizes, std::mem::replace(&mut fresh, next)));
    }

    let (our_low, their_low) = (ours.low(q_rank), theirs.low(q_rank));
    let (our_kv, their_kv) = (ours.kv.slice(), theirs.kv.slice());
    let queries = |y| LowQueries { x: inputs.clone(), rank: q_rank as u32, norm: &vectors[0], y };
    let together = Latents {
        queries: our_low.as_ref().map(queries),
        keys: inputs.at(q_rank as u32),
        key,
        kv_norm: &vectors[1],
        angles: &angles_gpu,
        kv: &our_kv,
        compressors,
        windows,
    };
    let pages = together.compressors.iter().zip(&their_pools);
    let apart = Latents {
        queries: their_low.as_ref().map(queries),
        kv: &their_kv,
        compressors: pages.map(|((sizes, fresh), pages)| (Compress { pages, ..sizes.clone() }, fresh.clone())).collect(),
        ..together.clone()
    };
    // A compressor launches nothing if no window closes.
    let closing = if list.is_empty() { 0 } else { dims.len() };
    let launches = [1 + usize::from(with_queries) + closing, 1];
    compare(bench, &case, (&together, &ours), (&apart, &theirs), launches)
}

/// Random activations of `tokens` rows, which are somewhat wider than `columns`.
fn activations(bench: &mut Bench<'_>, tokens: usize, columns: usize) -> Result<Strided> {
    let stride = (columns + 3).next_multiple_of(8);
    let x = bench.floats_around(0.2, 1.5, tokens * stride);
    Ok(Strided::whole(&bench.upload(&x)?, stride as u32))
}

/// A random frontier of `ring` rows of `words` words for each session.
fn frontier(bench: &mut Bench<'_>, words: usize, ring: usize) -> Result<Pool> {
    let values = bench.floats_around(0.2, 1.5, SLOTS * ring * words);
    pool(bench, &values.iter().map(|v| v.to_bits()).collect::<Vec<_>>(), words, SLOTS * ring)
}

/// The windows that close in a step of `rows`.
fn closing_windows(rows: &[Row], ratio: u32) -> Vec<Window> {
    let closes = |position: u32| ratio > 0 && (position + 1).is_multiple_of(ratio);
    let closing = (0u32..).zip(rows).filter(|(_, row)| closes(row.position));
    closing.map(|(t, row)| Window { last_row: t, index: row.position / ratio }).collect()
}

/// Random vectors of these lengths in one buffer, as a model's are. Each starts at a multiple of 64 floats.
fn small_vectors(bench: &mut Bench<'_>, lengths: impl Iterator<Item = usize>) -> Result<Vec<Slice>> {
    let (mut vectors, mut places) = (vec![0f32; 64], Vec::new());
    for length in lengths {
        places.push((vectors.len() as u64 * 4, length as u64 * 4));
        vectors.extend(bench.floats(length));
        vectors.resize(vectors.len().next_multiple_of(64), 0.0);
    }
    let vectors = bench.upload(&vectors)?;
    Ok(places.into_iter().map(|(first, bytes)| vectors.part(first, bytes)).collect())
}

/// Runs `apart` as rows of a prompt and `together` as generated rows, and compares outputs and numbers of launches.
fn compare(
    bench: &mut Bench<'_>,
    case: &str,
    (together, ours): (&Latents<'_>, &Outputs),
    (apart, theirs): (&Latents<'_>, &Outputs),
    expected_launches: [usize; 2],
) -> Result<()> {
    let (kv, tokens, compressors) = (bench.kernels.profile.kv, ours.tokens, ours.pages.len());
    let mut launches = [0; 2];
    let want = bench.run(case, &theirs.all(), Rows::Many(tokens), |pass| {
        record_latents(pass, apart);
        launches[0] = pass.rec.dispatches().len();
    })?;
    let got = bench.run(case, &ours.all(), Rows::Few(tokens), |pass| {
        record_latents(pass, together);
        launches[1] = pass.rec.dispatches().len();
    })?;
    let (Some(want), Some(got)) = (want, got) else { return Ok(()) };
    if launches != expected_launches {
        bench.fail(got[0].kernel(), case, format!("{launches:?} launches apart and together, expected {expected_launches:?}"));
    }
    let names = ["keys"].into_iter().chain((0..compressors).map(|_| "compressed rows"));
    for ((got, want), name) in got.iter().zip(&want).zip(names) {
        bench.compare(got, &format!("{case}, {name}"), &unpack(kv, &got.words), &unpack(kv, &want.words), stored_limit(kv));
    }
    if let (Some(got), Some(want)) = (got.get(1 + compressors), want.get(1 + compressors)) {
        bench.compare(got, &format!("{case}, queries"), &got.floats(), &want.floats(), got.limit());
    }
    Ok(())
}
