//! Cases of the router: the choice of experts by score or by a table, and the shared expert's activation.

use super::bench::Bench;
use super::outcome::{Limit, as_floats};
use crate::Result;
use crate::kernels::{Chosen, DECODE_ROWS, Router, Routing, Row, Rows, SharedAct, Strided, record_router};
use crate::model::Config;
use crate::reference::{self, Choice};

/// A few experts, and as many as the models have.
pub fn tiny(bench: &mut Bench<'_>) -> Result<()> {
    router(bench, (4, 2, 300), 9)?;
    router(bench, (256, 6, 512), 9)?;
    router(bench, (384, 6, 768), 9)
}

/// The experts of V4 Flash.
pub fn flash(bench: &mut Bench<'_>) -> Result<()> {
    let c = Config::flash();
    let shape = (c.experts as usize, c.experts_used as usize, c.expert_width as usize);
    router(bench, shape, 1)?;
    router(bench, shape, bench.piece() as usize)
}

fn router(bench: &mut Bench<'_>, (experts, used, width): (usize, usize, usize), tokens: usize) -> Result<()> {
    // The shared expert's gate and up follow the logits, with gaps.
    let (gate, up, limit) = (experts + 8, width + 12, 10.0);
    let stride = gate + up + width + 4;
    let mut wide = bench.floats_around(-1.0, 6.0, tokens * stride);
    let own = |row: &[f32]| (0..width).map(|f| reference::swiglu(row[gate + f], row[gate + up + f], limit)).collect::<Vec<_>>();
    let want_act: Vec<f32> = wide.chunks_exact(stride).flat_map(own).collect();
    let is_honest = |t: usize| !(6..9).contains(&t);
    let bias = bench.floats_around(0.0, 0.2, experts);
    // Some rows have special scores: NaN, infinities, or all equal.
    for (t, row) in wide.chunks_exact_mut(stride).enumerate() {
        match t {
            6 => row[4..][..experts].fill(f32::NAN),
            7 => row[4..][..experts / 2].fill(f32::INFINITY),
            8 => row[4..][..experts].fill(-200.0),
            _ => {}
        }
    }
    let logits = Strided { slice: bench.upload(&wide)?, stride: stride as u32, offset: 4, is_f16: false };
    let table: Vec<u32> = (0..4 * (tokens + 1) * used).map(|i| ((i * 7) % experts) as u32).collect();
    let rows: Vec<Row> = (0..tokens as u32).map(|t| Row { token: t * 4, ..Row::default() }).collect();
    let (bias_gpu, table_gpu) = (bench.upload(&bias)?, bench.upload(&table)?);
    let (rows_gpu, sampled) = (bench.upload(&rows)?, bench.upload(&[0u32])?);
    let step = if tokens as u32 <= DECODE_ROWS { Rows::Few(tokens as u32) } else { Rows::Many(tokens as u32) };
    for hashed in [false, true] {
        let case = format!("{used} of {experts}, {tokens} tokens{}", if hashed { ", by table" } else { "" });
        let router =
            if hashed { Router::Hashed { table: &table_gpu, rows: &rows_gpu, sampled: &sampled } } else { Router::Scored(&bias_gpu) };
        // The cases with a table store f16, those with scores f32.
        let is_f16 = hashed && bench.kernels.profile.caps.f16;
        let (chosen, weights) = (bench.output(tokens * used)?, bench.output(tokens * used)?);
        let (act, int8) = (bench.elements(tokens * width, is_f16)?, bench.output_int8(step, width)?.filter(|_| !is_f16));
        let outputs: Vec<_> = [&chosen, &weights, &act].into_iter().chain(int8.as_ref().map(|(output, _)| output)).collect();
        let made = bench.run(&case, &outputs, Rows::Many(tokens as u32), |pass| {
            let (chosen, weights) = (chosen.slice(), weights.slice());
            let act = Strided::whole(&act.slice(), width as u32).with_f16(is_f16);
            let act_int8 = int8.as_ref().map(|(_, quantized)| quantized);
            let (gate, up, width) = (gate as u32, up as u32, width as u32);
            let shared = SharedAct { gate, up, width, limit, act: &act, act_int8 };
            let (experts, used, inputs) = (experts as u32, used as u32, &logits);
            let routing =
                Routing { router, experts, used, scale: 1.5, inputs, chosen: Chosen { experts: &chosen, weights: &weights }, shared };
            record_router(pass, &routing);
        })?;
        let Some(made) = made else { continue };
        let got_act = made[2].elements(is_f16);
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
            if is_honest(t) {
                bench.compare(&made[1], &case, &as_floats(&made[1].words[t * used..][..used]), &want.weights, Limit::F32);
            }
        }
    }
    Ok(())
}
