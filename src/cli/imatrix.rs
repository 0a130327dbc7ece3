//! `dwarfstar imatrix` measures how much a text uses each input channel of each weight, and each expert.

use super::args::{DeviceArgs, ModelArgs};
use super::common::Loaded;
use super::pieces::TextArgs;
use super::screen::{interrupted, note};
use crate::convert::Collector;
use crate::engine::{Part, RowKind};
use crate::progress::{Progress, Unit};
use anyhow::{Result, bail};
use clap::Args;
use std::path::PathBuf;
use std::sync::atomic::Ordering;

#[derive(Args, Debug)]
pub struct Imatrix {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    device: DeviceArgs,
    #[command(flatten)]
    text: TextArgs,
    /// The importance matrix to write, in GGUF's imatrix format
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

impl Imatrix {
    pub fn run(self) -> Result<()> {
        let loaded = Loaded::open(&self.model)?;
        let pieces = self.text.read(&loaded.tokenizer)?;
        let mut engine = loaded.load(None, &self.device, self.text.piece, 1)?;
        let mut collector = Collector::new(&loaded.model);
        let progress = Progress::bar("pieces", pieces.len() as u64, Unit::Items);
        for piece in &pieces {
            if interrupted().load(Ordering::Relaxed) {
                bail!("stopped; {} is not written", self.output.display());
            }
            let mut session = engine.open()?;
            for rows in piece.chunks(engine.max_rows()) {
                engine.step(RowKind::Prompt, vec![Part::given(&mut session, rows, Vec::new())], &mut collector)?;
            }
            engine.close(session);
            progress.add(1);
        }
        progress.finish();
        let mut importance = collector.finish();
        importance.datasets = self.text.names();
        importance.chunks = pieces.len() as u32;
        importance.chunk_size = self.text.piece;
        importance.write(&self.output)?;
        let unused = |counts: &[f32]| counts.iter().filter(|&&n| n == 0.0).count();
        let idle: usize = importance.inputs.iter().filter(|(name, _)| name.contains("ffn_down_exps")).map(|(_, i)| unused(&i.counts)).sum();
        note(&format!(
            "{}: {} weights from {} tokens; {idle} experts were never used",
            self.output.display(),
            importance.inputs.len(),
            pieces.len() * self.text.piece as usize
        ));
        Ok(())
    }
}
