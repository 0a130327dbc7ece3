//! Hyper-connections: four residual streams, mixed before and after every sub-layer (SPEC 2.3, SPEC 2.4).

use super::linear::{Matrix, dot, inverse_rms, linear, rms_norm};

/// Number of residual streams.
pub const STREAMS: usize = 4;

/// The weights of one set of hyper-connections: 24 mixing weights and 3 scales for a sub-layer, 4 and 1 for a head.
#[derive(Clone, Debug)]
pub struct Hc<'a> {
    /// fn [24 or 4, 4D].
    pub mix: Matrix<'a>,
    /// base (24 or 4).
    pub base: &'a [f32],
    /// scale (3 or 1).
    pub scale: &'a [f32],
}

/// The constants in the definition of hyper-connections.
#[derive(Clone, Copy, Debug)]
pub struct HcConstants {
    /// Sinkhorn iterations. The first one normalises columns only, the others rows and columns.
    pub iterations: usize,
    /// Epsilon that is added to `pre`, to the softmax, and to every denominator of Sinkhorn.
    pub hc_eps: f32,
    /// Epsilon of the norms.
    pub norm_eps: f32,
}

fn sigmoid(z: f64) -> f64 {
    1.0 / (1.0 + (-z).exp())
}

/// The products of each row with `mix`, followed by the row's sum of squares. x (T, 4, D) -> (T, outputs + 1).
pub fn hc_mix(mix: &Matrix<'_>, x: &[f32]) -> Vec<f32> {
    let products = linear(mix, x);
    products
        .chunks_exact(mix.rows)
        .zip(x.chunks_exact(mix.columns))
        .flat_map(|(row, x)| row.iter().copied().chain([dot(x, x) as f32]))
        .collect()
}

/// The weights of one row around a sub-layer: those that make the sub-layer's input, and those that make the new streams.
#[derive(Clone, Debug, PartialEq)]
pub struct Mix {
    /// Weight of each stream in the input.
    pub pre: [f64; STREAMS],
    /// Weight of the sub-layer's result in each new stream.
    pub post: [f64; STREAMS],
    /// `comb[j][k]` is the weight of stream j in the new stream k.
    pub comb: [[f64; STREAMS]; STREAMS],
}

/// Computes the weights of one row. x (4, D).
pub fn mix_row(hc: &Hc<'_>, x: &[f32], constants: HcConstants) -> Mix {
    let scale = inverse_rms(x, constants.norm_eps);
    let raw: Vec<f64> = linear_row(&hc.mix, x).into_iter().map(|m| m * scale).collect();
    let eps = f64::from(constants.hc_eps);
    let value = |i: usize, set: usize| raw[i] * f64::from(hc.scale[set]) + f64::from(hc.base[i]);
    let pre = std::array::from_fn(|j| sigmoid(value(j, 0)) + eps);
    let post = std::array::from_fn(|j| 2.0 * sigmoid(value(STREAMS + j, 1)));
    let mut comb: [[f64; STREAMS]; STREAMS] = std::array::from_fn(|j| {
        let row: [f64; STREAMS] = std::array::from_fn(|k| value(2 * STREAMS + STREAMS * j + k, 2));
        let most = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let shares = row.map(|v| (v - most).exp());
        let total: f64 = shares.iter().sum();
        shares.map(|v| v / total + eps)
    });
    for step in 0..constants.iterations {
        if step > 0 {
            for row in &mut comb {
                let total = row.iter().sum::<f64>() + eps;
                row.iter_mut().for_each(|v| *v /= total);
            }
        }
        for k in 0..STREAMS {
            let total = comb.iter().map(|row| row[k]).sum::<f64>() + eps;
            comb.iter_mut().for_each(|row| row[k] /= total);
        }
    }
    Mix { pre, post, comb }
}

fn linear_row(w: &Matrix<'_>, x: &[f32]) -> Vec<f64> {
    let mut weights = vec![0f32; w.columns];
    (0..w.rows)
        .map(|row| {
            w.row(row, &mut weights);
            dot(&weights, x)
        })
        .collect()
}

/// The weighted sum of the streams, `sum_j pre[j] X[j]`. x (4, D) -> (D).
pub fn collapse(x: &[f32], pre: &[f64; STREAMS]) -> Vec<f32> {
    let dim = x.len() / STREAMS;
    (0..dim).map(|d| (0..STREAMS).map(|j| pre[j] * f64::from(x[j * dim + d])).sum::<f64>() as f32).collect()
}

/// The input of a sub-layer, `N(sum_j pre[j] X[j]; norm)`, and the weights of each row. x (T, 4, D) -> (T, D).
pub fn hc_pre(hc: &Hc<'_>, norm: &[f32], x: &[f32], constants: HcConstants) -> (Vec<f32>, Vec<Mix>) {
    use rayon::prelude::*;
    let rows = x.par_chunks_exact(norm.len() * STREAMS);
    let (collapsed, mixes): (Vec<_>, Vec<_>) = rows
        .map(|x| {
            let mix = mix_row(hc, x, constants);
            (collapse(x, &mix.pre), mix)
        })
        .unzip();
    (rms_norm(&collapsed.concat(), norm, constants.norm_eps), mixes)
}

/// The streams after a sub-layer: `X'[k] = post[k] y + sum_j comb[j][k] X[j]`. y (T, D), x (T, 4, D) -> (T, 4, D).
pub fn hc_post(y: &[f32], x: &[f32], mixes: &[Mix]) -> Vec<f32> {
    let dim = y.len() / mixes.len().max(1);
    let mut next = vec![0f32; x.len()];
    for (((y, x), mix), next) in y.chunks_exact(dim).zip(x.chunks_exact(dim * STREAMS)).zip(mixes).zip(next.chunks_exact_mut(dim * STREAMS))
    {
        for (i, next) in next.iter_mut().enumerate() {
            let (k, d) = (i / dim, i % dim);
            let carried: f64 = (0..STREAMS).map(|j| mix.comb[j][k] * f64::from(x[j * dim + d])).sum();
            *next = (mix.post[k] * f64::from(y[d]) + carried) as f32;
        }
    }
    next
}

/// The input of the output matrix: `N(sum_j pre[j] X[j]; norm)` with the four weights of the head. x (T, 4, D) -> (T, D).
pub fn hc_head(hc: &Hc<'_>, norm: &[f32], x: &[f32], constants: HcConstants) -> Vec<f32> {
    let collapsed: Vec<f32> = x
        .chunks_exact(norm.len() * STREAMS)
        .flat_map(|x| {
            let scale = inverse_rms(x, constants.norm_eps);
            let raw = linear_row(&hc.mix, x);
            let pre = std::array::from_fn(|j| {
                sigmoid(raw[j] * scale * f64::from(hc.scale[0]) + f64::from(hc.base[j])) + f64::from(constants.hc_eps)
            });
            collapse(x, &pre)
        })
        .collect();
    rms_norm(&collapsed, norm, constants.norm_eps)
}
