//! Checks of the launch that makes queries, keys and compressed rows of few rows: against the kernels that make each by itself, which other
//! checks compare with the reference.

use super::bench::{Bench, Limit, Output, as_floats};
use super::cache::{angles, flat, pool, rows_of, stored_limit, unpack};
use crate::Result;
use crate::gpu::Slice;
use crate::kernels::{
    Compress, KvRow, Latents, Pool, Quantized, Strided, Window, Windows, record_compress, record_kv_row, record_latents, record_rms_norm,
};

const Q_RANK: usize = 256;
const DIM: usize = 128;
const INDEX_DIM: usize = 64;
const ROPE: usize = 32;
const SLOTS: usize = 2;

/// All checks of this file.
pub fn run(bench: &mut Bench<'_>) -> Result<()> {
    latents(bench, 0, &[])?;
    latents(bench, 128, &[DIM])?;
    latents(bench, 4, &[DIM, INDEX_DIM])
}

/// What a run leaves: queries, their rounded form, keys, and the pages of each compressor.
struct Outputs {
    low: Output,
    low_int8: Option<(Output, Quantized)>,
    kv: Output,
    pages: Vec<Output>,
}

impl Outputs {
    fn new(bench: &Bench<'_>, tokens: usize, page_words: &[usize]) -> Result<Self> {
        let words = bench.kit.dialect.kv.words(DIM as u32) as usize;
        Ok(Self {
            low: bench.output(tokens * Q_RANK)?,
            low_int8: bench.output_int8(tokens, Q_RANK)?,
            kv: bench.output(tokens * words)?,
            pages: page_words.iter().map(|&words| bench.output_with(&vec![0.0; words])).collect::<Result<_>>()?,
        })
    }

    fn all(&self) -> Vec<&Output> {
        [&self.low, &self.kv].into_iter().chain(&self.pages).chain(self.low_int8.as_ref().map(|(output, _)| output)).collect()
    }
}

/// One session in the middle of a window and one at its start, with a compressor for each of `dims`.
fn latents(bench: &mut Bench<'_>, ratio: u32, dims: &[usize]) -> Result<()> {
    let kv_type = bench.kit.dialect.kv;
    let case = format!("ratio {ratio}, {} compressors", dims.len());
    let rows = rows_of(&[(1, (2 * ratio).saturating_sub(2), 5), (0, 0, 4)]);
    let tokens = rows.len();
    let ring = if ratio == 4 { 16 } else { 136 };
    let width = |dim: usize| if ratio == 4 { 2 * dim } else { dim };
    let stride = (Q_RANK + DIM + dims.iter().map(|&dim| 2 * width(dim)).sum::<usize>() + 3).next_multiple_of(8);
    let x = bench.floats_around(0.2, 1.5, tokens * stride);
    let inputs = Strided::whole(&bench.upload(&x)?, stride as u32);

    // All vectors in one buffer, as a model's are: each starts at a multiple of 64 floats.
    let lengths = [Q_RANK, DIM].into_iter().chain(dims.iter().flat_map(|&dim| [ratio as usize * width(dim), dim]));
    let (mut vectors, mut places) = (vec![0f32; 64], Vec::new());
    for length in lengths {
        places.push((vectors.len() as u64 * 4, length as u64 * 4));
        vectors.extend(bench.floats(length));
        vectors.resize(vectors.len().next_multiple_of(64), 0.0);
    }
    let vectors = bench.upload(&vectors)?;
    let vectors: Vec<Slice> = places.into_iter().map(|(first, bytes)| vectors.part(first, bytes)).collect();

    let closes = |position: u32| ratio > 0 && (position + 1).is_multiple_of(ratio);
    let list: Vec<Window> = (0u32..)
        .zip(&rows)
        .filter(|(_, row)| closes(row.position))
        .map(|(t, row)| Window { last_row: t, index: row.position / ratio })
        .collect();
    let page_rows = 512 / ratio.max(1);
    let page_words: Vec<usize> = dims.iter().map(|&dim| (SLOTS as u32 * page_rows * kv_type.words(dim as u32)) as usize).collect();
    let [ours, theirs] = [Outputs::new(bench, tokens, &page_words)?, Outputs::new(bench, tokens, &page_words)?];
    let frontiers = dims
        .iter()
        .map(|&dim| {
            let unit = 2 * width(dim);
            let values = bench.floats_around(0.2, 1.5, SLOTS * ring * unit);
            pool(bench, &values.iter().map(|v| v.to_bits()).collect::<Vec<_>>(), unit, SLOTS * ring)
        })
        .collect::<Result<Vec<_>>>()?;
    let page_table = bench.upload(&[1u32, 0])?;
    let [angles_gpu, turns] = [bench.upload(&flat(&angles(2 * tokens, ROPE)))?, bench.upload(&flat(&angles(list.len().max(1), ROPE)))?];
    // A list is never empty in GPU memory.
    let windows_gpu = bench.upload(&[&list[..], &[Window { last_row: 0, index: 0 }]].concat())?;
    let [rows_gpu, live] = [bench.upload(&rows)?, bench.upload(&[1u32, 1])?];
    let windows = Windows { list: &windows_gpu, angles: &turns, first: 0, count: list.len() as u32, rows: &rows_gpu, live: &live };
    let key = KvRow { dim: DIM as u32, rope: ROPE as u32, compressed: ratio > 0, eps: 1e-6 };
    let keys = inputs.at(Q_RANK as u32);

    let pools = |outputs: &Outputs| -> Vec<Pool> {
        outputs.pages.iter().map(|output| Pool { segments: vec![output.slice()], held: SLOTS as u32 }).collect()
    };
    let (our_pools, their_pools) = (pools(&ours), pools(&theirs));
    let mut fresh = keys.at(DIM as u32);
    let mut compressors = Vec::new();
    for (n, &dim) in dims.iter().enumerate() {
        let sizes = Compress {
            ratio,
            dim: dim as u32,
            rope: ROPE as u32,
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

    let low = Strided::whole(&theirs.low.slice(), Q_RANK as u32);
    let want = bench.run("latents", &case, &theirs.all(), |rec, kit| {
        let low_int8 = theirs.low_int8.as_ref().map(|(_, quantized)| quantized);
        record_rms_norm(rec, kit, &inputs, &vectors[0], (&low, low_int8), Q_RANK as u32, key.eps, tokens as u32);
        record_kv_row(rec, kit, key, &keys, &vectors[1], &angles_gpu, &theirs.kv.slice(), tokens as u32);
        for ((sizes, fresh), pages) in compressors.iter().zip(&their_pools) {
            record_compress(rec, kit, &Compress { pages, ..sizes.clone() }, &windows, fresh);
        }
    })?;
    let low = Strided::whole(&ours.low.slice(), Q_RANK as u32);
    let kv = ours.kv.slice();
    let latents = Latents {
        queries: inputs.clone(),
        q_rank: Q_RANK as u32,
        q_norm: &vectors[0],
        low: &low,
        low_int8: ours.low_int8.as_ref().map(|(_, quantized)| quantized),
        keys: keys.clone(),
        key,
        kv_norm: &vectors[1],
        angles: &angles_gpu,
        kv: &kv,
        compressors,
        windows,
    };
    let mut launches = 0;
    let got = bench.run("latents", &case, &ours.all(), |rec, kit| {
        record_latents(rec, kit, &latents, tokens as u32);
        launches = rec.dispatches().len();
    })?;
    if launches != 1 {
        bench.fail("latents", &case, format!("{launches} launches"));
    }
    bench.compare("latents", &format!("{case}, queries"), &as_floats(&got[0]), &as_floats(&want[0]), Limit::F32);
    let cached = got[1..].iter().zip(&want[1..]).take(1 + dims.len()).enumerate();
    for (n, (got, want)) in cached {
        let case = format!("{case}, {}", if n == 0 { "keys" } else { "compressed rows" });
        bench.compare("latents", &case, &unpack(kv_type, got), &unpack(kv_type, want), stored_limit(kv_type));
    }
    if let Some(words) = got.get(2 + dims.len()) {
        bench.compare_int8("latents", &case, words, &as_floats(&got[0]), Q_RANK);
    }
    Ok(())
}
