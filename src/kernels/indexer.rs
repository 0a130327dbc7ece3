//! The indexer of ratio-4 layers: scores of compressed rows, and the best of them.

use super::cost;
use super::kit::{CoopShape, Dialect, Kit, Row, Strided, WG};
use super::matrix::Pool;
use super::rows::Rows;
use crate::gpu::{Recording, Slice, Variant};
use crate::num::KvType;

params! {
    IndexScoreParams for "index_score" | "index_score_coop" | "index_score_few" {
        heads: u32, ratio: u32, max_pages: u32, columns: u32, q_stride: u32, q_offset: u32, hw_stride: u32, hw_offset: u32, hw_scale: f32, first_token: u32,
        rope: u32, first_row: u32, count: u32,
    }
    TopKParams for "top_k" | "top_k_few" { ratio: u32, top_k: u32, columns: u32, first_token: u32 }
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
    let variant = variant.constant("PAGE_PAIRS", dim / 2).constant("PAGES_SEGMENTS", segments);
    if segments > 1 { variant.flag("PAGES_SPLIT").constant("SEGMENT_ROWS", held * page_rows) } else { variant }
}

/// The same with the size of a page as a constant.
pub(super) fn fixed_pages_variant(variant: Variant, dim: u32, page_rows: u32, segments: u32, held: u32) -> Variant {
    pages_variant(variant, dim, page_rows, segments, held).constant("PAGE_ROWS", page_rows)
}

/// The variant, and the compressed rows of a workgroup: as many as take 16 KiB.
pub(super) fn index_score_variant(dialect: &Dialect, dim: u32, page_rows: u32, segments: u32, held: u32) -> (Variant, u32) {
    let tile = match dialect.kv {
        KvType::F16 => 64,
        KvType::F32 => 32,
    };
    // 16 heads at a time.
    let variant = dialect
        .kv_variant("index_score")
        .constant("DIM", dim)
        .constant("TILE", tile)
        .constant("EACH", 16 * tile / WG)
        .constant("KEY_PIECES", (tile * dim / 4).div_ceil(WG))
        .constant("QUERY_PIECES", (16 * dim / 4).div_ceil(WG));
    (fixed_pages_variant(variant, dim, page_rows, segments, held), tile)
}

/// Rows of a step that a workgroup of the cooperative kernel takes past its compressed rows.
const COOP_TOKENS: u32 = 8;

/// The cooperative matrices to score with, where they divide what is to be multiplied.
fn coop_shape(dialect: &Dialect, dim: u32) -> Option<CoopShape> {
    let shape = dialect.cooperative()?;
    let depth = shape.depth.min(dim);
    let fits = dim.is_multiple_of(depth) && depth.is_multiple_of(shape.size) && shape.subgroup.is_multiple_of(shape.size);
    fits.then_some(CoopShape { depth, ..shape })
}

/// The cooperative variant, where the device has one: a workgroup of [`WG`] scores as many compressed rows.
pub(super) fn index_score_coop_variant(dialect: &Dialect, dim: u32, page_rows: u32, segments: u32, held: u32) -> Option<Variant> {
    let shape = coop_shape(dialect, dim)?;
    // As many heads at a time as leave their keys' products room.
    let heads = dialect.cooperative()?.depth;
    let variant = shape
        .variant("index_score_coop")
        .flag_if(dialect.kv == KvType::F16, "KV_F16")
        .constant("WG", WG)
        .constant("DIM", dim)
        .constant("TOKENS", COOP_TOKENS)
        .constant("BLOCKS", shape.subgroup / shape.size)
        .constant("CHUNKS", dim / shape.depth)
        .constant("HEAD_BLOCKS", heads / shape.size);
    Some(fixed_pages_variant(variant, dim, page_rows, segments, held))
}

/// The variant for the few rows of a decode step on cooperative matrices, and the compressed rows of a workgroup; none on devices without
/// matrices of 16 x 16, and for other caches.
pub(super) fn index_score_few_variant(dialect: &Dialect, dim: u32, page_rows: u32, segments: u32, held: u32) -> Option<(Variant, u32)> {
    let shape = dialect.cooperative()?;
    let tile = 4 * shape.size;
    // Operands, a product of each subgroup, weights and sums.
    let bytes = 2 * tile * (dim + 8) * 2 + WG / shape.subgroup * shape.size * shape.size * 4 + 5 * tile * 4;
    let suits = shape.size == 16 && shape.subgroup == 32 && dialect.kv == KvType::F16 && dim.is_multiple_of(shape.size);
    if !suits || bytes > dialect.caps.workgroup_bytes {
        return None;
    }
    let variant = CoopShape { depth: dim, ..shape }
        .variant("index_score_few")
        .flag("KV_F16")
        .flag("KEYS_BY_EIGHT")
        .constant("WG", WG)
        .constant("DIM", dim)
        .constant("KEY_PIECES", (tile * dim / 8).div_ceil(WG))
        .constant("QUERY_PIECES", (tile * dim / 4).div_ceil(WG));
    Some((fixed_pages_variant(variant, dim, page_rows, segments, held), tile))
}

/// Scores of some neighbouring rows of a step of the kind of `step`, from row `first` on. q: T rows of (heads, dim), not rotated yet; angles (T, 2, R/2); hw: T
/// rows of raw head weights -> scores (rows, columns).
pub fn record_index_score(
    rec: &mut Recording,
    kit: &Kit,
    sizes: &IndexScore<'_>,
    all_rows: &Slice,
    q: &Strided,
    angles: &Slice,
    hw: &Strided,
    scores: &Slice,
    columns: u32,
    (step, first, rows): (Rows, u32, &[Row]),
) {
    let segments = &sizes.pages.segments;
    let &IndexScore { heads, dim, rope, ratio, page_rows, max_pages, .. } = sizes;
    let params = |first_row, count| IndexScoreParams {
        heads,
        ratio,
        max_pages,
        columns,
        q_stride: q.stride,
        q_offset: q.offset,
        hw_stride: hw.stride,
        hw_offset: hw.offset,
        hw_scale: 1.0 / ((dim as f32).sqrt() * (heads as f32).sqrt()),
        first_token: first,
        rope,
        first_row,
        count,
    };
    let mut record = |variant: Variant, first_row: u32, count: u32, [x, y]: [u32; 2]| {
        let own = [all_rows, &q.slice, angles, &hw.slice, scores, sizes.page_table];
        let bindings = own.into_iter().chain(segments).cloned().collect();
        rec.dispatch(variant, &params(first_row, count), bindings, [columns.div_ceil(x), count.div_ceil(y), 1]);
        rec.by_position();
        rec.cost(cost::index_score(&kit.dialect, heads, dim, columns, step.with_count(count)));
    };
    let (pools, held) = (segments.len() as u32, sizes.pages.held);
    let count = rows.len() as u32;
    match index_score_coop_variant(&kit.dialect, dim, page_rows, pools, held) {
        Some(variant) if !step.are_few() => {
            // A workgroup's rows are of one session.
            let mut first_row = first;
            for run in rows.chunk_by(|a, b| a.slot == b.slot) {
                record(variant.clone(), first_row, run.len() as u32, [WG, COOP_TOKENS]);
                first_row += run.len() as u32;
            }
        }
        _ => {
            // By the device and the model alone: a row's bits must not depend on the step.
            let few = index_score_few_variant(&kit.dialect, dim, page_rows, pools, held).filter(|_| step.are_few());
            let (variant, tile) = few.unwrap_or_else(|| index_score_variant(&kit.dialect, dim, page_rows, pools, held));
            record(variant, first, count, [tile, 1]);
        }
    }
}

/// Columns from which a row's scores are worth a workgroup of 1024 invocations.
const MANY_COLUMNS: u32 = 4096;

/// The variant for rows of `columns` scores: where they are few, and there are subgroups, the kernel that keeps them in registers.
pub(super) fn top_k_variant(dialect: &Dialect, columns: u32) -> Variant {
    let most = dialect.caps.invocations.min(1024);
    if let Some(subgroup) = dialect.caps.subgroup.filter(|size| *size >= 8 && columns <= 4 * most) {
        let wg = if columns <= 4 * WG { WG } else { most };
        return Variant::new("top_k_few").constant("WG", wg).constant("SUBGROUP", subgroup).constant("COPIES", 4);
    }
    let large = columns >= MANY_COLUMNS && dialect.caps.invocations >= 1024;
    let (wg, flight) = if large { (1024, 8) } else { (WG, 4) };
    Variant::new("top_k").constant("WG", wg).constant("FLIGHT", flight).constant("COPIES", 8)
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
    rec.by_position();
}
