//! Routed experts that multiply activations rounded to int8, with the router before them and the streams behind.

use crate::Result;
use crate::kernels::{
    Chosen, Moe, MoeInt8, Quantized, Router, Routing, Row, Rows, SAMPLED, SharedAct, Strided, record_hc_mix, record_moe_int8,
};
use crate::model::Config;
use crate::quant::BlockFormat;
use crate::reference::{self, Choice};
use crate::verify::bench::Bench;
use crate::verify::following::Following;
use crate::verify::outcome::{Made, NOTHING};
use crate::verify::parts::{expert_of, view, whole_blocks};

/// Every format, numbers of tokens in every size of code, experts in slices.
pub fn tiny(bench: &mut Bench<'_>) -> Result<()> {
    let stored = [BlockFormat::Iq2Xxs, BlockFormat::Q2K];
    let pair = [BlockFormat::Iq2Xxsx8, BlockFormat::Q2Kx4];
    // With two experts of 512 rows a token: some workgroups have rows of two tokens.
    let sizes = |formats: [BlockFormat; 2], dim| (8, whole_blocks(formats[1], 512), dim);
    in_companies(bench, pair, &[1, 2, 3, 5, 8, 16], sizes(pair, 2048), (2, 8))?;
    for tokens in [1, 7] {
        moe(bench, stored, tokens, sizes(stored, 512), (3, 8), Choosing::Hashed)?;
    }
    for format in BlockFormat::ALL {
        moe(bench, [format; 2], 2, sizes([format; 2], whole_blocks(format, 256)), (2, 3), Choosing::Scored)?;
    }
    moe(bench, pair, 3, sizes(pair, 4096), (2, 5), Choosing::Scored)?;
    moe(bench, stored, 1, sizes(stored, 7168), (3, 5), Choosing::Hashed)?;
    Ok(())
}

/// The experts of V4 Flash in the formats of q2.
pub fn flash(bench: &mut Bench<'_>) -> Result<()> {
    let c = Config::flash();
    let (dim, width, experts) = (c.dim as usize, c.expert_width as usize, c.experts as usize);
    let formats = [BlockFormat::Iq2Xxs.on_device(dim), BlockFormat::Q2K.on_device(width)];
    let each = bench.experts_each(&[formats[0]; 2], (experts, width, dim));
    in_companies(bench, formats, &[1, 8], (experts, width, dim), (c.experts_used as usize, each))
}

/// [`moe`] for each number of tokens: the first token's bits are those that it has alone.
fn in_companies(
    bench: &mut Bench<'_>,
    formats: [BlockFormat; 2],
    companies: &[usize],
    sizes: (usize, usize, usize),
    of_experts: (usize, usize),
) -> Result<()> {
    let mut alone = Vec::new();
    for &tokens in companies {
        let Some(made) = moe(bench, formats, tokens, sizes, of_experts, Choosing::Scored)? else { continue };
        if tokens == 1 {
            alone = made.words;
        } else if !made.words.starts_with(&alone) {
            bench.fail(made.kernel(), &format!("{tokens} tokens"), "the first token's bits differ from those it has alone".into());
        }
    }
    Ok(())
}

/// How [`moe`] has its experts chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Choosing {
    Scored,
    Hashed,
}

/// The router, routed experts and the shared one, where the device rounds their activations. Returns the result.
fn moe(
    bench: &mut Bench<'_>,
    formats: [BlockFormat; 2],
    tokens: usize,
    (experts, width, dim): (usize, usize, usize),
    (used, experts_each): (usize, usize),
    choosing: Choosing,
) -> Result<Option<Made>> {
    if !bench.kernels.profile.int8() {
        return Ok(None);
    }
    let limit = 2.0;
    let case = format!("{} and {} of {dim}, {choosing:?}, {tokens} tokens, {experts_each} experts a slice", formats[0], formats[1]);
    // The same weights and the same first row whatever the step.
    bench.rng.seed(7);
    let (gate_up_bytes, gate_up) = bench.experts(&[formats[0]; 2], (experts, width, dim), experts_each)?;
    let (down_bytes, down) = bench.experts(&[formats[1]], (experts, dim, width), experts_each)?;
    let (shared_bytes, shared_down) = bench.matrix(BlockFormat::Q8_0x8, dim, width, 1)?;
    let x = bench.floats(16 * dim)[..tokens * dim].to_vec();
    // Logits, and behind them gate and up of the shared expert, with gaps.
    let (gate, stride) = (experts + 8, experts + 2 * width + 24);
    let up = gate + width + 4;
    let mut inputs = bench.floats(16 * stride)[..tokens * stride].to_vec();
    let mut bias = bench.floats_around(0.0, 0.2, experts);
    // Ties among the best, and experts that no score chooses. A model's experts are used about evenly.
    if experts == 8 {
        bias[2..5].fill(2.0);
    }
    for (t, row) in inputs.chunks_exact_mut(stride).enumerate() {
        match t % 4 {
            1 => row[4..][..experts].fill(-0.5),
            2 if choosing == Choosing::Scored => row[4..][1..experts - used].fill(f32::NAN),
            _ => {}
        }
    }
    let table: Vec<u32> = (0..16 * used).map(|i| ((i / used * 5 + i % used * 3) % experts) as u32).collect();
    // The second token is one that the sampler left.
    let row = |t: u32| Row { token: if t == 1 { SAMPLED } else { t }, slot: t % 3, ..Row::default() };
    let rows: Vec<Row> = (0..tokens as u32).map(row).collect();
    let shared: Vec<f32> = inputs
        .chunks_exact(stride)
        .flat_map(|row| (0..width).map(|f| reference::swiglu(row[gate + f], row[up + f], limit)).collect::<Vec<_>>())
        .collect();
    let routed: Vec<reference::Routed> = inputs
        .chunks_exact(stride)
        .enumerate()
        .map(|(t, row)| {
            let named = &table[t * used..][..used];
            let choice = if choosing == Choosing::Hashed { Choice::Named(named) } else { Choice::Scored(&bias) };
            reference::router(&row[4..][..experts], choice, used, 1.5)
        })
        .collect();
    let pairs = tokens * used;
    let (x_gpu, x_int8) = (bench.upload(&x)?, bench.upload_int8(&x, dim)?);
    let inputs_gpu = Strided { slice: bench.upload(&inputs)?, stride: stride as u32, offset: 4, half: false };
    let (bias_gpu, table_gpu) = (bench.upload(&bias)?, bench.upload(&table)?);
    let (rows_gpu, sampled) = (bench.upload(&rows)?, bench.upload(&[0u32, 1, 0])?);
    let router = match choosing {
        Choosing::Scored => Router::Scored(&bias_gpu),
        Choosing::Hashed => Router::Hashed { table: &table_gpu, rows: &rows_gpu, sampled: &sampled },
    };
    let (act, y, shared_act) = (bench.output(pairs * width)?, bench.output(tokens * dim)?, bench.output(tokens * width)?);
    let (chosen, weights) = (bench.output(pairs)?, bench.output(pairs)?);
    let Some((act_int8, act_out)) = bench.output_int8(Rows::Few(tokens as u32), used * width)? else { return Ok(None) };
    let act_out = Quantized { columns: width as u32, ..act_out };
    let Some((shared_int8, shared_out)) = bench.output_int8(Rows::Few(tokens as u32), width)? else { return Ok(None) };
    let moe = Moe { gate_up: &gate_up, down: &down, used: used as u32, limit };
    let (act_slice, y_slice) = (act.slice(), y.slice());
    let (chosen_slice, weights_slice) = (chosen.slice(), weights.slice());
    let shared_gpu = Strided::whole(&shared_act.slice(), width as u32);
    let routing = Routing {
        router,
        experts: experts as u32,
        used: used as u32,
        scale: 1.5,
        inputs: &inputs_gpu,
        chosen: Chosen { experts: &chosen_slice, weights: &weights_slice },
        shared: SharedAct {
            gate: gate as u32,
            up: (up - gate) as u32,
            width: width as u32,
            limit,
            act: &shared_gpu,
            act_int8: Some(&shared_out),
        },
    };
    let int8 =
        MoeInt8 { x: &x_gpu, x_int8: &x_int8, act: &act_slice, act_int8: &act_out, shared_down: &shared_down, y: &y_slice, update: None };
    let step = Rows::Few(tokens as u32);
    let outputs = [&act, &act_int8, &y, &chosen, &weights, &shared_act, &shared_int8];
    let made = bench.run(&case, &outputs, step, |pass| {
        record_moe_int8(pass, &moe, &int8, &routing, |_| ());
    })?;
    // The streams behind the experts, which the last launch may leave too.
    let following = Following::new(bench, dim, tokens)?;
    let update = following.update(&y_slice);
    let int8 = MoeInt8 { update: Some(update), ..int8 };
    let [next, mix] = following.outputs();
    let mut has_left = false;
    let left = bench.run(&case, &[next, mix, &y], step, |pass| {
        has_left = record_moe_int8(pass, &moe, &int8, &routing, |_| ());
    })?;
    let (Some(mut made), Some(left)) = (made, left) else { return Ok(None) };
    // Formats without units go through the f32 kernels.
    let [rounds_x, rounds_act] = [(&made[0], "moe_gate_up_int8"), (&made[2], "moe_down_int8")].map(|(made, int8)| made.kernel() == int8);
    let got_act = made[0].floats();
    let want_ids: Vec<u32> = routed.iter().flat_map(|r| r.experts.iter().copied()).collect();
    let want_weights: Vec<f32> = routed.iter().flat_map(|r| r.weights.iter().copied()).collect();
    bench.compare_ids(&made[3], &case, &made[3].words, &want_ids);
    bench.compare(&made[4], &format!("{case}, weights"), &made[4].floats(), &want_weights, made[4].limit());
    let (chosen, weights, got_shared) = (&made[3].words, made[4].floats(), made[5].floats());
    bench.compare(&made[5], &format!("{case}, shared act"), &got_shared, &shared, made[5].limit());
    let left_shared = bench.compare_int8(&made[6], &format!("{case}, shared act"), &got_shared, width);
    let left_act = if rounds_x { bench.compare_int8(&made[1], &case, &got_act, width) } else { Vec::new() };
    let (mut want_act, mut want) = (Vec::new(), Vec::new());
    for t in 0..tokens {
        let own = if rounds_x { reference::rounded(&x[t * dim..][..dim]) } else { x[t * dim..][..dim].to_vec() };
        let mut sums: Vec<f64> = vec![0.0; dim];
        let product = reference::linear(&view(&shared_down, &shared_bytes), &left_shared[t * width..][..width]);
        sums.iter_mut().zip(product).for_each(|(sum, v)| *sum += f64::from(v));
        for pair in t * used..(t + 1) * used {
            let [gate, up] = [0, 1].map(|m| expert_of(&gate_up, m, &gate_up_bytes[m], chosen[pair]));
            want_act.extend(reference::gate_up(&gate, &up, &own, limit));
            let act = if rounds_act { &left_act } else { &got_act };
            let product = reference::linear(&expert_of(&down, 0, &down_bytes[0], chosen[pair]), &act[pair * width..][..width]);
            sums.iter_mut().zip(product).for_each(|(sum, v)| *sum += f64::from(weights[pair]) * f64::from(v));
        }
        want.extend(sums.iter().map(|&v| v as f32));
    }
    bench.compare(&made[0], &case, &got_act, &want_act, made[0].limit());
    bench.compare(&made[2], &case, &made[2].floats(), &want, made[2].limit());
    // What hc_mix makes of the same y, bit by bit.
    let apart = bench.run(&case, &[next, mix, &y], step, |pass| {
        record_hc_mix(pass, update.weights, update.x, Some(update.residual), update.mix);
    })?;
    let Some(apart) = apart else { return Ok(None) };
    let kernel = left[2].kernel();
    if has_left && !left.iter().map(|own| &own.words).eq(apart.iter().map(|own| &own.words)) {
        bench.fail(kernel, &case, "leaves other streams than hc_mix would".into());
    }
    if left[..2].iter().any(|own| own.kernel() != if has_left { kernel } else { NOTHING }) {
        bench.fail(kernel, &case, format!("leaves the streams: {has_left}, but {} and {} made them", left[0].kernel(), left[1].kernel()));
    }
    // A launch that adds up all of the result, and whose workgroups make whole slices of it.
    let makes_slices = rounds_act && made[2].by().is_some_and(|variant| variant.value("EIGHTS") == Some(2));
    if has_left != (experts_each == experts && makes_slices) {
        bench.fail(kernel, &case, format!("leaves the streams: {has_left}"));
    }
    Ok(Some(made.swap_remove(2)))
}
