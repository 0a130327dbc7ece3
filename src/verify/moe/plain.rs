//! Checks of the router, the experts and the sampler.

use crate::Result;
use crate::kernels::{
    Chosen, Experts, Moe, MoeScratch, NO_MASK, NO_TOKEN, Router, Routing, Row, Rows, SampleBuffers, Sampler, SharedAct, Strided,
    record_moe, record_router, record_sample,
};
use crate::model::Sampling;
use crate::quant::BlockFormat;
use crate::reference::{self, Choice, Expert, Matrix, Routed};
use crate::verify::bench::{Bench, whole_blocks};
use crate::verify::outcome::{Limit, as_floats};

/// All checks of this file.
pub fn run(bench: &mut Bench<'_>) -> Result<()> {
    for experts in [4, 256, 384] {
        router(bench, experts)?;
    }
    for format in BlockFormat::ALL {
        for rows in [Rows::Few(5), Rows::Many(33)] {
            moe(bench, &[format, format], format, rows, 8)?;
        }
    }
    // Gate and up in different formats, and experts in slices.
    for tokens in [1, 16] {
        moe(bench, &[BlockFormat::Q4K, BlockFormat::Q2K], BlockFormat::Q2K, Rows::Few(tokens), 3)?;
    }
    for tokens in [1, 5, 70] {
        moe(bench, &[BlockFormat::Iq2Xxs, BlockFormat::Iq2Xxs], BlockFormat::Q2K, Rows::Many(tokens), 3)?;
    }
    for vocabulary in [500, 4099] {
        sampler(bench, vocabulary)?;
    }
    Ok(())
}

fn router(bench: &mut Bench<'_>, experts: usize) -> Result<()> {
    // The shared expert's gate and up lie behind the logits, with gaps.
    let width = if experts == 4 { 300 } else { 2 * experts };
    let (gate, up, limit) = (experts + 8, width + 12, 10.0);
    let (used, tokens, stride) = (if experts == 4 { 2 } else { 6 }, 9usize, gate + up + width + 4);
    let mut wide = bench.floats_around(-1.0, 6.0, tokens * stride);
    let own = |row: &[f32]| (0..width).map(|f| reference::swiglu(row[gate + f], row[gate + up + f], limit)).collect::<Vec<_>>();
    let want_act: Vec<f32> = wide.chunks_exact(stride).flat_map(own).collect();
    let bias = bench.floats_around(0.0, 0.2, experts);
    // Rows that leave no honest choice: NaN, infinities, all equal.
    wide[4 + stride * 6..][..experts].fill(f32::NAN);
    wide[4 + stride * 7..][..experts / 2].fill(f32::INFINITY);
    wide[4 + stride * 8..][..experts].fill(-200.0);
    let logits = Strided { slice: bench.upload(&wide)?, stride: stride as u32, offset: 4, half: false };
    let table: Vec<u32> = (0..40 * used).map(|i| ((i * 7) % experts) as u32).collect();
    let rows: Vec<Row> = (0..tokens as u32).map(|t| Row { token: t * 4, ..Row::default() }).collect();
    let (bias_gpu, table_gpu) = (bench.upload(&bias)?, bench.upload(&table)?);
    let (rows_gpu, sampled) = (bench.upload(&rows)?, bench.upload(&[0u32])?);
    for hashed in [false, true] {
        let case = format!("{used} of {experts}{}", if hashed { ", by table" } else { "" });
        let router =
            if hashed { Router::Hashed { table: &table_gpu, rows: &rows_gpu, sampled: &sampled } } else { Router::Scored(&bias_gpu) };
        // The table's cases try the other element too.
        let half = hashed && bench.kit.dialect.caps.f16;
        let (chosen, weights) = (bench.output(tokens * used)?, bench.output(tokens * used)?);
        let (act, int8) = (bench.elements(tokens * width, half)?, bench.output_int8(Rows::Few(tokens as u32), width)?.filter(|_| !half));
        let outputs: Vec<_> = [&chosen, &weights, &act].into_iter().chain(int8.as_ref().map(|(output, _)| output)).collect();
        let made = bench.run(&case, &outputs, Rows::Many(tokens as u32), |pass| {
            let (chosen, weights) = (chosen.slice(), weights.slice());
            let act = Strided::whole(&act.slice(), width as u32).with_f16(half);
            let act_int8 = int8.as_ref().map(|(_, quantized)| quantized);
            let (gate, up, width) = (gate as u32, up as u32, width as u32);
            let shared = SharedAct { gate, up, width, limit, act: &act, act_int8 };
            let (experts, used, inputs) = (experts as u32, used as u32, &logits);
            let routing =
                Routing { router, experts, used, scale: 1.5, inputs, chosen: Chosen { experts: &chosen, weights: &weights }, shared };
            record_router(pass, &routing);
        })?;
        let got_act = made[2].elements(half);
        bench.compare(&made[2], &format!("{case}, act"), &got_act, &want_act, made[2].limit());
        if let Some(int8) = made.get(3) {
            bench.compare_int8(int8, &case, &got_act, width);
        }
        for (t, ids) in made[0].words.chunks_exact(used).enumerate() {
            let own = &wide[t * stride + 4..][..experts];
            let named = &table[t * 4 * used..][..used];
            let want = reference::router(own, if hashed { Choice::Named(named) } else { Choice::Scored(&bias) }, used, 1.5);
            bench.compare_ids(&made[0], &case, ids, &want.experts);
            if !hashed && (ids.iter().any(|&e| e >= experts as u32) || (1..used).any(|i| ids[..i].contains(&ids[i]))) {
                bench.fail(made[0].kernel(), &case, format!("row {t} has experts {ids:?} out of {experts}"));
            }
            if t < 6 {
                bench.compare(&made[1], &case, &as_floats(&made[1].words[t * used..][..used]), &want.weights, Limit::F32);
            }
        }
    }
    Ok(())
}

fn part<'a>(stack: &Experts, member: usize, bytes: &'a [u8], expert: u32) -> Matrix<'a> {
    let (rows, columns) = ((stack.rows * stack.experts) as usize, stack.columns as usize);
    let all = Matrix { format: stack.formats[member], rows, columns, bytes };
    all.part((expert * stack.rows) as usize, stack.rows as usize)
}

fn moe(bench: &mut Bench<'_>, gate_up: &[BlockFormat], down: BlockFormat, rows: Rows, experts_each: usize) -> Result<()> {
    let (experts, used, limit) = (8u32, 3u32, 2.0);
    let (dim, width) = (whole_blocks(gate_up[0], 512), whole_blocks(down, 256));
    let (tokens, t) = (rows.count(), rows.count() as usize);
    let case = format!("{}/{} and {down}, {rows:?}, {experts_each} experts a slice", gate_up[0], gate_up[1]);
    let (gate_up_bytes, gate_up) = bench.experts(gate_up, (experts as usize, width, dim), experts_each)?;
    let (down_bytes, down) = bench.experts(&[down], (experts as usize, dim, width), experts_each)?;
    let x = bench.floats(t * dim);
    let shared = bench.floats(t * dim);
    let routes: Vec<Routed> = (0..t)
        .map(|_| {
            // Uneven, and expert 5 is never used.
            let first = if bench.rng.f32() < 0.5 { 0 } else { bench.rng.u32(0..experts) };
            let ids: Vec<u32> = (0..experts).map(|i| (first + i) % experts).filter(|&e| e != 5).take(used as usize).collect();
            Routed { weights: (0..used).map(|_| 0.2 + bench.rng.f32()).collect(), experts: ids }
        })
        .collect();
    let chosen: Vec<u32> = routes.iter().flat_map(|r| r.experts.iter().copied()).collect();
    let weights: Vec<f32> = routes.iter().flat_map(|r| r.weights.iter().copied()).collect();
    let pairs = t * used as usize;
    let half = bench.takes_half(rows);
    let x_gpu = Strided::whole(&bench.upload_elements(&x, half)?, dim as u32).with_f16(half);
    let (chosen_gpu, weights_gpu) = (bench.upload(&chosen)?, bench.upload(&weights)?);
    let (act, y) = (bench.elements(pairs * width, half)?, bench.output_with(&shared)?);
    let most_tiles = MoeScratch::most_tiles(tokens, used, experts) as usize;
    let [out, list, tiles] = [bench.output(pairs * dim)?, bench.output(pairs)?, bench.output(most_tiles * 4)?];
    let (out, list, tiles) = (out.slice(), list.slice(), tiles.slice());
    let routed = Moe { gate_up: &gate_up, down: &down, used, limit };
    let made = bench.run(&case, &[&act, &y], rows, |pass| {
        let scratch = MoeScratch { act: Strided::whole(&act.slice(), width as u32).with_f16(half), out: &out, pairs: &list, tiles: &tiles };
        record_moe(pass, &routed, Chosen { experts: &chosen_gpu, weights: &weights_gpu }, &scratch, &x_gpu, &y.slice());
    })?;
    let mut want_act = Vec::new();
    for (pair, &e) in chosen.iter().enumerate() {
        let [gate, up] = [0, 1].map(|m| part(&gate_up, m, &gate_up_bytes[m], e));
        let token = pair / used as usize;
        want_act.extend(reference::gate_up(&gate, &up, &x[token * dim..][..dim], limit));
    }
    bench.compare(&made[0], &format!("{case}, gate and up"), &made[0].elements(half), &want_act, made[0].limit());
    let mut want = shared;
    let expert = |e: u32| Expert {
        gate: part(&gate_up, 0, &gate_up_bytes[0], e),
        up: part(&gate_up, 1, &gate_up_bytes[1], e),
        down: part(&down, 0, &down_bytes[0], e),
    };
    reference::routed(expert, experts, &routes, &x, &mut want, limit);
    bench.compare(&made[1], &case, &made[1].floats(), &want, made[1].limit());
    Ok(())
}

fn sampler(bench: &mut Bench<'_>, vocabulary: usize) -> Result<()> {
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
            let case = format!("{vocabulary} tokens, way {w}{}", if masked { ", masked" } else { "" });
            let rows = 12u32;
            let mut logits = bench.floats_around(0.0, 3.0, rows as usize * vocabulary);
            // Row 0 has ties at the top, row 1 a value that is not finite, row 2 belongs to a slot that is not live.
            logits[5..9].fill(20.0);
            logits[vocabulary + 17] = f32::INFINITY;
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
            // f32 sums may put a draw that falls on a border to the other side of it; greedy choices have no such excuse.
            let drawn = rows as usize - 2;
            let needed = if sampling.temperature == 0.0 { drawn } else { drawn - 1 };
            if agreed < needed {
                bench.fail(made[0].kernel(), &case, format!("{agreed} of {drawn} draws equal the reference's, at least {needed} expected"));
            }
        }
    }
    Ok(())
}
