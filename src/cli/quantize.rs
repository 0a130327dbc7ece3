//! `dwarfstar quantize` converts a checkpoint folder or GGUF file into a GGUF file with smaller formats.

use super::screen::{interrupted, note, put};
use crate::convert::{Importance, Override, Recipe, Request, quantize};
use crate::engine::mib;
use crate::model::Files;
use crate::quant::BlockFormat;
use anyhow::Result;
use clap::Args;
use std::fmt::Write;
use std::path::PathBuf;
use std::time::Instant;

#[derive(Args, Debug)]
pub struct Quantize {
    /// The model to convert: a checkpoint folder or a GGUF file
    input: PathBuf,
    /// The GGUF file to write
    output: PathBuf,
    /// The formats of the result: q2, q2-q4, q4, mxfp4, q8 or f16
    #[arg(long)]
    recipe: Recipe,
    /// An importance matrix that `imatrix` wrote
    #[arg(long, value_name = "FILE")]
    imatrix: Option<PathBuf>,
    /// The format of the matrices whose GGUF names match a regular expression, for example attn_q_b=q4_k; the last match counts
    #[arg(long = "type", value_name = "PATTERN=TYPE")]
    types: Vec<Override>,
    /// Write only the draft block (mtp.0.*), not the model
    #[arg(long)]
    mtp: bool,
}

impl Quantize {
    pub fn run(self) -> Result<()> {
        let started = Instant::now();
        let files = Files::open(&self.input)?;
        let importance = self.imatrix.as_deref().map(Importance::open).transpose()?;
        let request = Request { recipe: self.recipe, overrides: &self.types, importance: importance.as_ref(), draft: self.mtp };
        let summary = quantize(&files, &self.output, request, interrupted())?;
        let mut table =
            format!("{:<8} {:>7} {:>10} {:>15} {:>12} {:>15}\n", "format", "tensors", "importance", "values", "size", "relative error");
        for (number, own) in &summary.formats {
            let (format, error) = (BlockFormat::ALL[*number], own.relative_error());
            let (tensors, known, values, size) = (own.tensors, own.with_importance, own.values, mib(own.bytes));
            writeln!(table, "{:<8} {tensors:>7} {known:>10} {values:>15} {size:>12} {error:>15.5}", format.name())?;
        }
        put(&table)?;
        if summary.resumed > 0 {
            note(&format!("{} tensors were there from an earlier attempt", summary.resumed));
        }
        let (bytes, seconds) = (std::fs::metadata(&self.output)?.len(), started.elapsed().as_secs_f64());
        note(&format!("{}: {} in {seconds:.1} s", self.output.display(), mib(bytes)));
        Ok(())
    }
}
