//! `hc_sinkhorn` computes the weights with which a row's streams and a sub-layer's result make the updated streams.

use super::mix::with_mix_sums;
use super::prefetch::{PrefetchRange, prefetch_binding, prefetch_places, with_prefetch};
use super::weights::HcWeights;
use crate::gpu::{Slice, Variant};
use crate::kernels::context::KernelProfile;
use crate::kernels::pass::{Pass, bind};
use crate::kernels::rows::Rows;

kernels! {
    HcSinkhornParams for "hc_sinkhorn" in variants {
        dim: u32, iterations: u32, hc_eps: f32, norm_eps: f32, tokens: u32, padding_a: u32, padding_b: u32, padding_c: u32, prefetch: [u32; 4],
    }
}

fn hc_sinkhorn_variant(profile: &KernelProfile, dim: u32, step: Rows) -> Variant {
    with_mix_sums(profile, profile.variant("hc_sinkhorn"), dim, step)
}

/// Records the weights of a sub-layer's residual, and a prefetch of `weights_ahead` in the same launch. mix (T, slices, 32) -> post (T,
/// 32).
pub fn record_hc_sinkhorn(
    pass: &mut Pass<'_>,
    weights: &HcWeights,
    (mix, post): (&Slice, &Slice),
    (iterations, hc_eps, norm_eps): (u32, f32, f32),
    weights_ahead: &[PrefetchRange],
) {
    let (t, dim) = (pass.t(), weights.mix.columns / 4);
    let prefetch = prefetch_places(weights_ahead);
    let params = HcSinkhornParams { dim, iterations, hc_eps, norm_eps, tokens: t, prefetch, ..HcSinkhornParams::default() };
    let mut bindings = bind([mix, &weights.base_scale, post]);
    bindings.extend(prefetch_binding(weights_ahead, None));
    let variant = with_prefetch(hc_sinkhorn_variant(pass.profile(), dim, pass.rows), weights_ahead.len());
    pass.launch(variant, &params, bindings, [t + u32::from(!weights_ahead.is_empty()), 1, 1]);
}

fn variants(profile: &KernelProfile) -> Vec<Variant> {
    let [few, many] = [Rows::Few(1), Rows::Many(17)].map(|rows| hc_sinkhorn_variant(profile, 4096, rows));
    vec![with_prefetch(few.clone(), PrefetchRange::MOST), few, many]
}
