//! The experts of generated rows on activations rounded to int8. `moe_gate_up_int8` is the fast twin of `moe_gate_up` and does the router's
//! work in the same launch. `moe_down_int8` is that of `moe_down` and multiplies with the shared expert's matrix in the same launch.

use super::few::{record_down, record_gate_up};
use super::int8_variants::{BLOCK, GateUp, down_int8_variant, down_variants, gate_up_int8_variant, gate_up_variants, unit_format};
use super::layer::Moe;
use crate::gpu::{Binding, Slice, Variant, grid_1d};
use crate::kernels::context::Strided;
use crate::kernels::cost;
use crate::kernels::hc::{HcUpdate, with_hc_mix};
use crate::kernels::int8::Quantized;
use crate::kernels::linear::{Grouping, record_linear_int8};
use crate::kernels::matrix::Matrix;
use crate::kernels::pass::{Pass, bind};
use crate::kernels::router::{Routing, record_router};
use crate::quant::BlockFormat;

kernels! {
    MoeGateUpInt8Params for "moe_gate_up_int8" in gate_up_variants {
        rows: u32, width: u32, first_row: u32, base_gate: u32, base_up: u32, first_expert: u32, experts: u32, used: u32,
        pairs: u32, limit: f32, stride: u32, offset: u32, scale: f32, gate: u32, up: u32, rows_each: u32, workgroups: u32,
    }
    MoeDownInt8Params for "moe_down_int8" in down_variants {
        rows: u32, width: u32, first_row: u32, base: u32, first_expert: u32, experts: u32, base_shared: u32,
        base_mix: u32, outputs: u32,
    }
}

/// What the experts of generated rows read and write, besides what [`Moe`] names.
#[derive(Clone, Debug)]
pub struct MoeInt8<'a> {
    /// x (T, D).
    pub x: &'a Slice,
    /// x rounded to int8.
    pub x_int8: &'a Quantized,
    /// Scratch: activations (T * used, F).
    pub act: &'a Slice,
    /// Scratch: activations rounded to int8.
    pub act_int8: &'a Quantized,
    /// The shared expert's down [D, F].
    pub shared_down: &'a Matrix,
    /// Output y (T, D).
    pub y: &'a Slice,
    /// The update of the streams that follows the experts, to be fused if possible.
    pub update: Option<HcUpdate<'a>>,
}

/// Records the router ([`record_router`]), and `y[t] = shared_down shared[t] + sum_k weights[t, k] expert(experts[t, k])(x[t])` for few
/// rows. x and act are rounded if the formats allow it. `beside` records launches between gate/up and down that only down depends on.
/// Returns whether the streams were updated too.
pub fn record_moe_int8(
    pass: &mut Pass<'_>,
    moe: &Moe<'_>,
    int8: &MoeInt8<'_>,
    routing: &Routing<'_>,
    beside: impl FnOnce(&mut Pass<'_>),
) -> bool {
    let is_rounded = record_gate_up_int8(pass, moe, int8, routing);
    beside(pass);
    let (t, shared) = (pass.t(), &routing.shared);
    let profile = pass.profile();
    let whole = moe.down.slices.iter().all(|s| s.rows == moe.down.rows);
    let foldable =
        whole && shared.act_int8.is_some() && int8.shared_down.format == BlockFormat::Q8_0x8 && int8.shared_down.slices.len() == 1;
    let down = unit_format(moe.down).filter(|_| is_rounded);
    let variant = |shared: bool| down.and_then(|format| down_int8_variant(profile, format, moe.down.columns, (moe.used, shared), t));
    let folded = variant(true).filter(|_| foldable);
    // hc_mix needs the finished result, so no other launch may add to it.
    let is_one = moe.down.slices.len() == 1;
    let fits = |update: &HcUpdate<'_>| folded.as_ref().is_some_and(|f| is_one && update.is_for(profile, f.1, moe.down.rows, pass.rows));
    let update = int8.update.filter(fits);
    let plain = variant(false);
    if folded.is_none() {
        let y = Strided::whole(int8.y, int8.shared_down.rows);
        record_linear_int8(pass, &[int8.shared_down], Grouping::Shared, (shared.act, shared.act_int8), (&y, None));
    }
    match plain {
        Some(plain) => launch_down(pass, moe, (int8, update), routing, folded, &plain),
        None => record_down(pass, moe, int8.act, routing.chosen, int8.y),
    }
    update.is_some()
}

/// Records the router and the experts' activations. Returns whether the activations were rounded.
fn record_gate_up_int8(pass: &mut Pass<'_>, moe: &Moe<'_>, int8: &MoeInt8<'_>, routing: &Routing<'_>) -> bool {
    let blocks = moe.gate_up.slices.iter().all(|s| s.rows.is_multiple_of(BLOCK) && s.first_row.is_multiple_of(BLOCK));
    let gate_up = unit_format(moe.gate_up).filter(|_| blocks);
    let least_rows = moe.gate_up.slices.iter().map(|s| s.rows).min().unwrap_or(0);
    let sizes = (moe.gate_up.columns, least_rows);
    let variant = |choice| gate_up.and_then(|f| gate_up_int8_variant(pass.profile(), f, sizes, choice, pass.t()));
    let shared = &routing.shared;
    let is_alike = (shared.width, shared.limit.to_bits()) == (moe.gate_up.rows, moe.limit.to_bits());
    let routable = is_alike && shared.act_int8.is_some() && !shared.act.is_f16;
    let (plain, routed) = (variant(None), routable.then(|| variant(Some(routing.choice()))).flatten());
    if routed.is_none() {
        record_router(pass, routing);
    }
    match &plain {
        Some(plain) => launch_gate_up(pass, moe, int8, routing, routed, plain),
        None => record_gate_up(pass, moe, int8.x, routing.chosen, int8.act),
    }
    plain.is_some()
}

/// Records a launch for each slice. `routed` is the variant of the first one if that does the router's work too.
fn launch_gate_up(
    pass: &mut Pass<'_>,
    moe: &Moe<'_>,
    int8: &MoeInt8<'_>,
    routing: &Routing<'_>,
    mut routed: Option<GateUp>,
    plain: &GateUp,
) {
    let (stack, t) = (moe.gate_up, pass.t());
    let pairs = t * moe.used;
    let (inputs, shared) = (routing.inputs, &routing.shared);
    for slice in &stack.slices {
        let is_routed = routed.is_some();
        let GateUp { variant, wg, rows_each } = routed.take().unwrap_or_else(|| plain.clone());
        let workgroups = (pairs * slice.rows).div_ceil(rows_each);
        let params = MoeGateUpInt8Params {
            rows: slice.rows,
            width: stack.rows,
            first_row: slice.first_row,
            base_gate: slice.bases[0],
            base_up: slice.bases[1],
            first_expert: slice.first_expert,
            experts: slice.experts,
            used: moe.used,
            pairs,
            limit: moe.limit,
            stride: inputs.stride,
            offset: inputs.offset,
            scale: routing.scale,
            gate: shared.gate,
            up: shared.gate + shared.up,
            rows_each,
            workgroups,
        };
        let mut bindings = bind([&slice.arena, &int8.x_int8.slice, int8.act, &int8.act_int8.slice]);
        let shares = if is_routed { t * (stack.rows / 4).div_ceil(wg) } else { 0 };
        if is_routed {
            bindings.extend(routing.bindings());
        } else {
            bindings.push(routing.chosen.experts.into());
        }
        bindings.extend(pass.kernels.tables(&stack.formats));
        pass.launch(variant, &params, bindings, grid_1d(workgroups + shares));
        pass.rec.cost(cost::experts_few(stack, slice, pairs));
    }
}

/// Records a launch for each slice. `folded` is the variant of the first one if that also starts y with the shared expert's result. With
/// `update` there is only one launch.
fn launch_down(
    pass: &mut Pass<'_>,
    moe: &Moe<'_>,
    (int8, update): (&MoeInt8<'_>, Option<HcUpdate<'_>>),
    routing: &Routing<'_>,
    mut folded: Option<(Variant, u32)>,
    plain: &(Variant, u32),
) {
    let t = pass.t();
    let (stack, shared) = (moe.down, &int8.shared_down.slices[0]);
    for slice in &stack.slices {
        let params = MoeDownInt8Params {
            rows: slice.rows,
            width: stack.rows,
            first_row: slice.first_row,
            base: slice.bases[0],
            first_expert: slice.first_expert,
            experts: slice.experts,
            base_shared: shared.base,
            base_mix: update.map_or(0, |update| update.weights.mix.slices[0].base),
            outputs: update.map_or(0, |update| update.weights.mix.rows),
        };
        let mut bindings = bind([&slice.arena, &int8.act_int8.slice, routing.chosen.experts, routing.chosen.weights, int8.y]);
        let is_folded = folded.is_some();
        let (variant, rows_each) = match folded.take() {
            Some((variant, rows_each)) => {
                bindings.push(Binding::Twice(shared.arena.clone()));
                bindings.extend(routing.shared.act_int8.map(|int8| Binding::Twice(int8.slice.clone())));
                bindings.extend(update.iter().flat_map(HcUpdate::bindings));
                (if update.is_some() { with_hc_mix(variant, 1) } else { variant }, rows_each)
            }
            None => plain.clone(),
        };
        bindings.extend(pass.kernels.tables(&stack.formats));
        pass.launch(variant, &params, bindings, [slice.rows.div_ceil(rows_each), t, 1]);
        let own = cost::experts_few_and(int8.shared_down, is_folded, stack, slice, moe.used, t);
        pass.rec.cost(update.iter().fold(own, |own, update| own + cost::hc_mix(&update.weights.mix, true, t)));
    }
}
