//! `hc_pre` computes the input of a sub-layer or of the head from the streams.

use super::mix::with_mix_sums;
use super::prefetch::{PrefetchRange, prefetch_binding, prefetch_places, with_prefetch};
use super::weights::HcWeights;
use crate::gpu::{Binding, Slice, Variant};
use crate::kernels::context::{KernelProfile, Strided, WG, with_f16_output};
use crate::kernels::cost;
use crate::kernels::int8::{Quantized, binding, with_int8_output};
use crate::kernels::pass::{Pass, bind};
use crate::kernels::rows::Rows;

kernels! {
    HcPreParams for "hc_pre" in variants { rows: u32, hc_eps: f32, norm_eps: f32, padding: u32, prefetch: [u32; 4] }
}

/// The variant for rows of `dim` channels and a mix of `outputs` outputs. Few rows are few workgroups, which are made as large as the row
/// allows.
fn hc_pre_variant(profile: &KernelProfile, (dim, outputs): (u32, u32), is_wanted: bool, step: Rows) -> Variant {
    let most = if step.are_few() { profile.caps.invocations.min(1024) } else { WG };
    let wg = (dim / 4).next_power_of_two().clamp(WG, most.max(WG));
    let variant = profile.sized_variant("hc_pre", wg).flag_if(is_wanted, "WANTED");
    let variant = variant.constant("OUTPUTS", outputs).constant("DIM", dim).constant("KEPT", (dim / 4).div_ceil(wg));
    with_mix_sums(profile, variant, dim, step)
}

/// The rows for which hc_pre runs.
#[derive(Clone, Copy, Debug)]
pub enum HcRows<'a> {
    /// All rows of the step (T).
    All,
    /// The rows in a list, which has `.1` entries.
    Wanted(&'a Slice, u32),
}

/// Arguments of hc_pre.
#[derive(Clone, Copy, Debug)]
pub struct HcPreInput<'a> {
    /// Weights of the sub-layer or head that reads the input.
    pub weights: &'a HcWeights,
    /// The mix of the streams (T, slices, 32).
    pub mix: &'a Slice,
    /// The streams (T, 4, D) f32.
    pub x: &'a Slice,
    /// Output: the input of the sub-layer or head (R, D).
    pub normed: &'a Strided,
    /// Output rounded to int8.
    pub normed_int8: Option<&'a Quantized>,
    /// Added to the weights of the streams.
    pub hc_eps: f32,
    /// Epsilon of both norms.
    pub norm_eps: f32,
    /// Sink of the prefetch, one word: see [`Binding::Prefetch`].
    pub prefetch_sink: &'a Slice,
}

/// Records `N(sum_j pre[j] X[j])` for `rows` of the step, and a prefetch of `weights_ahead` in the same launch.
pub fn record_hc_pre(pass: &mut Pass<'_>, input: &HcPreInput<'_>, weights_ahead: &[PrefetchRange], rows: HcRows<'_>) {
    let step = pass.rows;
    let (wanted, rows) = match rows {
        HcRows::All => (None, step.count()),
        HcRows::Wanted(list, rows) => (Some(list), rows),
    };
    let &HcPreInput { weights, mix, x, normed, normed_int8, hc_eps, norm_eps, prefetch_sink } = input;
    let (dim, outputs) = (weights.mix.columns / 4, weights.mix.rows);
    let params = HcPreParams { rows, hc_eps, norm_eps, padding: 0, prefetch: prefetch_places(weights_ahead) };
    let mut bindings: Vec<Binding> = wanted.into_iter().map(Binding::from).collect();
    bindings.extend(bind([mix, &weights.base_scale, &weights.norm, x, &normed.slice]));
    bindings.extend(prefetch_binding(weights_ahead, Some(prefetch_sink)));
    bindings.extend(binding(normed_int8));
    let variant = hc_pre_variant(pass.profile(), (dim, outputs), wanted.is_some(), step);
    let variant = with_int8_output(normed.written_by(variant), normed_int8.is_some());
    let workgroups = rows + u32::from(!weights_ahead.is_empty());
    pass.launch(with_prefetch(variant, weights_ahead.len()), &params, bindings, [workgroups, 1, 1]);
    pass.rec.cost(cost::floats(5 * dim, rows));
}

fn variants(profile: &KernelProfile) -> Vec<Variant> {
    let plain = [(24, Rows::Few(1)), (24, Rows::Many(17)), (4, Rows::Few(1)), (4, Rows::Many(17))]
        .map(|(outputs, rows)| hc_pre_variant(profile, (4096, outputs), outputs == 4, rows));
    let few = [24, 4].map(|outputs| hc_pre_variant(profile, (4096, outputs), outputs == 4, Rows::Few(1)));
    let mut all = plain.to_vec();
    all.extend(few.map(|variant| with_prefetch(variant, PrefetchRange::MOST)));
    if profile.uses_f16() {
        all.push(with_f16_output(hc_pre_variant(profile, (4096, 24), false, Rows::Many(17))));
    }
    // The list has the rounding variants for every device that can run them, even one that would not choose them.
    if profile.caps.subgroup.is_some() {
        all.extend(plain.map(|variant| with_int8_output(variant, true)));
    }
    all
}
