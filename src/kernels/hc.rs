//! Hyper-connections: the mix of a row's four streams, the sub-layer's input, and the residual afterwards.

use super::kit::{Kit, Strided, WG, with_formats};
use super::matrix::Matrix;
use super::quantized::{Quantized, binding, quantizing};
use crate::gpu::{Recording, Slice};

params! {
    HcMixParams for "hc_mix" { base: u32, outputs: u32, columns: u32, format: u32 }
    HcPreParams for "hc_pre" { dim: u32, iterations: u32, hc_eps: f32, norm_eps: f32 }
    HcPostParams for "hc_post" { dim: u32 }
    HcHeadParams for "hc_head" { dim: u32, hc_eps: f32, norm_eps: f32 }
}

/// One hyper-connection set: of a sub-layer (24 outputs) or of the head (4).
#[derive(Clone, Debug)]
pub struct HcWeights {
    /// fn [24 or 4, 4D].
    pub mix: Matrix,
    /// base, then scale: 24 + 3 or 4 + 1 floats.
    pub base_scale: Slice,
    /// The norm weight that follows, D floats.
    pub norm: Slice,
}

/// `mix[t, o] = fn[o] . X[t]`, and `|X[t]|^2` behind the outputs. x (T, 4, D) -> mix (T, 32).
pub fn record_hc_mix(rec: &mut Recording, kit: &Kit, weights: &HcWeights, x: &Slice, mix: &Slice, t: u32) {
    let matrix = &weights.mix;
    let formats = [matrix.format];
    // A set is a few hundred KiB at most, so the loader never splits it.
    for slice in &matrix.slices {
        let params = HcMixParams { base: slice.base, outputs: matrix.rows, columns: matrix.columns, format: matrix.format as u32 };
        let mut bindings = vec![slice.arena.clone(), x.clone(), mix.clone()];
        bindings.extend(kit.tables(&formats));
        rec.dispatch(with_formats(kit.variant("hc_mix"), &formats), &params, bindings, [matrix.rows + 1, t, 1]);
        rec.cost(super::cost::hc_mix(matrix, t));
    }
}

/// The sub-layer's input `N(sum_j pre[j] X[j])` and what its residual needs. mix (T, 32), x (T, 4, D) -> normed (T, D), post (T, 32).
pub fn record_hc_pre(
    rec: &mut Recording,
    kit: &Kit,
    weights: &HcWeights,
    mix: &Slice,
    x: &Slice,
    (normed, normed_int8): (&Strided, Option<&Quantized>),
    post: &Slice,
    (iterations, hc_eps, norm_eps): (u32, f32, f32),
    t: u32,
) {
    let params = HcPreParams { dim: weights.mix.columns / 4, iterations, hc_eps, norm_eps };
    let mut bindings = [mix, &weights.base_scale, &weights.norm, x, &normed.slice, post].map(Clone::clone).to_vec();
    bindings.extend(binding(normed_int8));
    let variant = quantizing(normed.written_by(kit.variant("hc_pre")), normed_int8.is_some());
    rec.dispatch(variant, &params, bindings, [t, 2, 1]);
    rec.cost(super::cost::floats(5 * params.dim, t));
}

/// `X'[t, k] = post[k] y[t] + sum_j C[j, k] X[t, j]`. post (T, 32), y (T, D), x (T, 4, D) -> next (T, 4, D).
pub fn record_hc_post(rec: &mut Recording, kit: &Kit, post: &Slice, y: &Slice, x: &Slice, next: &Slice, dim: u32, t: u32) {
    let bindings = [post, y, x, next].map(Clone::clone).to_vec();
    rec.dispatch(kit.variant("hc_post"), &HcPostParams { dim }, bindings, [(dim / 4).div_ceil(WG), t, 1]);
    rec.cost(super::cost::floats(9 * dim, t));
}

/// The input of the output head for the rows named in `wanted`. mix (T, 32), x (T, 4, D), wanted (R) -> normed (R, D).
pub fn record_hc_head(
    rec: &mut Recording,
    kit: &Kit,
    weights: &HcWeights,
    wanted: &Slice,
    mix: &Slice,
    x: &Slice,
    (normed, normed_int8): (&Slice, Option<&Quantized>),
    (hc_eps, norm_eps): (f32, f32),
    rows: u32,
) {
    let params = HcHeadParams { dim: weights.mix.columns / 4, hc_eps, norm_eps };
    let mut bindings = [wanted, mix, &weights.base_scale, &weights.norm, x, normed].map(Clone::clone).to_vec();
    bindings.extend(binding(normed_int8));
    rec.dispatch(quantizing(kit.variant("hc_head"), normed_int8.is_some()), &params, bindings, [rows, 1, 1]);
}
