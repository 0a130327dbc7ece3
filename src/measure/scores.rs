//! How well a model predicts a text, and how far its predictions are from those of another model.

use crate::engine::{Engine, Part, RowKind, TokenId, Want, Watch};
use crate::model::NoTaps;

/// The scores of a text's tokens.
#[derive(Clone, Debug, Default)]
pub struct Scores {
    /// Negative log-likelihood of each token.
    losses: Vec<f64>,
    /// KL divergence from the base at each token.
    divergences: Vec<f64>,
    /// Number of tokens for which both models rate the same token highest.
    agreed: usize,
}

/// Log-probabilities from logits.
fn log_softmax(logits: &[f32]) -> Vec<f64> {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|&l| f64::from(l - most).exp()).sum();
    logits.iter().map(|&l| f64::from(l - most) - sum.ln()).collect()
}

/// KL(base || model) in nats.
fn divergence(base: &[f64], model: &[f64]) -> f64 {
    base.iter().zip(model).map(|(&b, &m)| b.exp() * (b - m)).sum::<f64>().max(0.0)
}

fn best(values: &[f32]) -> usize {
    (0..values.len()).fold(0, |best, i| if values[i] > values[best] { i } else { best })
}

impl Scores {
    /// Adds a token: the logits that predict it, the token itself, and the base model's logits if there is a base model.
    pub fn add(&mut self, logits: &[f32], next: TokenId, base: Option<&[f32]>) {
        let own = log_softmax(logits);
        self.losses.push(-own[next as usize]);
        if let Some(base) = base {
            self.divergences.push(divergence(&log_softmax(base), &own));
            self.agreed += usize::from(best(base) == best(logits));
        }
    }

    /// The number of tokens that were scored.
    pub fn tokens(&self) -> usize {
        self.losses.len()
    }

    /// The share of tokens for which both models rate the same token highest, in percent.
    pub fn agreement_percent(&self) -> f64 {
        100.0 * self.agreed as f64 / self.losses.len() as f64
    }

    /// The perplexity, which is exp(mean loss), and its standard error.
    pub fn perplexity(&self) -> (f64, f64) {
        let n = self.losses.len() as f64;
        let mean = self.losses.iter().sum::<f64>() / n;
        let variance = self.losses.iter().map(|l| (l - mean).powi(2)).sum::<f64>() / (n - 1.0).max(1.0);
        (mean.exp(), mean.exp() * (variance / n).sqrt())
    }

    /// Statistics of the divergence, by name: mean, median, 99th percentile, maximum.
    pub fn divergence_summary(&self) -> [(&'static str, f64); 4] {
        let mut sorted = self.divergences.clone();
        sorted.sort_by(f64::total_cmp);
        let at = |share: f64| sorted[((sorted.len() - 1) as f64 * share).round() as usize];
        let mean = sorted.iter().sum::<f64>() / sorted.len() as f64;
        [("mean", mean), ("median", at(0.5)), ("p99", at(0.99)), ("maximum", at(1.0))]
    }
}

/// Runs `pieces` and gives `sink` the logits of each scored token and the token that follows it. The first half of a piece is context and
/// is not scored. Returns the number of pieces that ran before `watch` ended it.
///
/// # Errors
/// The device failed, a piece is longer than the engine's context, or `sink` failed.
pub fn score<E: From<crate::Error>>(
    engine: &mut Engine,
    pieces: &[Vec<TokenId>],
    watch: Watch<'_>,
    mut sink: impl FnMut(&[f32], TokenId) -> Result<(), E>,
) -> Result<usize, E> {
    let vocabulary = engine.config().vocabulary as usize;
    for (done, piece) in pieces.iter().enumerate() {
        (watch.report)(done as u64, pieces.len() as u64);
        let mut session = engine.open()?;
        let scored = piece.len() / 2..piece.len() - 1;
        let mut first = 0;
        for rows in piece.chunks(engine.max_rows()) {
            if watch.is_cancelled() {
                return Ok(done);
            }
            let wanted: Vec<usize> = (0..rows.len()).filter(|row| scored.contains(&(first + row))).collect();
            let wants = wanted.iter().map(|&row| (row as u32, Want::Logits)).collect();
            let output = engine.step(RowKind::Prompt, vec![Part::given(&mut session, rows, wants)], &mut NoTaps)?;
            for (logits, row) in output.logits.chunks_exact(vocabulary).zip(wanted) {
                sink(logits, piece[first + row + 1])?;
            }
            first += rows.len();
        }
        engine.close(session);
    }
    Ok(pieces.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_known_distributions() {
        // A model that gives each of four tokens 1/4 has perplexity 4. The divergence from it of a base that is certain is ln 4.
        let mut scores = Scores::default();
        scores.add(&[1.0; 4], 2, Some(&[0.0, 0.0, 100.0, 0.0]));
        scores.add(&[1.0; 4], 1, Some(&[1.0; 4]));
        assert!((scores.perplexity().0 - 4.0).abs() < 1e-9);
        assert!((scores.divergences[0] - 4f64.ln()).abs() < 1e-9 && scores.divergences[1] < 1e-12);
        assert_eq!(scores.agreed, 1);
        let summary = scores.divergence_summary();
        assert!((summary[0].1 - 4f64.ln() / 2.0).abs() < 1e-9 && (summary[3].1 - 4f64.ln()).abs() < 1e-9, "{summary:?}");
    }
}
