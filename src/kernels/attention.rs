//! Attention over the sliding window and compressed rows: one key, which is the value too, for all heads.
//!
//! Rows of a decode step split their keys into parts that run side by side and are merged; rows of a prefill chunk do it whole.

use super::indexer::pages_variant;
use super::kit::{Dialect, Kit, Strided, WG};
use super::linear::DECODE_ROWS;
use super::matrix::Pool;
use super::quantized::{Quantized, binding, quantizing};
use crate::gpu::{Recording, Slice, Variant};

params! {
    AttentionParams for "attention" {
        heads: u32, q_stride: u32, window: u32, ratio: u32, top_k: u32, ring_rows: u32, max_pages: u32, scale: f32, rope: u32, angle_set: u32,
    }
    AttentionMergeParams for "attention_merge" {
        heads: u32, window: u32, ratio: u32, top_k: u32, rope: u32, angle_set: u32,
    }
}

/// Parts that a row's keys are split into at most, on a device that can bind the sums of as many.
pub const MAX_PARTS: u32 = 16;

/// Parts for `keys` keys: as in `lib/attention`, a function of the row's own position alone.
pub fn parts(keys: u32, max_parts: u32) -> u32 {
    keys.div_ceil(64).min(max_parts)
}

/// Sizes of a layer's attention and where its rows lie.
#[derive(Clone, Debug)]
pub struct Attention<'a> {
    /// H.
    pub heads: u32,
    /// K.
    pub dim: u32,
    /// Rotated channels.
    pub rope: u32,
    /// W.
    pub window: u32,
    /// Tokens a compressed row: 0, 4, 128.
    pub ratio: u32,
    /// Compressed rows attended to at most; beyond it `selected` says which.
    pub top_k: u32,
    /// Parts that keys are split into at most: the same for every step on a device.
    pub max_parts: u32,
    /// Rows of a session's ring.
    pub ring_rows: u32,
    /// Rows in a page.
    pub page_rows: u32,
    /// Pages in a session's table.
    pub max_pages: u32,
    /// Ring (slots, ring_rows, K).
    pub ring: &'a Pool,
    /// Compressed rows (pages, page_rows, K).
    pub pages: &'a Pool,
    /// Page table (slots, max_pages).
    pub page_table: &'a Slice,
    /// Sinks (H) f32.
    pub sinks: &'a Slice,
}

/// Heads that one workgroup serves.
fn heads_each(heads: u32) -> u32 {
    [8, 4, 2].into_iter().find(|n| heads.is_multiple_of(*n)).unwrap_or(1)
}

/// How the pools of an attention kernel are split over bindings.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segments {
    pub ring: u32,
    pub ring_held: u32,
    pub pages: u32,
    pub pages_held: u32,
}

/// Sizes that a variant of the attention kernels is made for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heads {
    pub heads: u32,
    pub dim: u32,
    pub max_parts: u32,
}

pub(super) fn attention_variant(dialect: &Dialect, heads: Heads, page_rows: u32, segments: Segments, whole: bool) -> Variant {
    let variant = dialect
        .kv_variant("attention")
        .flag_if(whole, "WHOLE")
        .constant("DIM", heads.dim)
        .constant("HEADS", heads_each(heads.heads))
        .constant("MAX_PARTS", heads.max_parts)
        .constant("RING_SEGMENTS", segments.ring);
    let variant = if segments.ring > 1 { variant.flag("RING_SPLIT").constant("RING_SEGMENT_ROWS", segments.ring_held) } else { variant };
    pages_variant(variant, heads.dim, page_rows, segments.pages, segments.pages_held)
}

/// What attention reads and writes in a step.
#[derive(Clone, Debug)]
pub struct AttentionBuffers<'a> {
    /// Rows (T).
    pub rows: &'a Slice,
    /// q: T rows of (H, K), rotated; no offset.
    pub q: &'a Strided,
    /// This step's keys (T, K) of the cache's type.
    pub kv: &'a Slice,
    /// Compressed rows that the indexer chose (T, top_k).
    pub selected: &'a Slice,
    /// Rotations (T, 2, R/2).
    pub angles: &'a Slice,
    /// Parts (16, max_parts, H, K) f32.
    pub partial: &'a Slice,
    /// Their (maximum, sum) (16, max_parts, H).
    pub stats: &'a Slice,
    /// The result (T, H, K) f32.
    pub out: &'a Slice,
    /// The result rounded to int8, for steps of few rows only.
    pub out_int8: Option<&'a Quantized>,
}

/// `out[t, h]` = attention of query head h over the keys that row t sees. `most_keys`: the most that any row sees.
pub fn record_attention(rec: &mut Recording, kit: &Kit, sizes: &Attention<'_>, buffers: &AttentionBuffers<'_>, most_keys: u32, t: u32) {
    let whole = t > DECODE_ROWS;
    let segments = Segments {
        ring: sizes.ring.segments.len() as u32,
        ring_held: sizes.ring.held,
        pages: sizes.pages.segments.len() as u32,
        pages_held: sizes.pages.held,
    };
    let heads = Heads { heads: sizes.heads, dim: sizes.dim, max_parts: sizes.max_parts };
    let variant = attention_variant(&kit.dialect, heads, sizes.page_rows, segments, whole);
    let params = AttentionParams {
        heads: sizes.heads,
        q_stride: buffers.q.stride,
        window: sizes.window,
        ratio: sizes.ratio,
        top_k: sizes.top_k,
        ring_rows: sizes.ring_rows,
        max_pages: sizes.max_pages,
        scale: 1.0 / (sizes.dim as f32).sqrt(),
        rope: sizes.rope,
        angle_set: u32::from(sizes.ratio > 0),
    };
    let mut bindings: Vec<Slice> = [buffers.rows, &buffers.q.slice, buffers.kv, buffers.selected].map(Clone::clone).to_vec();
    if whole {
        bindings.extend([sizes.sinks, buffers.angles, buffers.out].map(Clone::clone));
    } else {
        bindings.extend([buffers.partial, buffers.stats].map(Clone::clone));
    }
    bindings.extend(sizes.ring.segments.iter().chain([sizes.page_table]).chain(&sizes.pages.segments).cloned());
    let parts = if whole { 1 } else { parts(most_keys, sizes.max_parts) };
    rec.dispatch(variant, &params, bindings, [sizes.heads / heads_each(sizes.heads), parts, t]);
    if !whole {
        let params = AttentionMergeParams {
            heads: sizes.heads,
            window: sizes.window,
            ratio: sizes.ratio,
            top_k: sizes.top_k,
            rope: sizes.rope,
            angle_set: u32::from(sizes.ratio > 0),
        };
        let own = [buffers.rows, buffers.partial, buffers.stats, sizes.sinks, buffers.angles, buffers.out];
        let bindings = own.into_iter().cloned().chain(binding(buffers.out_int8)).collect();
        let variant = quantizing(merge_variant(&kit.dialect, heads), buffers.out_int8.is_some());
        rec.dispatch(variant, &params, bindings, [sizes.heads, t, 1]);
    }
}

pub(super) fn merge_variant(dialect: &Dialect, heads: Heads) -> Variant {
    dialect.variant("attention_merge").constant("DIM", heads.dim).constant("MAX_PARTS", heads.max_parts)
}

const _: () = assert!(WG * 2 >= 512, "an invocation owns one pair of a head of up to 512 channels");
