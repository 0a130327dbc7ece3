//! `dwarfstar perplexity`: how well a model predicts a text, and how far it is from a base model.

use super::args::{DeviceArgs, ModelArgs};
use super::common::Loaded;
use super::pieces::TextArgs;
use super::screen::{interrupted, note, put};
use crate::engine::{Part, RowKind, TokenId, Want};
use crate::model::NoTaps;
use crate::progress::{Progress, Unit};
use anyhow::{Context, Result, bail};
use clap::Args;
use std::io::{BufReader, BufWriter, Read, Seek, Write};
use std::path::PathBuf;
use std::sync::atomic::Ordering;

#[derive(Args, Debug)]
pub struct Perplexity {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    device: DeviceArgs,
    #[command(flatten)]
    text: TextArgs,
    /// Compare with this model: it runs first, its logits wait in a temporary file (4 bytes for each token and word of the vocabulary)
    #[arg(long, value_name = "FILE|FOLDER")]
    base: Option<PathBuf>,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

/// What a run adds up over the scored tokens of a text.
#[derive(Clone, Debug, Default)]
struct Scores {
    /// Negative log-likelihood of each token.
    losses: Vec<f64>,
    /// KL divergence from the base at each token.
    divergences: Vec<f64>,
    /// Tokens at which both models rate the same token highest.
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
    fn add(&mut self, logits: &[f32], next: TokenId, base: Option<&[f32]>) {
        let own = log_softmax(logits);
        self.losses.push(-own[next as usize]);
        if let Some(base) = base {
            self.divergences.push(divergence(&log_softmax(base), &own));
            self.agreed += usize::from(best(base) == best(logits));
        }
    }

    /// exp(mean loss), and its standard error.
    fn perplexity(&self) -> (f64, f64) {
        let n = self.losses.len() as f64;
        let mean = self.losses.iter().sum::<f64>() / n;
        let variance = self.losses.iter().map(|l| (l - mean).powi(2)).sum::<f64>() / (n - 1.0).max(1.0);
        (mean.exp(), mean.exp() * (variance / n).sqrt())
    }

    /// Divergence by name: mean, median, 99th percentile, maximum.
    fn divergence_summary(&self) -> [(&'static str, f64); 4] {
        let mut sorted = self.divergences.clone();
        sorted.sort_by(f64::total_cmp);
        let at = |share: f64| sorted[((sorted.len() - 1) as f64 * share).round() as usize];
        let mean = sorted.iter().sum::<f64>() / sorted.len() as f64;
        [("mean", mean), ("median", at(0.5)), ("p99", at(0.99)), ("maximum", at(1.0))]
    }
}

impl Perplexity {
    pub fn run(self) -> Result<()> {
        let mut base_logits = None;
        let mut base_scores = None;
        if let Some(base) = &self.base {
            let args = ModelArgs { model: Some(base.clone()), ..self.model.clone() };
            let file = tempfile::tempfile().context("the temporary file for the base model's logits")?;
            let mut writer = BufWriter::new(file);
            let mut scores = Scores::default();
            self.score("base", &args, |logits, next| {
                scores.add(logits, next, None);
                writer.write_all(bytemuck::cast_slice(logits)).context("the temporary file for the base model's logits")
            })?;
            let mut file = writer.into_inner().context("the temporary file for the base model's logits")?;
            file.rewind()?;
            base_logits = Some(BufReader::new(file));
            base_scores = Some(scores);
        }
        let mut scores = Scores::default();
        let mut base = Vec::new();
        self.score("model", &self.model, |logits, next| {
            if let Some(reader) = &mut base_logits {
                base.resize(logits.len(), 0f32);
                reader.read_exact(bytemuck::cast_slice_mut(&mut base)).context("the base model has another vocabulary")?;
            }
            scores.add(logits, next, base_logits.is_some().then_some(&base));
            Ok(())
        })?;
        if let Some(mut reader) = base_logits
            && reader.read(&mut [0])? > 0
        {
            bail!("the base model has another vocabulary");
        }
        self.print(&scores, base_scores.as_ref())
    }

    /// Runs all pieces, and gives the logits at each scored token with the token that follows. The first half of a piece is context alone.
    fn score(&self, what: &'static str, args: &ModelArgs, mut sink: impl FnMut(&[f32], TokenId) -> Result<()>) -> Result<()> {
        let loaded = Loaded::open(args)?;
        let pieces = self.text.read(&loaded.tokenizer)?;
        let mut engine = loaded.load(None, &self.device, self.text.piece, 1)?;
        let vocabulary = loaded.model.config.vocabulary as usize;
        let progress = Progress::bar(what, pieces.len() as u64, Unit::Items);
        for piece in &pieces {
            let mut session = engine.open()?;
            let scored = piece.len() / 2..piece.len() - 1;
            let mut first = 0;
            for rows in piece.chunks(engine.max_rows()) {
                if interrupted().load(Ordering::Relaxed) {
                    bail!("stopped");
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
            progress.add(1);
        }
        progress.finish();
        Ok(())
    }

    fn print(&self, scores: &Scores, base: Option<&Scores>) -> Result<()> {
        let tokens = scores.losses.len();
        let (perplexity, error) = scores.perplexity();
        let agreement = 100.0 * scores.agreed as f64 / tokens as f64;
        if self.json {
            let mut out = serde_json::json!({ "tokens": tokens, "perplexity": perplexity, "standard_error": error });
            if let Some(base) = base {
                let kl: serde_json::Map<_, _> =
                    scores.divergence_summary().map(|(name, value)| (name.into(), value.into())).into_iter().collect();
                let (perplexity, error) = base.perplexity();
                out["base"] = serde_json::json!({ "perplexity": perplexity, "standard_error": error });
                out["kl"] = kl.into();
                out["top1_agreement_percent"] = agreement.into();
            }
            return put(&format!("{out}\n"));
        }
        let mut table = format!("tokens           {tokens}\nperplexity       {perplexity:.4} +- {error:.4}\n");
        if let Some(base) = base {
            let (perplexity, error) = base.perplexity();
            table += &format!("base perplexity  {perplexity:.4} +- {error:.4}\n");
            for (name, value) in scores.divergence_summary() {
                table += &format!("KL {name:<13} {value:.6}\n");
            }
            table += &format!("top-1 agreement  {agreement:.2} %\n");
        }
        put(&table)?;
        note("the second half of each piece is scored");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_known_distributions() {
        // A model that gives each of four tokens 1/4 has perplexity 4; a base that is certain is ln 4 away from it.
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
