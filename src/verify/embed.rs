//! Cases of the embedding, and of the draft block's sum of embedding and streams.

use super::bench::Bench;
use super::outcome::Limit;
use super::parts::{view, whole_blocks};
use crate::Result;
use crate::kernels::{Pass, Row, Rows, SAMPLED, record_embed, record_mtp_join};
use crate::model::Config;
use crate::quant::BlockFormat;

/// Every format, in one slice and in several.
pub fn tiny(bench: &mut Bench<'_>) -> Result<()> {
    for format in BlockFormat::ALL {
        embed(bench, format, (50, whole_blocks(format, 512)), 7, 1)?;
    }
    embed(bench, BlockFormat::F16, (50, 512), 7, 3)?;
    mtp_join(bench, 72, 3)
}

/// Rows of the width of V4 Flash, with a shorter vocabulary.
pub fn flash(bench: &mut Bench<'_>) -> Result<()> {
    let dim = Config::flash().dim as usize;
    for tokens in [1, bench.piece()] {
        embed(bench, BlockFormat::F16, (4096, dim), tokens, 1)?;
        mtp_join(bench, dim, tokens as usize)?;
    }
    Ok(())
}

/// `tokens` rows out of a table of `count` ids.
fn embed(bench: &mut Bench<'_>, format: BlockFormat, (count, dim): (usize, usize), tokens: u32, slices: usize) -> Result<()> {
    let case = format!("{tokens} of {format} {count}x{dim} in {slices} slices");
    let (bytes, table) = bench.matrix(format, count, dim, slices)?;
    let ids: Vec<u32> = (0..tokens).map(|t| (t * 8 + 1) % count as u32).collect();
    // The last row takes the id that the sampler drew for its slot.
    let rows: Vec<Row> = (0..tokens)
        .map(|t| Row { slot: t % 3, token: if t + 1 == tokens { SAMPLED } else { ids[t as usize] }, ..Row::default() })
        .collect();
    let slots: Vec<u32> = (0..3).map(|slot| if slot == (tokens - 1) % 3 { ids[tokens as usize - 1] } else { slot + 3 }).collect();
    let (rows, sampled) = (bench.upload(&rows)?, bench.upload(&slots)?);
    let out = bench.output(tokens as usize * 4 * dim)?;
    let record = |pass: &mut Pass<'_>| record_embed(pass, &table, &rows, &sampled, &out.slice());
    let Some(made) = bench.run(&case, &[&out], Rows::Many(tokens), record)? else { return Ok(()) };
    let mut want = Vec::new();
    for id in ids {
        let mut row = vec![0f32; dim];
        view(&table, &bytes).row(id as usize, &mut row);
        want.extend(row.repeat(4));
    }
    // Formats with a minimum need a multiplication and a subtraction, which the GPU may do with one rounding and the CPU does with two.
    let limit = if matches!(format, BlockFormat::Q2K | BlockFormat::Q2Kx4 | BlockFormat::Q4K) { Limit::F32 } else { Limit::EXACT };
    bench.compare(&made[0], &case, &made[0].floats(), &want, limit);
    Ok(())
}

/// One embedding for each token is added to its four streams.
fn mtp_join(bench: &mut Bench<'_>, dim: usize, tokens: usize) -> Result<()> {
    let case = format!("{tokens} tokens of {dim}");
    let (embedding, streams) = (bench.floats(tokens * dim), bench.floats(tokens * 4 * dim));
    let (embedding_gpu, streams_gpu, out) = (bench.upload(&embedding)?, bench.upload(&streams)?, bench.output(tokens * 4 * dim)?);
    let record = |pass: &mut Pass<'_>| record_mtp_join(pass, &embedding_gpu, &streams_gpu, &out.slice(), dim as u32);
    let Some(made) = bench.run(&case, &[&out], Rows::Many(tokens as u32), record)? else { return Ok(()) };
    let want: Vec<f32> = streams.iter().enumerate().map(|(i, s)| s + embedding[i / (4 * dim) * dim + i % dim]).collect();
    bench.compare(&made[0], &case, &made[0].floats(), &want, Limit::F32);
    Ok(())
}
