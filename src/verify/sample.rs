//! Cases of the sampler: every way of drawing a token, rows from which none can be drawn, and masks.

use super::bench::Bench;
use crate::Result;
use crate::kernels::{NO_MASK, NO_TOKEN, Rows, SampleBuffers, Sampler, record_sample};
use crate::model::{Config, Sampling};
use crate::reference;

/// A vocabulary smaller than the largest workgroup, and a larger one.
pub fn tiny(bench: &mut Bench<'_>) -> Result<()> {
    sample(bench, 500, 12)?;
    sample(bench, 4099, 12)
}

/// The vocabulary of V4 Flash.
pub fn flash(bench: &mut Bench<'_>) -> Result<()> {
    let vocabulary = Config::flash().vocabulary as usize;
    sample(bench, vocabulary, 1)?;
    sample(bench, vocabulary, 12)
}

fn sample(bench: &mut Bench<'_>, vocabulary: usize, rows: u32) -> Result<()> {
    let base = Sampling { temperature: 0.8, seed: 0x1234_5678_9abc_def0, ..Sampling::GREEDY };
    let ways = [
        Sampling::GREEDY,
        base,
        Sampling { top_k: 7, ..base },
        Sampling { top_p: 0.6, ..base },
        Sampling { top_k: 40, top_p: 0.8, min_p: 0.05, ..base },
        Sampling { min_p: 0.2, ..base },
    ];
    let masked_words = vocabulary.div_ceil(32);
    let mask: Vec<u32> = (0..masked_words).map(|_| bench.rng.u32(..)).collect();
    for (w, sampling) in ways.iter().enumerate() {
        for masked in [false, true] {
            let case = format!("{rows} rows of {vocabulary} tokens, way {w}{}", if masked { ", masked" } else { "" });
            let mut logits = bench.floats_around(0.0, 3.0, rows as usize * vocabulary);
            // Row 0 has ties at the top, row 1 a value that is not finite, row 2 belongs to a slot that is not live.
            logits[5..9].fill(20.0);
            if rows > 1 {
                logits[vocabulary + 17] = f32::INFINITY;
            }
            let samplers: Vec<Sampler> = (0..rows)
                .map(|r| Sampler {
                    slot: r,
                    position: 100 + r * 3,
                    seed: [sampling.seed as u32, (sampling.seed >> 32) as u32],
                    temperature: sampling.temperature,
                    top_p: sampling.top_p,
                    min_p: sampling.min_p,
                    top_k: sampling.top_k,
                    mask: if masked { 0 } else { NO_MASK },
                    is_last: u32::from(r == 3),
                    stops: [NO_TOKEN; 2],
                })
                .collect();
            let live: Vec<f32> = (0..rows).map(|r| f32::from_bits(u32::from(r != 2))).collect();
            let (logits_gpu, samplers, masks) = (bench.upload(&logits)?, bench.upload(&samplers)?, bench.upload(&mask)?);
            let (results, live) = (bench.output(rows as usize * 2)?, bench.output_with(&live)?);
            let sampled = bench.output(rows as usize)?;
            let made = bench.run(&case, &[&results, &live], Rows::Few(rows), |pass| {
                let (sampled, live, results) = (sampled.slice(), live.slice(), results.slice());
                let buffers = SampleBuffers { samplers: &samplers, masks: &masks, sampled: &sampled, live: &live, results: &results };
                record_sample(pass, &logits_gpu, &buffers, vocabulary as u32);
            })?;
            let Some(made) = made else { continue };
            let mut agreed = 0;
            for (r, result) in made[0].words.chunks_exact(2).enumerate() {
                let (id, status, alive) = (result[0], result[1], made[1].words[r]);
                match r {
                    1 => bench.compare_ids(&made[0], &case, &[status, alive], &[2, 0]),
                    2 => bench.compare_ids(&made[0], &case, &[status, alive], &[1, 0]),
                    _ => {
                        bench.compare_ids(&made[0], &case, &[status, alive], &[0, u32::from(r != 3)]);
                        let own = &logits[r * vocabulary..][..vocabulary];
                        let want = reference::sample(own, sampling, 100 + r as u32 * 3, masked.then_some(&mask[..]));
                        agreed += usize::from(want == Some(id));
                        let allowed = !masked || mask.get(id as usize / 32).is_some_and(|word| word >> (id % 32) & 1 == 1);
                        if id as usize >= vocabulary || !allowed {
                            bench.fail(made[0].kernel(), &case, format!("row {r} got token {id}, out of range or forbidden"));
                        }
                    }
                }
            }
            // A draw that falls on the border between two tokens may get the other one, because sums are f32. A greedy choice must be
            // equal.
            let drawn = (0..rows).filter(|r| ![1, 2].contains(r)).count();
            let needed = if sampling.temperature == 0.0 { drawn } else { drawn - 1 };
            if agreed < needed {
                bench.fail(made[0].kernel(), &case, format!("{agreed} of {drawn} draws equal the reference's, at least {needed} expected"));
            }
        }
    }
    Ok(())
}
