//! The arguments of all attention kernels: sizes, buffers, and how kernels bind the rings and pages that hold the keys.

use crate::gpu::{Binding, Slice, Variant};
use crate::kernels::context::Strided;
use crate::kernels::indexer::pages_variant;
use crate::kernels::int8::Quantized;
use crate::kernels::matrix::Pool;

/// The largest number of parts of a row's keys, on a device that can bind the sums of so many parts.
pub const MAX_PARTS: u32 = 24;

/// Sizes of a layer's attention, and the memory that holds its keys.
#[derive(Clone, Debug)]
pub struct Attention<'a> {
    /// H.
    pub heads: u32,
    /// K.
    pub dim: u32,
    /// Number of rotated channels, the last of a head.
    pub rope: u32,
    /// Epsilon of the norm of a query head.
    pub norm_eps: f32,
    /// W: number of newest keys that every row sees.
    pub window: u32,
    /// Tokens of a compressed row: 4 or 128, or 0 in a layer without compressed rows.
    pub ratio: u32,
    /// The largest number of compressed rows that a row attends to. If more are visible, `selected` names them.
    pub top_k: u32,
    /// The largest number of parts of a row's keys. It is the same for every step on a device, because it decides the order of sums.
    pub max_parts: u32,
    /// Number of rows in a session's ring.
    pub ring_rows: u32,
    /// Number of compressed rows in a page.
    pub page_rows: u32,
    /// Number of entries in a session's page table.
    pub max_pages: u32,
    /// Ring (slots, ring_rows, K).
    pub ring: &'a Pool,
    /// Compressed rows (pages, page_rows, K), in a layer that has them.
    pub pages: Option<&'a Pool>,
    /// Page table (slots, max_pages).
    pub page_table: &'a Slice,
    /// Attention sinks (H) f32.
    pub sinks: &'a Slice,
}

impl Attention<'_> {
    pub(super) fn sizes(&self) -> Heads {
        Heads { heads: self.heads, dim: self.dim, rope: self.rope, max_parts: self.max_parts }
    }

    /// The pool to bind as pages. Layers without compressed rows share the variants of the others, which declare pages, so they bind the
    /// ring.
    fn declared_pages(&self) -> &Pool {
        self.pages.unwrap_or(self.ring)
    }

    pub(super) fn segments(&self) -> Segments {
        let (ring, pages) = (self.ring, self.declared_pages());
        Segments {
            ring: ring.segments.len() as u32,
            rows_per_ring_segment: ring.units_per_segment,
            pages: pages.segments.len() as u32,
            pages_per_segment: pages.units_per_segment,
        }
    }

    /// Bindings of ring, page table and pages, in the order of `lib/attention/keys`.
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
    /// q: T rows of (H, K) at offset 0, neither normalised nor rotated. The cooperative kernels of prompts need both done before, which
    /// `q_rope` does in place.
    pub q: &'a Strided,
    /// Keys of the step's rows (T, K), of the cache's type.
    pub kv: &'a Slice,
    /// Compressed rows that the indexer chose (T, top_k).
    pub selected: &'a Slice,
    /// Rotations (T, 2, R/2).
    pub angles: &'a Slice,
    /// Scratch: results of the parts (16, max_parts, H, K) f32.
    pub partial: &'a Slice,
    /// Scratch: (maximum, sum) of each part's scores (16, max_parts, H), or of each row's in the kernels of prompts (T, H rounded up to
    /// whole tiles).
    pub stats: &'a Slice,
    /// Scratch of the cooperative kernels of prompts: scores, [`score_bytes`](super::score_bytes) of at least one row.
    pub scores: &'a Slice,
    /// Scratch of the same kernels: where each key is stored. As many bytes as the scores of one head.
    pub places: &'a Slice,
    /// Output (T, H, K).
    pub out: &'a Strided,
    /// Output rounded to int8, for generated rows only.
    pub out_int8: Option<&'a Quantized>,
}

/// How the pools of an attention kernel are split over bindings.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segments {
    pub ring: u32,
    pub rows_per_ring_segment: u32,
    pub pages: u32,
    pub pages_per_segment: u32,
}

/// The sizes for which a variant of the attention kernels is compiled.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heads {
    pub heads: u32,
    pub dim: u32,
    pub rope: u32,
    pub max_parts: u32,
}

/// Makes `variant` read keys: cached rows of `dim` values in rings and in pages of `page_rows` rows.
pub(super) fn keys_variant(variant: Variant, dim: u32, page_rows: u32, segments: Segments) -> Variant {
    let variant = variant.constant("DIM", dim).constant("RING_SEGMENTS", segments.ring);
    let variant =
        if segments.ring > 1 { variant.flag("RING_SPLIT").constant("RING_SEGMENT_ROWS", segments.rows_per_ring_segment) } else { variant };
    pages_variant(variant, dim, page_rows, segments.pages, segments.pages_per_segment)
}

/// The heads of V4 Flash, for lists of variants.
pub(super) fn sample_heads() -> Heads {
    Heads { heads: 64, dim: 512, rope: 64, max_parts: MAX_PARTS }
}

/// The rows of a page for both ratios, each with pools in one segment and in two, for lists of variants.
pub(super) fn sample_segments() -> impl Iterator<Item = (u32, Segments)> {
    let split = |n| Segments { ring: n, rows_per_ring_segment: 100, pages: n, pages_per_segment: 100 };
    [1, 2].into_iter().flat_map(move |n| [128, 4].map(|page_rows| (page_rows, split(n))))
}
