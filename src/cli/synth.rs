//! `dwarfstar synth` writes a model file with random weights.

use super::screen::note;
use crate::convert::{Recipe, Shape, synth};
use crate::text::v4_tokenizer_json;
use anyhow::Result;
use clap::Args;
use std::path::PathBuf;
use std::time::Instant;

#[derive(Args, Debug)]
pub struct Synth {
    /// The GGUF file to write
    output: PathBuf,
    /// The shape of the model: flash, pro or tiny
    #[arg(long)]
    shape: Shape,
    /// Write only this many layers: the same kernels run at the same sizes, from a smaller file
    #[arg(long, value_name = "N")]
    layers: Option<usize>,
    /// The formats of the weights: q2, q2-q4, q4, mxfp4, q8 or f16
    #[arg(long, default_value = "q2")]
    recipe: Recipe,
    /// The seed of the random weights: the same seed makes the same file
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

impl Synth {
    pub fn run(self) -> Result<()> {
        let started = Instant::now();
        synth(&self.output, self.shape, self.layers, self.recipe, self.seed, &v4_tokenizer_json()?)?;
        let bytes = std::fs::metadata(&self.output)?.len();
        let seconds = started.elapsed().as_secs_f64();
        note(&format!("{}: {bytes} bytes in {seconds:.1} s ({:.2} GB/s)", self.output.display(), bytes as f64 / 1e9 / seconds));
        Ok(())
    }
}
