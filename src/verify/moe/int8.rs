//! Cases of routed experts on activations rounded to int8, with the router before them and the update of the streams after them.

use crate::Result;
use crate::kernels::{
    Chosen, Experts, Matrix, Moe, MoeInt8, Quantized, Router, Routing, Row, Rows, SAMPLED, SharedAct, Strided, record_hc_mix,
    record_moe_int8,
};
use crate::model::Config;
use crate::quant::BlockFormat;
use crate::reference::{self, Choice};
use crate::verify::bench::{Bench, Output};
use crate::verify::following::Following;
use crate::verify::outcome::{Made, NOTHING};
use crate::verify::parts::{expert_of, view, whole_blocks};

/// Every format, numbers of tokens that select every variant, and experts in several slices.
pub fn tiny(bench: &mut Bench<'_>) -> Result<()> {
    let stored = [BlockFormat::Iq2Xxs, BlockFormat::Q2K];
    let pair = [BlockFormat::Iq2Xxsx8, BlockFormat::Q2Kx4];
    // Two experts of 512 rows for each token, so that some workgroups have rows of two tokens.
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

/// [`moe`] for each number of tokens in `companies`. The bits of the first token must be the same in all of them.
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

/// How [`moe`] chooses experts: by score or by token id.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Choosing {
    Scored,
    Hashed,
}

/// The router, the routed experts and the shared expert, on devices that round activations to int8. Returns the result.
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
    // Every number of tokens gets the same weights and the same first row.
    bench.rng.seed(7);
    let model = Weights::new(bench, formats, (experts, width, dim), experts_each)?;
    let x = bench.floats(16 * dim)[..tokens * dim].to_vec();
    let inputs = RouterInputs::new(bench, (experts, used, width), tokens, choosing);
    let pairs = tokens * used;
    let (x_gpu, x_int8) = (bench.upload(&x)?, bench.upload_int8(&x, dim)?);
    let inputs_gpu = Strided::whole(&bench.upload(&inputs.values)?, inputs.stride as u32).at(4);
    let (bias_gpu, table_gpu) = (bench.upload(&inputs.bias)?, bench.upload(&inputs.table)?);
    let (rows_gpu, sampled) = (bench.upload(&inputs.rows)?, bench.upload(&[0u32, 1, 0])?);
    let router = match choosing {
        Choosing::Scored => Router::Scored(&bias_gpu),
        Choosing::Hashed => Router::Hashed { table: &table_gpu, rows: &rows_gpu, sampled: &sampled },
    };
    let (act, y, shared_act) = (bench.output(pairs * width)?, bench.output(tokens * dim)?, bench.output(tokens * width)?);
    let (chosen, weights) = (bench.output(pairs)?, bench.output(pairs)?);
    let Some((act_int8, act_out)) = bench.output_int8(Rows::Few(tokens as u32), used * width)? else { return Ok(None) };
    let act_out = Quantized { columns: width as u32, ..act_out };
    let Some((shared_int8, shared_out)) = bench.output_int8(Rows::Few(tokens as u32), width)? else { return Ok(None) };
    let moe = Moe { gate_up: &model.gate_up, down: &model.down, used: used as u32, limit };
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
            gate: inputs.gate as u32,
            up: (inputs.up - inputs.gate) as u32,
            width: width as u32,
            limit,
            act: &shared_gpu,
            act_int8: Some(&shared_out),
        },
    };
    let int8 = MoeInt8 {
        x: &x_gpu,
        x_int8: &x_int8,
        act: &act_slice,
        act_int8: &act_out,
        shared_down: &model.shared_down,
        y: &y_slice,
        update: None,
    };
    let step = Rows::Few(tokens as u32);
    let outputs = [&act, &act_int8, &y, &chosen, &weights, &shared_act, &shared_int8];
    let made = bench.run(&case, &outputs, step, |pass| {
        record_moe_int8(pass, &moe, &int8, &routing, |_| ());
    })?;
    check_update(bench, &case, (&moe, &int8, &routing), (&y, step), made.as_ref().map(|made| &made[2]))?;
    let Some(mut made) = made else { return Ok(None) };
    let routed = inputs.routed(experts, used, choosing);
    compare(bench, &case, (&model, &inputs), (&x, limit), &routed, &made);
    Ok(Some(made.swap_remove(2)))
}

/// Compares everything that a run made with the reference. The reference takes the experts and the rounded values that the run made, so
/// that each kernel is compared on its own inputs.
fn compare(
    bench: &mut Bench<'_>,
    case: &str,
    (model, inputs): (&Weights, &RouterInputs),
    (x, limit): (&[f32], f32),
    routed: &[reference::Routed],
    made: &[Made],
) {
    let (width, dim) = (model.gate_up.rows as usize, model.down.rows as usize);
    // Formats that `lib/formats/units` does not support take the f32 kernels.
    let [rounds_x, rounds_act] = [(&made[0], "moe_gate_up_int8"), (&made[2], "moe_down_int8")].map(|(made, int8)| made.kernel() == int8);
    let got_act = made[0].floats();
    let want_ids: Vec<u32> = routed.iter().flat_map(|r| r.experts.iter().copied()).collect();
    let want_weights: Vec<f32> = routed.iter().flat_map(|r| r.weights.iter().copied()).collect();
    bench.compare_ids(&made[3], case, &made[3].words, &want_ids);
    bench.compare(&made[4], &format!("{case}, weights"), &made[4].floats(), &want_weights, made[4].limit());
    let (chosen, weights, got_shared) = (&made[3].words, made[4].floats(), made[5].floats());
    bench.compare(&made[5], &format!("{case}, shared act"), &got_shared, &inputs.shared(width, limit), made[5].limit());
    let rounded_shared = bench.compare_int8(&made[6], &format!("{case}, shared act"), &got_shared, width);
    let rounded_act = if rounds_x { bench.compare_int8(&made[1], case, &got_act, width) } else { Vec::new() };
    let (mut want_act, mut want) = (Vec::new(), Vec::new());
    for (t, x) in x.chunks_exact(dim).enumerate() {
        let x = if rounds_x { reference::rounded(x) } else { x.to_vec() };
        let used = routed[t].experts.len();
        let pairs = t * used..(t + 1) * used;
        want_act.extend(chosen[pairs.clone()].iter().flat_map(|&expert| model.act(&x, expert, limit)));
        let act = if rounds_act { &rounded_act } else { &got_act };
        let act = &act[pairs.start * width..pairs.end * width];
        want.extend(model.result(&rounded_shared[t * width..][..width], act, &chosen[pairs.clone()], &weights[pairs]));
    }
    bench.compare(&made[0], case, &got_act, &want_act, made[0].limit());
    bench.compare(&made[2], case, &made[2].floats(), &want, made[2].limit());
}

/// The weights of a layer's experts: as the device reads them, and their bytes.
struct Weights {
    gate_up: Experts,
    gate_up_bytes: Vec<Vec<u8>>,
    down: Experts,
    down_bytes: Vec<Vec<u8>>,
    shared_down: Matrix,
    shared_bytes: Vec<u8>,
}

impl Weights {
    fn new(
        bench: &mut Bench<'_>,
        formats: [BlockFormat; 2],
        (experts, width, dim): (usize, usize, usize),
        experts_each: usize,
    ) -> Result<Self> {
        let (gate_up_bytes, gate_up) = bench.experts(&[formats[0]; 2], (experts, width, dim), experts_each)?;
        let (down_bytes, down) = bench.experts(&[formats[1]], (experts, dim, width), experts_each)?;
        let (shared_bytes, shared_down) = bench.matrix(BlockFormat::Q8_0x8, dim, width, 1)?;
        Ok(Self { gate_up, gate_up_bytes, down, down_bytes, shared_down, shared_bytes })
    }

    /// The activations of a row `x` in one expert.
    fn act(&self, x: &[f32], expert: u32, limit: f32) -> Vec<f32> {
        let [gate, up] = [0, 1].map(|m| expert_of(&self.gate_up, m, &self.gate_up_bytes[m], expert));
        reference::gate_up(&gate, &up, x, limit)
    }

    /// The result of a row, whose experts are `chosen` with `weights`. `act` has the activations of each of them.
    fn result(&self, shared_act: &[f32], act: &[f32], chosen: &[u32], weights: &[f32]) -> Vec<f32> {
        let product = reference::linear(&view(&self.shared_down, &self.shared_bytes), shared_act);
        let mut sums: Vec<f64> = product.into_iter().map(f64::from).collect();
        for ((&expert, &weight), act) in chosen.iter().zip(weights).zip(act.chunks_exact(shared_act.len())) {
            let product = reference::linear(&expert_of(&self.down, 0, &self.down_bytes[0], expert), act);
            sums.iter_mut().zip(product).for_each(|(sum, v)| *sum += f64::from(weight) * f64::from(v));
        }
        sums.iter().map(|&v| v as f32).collect()
    }
}

/// What the router reads, on the host.
struct RouterInputs {
    /// For each token 4 values that nothing reads, its logits, and gate and up of the shared expert, with gaps between them.
    values: Vec<f32>,
    stride: usize,
    /// Offset of the gate values, relative to the logits.
    gate: usize,
    /// Offset of the up values, relative to the logits.
    up: usize,
    bias: Vec<f32>,
    table: Vec<u32>,
    rows: Vec<Row>,
}

impl RouterInputs {
    fn new(bench: &mut Bench<'_>, (experts, used, width): (usize, usize, usize), tokens: usize, choosing: Choosing) -> Self {
        let (gate, stride) = (experts + 8, experts + 2 * width + 24);
        let mut values = bench.floats(16 * stride)[..tokens * stride].to_vec();
        let mut bias = bench.floats_around(0.0, 0.2, experts);
        // Small cases have ties among the best experts. At a model's shapes the experts are used about evenly, as in a model.
        if experts == 8 {
            bias[2..5].fill(2.0);
        }
        for (t, row) in values.chunks_exact_mut(stride).enumerate() {
            match t % 4 {
                1 => row[4..][..experts].fill(-0.5),
                2 if choosing == Choosing::Scored => row[4..][1..experts - used].fill(f32::NAN),
                _ => {}
            }
        }
        let table: Vec<u32> = (0..16 * used).map(|i| ((i / used * 5 + i % used * 3) % experts) as u32).collect();
        // The id of the second token comes from the sampler.
        let row = |t: u32| Row { token: if t == 1 { SAMPLED } else { t }, slot: t % 3, ..Row::default() };
        let rows: Vec<Row> = (0..tokens as u32).map(row).collect();
        Self { values, stride, gate, up: gate + width + 4, bias, table, rows }
    }

    /// The shared expert's activations.
    fn shared(&self, width: usize, limit: f32) -> Vec<f32> {
        let act = |row: &[f32], f: usize| reference::swiglu(row[self.gate + f], row[self.up + f], limit);
        self.values.chunks_exact(self.stride).flat_map(|row| (0..width).map(|f| act(row, f)).collect::<Vec<_>>()).collect()
    }

    /// The experts of each token.
    fn routed(&self, experts: usize, used: usize, choosing: Choosing) -> Vec<reference::Routed> {
        let rows = self.values.chunks_exact(self.stride).zip(self.table.chunks_exact(used));
        let choice = |named| if choosing == Choosing::Hashed { Choice::Named(named) } else { Choice::Scored(&self.bias) };
        rows.map(|(row, named)| reference::router(&row[4..][..experts], choice(named), used, 1.5)).collect()
    }
}

/// Runs the experts with an update of the streams, and compares it bit by bit with what hc_mix makes of the same y. `down` is what the down
/// kernel made without an update.
fn check_update(
    bench: &mut Bench<'_>,
    case: &str,
    (moe, int8, routing): (&Moe<'_>, &MoeInt8<'_>, &Routing<'_>),
    (y, step): (&Output, Rows),
    down: Option<&Made>,
) -> Result<()> {
    let following = Following::new(bench, moe.down.rows as usize, step.count() as usize)?;
    let update = following.update(int8.y);
    let int8 = MoeInt8 { update: Some(update), ..int8.clone() };
    let outputs = [following.outputs()[0], following.outputs()[1], y];
    let mut is_fused = false;
    let made = bench.run(case, &outputs, step, |pass| {
        is_fused = record_moe_int8(pass, moe, &int8, routing, |_| ());
    })?;
    let (Some(made), Some(down)) = (made, down) else { return Ok(()) };
    let apart = bench.run(case, &outputs, step, |pass| {
        record_hc_mix(pass, update.weights, update.x, Some(update.residual), update.mix);
    })?;
    let Some(apart) = apart else { return Ok(()) };
    let kernel = made[2].kernel();
    if is_fused && !made.iter().map(|own| &own.words).eq(apart.iter().map(|own| &own.words)) {
        bench.fail(kernel, case, "updates the streams in another way than hc_mix".into());
    }
    if made[..2].iter().any(|own| own.kernel() != if is_fused { kernel } else { NOTHING }) {
        let [next, mix] = [made[0].kernel(), made[1].kernel()];
        bench.fail(kernel, case, format!("says that it updates the streams: {is_fused}, but {next} and {mix} made them"));
    }
    // The update is fused if one launch adds up all of the result, and its workgroups compute whole slices.
    let makes_slices = down.kernel() == "moe_down_int8" && down.by().is_some_and(|variant| variant.value("EIGHTS") == Some(2));
    if is_fused != (moe.down.slices.len() == 1 && makes_slices) {
        bench.fail(kernel, case, format!("says that it updates the streams: {is_fused}"));
    }
    Ok(())
}
