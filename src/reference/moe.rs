//! The routed experts and the shared expert (SPEC 3.5 (steps 4, 5)).

use super::linear::{Matrix, linear};
use super::router::Routed;

/// silu(min(gate, limit)) * clamp(up, -limit, limit). The gate is limited before silu, and only from above.
pub fn swiglu(gate: f32, up: f32, limit: f32) -> f32 {
    let gate = f64::from(gate.min(limit));
    (gate / (1.0 + (-gate).exp()) * f64::from(up.clamp(-limit, limit))) as f32
}

/// The weights of one expert, which computes w2 swiglu(w1 x, w3 x).
#[derive(Clone, Copy, Debug)]
pub struct Expert<'a> {
    /// w1 [F, D].
    pub gate: Matrix<'a>,
    /// w3 [F, D].
    pub up: Matrix<'a>,
    /// w2 [D, F].
    pub down: Matrix<'a>,
}

/// The activation of an expert, swiglu(gate x, up x). x (T, D) -> (T, F).
pub fn gate_up(gate: &Matrix<'_>, up: &Matrix<'_>, x: &[f32], limit: f32) -> Vec<f32> {
    linear(gate, x).into_iter().zip(linear(up, x)).map(|(g, u)| swiglu(g, u, limit)).collect()
}

/// The result of an expert. x (T, D) -> (T, D).
pub fn expert(expert: &Expert<'_>, x: &[f32], limit: f32) -> Vec<f32> {
    linear(&expert.down, &gate_up(&expert.gate, &expert.up, x, limit))
}

/// Adds the routed experts: `y[t] += sum_k weight[k] expert_k(x[t])`. x, y (T, D). The loop runs over experts, so that each is decoded
/// once.
pub fn routed<'a>(experts: impl Fn(u32) -> Expert<'a>, count: u32, routes: &[Routed], x: &[f32], y: &mut [f32], limit: f32) {
    let dim = x.len() / routes.len().max(1);
    let mut sums: Vec<f64> = y.iter().map(|&v| f64::from(v)).collect();
    for number in 0..count {
        let uses: Vec<(usize, f32)> = routes
            .iter()
            .enumerate()
            .flat_map(|(t, route)| route.experts.iter().zip(&route.weights).filter(|(e, _)| **e == number).map(move |(_, &w)| (t, w)))
            .collect();
        if uses.is_empty() {
            continue;
        }
        let rows: Vec<f32> = uses.iter().flat_map(|&(t, _)| &x[t * dim..(t + 1) * dim]).copied().collect();
        let results = expert(&experts(number), &rows, limit);
        for (&(t, weight), result) in uses.iter().zip(results.chunks_exact(dim)) {
            for (sum, &value) in sums[t * dim..(t + 1) * dim].iter_mut().zip(result) {
                *sum += f64::from(weight) * f64::from(value);
            }
        }
    }
    for (y, sum) in y.iter_mut().zip(sums) {
        *y = sum as f32;
    }
}
