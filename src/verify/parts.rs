//! Views of weights for the reference, and the parts of large inputs and results that it computes.

use crate::kernels::{Experts, Matrix};
use crate::quant::BlockFormat;
use crate::reference;

/// Number of different rows of a large matrix. It is a prime, so that rows whose distance is a power of two differ.
pub const DISTINCT_ROWS: usize = 4099;

/// Number of different experts of a large stack. It is a prime, so that experts whose distance is a power of two differ.
pub const DISTINCT_EXPERTS: usize = 13;

/// The reference's view of one expert of `stack`, whose `member` was made of `bytes` by `Bench::experts`.
pub fn expert_of<'a>(stack: &Experts, member: usize, bytes: &'a [u8], expert: u32) -> reference::Matrix<'a> {
    let distinct = stack.experts.min(DISTINCT_EXPERTS as u32);
    let rows = (stack.rows * distinct) as usize;
    let all = reference::Matrix { format: stack.formats[member], rows, columns: stack.columns as usize, bytes };
    all.part((expert % distinct * stack.rows) as usize, stack.rows as usize)
}

/// At most `most` of `0..count`, spread evenly and with the first and the last among them: what is compared where all would take the
/// reference too long.
pub fn sampled(count: usize, most: usize) -> Vec<usize> {
    if count <= most { (0..count).collect() } else { (0..most).map(|i| i * (count - 1) / (most - 1)).collect() }
}

/// The largest number of tokens for which results are compared.
pub const MOST_TOKENS: usize = 130;
/// The largest number of rows of weights for which results are compared.
pub const MOST_ROWS: usize = 256;

/// The named rows of a matrix, by themselves.
pub fn weights_at(matrix: &Matrix, bytes: &[u8], rows: &[usize]) -> Vec<u8> {
    let stride = bytes.len() / matrix.rows as usize;
    rows.iter().flat_map(|row| &bytes[row * stride..][..stride]).copied().collect()
}

/// The named values of the named tokens, of `values` in rows of `stride`.
pub fn picked(values: &[f32], tokens: &[usize], places: &[usize], stride: usize) -> Vec<f32> {
    tokens.iter().flat_map(|token| places.iter().map(move |place| values[token * stride + place])).collect()
}

/// The `rows` of all `columns` that are named, of `values` in rows of `stride` from `first` on.
pub fn rows_at(values: &[f32], rows: &[usize], stride: usize, first: usize, columns: usize) -> Vec<f32> {
    rows.iter().flat_map(|row| &values[row * stride + first..][..columns]).copied().collect()
}

/// At least `columns` columns, in whole blocks of `format`.
pub fn whole_blocks(format: BlockFormat, columns: usize) -> usize {
    columns.next_multiple_of(format.block_values())
}

/// The reference's view of weights made by `Bench::matrix`.
pub fn view<'a>(matrix: &Matrix, bytes: &'a [u8]) -> reference::Matrix<'a> {
    reference::Matrix { format: matrix.format, rows: matrix.rows as usize, columns: matrix.columns as usize, bytes }
}

/// Expected results of several matrices in one launch: for each of `tokens` rows the products of all matrices, one after another.
/// `product` gives those of one matrix (tokens, rows).
pub fn side_by_side(built: &[(Vec<u8>, Matrix)], tokens: usize, product: impl Fn(&[u8], &Matrix) -> Vec<f32>) -> Vec<f32> {
    let parts: Vec<_> = built.iter().map(|(bytes, matrix)| (product(bytes, matrix), matrix.rows as usize)).collect();
    (0..tokens).flat_map(|t| parts.iter().flat_map(move |(part, rows)| &part[t * rows..][..*rows])).copied().collect()
}
