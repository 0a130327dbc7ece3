//! The streams after a sub-layer, and their mix for the next: `hc_mix`, which kernels that make a sub-layer's result can do in their own launch.

use super::weights::HcWeights;
use crate::gpu::{Binding, Slice, Variant};
use crate::kernels::context::{KernelProfile, WG};
use crate::kernels::cost;
use crate::kernels::formats::{format_sets, with_formats};
use crate::kernels::pass::{Pass, bind};
use crate::kernels::rows::Rows;
use crate::quant::BlockFormat;

kernels! {
    HcMixParams for "hc_mix" in variants { base: u32, outputs: u32, dim: u32, format: u32, tokens: u32 }
}

/// Channels of each stream in a slice of a decode step's mix, which is what a kernel with a fused hc_mix makes in a workgroup
/// (`lib/hc/fused_mix`).
pub const FUSED_CHANNELS: u32 = 16;

/// Channels of each stream that one workgroup of hc_mix takes. Few rows need many workgroups; of many, what counts
/// is how often sums go through reductions.
fn slice_channels(profile: &KernelProfile, rows: Rows) -> u32 {
    match rows {
        Rows::Few(_) if profile.int8() => FUSED_CHANNELS,
        Rows::Few(_) => 64,
        Rows::Many(_) => 256,
    }
}

/// Floats that hc_mix leaves for each of `rows` of `dim` channels: 32 for each slice of them.
pub fn hc_mix_words(profile: &KernelProfile, dim: u32, rows: Rows) -> u32 {
    dim.div_ceil(slice_channels(profile, rows)) * 32
}

fn hc_mix_variant(profile: &KernelProfile, formats: &[BlockFormat], post: bool, step: Rows) -> (Variant, u32) {
    let slice = slice_channels(profile, step);
    // A lane takes eight channels at least.
    let lanes = profile.caps.subgroup.map_or(32, |size| size.min(slice / 2));
    // Rows that share their weights in registers: each of a long step takes 4 KiB of workgroup memory, and as much again without subgroups.
    let rows = match profile.caps.subgroup {
        _ if slice == FUSED_CHANNELS => step.count().next_power_of_two().min(8),
        _ if step.are_few() => 1,
        Some(_) if profile.caps.workgroup_bytes >= 48 << 10 => 8,
        _ => 4,
    };
    // 24 outputs and the squares; eight channels of each stream at a time.
    let each = 25u32.div_ceil(WG / lanes);
    let variant = profile
        .variant("hc_mix")
        .flag_if(post, "POST")
        .constant("LANES", lanes)
        .constant("SUMS", each * rows)
        .constant("SLICE", slice)
        .constant("OUTPUTS_EACH", each)
        .constant("ROWS", rows)
        .constant("PASSES", (slice / 2).div_ceil(lanes));
    (with_formats(variant, formats), rows)
}

/// `variant` of a kernel that imports `lib/hc/mixed`: how it adds up the mix of rows of `dim` channels.
pub fn with_mix_sums(profile: &KernelProfile, variant: Variant, dim: u32, step: Rows) -> Variant {
    let (wg, words) = (variant.value("WG").unwrap_or(WG), hc_mix_words(profile, dim, step));
    let parts = (wg / 32).min((words / 32).next_multiple_of(4));
    variant.constant("SLICES", words / 32).constant("GATHERED", words.div_ceil(wg)).constant("PARTS", parts)
}

/// How a sub-layer's result goes into the streams.
#[derive(Clone, Copy, Debug)]
pub struct HcResidual<'a> {
    /// Weights of the residual (T, 32), as hc_sinkhorn leaves them.
    pub post: &'a Slice,
    /// The result (T, D) f32.
    pub y: &'a Slice,
    /// The streams afterwards (T, 4, D) f32.
    pub next: &'a Slice,
}

/// Arguments of a fused hc_mix: the kernel that makes a sub-layer's result also updates the streams.
#[derive(Clone, Copy, Debug)]
pub struct HcUpdate<'a> {
    /// The set of the sub-layer or head that reads the streams next.
    pub weights: &'a HcWeights,
    /// The streams (T, 4, D) f32.
    pub x: &'a Slice,
    /// What is added to them.
    pub residual: HcResidual<'a>,
    /// Their mix (T, slices, 32).
    pub mix: &'a Slice,
}

impl HcUpdate<'_> {
    /// Whether a kernel whose workgroups make `rows_each` of `rows` channels can do it: they must be whole slices.
    pub(in crate::kernels) fn is_for(&self, profile: &KernelProfile, rows_each: u32, rows: u32, step: Rows) -> bool {
        let mix = &self.weights.mix;
        let is_whole = rows == mix.columns / 4 && rows.is_multiple_of(FUSED_CHANNELS) && mix.slices.len() == 1;
        is_whole && rows_each == slice_channels(profile, step) && mix.format == BlockFormat::F16
    }

    /// What `lib/hc/fused_mix` binds, in its order.
    pub(in crate::kernels) fn bindings(&self) -> [Binding; 5] {
        [&self.weights.mix.slices[0].arena, self.x, self.residual.post, self.residual.next, self.mix].map(Binding::from)
    }
}

/// `variant` of a kernel with a fused hc_mix, whose workgroups make [`FUSED_CHANNELS`] channels of `tokens` rows each.
pub fn with_hc_mix(variant: Variant, tokens: u32) -> Variant {
    let wg = variant.value("WG").unwrap_or(WG);
    variant
        .flag("FUSED_HC_MIX")
        .constant("OUTPUTS_EACH", 25u32.div_ceil(wg / 8))
        .constant("HC_MIX_TOKENS", tokens)
        .constant("HC_MIX_PIECES", (21 * tokens).div_ceil(wg))
}

/// The streams after a sub-layer, `X'[t, k] = post[k] y[t] + sum_j C[j, k] X[t, j]`, or without `residual` `X' = X`; and of them for each
/// slice of their channels `fn[o] . X'[t]`, with `|X'[t]|^2` behind the outputs. x (T, 4, D) -> mix (T, slices, 32).
pub fn record_hc_mix(pass: &mut Pass<'_>, weights: &HcWeights, x: &Slice, residual: Option<HcResidual<'_>>, mix: &Slice) {
    let (t, rows) = (pass.t(), pass.rows);
    let matrix = &weights.mix;
    let (formats, dim) = ([matrix.format], matrix.columns / 4);
    let (variant, rows_each) = hc_mix_variant(pass.profile(), &formats, residual.is_some(), rows);
    // A set is a few hundred KiB at most, so the loader never splits it.
    for slice in &matrix.slices {
        let params = HcMixParams { base: slice.base, outputs: matrix.rows, dim, format: matrix.format as u32, tokens: t };
        let mut bindings = bind([&slice.arena, x, mix]);
        bindings.extend(residual.iter().flat_map(|r| bind([r.post, r.y, r.next])));
        bindings.extend(pass.kernels.tables(&formats));
        let grid = [dim.div_ceil(slice_channels(pass.profile(), rows)), t.div_ceil(rows_each), 1];
        pass.launch(variant.clone(), &params, bindings, grid);
        pass.rec.cost(cost::hc_mix(matrix, residual.is_some(), t));
    }
}

fn variants(profile: &KernelProfile) -> Vec<Variant> {
    let kinds = [(false, Rows::Few(1)), (true, Rows::Few(1)), (true, Rows::Few(16)), (true, Rows::Many(17))];
    format_sets().flat_map(|formats| kinds.map(|(post, rows)| hc_mix_variant(profile, formats, post, rows).0)).collect()
}
