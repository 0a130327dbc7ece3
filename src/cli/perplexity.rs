//! `dwarfstar perplexity` measures how well a model predicts a text, and how far its predictions are from those of a base model.

use super::args::{DeviceArgs, ModelArgs};
use super::common::{Loaded, watched};
use super::pieces::TextArgs;
use super::screen::{note, put};
use crate::engine::TokenId;
use crate::measure::{Scores, score};
use crate::progress::Unit;
use anyhow::{Context, Result, bail};
use clap::Args;
use std::io::{BufReader, BufWriter, Read, Seek, Write};
use std::path::PathBuf;

#[derive(Args, Debug)]
pub struct Perplexity {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    device: DeviceArgs,
    #[command(flatten)]
    text: TextArgs,
    /// Compare the model with this one, which runs first; its logits take 4 bytes for each token and vocabulary entry in a temporary file
    #[arg(long, value_name = "FILE|FOLDER")]
    base: Option<PathBuf>,
    /// Print JSON instead of text
    #[arg(long)]
    json: bool,
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
            self.run_pieces("base", &args, |logits, next| {
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
        self.run_pieces("model", &self.model, |logits, next| {
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

    /// Runs all pieces through the model that `args` name.
    fn run_pieces(&self, what: &'static str, args: &ModelArgs, mut sink: impl FnMut(&[f32], TokenId) -> Result<()>) -> Result<()> {
        let loaded = Loaded::open(args)?;
        let pieces = self.text.read(&loaded.tokenizer)?;
        let mut engine = loaded.load(None, &self.device, self.text.piece, 1)?;
        let ran = watched(what, Unit::Items, |watch| score(&mut engine, &pieces, watch, &mut sink))?;
        if ran < pieces.len() {
            bail!("stopped");
        }
        Ok(())
    }

    fn print(&self, scores: &Scores, base: Option<&Scores>) -> Result<()> {
        let tokens = scores.tokens();
        let (perplexity, error) = scores.perplexity();
        let agreement = scores.agreement_percent();
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
