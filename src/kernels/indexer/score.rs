//! Scores of compressed rows.

use crate::gpu::{Slice, Variant};
use crate::kernels::context::{CoopShape, KernelProfile, Strided, WG};
use crate::kernels::cost;
use crate::kernels::matrix::Pool;
use crate::kernels::pass::{Pass, bind};
use crate::kernels::rows::Row;
use crate::num::KvType;

kernels! {
    IndexScoreParams for "index_score" | "index_score_coop" | "index_score_few" in variants {
        heads: u32, ratio: u32, max_pages: u32, columns: u32, q_stride: u32, q_offset: u32, hw_stride: u32, hw_offset: u32, hw_scale: f32, first_token: u32,
        rope: u32, first_row: u32, count: u32,
    }
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
pub(in crate::kernels) fn pages_variant(variant: Variant, dim: u32, page_rows: u32, segments: u32, held: u32) -> Variant {
    let variant = variant.constant("PAGE_PAIRS", dim / 2).constant("PAGES_SEGMENTS", segments);
    if segments > 1 { variant.flag("PAGES_SPLIT").constant("SEGMENT_ROWS", held * page_rows) } else { variant }
}

/// The same with the size of a page as a constant.
fn fixed_pages_variant(variant: Variant, dim: u32, page_rows: u32, segments: u32, held: u32) -> Variant {
    pages_variant(variant, dim, page_rows, segments, held).constant("PAGE_ROWS", page_rows)
}

/// The variant, and the compressed rows of a workgroup: as many as take 16 KiB.
fn index_score_variant(profile: &KernelProfile, dim: u32, page_rows: u32, segments: u32, held: u32) -> (Variant, u32) {
    let tile = match profile.kv {
        KvType::F16 => 64,
        KvType::F32 => 32,
    };
    // 16 heads at a time.
    let variant = profile
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
fn coop_shape(profile: &KernelProfile, dim: u32) -> Option<CoopShape> {
    let shape = profile.cooperative()?;
    let depth = shape.depth.min(dim);
    let fits = dim.is_multiple_of(depth) && depth.is_multiple_of(shape.size) && shape.subgroup.is_multiple_of(shape.size);
    fits.then_some(CoopShape { depth, ..shape })
}

/// The cooperative variant, where the device has one: a workgroup of [`WG`] scores as many compressed rows.
fn index_score_coop_variant(profile: &KernelProfile, dim: u32, page_rows: u32, segments: u32, held: u32) -> Option<Variant> {
    let shape = coop_shape(profile, dim)?;
    // As many heads at a time as leave their keys' products room.
    let heads = profile.cooperative()?.depth;
    let variant = shape
        .variant("index_score_coop")
        .flag_if(profile.kv == KvType::F16, "KV_F16")
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
fn index_score_few_variant(profile: &KernelProfile, dim: u32, page_rows: u32, segments: u32, held: u32) -> Option<(Variant, u32)> {
    let shape = profile.cooperative()?;
    let tile = 4 * shape.size;
    // Operands, a product of each subgroup, weights and sums.
    let bytes = 2 * tile * (dim + 8) * 2 + WG / shape.subgroup * shape.size * shape.size * 4 + 5 * tile * 4;
    let suits = shape.size == 16 && shape.subgroup == 32 && profile.kv == KvType::F16 && dim.is_multiple_of(shape.size);
    if !suits || bytes > profile.caps.workgroup_bytes {
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

/// What a step's rows are scored by.
#[derive(Clone, Debug)]
pub struct IndexQueries<'a> {
    /// T rows of (heads, dim), not rotated yet.
    pub q: &'a Strided,
    /// Rotations (T, 2, R/2).
    pub angles: &'a Slice,
    /// T rows of raw head weights.
    pub head_weights: &'a Strided,
}

/// The scores of neighbouring rows of a step.
#[derive(Clone, Debug)]
pub struct Scores<'a> {
    /// Rows of the step (T).
    pub rows: &'a Slice,
    /// The first row that is scored.
    pub first: u32,
    /// The scores (scored rows, columns) f32.
    pub scores: &'a Slice,
    /// Compressed rows that the last of the rows sees.
    pub columns: u32,
}

/// Scores of `rows`, which begin at row `scores.first` of a step of the pass's kind.
pub fn record_index_score(pass: &mut Pass<'_>, sizes: &IndexScore<'_>, queries: &IndexQueries<'_>, scores: &Scores<'_>, rows: &[Row]) {
    let step = pass.rows;
    let &IndexScore { heads, dim, rope, ratio, page_rows, max_pages, pages, .. } = sizes;
    let &IndexQueries { q, angles, head_weights } = queries;
    let &Scores { first, columns, .. } = scores;
    let params = |first_row, count| IndexScoreParams {
        heads,
        ratio,
        max_pages,
        columns,
        q_stride: q.stride,
        q_offset: q.offset,
        hw_stride: head_weights.stride,
        hw_offset: head_weights.offset,
        hw_scale: 1.0 / ((dim as f32).sqrt() * (heads as f32).sqrt()),
        first_token: first,
        rope,
        first_row,
        count,
    };
    let record = |pass: &mut Pass<'_>, variant: Variant, first_row: u32, count: u32, [x, y]: [u32; 2]| {
        let mut bindings = bind([scores.rows, &q.slice, angles, &head_weights.slice, scores.scores, sizes.page_table]);
        bindings.push(pages.into());
        pass.launch(variant, &params(first_row, count), bindings, [columns.div_ceil(x), count.div_ceil(y), 1]);
        pass.rec.by_position();
        pass.rec.cost(cost::index_score(pass.profile(), heads, dim, columns, step.with_count(count)));
    };
    let (segments, held) = (pages.segments.len() as u32, pages.held);
    let count = rows.len() as u32;
    match index_score_coop_variant(pass.profile(), dim, page_rows, segments, held) {
        Some(variant) if !step.are_few() => {
            // A workgroup's rows are of one session.
            let mut first_row = first;
            for run in rows.chunk_by(|a, b| a.slot == b.slot) {
                record(pass, variant.clone(), first_row, run.len() as u32, [WG, COOP_TOKENS]);
                first_row += run.len() as u32;
            }
        }
        _ => {
            // By the device and the model alone: a row's bits must not depend on the step.
            let few = index_score_few_variant(pass.profile(), dim, page_rows, segments, held).filter(|_| step.are_few());
            let (variant, tile) = few.unwrap_or_else(|| index_score_variant(pass.profile(), dim, page_rows, segments, held));
            record(pass, variant, first, count, [tile, 1]);
        }
    }
}

/// All variants of the three kernels.
fn variants(profile: &KernelProfile) -> Vec<Variant> {
    let mut all = Vec::new();
    for segments in [1, 2] {
        all.push(index_score_variant(profile, 128, 128, segments, 100).0);
        all.extend([32, 128].into_iter().filter_map(|dim| index_score_coop_variant(profile, dim, 128, segments, 100)));
        all.extend([32, 128].into_iter().filter_map(|dim| index_score_few_variant(profile, dim, 128, segments, 100)).map(|v| v.0));
    }
    all
}
