//! The experts of generated rows on activations rounded to int8. `moe_gate_up_int8` is the fast twin of `moe_gate_up` and does the router's
//! work in the same launch. `moe_down_int8` is that of `moe_down` and multiplies with the shared expert's matrix in the same launch.

use super::few::{record_down, record_gate_up};
use super::layer::Moe;
use crate::gpu::{Binding, Slice, Variant, grid_1d};
use crate::kernels::context::{KernelProfile, Strided};
use crate::kernels::cost;
use crate::kernels::formats::with_format;
use crate::kernels::hc::{FUSED_CHANNELS, HcUpdate, with_hc_mix};
use crate::kernels::int8::{Quantized, with_int8_output};
use crate::kernels::linear::{Grouping, record_linear_int8};
use crate::kernels::matrix::{Experts, Matrix};
use crate::kernels::pass::{Pass, bind};
use crate::kernels::router::{CHOICES, Choice, Routing, record_router};
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

/// Formats that `lib/formats/units` supports.
const FORMATS: [BlockFormat; 4] = [BlockFormat::Iq2Xxs, BlockFormat::Q2K, BlockFormat::Iq2Xxsx8, BlockFormat::Q2Kx4];

/// Number of weights of a row that one lane handles at a time.
const UNIT: u32 = 64;

/// Number of values of the rounded result that share a scale.
const BLOCK: u32 = 32;

/// Shapes of a workgroup of `moe_gate_up_int8`: invocations, largest number of rows, and copies of the tables in workgroup memory. SMALL is
/// for devices without room for the others. LARGE, for one token, has a copy of the tables for each lane of half a subgroup, which avoids
/// bank conflicts. LONG, for several tokens, has more rows instead of more workgroups, so that tables and choice are computed no more often
/// (with 8 tokens 136 instead of 148 us a layer).
const LARGE: (u32, u32, u32) = (768, 96, 16);
const LONG: (u32, u32, u32) = (768, 768, 8);
const SMALL: (u32, u32, u32) = (256, 32, 8);

/// Shapes of a workgroup of `moe_down_int8`: number of subgroups for the shared expert, a row of which has the bytes of three rows of a
/// routed expert, and number of rows in units of eight. The first shape that fits the device is taken. For one token the first is so large
/// that all workgroups run at the same time on a large device and can have a fused hc_mix. For several tokens small workgroups are faster,
/// because some go on while others wait (with 8 tokens 66 instead of 90 us a layer, although hc_mix takes a launch of its own).
const DOWN_ONE: [(u32, u32); 3] = [(4, 2), (2, 2), (1, 1)];
const DOWN_SEVERAL: [(u32, u32); 2] = [(2, 1), (1, 1)];

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

/// The format of all members of the stack, if it is the same and `lib/formats/units` supports it.
fn unit_format(stack: &Experts) -> Option<BlockFormat> {
    let format = stack.formats[0];
    (FORMATS.contains(&format) && stack.formats.iter().all(|f| *f == format)).then_some(format)
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

/// A variant of `moe_gate_up_int8`, and the number of invocations and rows of a workgroup.
#[derive(Clone, Debug)]
struct GateUp {
    variant: Variant,
    wg: u32,
    rows_each: u32,
}

/// The variant for experts of `columns` columns that have `rows` rows in the smallest slice. With `choice` it does the router's work. None
/// if a row is too wide for a workgroup, or if the choice does not fit the workgroup memory.
fn gate_up_int8_variant(
    profile: &KernelProfile,
    format: BlockFormat,
    (columns, rows): (u32, u32),
    choice: Option<Choice>,
    tokens: u32,
) -> Option<GateUp> {
    let (caps, subgroup) = (&profile.caps, profile.caps.subgroup?);
    let lanes = (columns / UNIT).next_power_of_two().max(8);
    let pairs = |most: u32| (most / BLOCK).min(most.div_ceil(rows) + 1);
    // Workgroup memory: copies of tables of 2560 bytes, for each row two sums of every subgroup and a value, and 16 bytes for each pair of
    // token and expert that a workgroup may have rows of.
    let tables = |(_, most, copies): (u32, u32, u32)| 2560 * copies + 8 * most * lanes.div_ceil(subgroup) + 4 * most + 16 * pairs(most);
    let bytes = |shape: (u32, u32, u32)| tables(shape) + choice.map_or(0, |choice| choice.workgroup_bytes(pairs(shape.1)));
    // With narrow rows some lanes of a large workgroup would have no row.
    let fits = |shape: &(u32, u32, u32)| {
        let (wg, most, _) = *shape;
        wg <= caps.invocations && bytes(*shape) <= caps.workgroup_bytes && wg.is_multiple_of(lanes) && most * lanes >= wg
    };
    let large = if tokens == 1 { LARGE } else { LONG };
    let (wg, most, copies) = [large, SMALL].into_iter().find(fits)?;
    let passes = (LARGE.1 * tokens).div_ceil(most);
    let rows_each = (LARGE.1 * tokens).div_ceil(passes).next_multiple_of(BLOCK);
    let variant = Variant::new("moe_gate_up_int8")
        .flag_if(tokens == 1, "ONE_TOKEN")
        .constant("WG", wg)
        .constant("SUBGROUP", subgroup)
        .constant("LANES", lanes)
        .constant("ROWS", most)
        .constant("PAIRS", pairs(most))
        .constant("COLUMNS", columns);
    // The other invocations prepare the tables while `choosing` invocations choose experts.
    let choosing = choice.map_or(0, |choice| choice.experts.next_multiple_of(32));
    let variant = with_tables(variant, copies, if wg >= choosing + 256 { wg - choosing } else { wg });
    let variant = match choice {
        Some(choice) => with_int8_output(choice.variant(variant.flag("ROUTED")), true),
        None => variant,
    };
    Some(GateUp { variant: with_format(variant, format), wg, rows_each })
}

/// Adds to `variant` what a kernel needs that imports `lib/formats/units`: `invocations` of a workgroup prepare `copies` copies of the
/// tables.
fn with_tables(variant: Variant, copies: u32, invocations: u32) -> Variant {
    let entries = if invocations >= 384 { 384u32 } else { 256 };
    variant.constant("COPIES", copies).constant("PREPARING", invocations).constant("TABLE_ROUNDS", entries.div_ceil(invocations))
}

/// The variant for `used` experts of `columns` columns, with the shared expert if `shared`, and the number of rows of a workgroup. None if
/// the workgroup would have more subgroups than the device allows.
fn down_int8_variant(
    profile: &KernelProfile,
    format: BlockFormat,
    columns: u32,
    (used, shared): (u32, bool),
    tokens: u32,
) -> Option<(Variant, u32)> {
    let subgroup = profile.caps.subgroup?;
    let shapes = if tokens == 1 { &DOWN_ONE[..] } else { &DOWN_SEVERAL[..] };
    let wg = |parts: u32| (used + if shared { parts } else { 0 }) * subgroup;
    let &(parts, eights) = shapes.iter().find(|(parts, _)| wg(*parts) <= profile.caps.invocations)?;
    let variant = Variant::new("moe_down_int8")
        .flag_if(shared, "SHARED")
        .constant("WG", wg(parts))
        .constant("SUBGROUP", subgroup)
        .constant("EIGHTS", eights)
        .constant("USED", used)
        .constant("SHARED_PARTS", if shared { parts } else { 0 })
        .constant("COLUMNS", columns);
    Some((with_format(with_tables(variant, SMALL.2, wg(parts)), format), 8 * eights))
}

/// Like the other list of this file it is for every device that can run these variants, even one that would not choose them.
fn gate_up_variants(profile: &KernelProfile) -> Vec<Variant> {
    let mut all = Vec::new();
    for format in FORMATS {
        // The sizes of V4 Flash, of V4 Pro, and of the small test models.
        for sizes in [(4096, 2048), (7168, 3072), (256, 32)] {
            let choices = CHOICES.map(Some).into_iter().chain([None]).flat_map(|choice| [(choice, 1), (choice, 2)]);
            all.extend(choices.filter_map(|(choice, tokens)| gate_up_int8_variant(profile, format, sizes, choice, tokens)));
        }
    }
    all.into_iter().map(|gate_up| gate_up.variant).collect()
}

fn down_variants(profile: &KernelProfile) -> Vec<Variant> {
    let mut all = Vec::new();
    for format in FORMATS {
        let variant = |(used, shared, tokens)| down_int8_variant(profile, format, 2048, (used, shared), tokens);
        let shapes = [(6, true, 1), (6, true, 2), (6, false, 1), (2, true, 1), (2, true, 2)];
        all.extend(shapes.into_iter().filter_map(variant).map(|v| v.0));
        let folded = [6, 2].into_iter().filter_map(|used| variant((used, true, 1)));
        all.extend(folded.filter(|v| v.1 == FUSED_CHANNELS).map(|v| with_hc_mix(v.0, 1)));
    }
    all
}
