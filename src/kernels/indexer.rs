//! The indexer of ratio-4 layers: scores of compressed rows, and the best of them.

use super::kit::{Dialect, Kit, Strided, WG};
use super::matrix::Pool;
use crate::gpu::{Recording, Slice, Variant};
use crate::num::KvType;

params! {
    IndexScoreParams for "index_score" {
        heads: u32, ratio: u32, max_pages: u32, columns: u32, q_stride: u32, q_offset: u32, hw_stride: u32, hw_offset: u32, hw_scale: f32, first_token: u32,
        rope: u32,
    }
    TopKParams for "top_k" { ratio: u32, top_k: u32, columns: u32, first_token: u32 }
}

/// Sizes of the indexer and where its rows lie.
#[derive(Clone, Debug)]
pub struct IndexScore<'a> {
    /// Indexer heads.
    pub heads: u32,
    /// Their dim, at most 128.
    pub dim: u32,
    /// Rotated channels, the last of a head.
    pub rope: u32,
    /// Tokens in a window.
    pub ratio: u32,
    /// Rows in a page.
    pub page_rows: u32,
    /// Pages in a session's table.
    pub max_pages: u32,
    /// Index rows (pages, page_rows, dim).
    pub pages: &'a Pool,
    /// Page table (slots, max_pages).
    pub page_table: &'a Slice,
}

/// A kernel that reads pages: rows of `dim` values, `page_rows` in a page.
pub(super) fn pages_variant(variant: Variant, dim: u32, page_rows: u32, segments: u32, held: u32) -> Variant {
    let variant = variant.constant("PAGE_ROWS", page_rows).constant("PAGE_PAIRS", dim / 2).constant("PAGES_SEGMENTS", segments);
    if segments > 1 { variant.flag("PAGES_SPLIT").constant("SEGMENT_PAGES", held) } else { variant }
}

/// The variant, and the compressed rows of a workgroup: as many as take 16 KiB.
pub(super) fn index_score_variant(dialect: &Dialect, dim: u32, page_rows: u32, segments: u32, held: u32) -> (Variant, u32) {
    let tile = match dialect.kv {
        KvType::F16 => 64,
        KvType::F32 => 32,
    };
    // 16 heads at a time.
    let variant = dialect.kv_variant("index_score").constant("DIM", dim).constant("TILE", tile).constant("EACH", 16 * tile / WG);
    (pages_variant(variant, dim, page_rows, segments, held), tile)
}

/// Scores of the rows `first..first + count` of the step. q: T rows of (heads, dim), not rotated yet; angles (T, 2, R/2); hw: T rows of raw
/// head weights -> scores (count, columns).
pub fn record_index_score(
    rec: &mut Recording,
    kit: &Kit,
    sizes: &IndexScore<'_>,
    rows: &Slice,
    q: &Strided,
    angles: &Slice,
    hw: &Strided,
    scores: &Slice,
    columns: u32,
    (first, count): (u32, u32),
) {
    let segments = &sizes.pages.segments;
    let (variant, tile) = index_score_variant(&kit.dialect, sizes.dim, sizes.page_rows, segments.len() as u32, sizes.pages.held);
    let params = IndexScoreParams {
        heads: sizes.heads,
        ratio: sizes.ratio,
        max_pages: sizes.max_pages,
        columns,
        q_stride: q.stride,
        q_offset: q.offset,
        hw_stride: hw.stride,
        hw_offset: hw.offset,
        hw_scale: 1.0 / ((sizes.dim as f32).sqrt() * (sizes.heads as f32).sqrt()),
        first_token: first,
        rope: sizes.rope,
    };
    let bindings = [rows, &q.slice, angles, &hw.slice, scores, sizes.page_table].into_iter().chain(segments).cloned().collect();
    rec.dispatch(variant, &params, bindings, [columns.div_ceil(tile), count, 1]);
    rec.cost(super::cost::index_score(&kit.dialect, sizes.heads, sizes.dim, columns, count));
}

/// Columns from which a row's scores are worth a workgroup of 1024 invocations.
const MANY_COLUMNS: u32 = 4096;

pub(super) fn top_k_variant(dialect: &Dialect, columns: u32) -> Variant {
    let large = columns >= MANY_COLUMNS && dialect.caps.invocations >= 1024;
    Variant::new("top_k").constant("WG", if large { 1024 } else { WG })
}

/// The `top_k` best rows of each of the same rows of the step. scores (count, columns) -> selected (T, top_k), ascending.
pub fn record_top_k(
    rec: &mut Recording,
    kit: &Kit,
    (ratio, top_k): (u32, u32),
    rows: &Slice,
    scores: &Slice,
    columns: u32,
    selected: &Slice,
    (first, count): (u32, u32),
) {
    let params = TopKParams { ratio, top_k, columns, first_token: first };
    rec.dispatch(top_k_variant(&kit.dialect, columns), &params, vec![rows.clone(), scores.clone(), selected.clone()], [count, 1, 1]);
}
