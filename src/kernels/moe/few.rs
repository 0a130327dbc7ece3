//! The routed experts of generated rows in f32: any format on any device.

use super::layer::Moe;
use crate::gpu::{Slice, Variant};
use crate::kernels::context::KernelProfile;
use crate::kernels::cost;
use crate::kernels::formats::{format_sets, with_formats};
use crate::kernels::pass::{Pass, bind};
use crate::kernels::router::Chosen;
use crate::quant::BlockFormat;

kernels! {
    MoeGateUpParams for "moe_gate_up" in gate_up_variants {
        columns: u32, rows: u32, width: u32, first_row: u32, base_gate: u32, base_up: u32, format_gate: u32, format_up: u32,
        first_expert: u32, experts: u32, used: u32, limit: f32,
    }
    MoeDownParams for "moe_down" in down_variants {
        columns: u32, rows: u32, width: u32, first_row: u32, base: u32, format: u32, first_expert: u32, experts: u32, used: u32,
    }
}

/// Records the activations of the chosen experts. x (T, D) -> act (T * used, F).
pub fn record_gate_up(pass: &mut Pass<'_>, moe: &Moe<'_>, x: &Slice, chosen: Chosen<'_>, act: &Slice) {
    let (stack, t) = (moe.gate_up, pass.t());
    let (gate, up) = (stack.formats[0], stack.formats[1]);
    let (variant, rows_each) = gate_up_variant(pass.profile(), &stack.formats);
    for slice in &stack.slices {
        let params = MoeGateUpParams {
            columns: stack.columns,
            rows: slice.rows,
            width: stack.rows,
            first_row: slice.first_row,
            base_gate: slice.bases[0],
            base_up: slice.bases[1],
            format_gate: gate as u32,
            format_up: up as u32,
            first_expert: slice.first_expert,
            experts: slice.experts,
            used: moe.used,
            limit: moe.limit,
        };
        let mut bindings = bind([&slice.arena, x, chosen.experts, act]);
        bindings.extend(pass.kernels.tables(&stack.formats));
        pass.launch(variant.clone(), &params, bindings, [slice.rows.div_ceil(rows_each), t * moe.used, 1]);
        pass.rec.cost(cost::experts_few(stack, slice, t * moe.used));
    }
}

fn gate_up_variant(profile: &KernelProfile, formats: &[BlockFormat]) -> (Variant, u32) {
    let (variant, rows) = profile.lanes_variant("moe_gate_up", 2);
    (with_formats(variant, formats), rows)
}

fn down_variant(profile: &KernelProfile, formats: &[BlockFormat]) -> (Variant, u32) {
    let (variant, rows) = profile.lanes_variant("moe_down", 1);
    (with_formats(variant, formats), rows)
}

/// Records `y[t] += sum_k weights[t, k] down(experts[t, k])(act[t, k])`. act (T * used, F) -> y (T, D), added to.
pub fn record_down(pass: &mut Pass<'_>, moe: &Moe<'_>, act: &Slice, chosen: Chosen<'_>, y: &Slice) {
    let (stack, t) = (moe.down, pass.t());
    let (variant, rows_each) = down_variant(pass.profile(), &stack.formats);
    for slice in &stack.slices {
        let params = MoeDownParams {
            columns: stack.columns,
            rows: slice.rows,
            width: stack.rows,
            first_row: slice.first_row,
            base: slice.bases[0],
            format: stack.formats[0] as u32,
            first_expert: slice.first_expert,
            experts: slice.experts,
            used: moe.used,
        };
        let mut bindings = bind([&slice.arena, act, chosen.experts, chosen.weights, y]);
        bindings.extend(pass.kernels.tables(&stack.formats));
        pass.launch(variant.clone(), &params, bindings, [slice.rows.div_ceil(rows_each), t, 1]);
        pass.rec.cost(cost::experts_few(stack, slice, t * moe.used));
    }
}

fn gate_up_variants(profile: &KernelProfile) -> Vec<Variant> {
    format_sets().map(|formats| gate_up_variant(profile, formats).0).collect()
}

fn down_variants(profile: &KernelProfile) -> Vec<Variant> {
    format_sets().map(|formats| down_variant(profile, formats).0).collect()
}
