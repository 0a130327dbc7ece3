//! What launches move and compute, for the benchmarks. Weights and cached rows count once a launch however often caches serve them; where
//! only the GPU knows which of them are used, as many as can be expected.

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
    u64::from(t) * u64::from(columns) * if x.half { 2 } else { 4 }
}

/// A product: 2 R C T.
fn product(rows: u64, columns: u32, t: u32) -> u64 {
    2 * rows * u64::from(columns) * u64::from(t)
}

/// Rows of `parts` times `t` rows of x, of which `group_rows` rows of weights share a group of `columns` columns.
pub(super) fn linear(parts: &[Part<'_>], columns: u32, group_rows: u32, (x, y): (&Strided, &Strided), t: u32) -> Cost {
    let rows: u64 = parts.iter().map(|p| u64::from(p.rows)).sum();
    let groups = (rows / u64::from(group_rows)).max(1) as u32;
    let bytes: u64 = parts.iter().map(|p| weights(p.format, u64::from(p.rows), columns)).sum();
    Cost { bytes: bytes + activations(x, groups * columns, t) + activations(y, rows as u32, t), flops: product(rows, columns, t) }
}

/// The rows that `pairs` choices of an expert multiply, and the weights that they read: `loads` of the experts, which one expert of the
/// slice in so many of the stack gets its share of.
fn experts(stack: &Experts, slice: &ExpertsSlice, pairs: u32, loads: u32) -> Cost {
    let share = |n: u32| u64::from(n) * u64::from(slice.experts) * u64::from(slice.rows) / u64::from(stack.experts);
    let bytes = stack.formats.iter().map(|&f| weights(f, share(loads), stack.columns)).sum();
    Cost { bytes, flops: stack.formats.len() as u64 * product(share(pairs), stack.columns, 1) }
}

/// Experts of the few rows of a decode step: each choice reads its own.
pub(super) fn experts_few(stack: &Experts, slice: &ExpertsSlice, pairs: u32) -> Cost {
    experts(stack, slice, pairs, pairs)
}

/// As [`experts_few`], with the `t` rows of the shared expert's matrix in the same launch where it is `folded`.
pub(super) fn experts_few_and(shared: &Matrix, folded: bool, stack: &Experts, slice: &ExpertsSlice, used: u32, t: u32) -> Cost {
    let Cost { bytes, flops } = experts(stack, slice, t * used, t * used);
    let rows = if folded { u64::from(slice.rows) } else { 0 };
    Cost { bytes: bytes + weights(shared.format, rows, shared.columns), flops: flops + product(rows, shared.columns, t) }
}

/// Experts of many rows: all of them are read, once.
pub(super) fn experts_many(stack: &Experts, slice: &ExpertsSlice, pairs: u32) -> Cost {
    experts(stack, slice, pairs, pairs.min(stack.experts))
}

/// The mix of `t` rows of four streams, which are made anew from a sub-layer's result where `post`.
pub(super) fn hc_mix(mix: &Matrix, post: bool, t: u32) -> Cost {
    let floats = u64::from(mix.columns) * if post { 9 } else { 4 } / 4;
    let streams = u64::from(t) * floats * 4;
    Cost { bytes: weights(mix.format, u64::from(mix.rows), mix.columns) + streams, flops: product(u64::from(mix.rows) + 1, mix.columns, t) }
}

/// `floats` values of f32 for each of `t` rows, read or written.
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

/// Scores and values of `heads` heads over `keys` keys of each row. Rows of a long step share most of their keys, so that how many bytes
/// they are is not said.
pub(super) fn attention(profile: &KernelProfile, heads: u32, dim: u32, keys: &[u32], whole: bool) -> Cost {
    let keys: u64 = keys.iter().map(|&n| u64::from(n)).sum();
    let bytes = if whole { 0 } else { cached(profile, keys, dim) };
    Cost { bytes, flops: 2 * product(keys, dim, heads) }
}

/// One of the two products of [`attention`], beside scores of `columns` columns.
pub(super) fn attention_half(heads: u32, dim: u32, keys: &[u32], columns: u32) -> Cost {
    let all: u64 = keys.iter().map(|&n| u64::from(n)).sum();
    let scores = u64::from(heads) * u64::from(columns) * keys.len() as u64 * 4;
    Cost { bytes: scores, flops: product(all, dim, heads) }
}

/// Scores of `columns` index rows for `rows`: of as many sessions where they are generated, of one where they are a piece of a prompt.
pub(super) fn index_score(profile: &KernelProfile, heads: u32, dim: u32, columns: u32, rows: Rows) -> Cost {
    let t = rows.count();
    let sessions = if rows.are_few() { t } else { 1 };
    let scores = 4 * u64::from(columns) * u64::from(t);
    let bytes = cached(profile, u64::from(columns) * u64::from(sessions), dim) + scores;
    Cost { bytes, flops: product(u64::from(columns) * u64::from(t), dim, heads) }
}
