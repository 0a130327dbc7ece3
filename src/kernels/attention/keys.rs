//! What all kernels of attention are given: sizes, buffers, and how they bind the rings and pages in which keys lie.

use crate::gpu::{Binding, Slice, Variant};
use crate::kernels::context::Strided;
use crate::kernels::indexer::pages_variant;
use crate::kernels::int8::Quantized;
use crate::kernels::matrix::Pool;

/// Parts that a row's keys are split into at most, on a device that can bind the sums of as many.
pub const MAX_PARTS: u32 = 24;

/// Sizes of a layer's attention and where its rows lie.
#[derive(Clone, Debug)]
pub struct Attention<'a> {
    /// H.
    pub heads: u32,
    /// K.
    pub dim: u32,
    /// Rotated channels.
    pub rope: u32,
    /// Epsilon of N0 over a head.
    pub norm_eps: f32,
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
    /// Compressed rows (pages, page_rows, K); none in a layer without.
    pub pages: Option<&'a Pool>,
    /// Page table (slots, max_pages).
    pub page_table: &'a Slice,
    /// Sinks (H) f32.
    pub sinks: &'a Slice,
}

impl Attention<'_> {
    pub(super) fn sizes(&self) -> Heads {
        Heads { heads: self.heads, dim: self.dim, rope: self.rope, max_parts: self.max_parts }
    }

    /// Kernels declare pages in every layer: those without compressed rows share the code of the others.
    fn declared_pages(&self) -> &Pool {
        self.pages.unwrap_or(self.ring)
    }

    pub(super) fn segments(&self) -> Segments {
        let (ring, pages) = (self.ring, self.declared_pages());
        Segments { ring: ring.segments.len() as u32, ring_held: ring.held, pages: pages.segments.len() as u32, pages_held: pages.held }
    }

    /// Ring, page table and pages, as `lib/attention/keys` declares them.
    pub(super) fn pools(&self) -> impl Iterator<Item = Binding> {
        let pages = match self.pages {
            Some(pages) => vec![pages.into()],
            None => self.ring.segments.iter().cloned().map(Binding::Unused).collect(),
        };
        [self.ring.into(), self.page_table.into()].into_iter().chain(pages)
    }
}

/// What attention reads and writes in a step.
#[derive(Clone, Debug)]
pub struct AttentionBuffers<'a> {
    /// Rows (T).
    pub rows: &'a Slice,
    /// q: T rows of (H, K), neither normalised nor rotated; no offset. The cooperative kernels need it done first, which happens in place.
    pub q: &'a Strided,
    /// This step's keys (T, K) of the cache's type.
    pub kv: &'a Slice,
    /// Compressed rows that the indexer chose (T, top_k).
    pub selected: &'a Slice,
    /// Rotations (T, 2, R/2).
    pub angles: &'a Slice,
    /// Parts (16, max_parts, H, K) f32.
    pub partial: &'a Slice,
    /// Their (maximum, sum) (16, max_parts, H); of the cooperative kernels (T, H rounded up to whole tiles).
    pub stats: &'a Slice,
    /// Scores, for the cooperative kernels: [`score_bytes`](super::score_bytes) of at least one row.
    pub scores: &'a Slice,
    /// Places of keys, as many bytes as the scores of one head.
    pub places: &'a Slice,
    /// The result (T, H, K).
    pub out: &'a Strided,
    /// The result rounded to int8, for steps of few rows only.
    pub out_int8: Option<&'a Quantized>,
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
    pub rope: u32,
    pub max_parts: u32,
}

/// `variant` of a kernel that reads keys: cached rows of `dim` values in rings and in pages of `page_rows` rows.
pub(super) fn keys_variant(variant: Variant, dim: u32, page_rows: u32, segments: Segments) -> Variant {
    let variant = variant.constant("DIM", dim).constant("RING_SEGMENTS", segments.ring);
    let variant = if segments.ring > 1 { variant.flag("RING_SPLIT").constant("RING_SEGMENT_ROWS", segments.ring_held) } else { variant };
    pages_variant(variant, dim, page_rows, segments.pages, segments.pages_held)
}

/// V4 Flash's heads, for lists of variants.
pub(super) fn sample_heads() -> Heads {
    Heads { heads: 64, dim: 512, rope: 64, max_parts: MAX_PARTS }
}

/// Rows in a page of both ratios, each with pools whole and split.
pub(super) fn sample_segments() -> impl Iterator<Item = (u32, Segments)> {
    let split = |n| Segments { ring: n, ring_held: 100, pages: n, pages_held: 100 };
    [1, 2].into_iter().flat_map(move |n| [128, 4].map(|page_rows| (page_rows, split(n))))
}
