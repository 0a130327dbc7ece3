//! Attention of long steps on cooperative matrices, in three kernels: scores, their maxima and sums, and values.

use super::attention_keys::{Attention, AttentionBuffers, Heads, Segments, keys_variant};
use super::cost;
use super::kit::{CoopShape, Dialect, Kit};
use super::kv::{QRope, record_q_rope};
use crate::gpu::{Recording, Variant};
use crate::num::KvType;

params! {
    AttentionScoresParams for "attention_scores" {
        heads: u32, q_stride: u32, window: u32, ratio: u32, top_k: u32, ring_rows: u32, max_pages: u32, first_token: u32, columns: u32,
    }
    AttentionStatsParams for "attention_stats" {
        heads: u32, window: u32, ratio: u32, top_k: u32, first_token: u32, columns: u32, scale: f32,
    }
    AttentionValuesParams for "attention_values" {
        heads: u32, window: u32, ratio: u32, top_k: u32, ring_rows: u32, max_pages: u32, first_token: u32, columns: u32, scale: f32,
        rope: u32, angle_set: u32,
    }
}

/// Subgroups of a cooperative kernel's workgroup over the heads, and over keys or channels; each makes two by two matrices.
const COOP_SUBGROUPS: [u32; 2] = [2, 4];

/// Heads as the cooperative kernels count them: whole tiles.
fn padded_heads(shape: CoopShape, heads: u32) -> u32 {
    heads.next_multiple_of(COOP_SUBGROUPS[0] * 2 * shape.size)
}

/// The cooperative kernels' variants: scores, stats, values.
pub(super) fn coop_variants(
    dialect: &Dialect,
    shape: CoopShape,
    heads: Heads,
    page_rows: u32,
    segments: Segments,
    half: bool,
) -> [Variant; 3] {
    let [over_heads, over_keys] = COOP_SUBGROUPS;
    let padded = padded_heads(shape, heads.heads);
    // Vectors of four that an invocation stages of its workgroup's heads, and of its keys or channels.
    let pieces = |subgroups: u32| (subgroups * 2 * shape.size * shape.depth / 4).div_ceil(over_heads * over_keys * shape.subgroup);
    let coop = |kernel| {
        let variant = shape.variant(kernel).flag_if(dialect.kv == KvType::F16, "KV_F16");
        let variant = variant.constant("SUBGROUPS_H", over_heads).constant("SUBGROUPS_K", over_keys).constant("HEADS", padded);
        let variant = variant.constant("HEAD_PIECES", pieces(over_heads)).constant("KEY_PIECES", pieces(over_keys));
        keys_variant(variant, heads.dim, page_rows, segments).constant("PAGE_ROWS", page_rows)
    };
    let stats = dialect.variant("attention_stats").constant("LANES", dialect.lanes().0).constant("HEADS", padded);
    [coop("attention_scores"), stats, coop("attention_values").flag("PLACED").flag_if(half, "Y_F16")]
}

/// Bytes of scores that `rows` rows of up to `keys` keys take in the cooperative kernels; 0 on devices that run none.
pub fn score_bytes(dialect: &Dialect, heads: u32, keys: u32, rows: u32) -> u64 {
    let scores = |shape| u64::from(padded_heads(shape, heads)) * u64::from(columns(shape, keys));
    dialect.cooperative().map_or(0, |shape| scores(shape) * u64::from(rows) * 4)
}

fn columns(shape: CoopShape, keys: u32) -> u32 {
    keys.next_multiple_of(COOP_SUBGROUPS[1] * 2 * shape.size)
}

/// In tiles of rows, whose scores fit the buffer for them.
pub(super) fn record_cooperative(
    rec: &mut Recording,
    kit: &Kit,
    shape: CoopShape,
    sizes: &Attention<'_>,
    buffers: &AttentionBuffers<'_>,
    keys: &[u32],
) {
    let (t, padded) = (keys.len() as u32, padded_heads(shape, sizes.heads));
    let rotation = QRope { heads: sizes.heads, dim: sizes.dim, rope: sizes.rope, compressed: sizes.ratio > 0, norm_eps: sizes.norm_eps };
    record_q_rope(rec, kit, rotation, buffers.angles, buffers.q, t);
    let variants = coop_variants(&kit.dialect, shape, sizes.sizes(), sizes.page_rows, sizes.segments(), buffers.out.half);
    let [tile_h, tile_k] = COOP_SUBGROUPS.map(|n| n * 2 * shape.size);
    let most = keys.iter().copied().max().unwrap_or(1);
    let tile = (buffers.scores.bytes / score_bytes(&kit.dialect, sizes.heads, most, 1)).clamp(1, u64::from(t)) as u32;
    let pools = || sizes.ring.segments.iter().chain([sizes.page_table]).chain(&sizes.pages.segments);
    let (scale, angle_set) = (1.0 / (sizes.dim as f32).sqrt(), u32::from(sizes.ratio > 0));
    let &Attention { heads, window, ratio, top_k, ring_rows, max_pages, rope, .. } = sizes;
    for (first_token, some) in (0..t).step_by(tile as usize).zip(keys.chunks(tile as usize)) {
        let n = some.len() as u32;
        let columns = columns(shape, some.iter().copied().max().unwrap_or(1));
        let [scores, stats, values] = variants.clone();
        let params =
            AttentionScoresParams { heads, q_stride: buffers.q.stride, window, ratio, top_k, ring_rows, max_pages, first_token, columns };
        let own = [buffers.rows, &buffers.q.slice, buffers.kv, buffers.selected, buffers.scores, buffers.places];
        rec.dispatch(scores, &params, own.into_iter().chain(pools()).cloned().collect(), [columns / tile_k, padded / tile_h, n]);
        rec.by_position();
        rec.cost(cost::attention_half(heads, sizes.dim, some, columns));
        let (_, heads_each) = kit.dialect.lanes();
        let params = AttentionStatsParams { heads, window, ratio, top_k, first_token, columns, scale };
        let own = [buffers.rows, buffers.scores, sizes.sinks, buffers.stats].map(Clone::clone);
        rec.dispatch(stats, &params, own.to_vec(), [heads.div_ceil(heads_each), n, 1]);
        rec.by_position();
        let params =
            AttentionValuesParams { heads, window, ratio, top_k, ring_rows, max_pages, first_token, columns, scale, rope, angle_set };
        let own = [buffers.rows, buffers.scores, buffers.places, buffers.stats, buffers.kv, buffers.angles, &buffers.out.slice];
        let grid = [sizes.dim.div_ceil(tile_k), padded / tile_h, n];
        rec.dispatch(values, &params, own.into_iter().chain(pools()).cloned().collect(), grid);
        rec.by_position();
        rec.cost(cost::attention_half(heads, sizes.dim, some, columns));
    }
}
