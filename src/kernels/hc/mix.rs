//! `hc_mix` adds a sub-layer's result to the streams and computes their mix for the next sub-layer. Kernels that compute a sub-layer's
//! result can do this in their own launch (a fused hc_mix).

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

/// Number of channels of each stream that a workgroup of a kernel with a fused hc_mix updates (`lib/hc/fused_mix`). It is also the slice of
/// `hc_mix` itself for generated rows, so that both add up in the same order.
pub const FUSED_CHANNELS: u32 = 16;

/// Number of channels of each stream that one workgroup of hc_mix takes (a slice). Few rows fill a device only with many small workgroups.
/// For many rows the cost is in the reductions, of which large slices have fewer.
fn slice_channels(profile: &KernelProfile, rows: Rows) -> u32 {
    match rows {
        Rows::Few(_) if profile.int8() => FUSED_CHANNELS,
        Rows::Few(_) => 64,
        Rows::Many(_) => 256,
    }
}

/// Number of floats that hc_mix writes for each row of `dim` channels: 32 for each slice.
pub fn hc_mix_words(profile: &KernelProfile, dim: u32, rows: Rows) -> u32 {
    dim.div_ceil(slice_channels(profile, rows)) * 32
}

fn hc_mix_variant(profile: &KernelProfile, formats: &[BlockFormat], post: bool, step: Rows) -> (Variant, u32) {
    let slice = slice_channels(profile, step);
    // A lane takes eight channels at least: two of each stream.
    let lanes = profile.caps.subgroup.map_or(32, |size| size.min(slice / 2));
    // Number of rows that are multiplied with the same weights in registers. In kernels of prompts each row takes 4 KiB of workgroup
    // memory, and twice as much without subgroups.
    let rows = match profile.caps.subgroup {
        _ if slice == FUSED_CHANNELS => step.count().next_power_of_two().min(8),
        _ if step.are_few() => 1,
        Some(_) if profile.caps.workgroup_bytes >= 48 << 10 => 8,
        _ => 4,
    };
    // There are 25 sums: 24 outputs and the sum of squares.
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

/// Adds to `variant` what a kernel needs that imports `lib/hc/mixed`, which adds up the slices' mixes of rows of `dim` channels.
pub fn with_mix_sums(profile: &KernelProfile, variant: Variant, dim: u32, step: Rows) -> Variant {
    let (wg, words) = (variant.value("WG").unwrap_or(WG), hc_mix_words(profile, dim, step));
    let parts = (wg / 32).min((words / 32).next_multiple_of(4));
    variant.constant("SLICES", words / 32).constant("GATHERED", words.div_ceil(wg)).constant("PARTS", parts)
}

/// What updates the streams: the sub-layer's result and the weights of the residual.
#[derive(Clone, Copy, Debug)]
pub struct HcResidual<'a> {
    /// Weights of the residual (T, 32), which hc_sinkhorn writes.
    pub post: &'a Slice,
    /// The sub-layer's result (T, D) f32.
    pub y: &'a Slice,
    /// Output: the updated streams (T, 4, D) f32.
    pub next: &'a Slice,
}

/// Arguments of a fused hc_mix: the kernel that computes a sub-layer's result also updates the streams.
#[derive(Clone, Copy, Debug)]
pub struct HcUpdate<'a> {
    /// Weights of the sub-layer or head that reads the streams next.
    pub weights: &'a HcWeights,
    /// The streams (T, 4, D) f32.
    pub x: &'a Slice,
    /// What updates the streams.
    pub residual: HcResidual<'a>,
    /// Output: the mix of the updated streams (T, slices, 32).
    pub mix: &'a Slice,
}

impl HcUpdate<'_> {
    /// Whether a kernel can do it whose workgroups compute `rows_each` of the `rows` channels of the result: these must be whole slices.
    pub(in crate::kernels) fn is_for(&self, profile: &KernelProfile, rows_each: u32, rows: u32, step: Rows) -> bool {
        let mix = &self.weights.mix;
        let is_whole = rows == mix.columns / 4 && rows.is_multiple_of(FUSED_CHANNELS) && mix.slices.len() == 1;
        is_whole && rows_each == slice_channels(profile, step) && mix.format == BlockFormat::F16
    }

    /// The bindings of `lib/hc/fused_mix`, in its order.
    pub(in crate::kernels) fn bindings(&self) -> [Binding; 5] {
        [&self.weights.mix.slices[0].arena, self.x, self.residual.post, self.residual.next, self.mix].map(Binding::from)
    }
}

/// Fuses hc_mix into `variant`, whose workgroups compute [`FUSED_CHANNELS`] channels of `tokens` rows each.
pub fn with_hc_mix(variant: Variant, tokens: u32) -> Variant {
    let wg = variant.value("WG").unwrap_or(WG);
    variant
        .flag("FUSED_HC_MIX")
        .constant("OUTPUTS_EACH", 25u32.div_ceil(wg / 8))
        .constant("HC_MIX_TOKENS", tokens)
        .constant("HC_MIX_PIECES", (21 * tokens).div_ceil(wg))
}

/// Records the update of the streams, `X'[t, k] = post[k] y[t] + sum_j C[j, k] X[t, j]` (without `residual`: `X' = X`), and their mix: for
/// each slice of channels the products `fn[o] . X'[t]`, followed by `|X'[t]|^2`. x (T, 4, D) -> mix (T, slices, 32).
pub fn record_hc_mix(pass: &mut Pass<'_>, weights: &HcWeights, x: &Slice, residual: Option<HcResidual<'_>>, mix: &Slice) {
    let (t, rows) = (pass.t(), pass.rows);
    let matrix = &weights.mix;
    let (formats, dim) = ([matrix.format], matrix.columns / 4);
    let (variant, rows_each) = hc_mix_variant(pass.profile(), &formats, residual.is_some(), rows);
    // These weights are a few hundred KiB at most, so the loader never splits them.
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
