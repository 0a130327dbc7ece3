//! Attention in which each key is also the value, with a sink in the denominator (SPEC 3.1 (step 5)).

use super::linear::dot;

/// One query head over `keys`: the weights are softmax(q . k / sqrt(K)) with exp(sink) added to the sum of the softmax. q (K) -> (K).
pub fn attention(q: &[f32], keys: &[&[f32]], sink: f32) -> Vec<f32> {
    let scale = 1.0 / (q.len() as f64).sqrt();
    let scores: Vec<f64> = keys.iter().map(|key| dot(q, key) * scale).collect();
    let most = scores.iter().copied().fold(f64::from(sink), f64::max);
    let mut total = (f64::from(sink) - most).exp();
    let mut sums = vec![0f64; q.len()];
    for (score, key) in scores.iter().zip(keys) {
        let weight = (score - most).exp();
        total += weight;
        for (sum, &value) in sums.iter_mut().zip(*key) {
            *sum += weight * f64::from(value);
        }
    }
    sums.into_iter().map(|sum| (sum / total) as f32).collect()
}
