//! Cases of `q_rope` and `kv_row`, which normalise and rotate queries and keys of prompts.

use crate::Result;
use crate::kernels::{KvRow, Latents, Pass, QRope, Rows, Strided, Windows, record_latents, record_q_rope};
use crate::model::Config;
use crate::reference;
use crate::verify::bench::Bench;
use crate::verify::cached::{angles, flat, stored_limit, unpack};
use crate::verify::parts::{MOST_TOKENS, rows_at, sampled};

/// Heads of several sizes, rotated in part.
pub fn tiny(bench: &mut Bench<'_>) -> Result<()> {
    for (dim, rope, heads) in [(512, 64, 3), (128, 64, 5), (64, 32, 2)] {
        queries(bench, (dim, rope, heads), 4)?;
        key_rows(bench, (dim, rope), heads * dim + 16, 4)?;
    }
    Ok(())
}

/// Queries of V4 Flash and of its indexer, and keys in rows that begin with low-rank queries.
pub fn flash(bench: &mut Bench<'_>) -> Result<()> {
    let (c, tokens) = (Config::flash(), bench.piece() as usize);
    let [dim, rope, heads, index_dim, index_heads] = [c.head_dim, c.rope_dim, c.heads, c.index_dim, c.index_heads].map(|n| n as usize);
    queries(bench, (dim, rope, heads), tokens)?;
    queries(bench, (index_dim, rope, index_heads), tokens)?;
    key_rows(bench, (dim, rope), (c.q_rank + c.head_dim) as usize, tokens)
}

/// Queries in rows with other values around the heads, which must stay as they are.
fn queries(bench: &mut Bench<'_>, (dim, rope, heads): (usize, usize, usize), tokens: usize) -> Result<()> {
    let case = format!("{tokens} rows of {heads} heads of {dim}, {rope} rotated");
    let stride = heads * dim + 16;
    let wide = bench.floats(tokens * stride);
    let turns = angles(tokens * 2, rope);
    let angles_gpu = bench.upload(&flat(&turns))?;
    let out = bench.output_with(&wide)?;
    let x = Strided { slice: out.slice(), stride: stride as u32, offset: 8, is_f16: false };
    let sizes = QRope { heads: heads as u32, dim: dim as u32, rope: rope as u32, compressed: true, norm_eps: 1e-6 };
    let record = |pass: &mut Pass<'_>| record_q_rope(pass, sizes, &angles_gpu, &x);
    let Some(made) = bench.run(&case, &[&out], Rows::Many(tokens as u32), record)? else { return Ok(()) };
    let some = sampled(tokens, MOST_TOKENS);
    let mut want = rows_at(&wide, &some, stride, 0, stride);
    for (t, row) in some.iter().zip(want.chunks_exact_mut(stride)) {
        for head in row[8..8 + heads * dim].chunks_exact_mut(dim) {
            reference::normalise(head, dim, 1e-6);
            reference::rotate(head, &turns[2 * t + 1]);
        }
    }
    bench.compare(&made[0], &case, &rows_at(&made[0].floats(), &some, stride, 0, stride), &want, made[0].limit());
    Ok(())
}

/// Window keys of a prompt.
fn key_rows(bench: &mut Bench<'_>, (dim, rope): (usize, usize), stride: usize, tokens: usize) -> Result<()> {
    let kv = bench.kernels.profile.kv;
    let case = format!("{tokens} rows of {dim}, {rope} rotated");
    let wide = bench.floats(tokens * stride);
    let turns = angles(tokens * 2, rope);
    let weight = bench.floats(dim);
    let (angles_gpu, none) = (bench.upload(&flat(&turns))?, bench.upload(&[0u32])?);
    let (weight_gpu, x) =
        (bench.upload(&weight)?, Strided { slice: bench.upload(&wide)?, stride: stride as u32, offset: 8, is_f16: false });
    let words = kv.words(dim as u32) as usize;
    let out = bench.output(tokens * words)?;
    let kv_slice = out.slice();
    let latents = Latents {
        queries: None,
        keys: x,
        key: KvRow { dim: dim as u32, rope: rope as u32, compressed: false, eps: 1e-6 },
        kv_norm: &weight_gpu,
        angles: &angles_gpu,
        kv: &kv_slice,
        compressors: Vec::new(),
        windows: Windows { list: &none, angles: &none, first: 0, count: 0, rows: &none, live: &none },
    };
    let record = |pass: &mut Pass<'_>| record_latents(pass, &latents);
    let Some(made) = bench.run(&case, &[&out], Rows::Many(tokens as u32), record)? else { return Ok(()) };
    let some = sampled(tokens, MOST_TOKENS);
    let mut want = reference::rms_norm(&rows_at(&wide, &some, stride, 8, dim), &weight, 1e-6);
    for (t, row) in some.iter().zip(want.chunks_exact_mut(dim)) {
        reference::rotate(row, &turns[2 * t]);
    }
    let got = rows_at(&unpack(kv, &made[0].words), &some, dim, 0, dim);
    bench.compare(&made[0], &case, &got, &want, stored_limit(kv));
    Ok(())
}
