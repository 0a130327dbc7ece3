//! Matrix times rows, and RMS normalisation.

use crate::quant::BlockFormat;
use rayon::prelude::*;

/// A matrix [rows, columns] in one block format.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a> {
    /// Format of the rows.
    pub format: BlockFormat,
    /// R: number of rows.
    pub rows: usize,
    /// C: values in a row.
    pub columns: usize,
    /// The R rows, one after another.
    pub bytes: &'a [u8],
}

impl<'a> Matrix<'a> {
    /// The matrix of the rows `first..first + rows`.
    #[must_use]
    pub fn part(&self, first: usize, rows: usize) -> Matrix<'a> {
        let stride = self.row_bytes();
        Matrix { rows, bytes: &self.bytes[first * stride..(first + rows) * stride], ..*self }
    }

    /// Decodes row `row` into `out` (C).
    pub fn row(&self, row: usize, out: &mut [f32]) {
        let stride = self.row_bytes();
        self.format.dequantize(&self.bytes[row * stride..(row + 1) * stride], out);
    }

    fn row_bytes(&self) -> usize {
        self.bytes.len() / self.rows.max(1)
    }
}

/// The dot product, summed in f64.
pub fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
}

/// `y[t] = W x[t]`. x (T, C) -> y (T, R).
pub fn linear(w: &Matrix<'_>, x: &[f32]) -> Vec<f32> {
    let tokens = x.len() / w.columns;
    // The loop runs over rows of the matrix, so that each is decoded once. That gives the transpose of y.
    let mut by_row = vec![0f32; w.rows * tokens];
    by_row.par_chunks_mut(tokens.max(1)).enumerate().for_each_init(
        || vec![0f32; w.columns],
        |weights, (row, out)| {
            w.row(row, weights);
            for (out, x) in out.iter_mut().zip(x.chunks_exact(w.columns)) {
                *out = dot(weights, x) as f32;
            }
        },
    );
    let mut y = vec![0f32; w.rows * tokens];
    for (t, y) in y.chunks_exact_mut(w.rows).enumerate() {
        for (row, y) in y.iter_mut().enumerate() {
            *y = by_row[row * tokens + t];
        }
    }
    y
}

/// A product by groups (SPEC 3.1 (step 7)): the rows of W and the channels of x are split into equal groups, and `y[t]` has the results
/// `W_g x_g[t]` of all groups g one after another. x (T, groups * C) -> y (T, R).
pub fn linear_grouped(w: &Matrix<'_>, groups: usize, x: &[f32]) -> Vec<f32> {
    let (rows, width) = (w.rows / groups, w.columns * groups);
    let tokens = x.len() / width;
    let mut y = vec![0f32; w.rows * tokens];
    for group in 0..groups {
        let input: Vec<f32> = x.chunks_exact(width).flat_map(|x| &x[group * w.columns..(group + 1) * w.columns]).copied().collect();
        let part = linear(&w.part(group * rows, rows), &input);
        for (y, part) in y.chunks_exact_mut(w.rows).zip(part.chunks_exact(rows)) {
            y[group * rows..(group + 1) * rows].copy_from_slice(part);
        }
    }
    y
}

/// 1 / sqrt(mean(x^2) + eps).
pub fn inverse_rms(x: &[f32], eps: f32) -> f64 {
    1.0 / (dot(x, x) / x.len() as f64 + f64::from(eps)).sqrt()
}

/// RMS normalisation with a weight, `N(x[t]; weight)` (SPEC 2.1). x (T, C), weight (C) -> (T, C).
pub fn rms_norm(x: &[f32], weight: &[f32], eps: f32) -> Vec<f32> {
    let mut y = x.to_vec();
    for row in y.chunks_exact_mut(weight.len()) {
        let scale = inverse_rms(row, eps);
        for (y, &weight) in row.iter_mut().zip(weight) {
            *y = (f64::from(*y) * scale * f64::from(weight)) as f32;
        }
    }
    y
}

/// RMS normalisation without a weight, `N0(x[t])`, in place. x (T, width).
pub fn normalise(x: &mut [f32], width: usize, eps: f32) {
    for row in x.chunks_exact_mut(width) {
        let scale = inverse_rms(row, eps);
        row.iter_mut().for_each(|y| *y = (f64::from(*y) * scale) as f32);
    }
}
