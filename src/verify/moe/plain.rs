//! Cases of routed experts with f32 and f16 rows: generated rows, and rows of a prompt, which are grouped by expert.

use crate::Result;
use crate::kernels::{Chosen, Moe, MoeScratch, Rows, Strided, record_moe};
use crate::model::Config;
use crate::quant::BlockFormat;
use crate::reference::{self, Expert, Routed};
use crate::verify::bench::Bench;
use crate::verify::parts::{MOST_TOKENS, expert_of, rows_at, sampled, whole_blocks};

/// Numbers of experts, of experts that a row uses, and of channels.
#[derive(Clone, Copy)]
struct Sizes {
    experts: u32,
    used: u32,
    dim: usize,
    width: usize,
}

/// Every format, gate and up in different formats, and experts in several slices.
pub fn tiny(bench: &mut Bench<'_>) -> Result<()> {
    let sizes = |gate_up, down| Sizes { experts: 8, used: 3, dim: whole_blocks(gate_up, 512), width: whole_blocks(down, 256) };
    for format in BlockFormat::ALL {
        for rows in [Rows::Few(5), Rows::Many(33)] {
            moe(bench, (&[format, format], format), rows, sizes(format, format), 8)?;
        }
    }
    // Gate and up in different formats, and experts in slices.
    let (q4_k, q2_k, iq2_xxs) = (BlockFormat::Q4K, BlockFormat::Q2K, BlockFormat::Iq2Xxs);
    for tokens in [1, 16] {
        moe(bench, (&[q4_k, q2_k], q2_k), Rows::Few(tokens), sizes(q4_k, q2_k), 3)?;
    }
    for tokens in [1, 5, 70] {
        moe(bench, (&[iq2_xxs, iq2_xxs], q2_k), Rows::Many(tokens), sizes(iq2_xxs, q2_k), 3)?;
    }
    Ok(())
}

/// The experts of V4 Flash in the formats of q2.
pub fn flash(bench: &mut Bench<'_>) -> Result<()> {
    let c = Config::flash();
    let sizes = Sizes { experts: c.experts, used: c.experts_used, dim: c.dim as usize, width: c.expert_width as usize };
    let (gate_up, down) = (BlockFormat::Iq2Xxs.on_device(sizes.dim), BlockFormat::Q2K.on_device(sizes.width));
    let each = bench.experts_each(&[gate_up; 2], (sizes.experts as usize, sizes.width, sizes.dim));
    // A tile takes the same time however few rows it has, so a single row is enough where shaders run on the CPU.
    let piece = if bench.gpu.is_software() { 1 } else { bench.piece() };
    for rows in [Rows::Few(1), Rows::Few(8), Rows::Many(piece)] {
        moe(bench, (&[gate_up; 2], down), rows, sizes, each)?;
    }
    Ok(())
}

fn moe(bench: &mut Bench<'_>, (gate_up, down): (&[BlockFormat], BlockFormat), rows: Rows, sizes: Sizes, experts_each: usize) -> Result<()> {
    let Sizes { experts, used, dim, width } = sizes;
    let limit = 2.0;
    let (tokens, t) = (rows.count(), rows.count() as usize);
    let case = format!("{}/{} and {down} of {dim}, {rows:?}, {experts_each} experts a slice", gate_up[0], gate_up[1]);
    let (gate_up_bytes, gate_up) = bench.experts(gate_up, (experts as usize, width, dim), experts_each)?;
    let (down_bytes, down) = bench.experts(&[down], (experts as usize, dim, width), experts_each)?;
    let x = bench.floats(t * dim);
    let shared = bench.floats(t * dim);
    // In cases with a model's shapes the experts are used about evenly, as in a model.
    let uneven = if experts > 8 { 0.0 } else { 0.5 };
    let routes: Vec<Routed> = (0..t)
        .map(|_| {
            // Small cases use experts unevenly. Expert 5 is never used.
            let first = if bench.rng.f32() < uneven { 0 } else { bench.rng.u32(0..experts) };
            let ids: Vec<u32> = (0..experts).map(|i| (first + i) % experts).filter(|&e| e != 5).take(used as usize).collect();
            Routed { weights: (0..used).map(|_| 0.2 + bench.rng.f32()).collect(), experts: ids }
        })
        .collect();
    let chosen: Vec<u32> = routes.iter().flat_map(|r| r.experts.iter().copied()).collect();
    let weights: Vec<f32> = routes.iter().flat_map(|r| r.weights.iter().copied()).collect();
    let pairs = t * used as usize;
    let is_f16 = bench.takes_f16(rows);
    let x_gpu = Strided::whole(&bench.upload_elements(&x, is_f16)?, dim as u32).with_f16(is_f16);
    let (chosen_gpu, weights_gpu) = (bench.upload(&chosen)?, bench.upload(&weights)?);
    let (act, y) = (bench.elements(pairs * width, is_f16)?, bench.output_with(&shared)?);
    let most_tiles = MoeScratch::most_tiles(tokens, used, experts) as usize;
    let [out, list, tiles] = [bench.output(pairs * dim)?, bench.output(pairs)?, bench.output(most_tiles * 4)?];
    let (out, list, tiles) = (out.slice(), list.slice(), tiles.slice());
    let routed = Moe { gate_up: &gate_up, down: &down, used, limit };
    let made = bench.run(&case, &[&act, &y], rows, |pass| {
        let scratch =
            MoeScratch { act: Strided::whole(&act.slice(), width as u32).with_f16(is_f16), out: &out, pairs: &list, tiles: &tiles };
        record_moe(pass, &routed, Chosen { experts: &chosen_gpu, weights: &weights_gpu }, &scratch, &x_gpu, &y.slice());
    })?;
    let Some(made) = made else { return Ok(()) };
    // The tokens whose results are compared.
    let some = sampled(t, MOST_TOKENS.min(if experts > 8 { 8 } else { MOST_TOKENS }));
    let (mut want_act, mut got_act, all_act) = (Vec::new(), Vec::new(), made[0].elements(is_f16));
    for pair in some.iter().flat_map(|token| token * used as usize..(token + 1) * used as usize) {
        let [gate, up] = [0, 1].map(|m| expert_of(&gate_up, m, &gate_up_bytes[m], chosen[pair]));
        let token = pair / used as usize;
        want_act.extend(reference::gate_up(&gate, &up, &x[token * dim..][..dim], limit));
        got_act.extend(&all_act[pair * width..][..width]);
    }
    bench.compare(&made[0], &format!("{case}, gate and up"), &got_act, &want_act, made[0].limit());
    let mut want = rows_at(&shared, &some, dim, 0, dim);
    let expert = |e: u32| Expert {
        gate: expert_of(&gate_up, 0, &gate_up_bytes[0], e),
        up: expert_of(&gate_up, 1, &gate_up_bytes[1], e),
        down: expert_of(&down, 0, &down_bytes[0], e),
    };
    let routes: Vec<Routed> = some.iter().map(|&token| routes[token].clone()).collect();
    reference::routed(expert, experts, &routes, &rows_at(&x, &some, dim, 0, dim), &mut want, limit);
    bench.compare(&made[1], &case, &rows_at(&made[1].floats(), &some, dim, 0, dim), &want, made[1].limit());
    Ok(())
}
