//! The indexer of ratio-4 layers: which compressed rows a position attends to (SPEC 3.4).

use super::linear::dot;
use super::router::by_value;

/// The score of each compressed row for one position: `score[i] = sum_h hw[h] max(0, Q[h] . K[i]) * dim^-1/2 heads^-1/2`.
/// q (heads, dim), head weights hw (heads), keys (n, dim) -> (n).
pub fn index_score<'a>(q: &[f32], hw: &[f32], keys: impl Iterator<Item = &'a [f32]>) -> Vec<f32> {
    let dim = q.len() / hw.len();
    let scale = 1.0 / ((dim as f64).sqrt() * (hw.len() as f64).sqrt());
    keys.map(|key| {
        let heads = q.chunks_exact(dim).zip(hw);
        heads.map(|(q, &weight)| f64::from(weight) * scale * dot(q, key).max(0.0)).sum::<f64>() as f32
    })
    .collect()
}

/// The numbers of the `k` rows with the highest scores, ascending. Of equal scores the lower row wins; NaN counts as the lowest score.
pub fn top_k(scores: &[f32], k: usize) -> Vec<u32> {
    let mut order: Vec<u32> = (0..scores.len() as u32).collect();
    order.sort_by(by_value(scores));
    order.truncate(k);
    order.sort_unstable();
    order
}
