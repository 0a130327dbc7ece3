//! Attention of prompts on cooperative matrices, in three kernels: scores, their maxima and sums, and values.

use super::keys::{Attention, AttentionBuffers, Heads, Segments, keys_variant, sample_heads, sample_segments};
use super::q_rope::{QRope, record_q_rope};
use crate::gpu::Variant;
use crate::kernels::context::{CoopShape, KernelProfile};
use crate::kernels::cost;
use crate::kernels::pass::{Pass, bind};
use crate::num::KvType;

kernels! {
    AttentionScoresParams for "attention_scores" in scores_variants {
        heads: u32, q_stride: u32, window: u32, ratio: u32, top_k: u32, ring_rows: u32, max_pages: u32, first_token: u32, columns: u32,
    }
    AttentionStatsParams for "attention_stats" in stats_variants {
        heads: u32, window: u32, ratio: u32, top_k: u32, first_token: u32, columns: u32, scale: f32,
    }
    AttentionValuesParams for "attention_values" in values_variants {
        heads: u32, window: u32, ratio: u32, top_k: u32, ring_rows: u32, max_pages: u32, first_token: u32, columns: u32, scale: f32,
        rope: u32, angle_set: u32,
    }
}

/// Subgroups of a workgroup: along the heads, and along the keys or channels. Each makes two by two matrices of the result.
const COOP_SUBGROUPS: [u32; 2] = [2, 4];

/// The number of heads, rounded up to whole tiles.
fn padded_heads(shape: CoopShape, heads: u32) -> u32 {
    heads.next_multiple_of(COOP_SUBGROUPS[0] * 2 * shape.size)
}

/// The variants of the three kernels, in order: scores, stats, values.
fn coop_variants(
    profile: &KernelProfile,
    shape: CoopShape,
    heads: Heads,
    page_rows: u32,
    segments: Segments,
    is_f16: bool,
) -> [Variant; 3] {
    let [over_heads, over_keys] = COOP_SUBGROUPS;
    let padded = padded_heads(shape, heads.heads);
    // Number of vec4 loads with which an invocation stages its share of the workgroup's heads, or of its keys or channels.
    let pieces = |subgroups: u32| (subgroups * 2 * shape.size * shape.depth / 4).div_ceil(over_heads * over_keys * shape.subgroup);
    let coop = |kernel| {
        let variant = shape.variant(kernel).flag_if(profile.kv == KvType::F16, "KV_F16");
        let variant = variant.constant("SUBGROUPS_H", over_heads).constant("SUBGROUPS_K", over_keys).constant("HEADS", padded);
        let variant = variant.constant("HEAD_PIECES", pieces(over_heads)).constant("KEY_PIECES", pieces(over_keys));
        keys_variant(variant, heads.dim, page_rows, segments).constant("PAGE_ROWS", page_rows)
    };
    let stats = profile.variant("attention_stats").constant("LANES", profile.lanes().0).constant("HEADS", padded);
    [coop("attention_scores"), stats, coop("attention_values").flag("PLACED").flag_if(is_f16, "Y_F16")]
}

/// Size in bytes of the scores of `rows` rows of up to `keys` keys. It is 0 on devices that do not run these kernels.
pub fn score_bytes(profile: &KernelProfile, heads: u32, keys: u32, rows: u32) -> u64 {
    let scores = |shape| u64::from(padded_heads(shape, heads)) * u64::from(columns(shape, keys));
    profile.cooperative().map_or(0, |shape| scores(shape) * u64::from(rows) * 4)
}

fn columns(shape: CoopShape, keys: u32) -> u32 {
    keys.next_multiple_of(COOP_SUBGROUPS[1] * 2 * shape.size)
}

/// Records the three kernels for all rows. They take a tile of rows at a time: as many as have room for their scores in the buffer.
pub fn record_cooperative(pass: &mut Pass<'_>, shape: CoopShape, sizes: &Attention<'_>, buffers: &AttentionBuffers<'_>, keys: &[u32]) {
    let (t, padded) = (keys.len() as u32, padded_heads(shape, sizes.heads));
    let rotation = QRope { heads: sizes.heads, dim: sizes.dim, rope: sizes.rope, compressed: sizes.ratio > 0, norm_eps: sizes.norm_eps };
    record_q_rope(pass, rotation, buffers.angles, buffers.q);
    let variants = coop_variants(pass.profile(), shape, sizes.sizes(), sizes.page_rows, sizes.segments(), buffers.out.is_f16);
    let [tile_h, tile_k] = COOP_SUBGROUPS.map(|n| n * 2 * shape.size);
    let most = keys.iter().copied().max().unwrap_or(1);
    let tile = (buffers.scores.bytes / score_bytes(pass.profile(), sizes.heads, most, 1)).clamp(1, u64::from(t)) as u32;
    let (scale, angle_set) = (1.0 / (sizes.dim as f32).sqrt(), u32::from(sizes.ratio > 0));
    let &Attention { heads, window, ratio, top_k, ring_rows, max_pages, rope, .. } = sizes;
    for (first_token, some) in (0..t).step_by(tile as usize).zip(keys.chunks(tile as usize)) {
        let n = some.len() as u32;
        let columns = columns(shape, some.iter().copied().max().unwrap_or(1));
        let [scores, stats, values] = variants.clone();
        let params =
            AttentionScoresParams { heads, q_stride: buffers.q.stride, window, ratio, top_k, ring_rows, max_pages, first_token, columns };
        let mut bindings = bind([buffers.rows, &buffers.q.slice, buffers.kv, buffers.selected, buffers.scores, buffers.places]);
        bindings.extend(sizes.pools());
        pass.launch(scores, &params, bindings, [columns / tile_k, padded / tile_h, n]);
        pass.rec.by_position();
        pass.rec.cost(cost::attention_half(heads, sizes.dim, some, columns));
        let (_, heads_each) = pass.profile().lanes();
        let params = AttentionStatsParams { heads, window, ratio, top_k, first_token, columns, scale };
        let bindings = bind([buffers.rows, buffers.scores, sizes.sinks, buffers.stats]);
        pass.launch(stats, &params, bindings, [heads.div_ceil(heads_each), n, 1]);
        pass.rec.by_position();
        let params =
            AttentionValuesParams { heads, window, ratio, top_k, ring_rows, max_pages, first_token, columns, scale, rope, angle_set };
        let own = [buffers.rows, buffers.scores, buffers.places, buffers.stats, buffers.kv, buffers.angles, &buffers.out.slice];
        let mut bindings = bind(own);
        bindings.extend(sizes.pools());
        pass.launch(values, &params, bindings, [sizes.dim.div_ceil(tile_k), padded / tile_h, n]);
        pass.rec.by_position();
        pass.rec.cost(cost::attention_half(heads, sizes.dim, some, columns));
    }
}

/// All variants of the three kernels. Those that are chosen together stand together.
fn variants(profile: &KernelProfile) -> Vec<[Variant; 3]> {
    let Some(shape) = profile.cooperative() else { return Vec::new() };
    let both =
        |(page_rows, segments)| [false, true].map(|is_f16| coop_variants(profile, shape, sample_heads(), page_rows, segments, is_f16));
    sample_segments().flat_map(both).collect()
}

fn scores_variants(profile: &KernelProfile) -> Vec<Variant> {
    variants(profile).into_iter().map(|[scores, ..]| scores).collect()
}

fn stats_variants(profile: &KernelProfile) -> Vec<Variant> {
    variants(profile).into_iter().map(|[_, stats, _]| stats).collect()
}

fn values_variants(profile: &KernelProfile) -> Vec<Variant> {
    variants(profile).into_iter().map(|[.., values]| values).collect()
}
