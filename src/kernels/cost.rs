//! The bytes and operations of launches, for benchmarks. A launch counts each weight and each cached row once, even where it reads them
//! several times through the caches. Where only the GPU knows which of them are used, the expected number counts.

use super::context::{KernelProfile, Strided};
use super::linear::Part;
use super::matrix::{Experts, ExpertsSlice, Matrix};
use super::rows::Rows;
use crate::gpu::Cost;
use crate::num::KvType;
use crate::quant::BlockFormat;

/// Bytes of `rows` rows of `columns` weights.
fn weights(format: BlockFormat, rows: u64, columns: u32) -> u64 {
    rows * format.row_bytes(columns as usize).unwrap_or(0) as u64
}

/// Bytes of `t` rows of `columns` activations like those of `x`.
fn activations(x: &Strided, columns: u32, t: u32) -> u64 {
    u64::from(t) * u64::from(columns) * if x.is_f16 { 2 } else { 4 }
}

/// Operations of a matrix product: 2 R C T.
fn product(rows: u64, columns: u32, t: u32) -> u64 {
    2 * rows * u64::from(columns) * u64::from(t)
}

/// Cost of multiplying the rows of `parts` with `t` rows of x. Each `group_rows` rows of weights share a group of `columns` columns of x.
pub(super) fn linear(parts: &[Part<'_>], columns: u32, group_rows: u32, (x, y): (&Strided, &Strided), t: u32) -> Cost {
    let rows: u64 = parts.iter().map(|p| u64::from(p.rows)).sum();
    let groups = (rows / u64::from(group_rows)).max(1) as u32;
    let bytes: u64 = parts.iter().map(|p| weights(p.format, u64::from(p.rows), columns)).sum();
    Cost { bytes: bytes + activations(x, groups * columns, t) + activations(y, rows as u32, t), flops: product(rows, columns, t) }
}

/// Cost of `pairs` pairs of a row and an expert that read the weights of `loads` experts. The pairs and loads are taken to be even over
/// the stack, so `slice` gets the share of its experts.
fn experts(stack: &Experts, slice: &ExpertsSlice, pairs: u32, loads: u32) -> Cost {
    let share = |n: u32| u64::from(n) * u64::from(slice.experts) * u64::from(slice.rows) / u64::from(stack.experts);
    let bytes = stack.formats.iter().map(|&f| weights(f, share(loads), stack.columns)).sum();
    Cost { bytes, flops: stack.formats.len() as u64 * product(share(pairs), stack.columns, 1) }
}

/// Cost of experts for generated rows: every pair reads the weights of its expert.
pub(super) fn experts_few(stack: &Experts, slice: &ExpertsSlice, pairs: u32) -> Cost {
    experts(stack, slice, pairs, pairs)
}

/// Like [`experts_few`] for `t` rows. With `folded` the launch also multiplies them with the shared expert's matrix.
pub(super) fn experts_few_and(shared: &Matrix, folded: bool, stack: &Experts, slice: &ExpertsSlice, used: u32, t: u32) -> Cost {
    let Cost { bytes, flops } = experts(stack, slice, t * used, t * used);
    let rows = if folded { u64::from(slice.rows) } else { 0 };
    Cost { bytes: bytes + weights(shared.format, rows, shared.columns), flops: flops + product(rows, shared.columns, t) }
}

/// Cost of experts for rows of a prompt: each expert that is used is read once.
pub(super) fn experts_many(stack: &Experts, slice: &ExpertsSlice, pairs: u32) -> Cost {
    experts(stack, slice, pairs, pairs.min(stack.experts))
}

/// Cost of hc_mix for `t` rows of four streams. With `post` it also updates the streams with a sub-layer's result.
pub(super) fn hc_mix(mix: &Matrix, post: bool, t: u32) -> Cost {
    let floats = u64::from(mix.columns) * if post { 9 } else { 4 } / 4;
    let streams = u64::from(t) * floats * 4;
    Cost { bytes: weights(mix.format, u64::from(mix.rows), mix.columns) + streams, flops: product(u64::from(mix.rows) + 1, mix.columns, t) }
}

/// Cost of reading or writing `floats` f32 values for each of `t` rows.
pub(super) fn floats(floats: u32, t: u32) -> Cost {
    Cost { bytes: 4 * u64::from(floats) * u64::from(t), flops: 0 }
}

/// Bytes of `rows` cached rows of `dim` values.
fn cached(profile: &KernelProfile, rows: u64, dim: u32) -> u64 {
    let bytes = match profile.kv {
        KvType::F16 => 2,
        KvType::F32 => 4,
    };
    rows * u64::from(dim) * bytes
}

/// Cost of scores and values of `heads` heads, where row i sees `keys[i]` keys. Rows of a prompt (`whole`) share most of their keys, so
/// their bytes are left unknown.
pub(super) fn attention(profile: &KernelProfile, heads: u32, dim: u32, keys: &[u32], whole: bool) -> Cost {
    let keys: u64 = keys.iter().map(|&n| u64::from(n)).sum();
    let bytes = if whole { 0 } else { cached(profile, keys, dim) };
    Cost { bytes, flops: 2 * product(keys, dim, heads) }
}

/// Cost of one of the two products of [`attention`], which reads or writes scores of `columns` columns.
pub(super) fn attention_half(heads: u32, dim: u32, keys: &[u32], columns: u32) -> Cost {
    let all: u64 = keys.iter().map(|&n| u64::from(n)).sum();
    let scores = u64::from(heads) * u64::from(columns) * keys.len() as u64 * 4;
    Cost { bytes: scores, flops: product(all, dim, heads) }
}

/// Cost of scoring `columns` compressed rows for `rows`. Generated rows belong to as many sessions, rows of a prompt to one.
pub(super) fn index_score(profile: &KernelProfile, heads: u32, dim: u32, columns: u32, rows: Rows) -> Cost {
    let t = rows.count();
    let sessions = if rows.are_few() { t } else { 1 };
    let scores = 4 * u64::from(columns) * u64::from(t);
    let bytes = cached(profile, u64::from(columns) * u64::from(sessions), dim) + scores;
    Cost { bytes, flops: product(u64::from(columns) * u64::from(t), dim, heads) }
}
