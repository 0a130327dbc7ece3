//! Scores of compressed rows, in three kernels: for any device, and on cooperative matrices for prompts and for generated rows.

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

/// Sizes of the indexer, and the memory that holds its keys.
#[derive(Clone, Debug)]
pub struct IndexScore<'a> {
    /// Number of indexer heads.
    pub heads: u32,
    /// Channels of a head, at most 128.
    pub dim: u32,
    /// Number of rotated channels, the last of a head.
    pub rope: u32,
    /// Tokens of a window.
    pub ratio: u32,
    /// Number of keys in a page.
    pub page_rows: u32,
    /// Number of entries in a session's page table.
    pub max_pages: u32,
    /// Keys (pages, page_rows, dim), one for each compressed row.
    pub pages: &'a Pool,
    /// Page table (slots, max_pages).
    pub page_table: &'a Slice,
}

/// Makes `variant` read pages of `page_rows` rows of `dim` values. The pool has `segments` segments of `pages_each` pages.
pub(in crate::kernels) fn pages_variant(variant: Variant, dim: u32, page_rows: u32, segments: u32, pages_each: u32) -> Variant {
    let variant = variant.constant("PAGE_PAIRS", dim / 2).constant("PAGES_SEGMENTS", segments);
    if segments > 1 { variant.flag("PAGES_SPLIT").constant("SEGMENT_ROWS", pages_each * page_rows) } else { variant }
}

/// Like [`pages_variant`], with the size of a page as a constant.
fn fixed_pages_variant(variant: Variant, dim: u32, page_rows: u32, segments: u32, pages_each: u32) -> Variant {
    pages_variant(variant, dim, page_rows, segments, pages_each).constant("PAGE_ROWS", page_rows)
}

/// The variant for any device, and the number of compressed rows of a workgroup: 16 KiB of keys of 128 channels.
fn index_score_variant(profile: &KernelProfile, dim: u32, page_rows: u32, segments: u32, pages_each: u32) -> (Variant, u32) {
    let tile = match profile.kv {
        KvType::F16 => 64,
        KvType::F32 => 32,
    };
    // A workgroup takes 16 heads at a time.
    let variant = profile
        .kv_variant("index_score")
        .constant("DIM", dim)
        .constant("TILE", tile)
        .constant("EACH", 16 * tile / WG)
        .constant("KEY_PIECES", (tile * dim / 4).div_ceil(WG))
        .constant("QUERY_PIECES", (16 * dim / 4).div_ceil(WG));
    (fixed_pages_variant(variant, dim, page_rows, segments, pages_each), tile)
}

/// Number of rows of a step that a workgroup of the cooperative kernel scores its compressed rows for.
const COOP_TOKENS: u32 = 8;

/// The device's cooperative matrices, if they divide the operands evenly.
fn coop_shape(profile: &KernelProfile, dim: u32) -> Option<CoopShape> {
    let shape = profile.cooperative()?;
    let depth = shape.depth.min(dim);
    let fits = dim.is_multiple_of(depth) && depth.is_multiple_of(shape.size) && shape.subgroup.is_multiple_of(shape.size);
    fits.then_some(CoopShape { depth, ..shape })
}

/// The variant for prompts, if the device has cooperative matrices. A workgroup scores [`WG`] compressed rows.
fn index_score_coop_variant(profile: &KernelProfile, dim: u32, page_rows: u32, segments: u32, pages_each: u32) -> Option<Variant> {
    let shape = coop_shape(profile, dim)?;
    // A workgroup takes as many heads at a time as it has workgroup memory for their products.
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
    Some(fixed_pages_variant(variant, dim, page_rows, segments, pages_each))
}

/// The variant for generated rows on cooperative matrices, and the number of compressed rows of a workgroup. It needs matrices of 16 x 16
/// and an f16 cache.
fn index_score_few_variant(profile: &KernelProfile, dim: u32, page_rows: u32, segments: u32, pages_each: u32) -> Option<(Variant, u32)> {
    let shape = profile.cooperative()?;
    let tile = 4 * shape.size;
    // Workgroup memory: both operands, a product of each subgroup, weights, and sums.
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
    Some((fixed_pages_variant(variant, dim, page_rows, segments, pages_each), tile))
}

/// The indexer's queries of a step.
#[derive(Clone, Debug)]
pub struct IndexQueries<'a> {
    /// T rows of (heads, dim), before rotation.
    pub q: &'a Strided,
    /// Rotations (T, 2, R/2).
    pub angles: &'a Slice,
    /// T rows of head weights, before scaling.
    pub head_weights: &'a Strided,
}

/// The scores of neighbouring rows of a step.
#[derive(Clone, Debug)]
pub struct Scores<'a> {
    /// Rows of the step (T).
    pub rows: &'a Slice,
    /// Index in the step of the first row that is scored.
    pub first: u32,
    /// The scores (scored rows, columns) f32.
    pub scores: &'a Slice,
    /// Number of compressed rows that the last scored row sees.
    pub columns: u32,
}

/// Records the scores of `rows`, which start at row `scores.first` of a step of the pass's kind.
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
    let (segments, pages_each) = (pages.segments.len() as u32, pages.units_per_segment);
    let count = rows.len() as u32;
    match index_score_coop_variant(pass.profile(), dim, page_rows, segments, pages_each) {
        Some(variant) if !step.are_few() => {
            // The rows of a workgroup read the pages of one session.
            let mut first_row = first;
            for run in rows.chunk_by(|a, b| a.slot == b.slot) {
                record(pass, variant.clone(), first_row, run.len() as u32, [WG, COOP_TOKENS]);
                first_row += run.len() as u32;
            }
        }
        _ => {
            // Device and model alone decide: a row's bits must not depend on the other rows of the step.
            let few = index_score_few_variant(pass.profile(), dim, page_rows, segments, pages_each).filter(|_| step.are_few());
            let (variant, tile) = few.unwrap_or_else(|| index_score_variant(pass.profile(), dim, page_rows, segments, pages_each));
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
