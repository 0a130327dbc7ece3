//! `dwarfstar logits` writes the logits of given tokens to a file, for comparison with other implementations.

use super::args::{DeviceArgs, ModelArgs};
use super::common::load;
use super::screen::interrupted;
use super::source::{Source, draft_block};
use crate::engine::{DECODE_ROWS, Engine, Generation, Part, RowKind, Session, TokenId, Tokens, Want, Watch};
use crate::model::Model;
use crate::model::{Sampling, Tap, TapData, Taps};
use crate::progress::{Progress, Unit};
use anyhow::{Context, Result, bail};
use clap::Args;
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

#[derive(Args, Debug)]
pub struct Logits {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    device: DeviceArgs,
    /// A file with the token ids, as a JSON array
    #[arg(long, value_name = "FILE")]
    tokens: PathBuf,
    /// The safetensors file to write
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Run this many tokens in each step: up to 16 take the kernels of generated tokens, more take those of prompts
    #[arg(long, value_name = "N")]
    step: Option<usize>,
    /// Then generate this many tokens, each the most likely one
    #[arg(long, value_name = "N")]
    greedy: Option<usize>,
    /// Write the logits of this draft block too: a safetensors or GGUF file, or "bundled" for that of the demo model
    #[arg(long, value_name = "FILE|bundled")]
    mtp: Option<PathBuf>,
    /// Write the chosen experts, the chosen compressed rows and the streams after each layer too
    #[arg(long)]
    taps: bool,
    /// The length of the context, in tokens [default: what the tokens need]
    #[arg(long, value_name = "N")]
    ctx: Option<u32>,
}

/// Tensors to write: name, shape, bytes.
type Tensors = BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>;

fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn ids(values: &[u32]) -> Vec<u8> {
    values.iter().flat_map(|&v| (v as i32).to_le_bytes()).collect()
}

/// Collects what `--taps` adds, under the names of the golden files.
#[derive(Default)]
struct Collector {
    on: bool,
    collected: BTreeMap<String, (Dtype, Vec<u8>)>,
}

impl Taps for Collector {
    fn wants(&self, tap: Tap) -> bool {
        self.on && matches!(tap, Tap::Chosen(_) | Tap::Selected(_) | Tap::Hidden(_))
    }

    fn see(&mut self, tap: Tap, data: TapData<'_>) {
        if !self.wants(tap) {
            return;
        }
        let name = match tap {
            Tap::Chosen(l) => format!("l{l}.router.ids"),
            Tap::Selected(l) => format!("l{l}.indexer.topk_ids"),
            Tap::Hidden(l) => format!("hidden.{l}"),
            _ => return,
        };
        let (dtype, bytes) = match data {
            TapData::Floats(values) => (Dtype::F32, floats(values)),
            TapData::Ids(values) => (Dtype::I32, ids(values)),
        };
        self.collected.entry(name).or_insert((dtype, Vec::new())).1.extend(bytes);
    }
}

impl Logits {
    pub fn run(self) -> Result<()> {
        let tokens = read_tokens(&self.tokens)?;
        let model = Model::bind(&Source::of(&self.model).files()?)?;
        let mtp = self.mtp.as_ref().map(|name| draft_block(&model, name)).transpose()?;
        let needed = (tokens.len() + self.greedy.unwrap_or(0) + 1) as u32;
        let context = self.ctx.unwrap_or(needed.next_multiple_of(512)).min(model.config.max_context);
        if tokens.len() > context as usize {
            bail!("{}: {} tokens do not fit in a context of {context}", self.tokens.display(), tokens.len());
        }
        let options = self.device.options(context);
        let mut engine = load(&model, mtp.as_ref(), &options, &self.device)?;
        let mut session = engine.open()?;
        let mut tensors = Tensors::new();
        let mut collector = Collector { on: self.taps, ..Default::default() };
        let (logits, drafted) = self.feed(&mut engine, &mut session, &tokens, &mut collector)?;
        let vocabulary = model.config.vocabulary as usize;
        tensors.insert("logits".into(), (Dtype::F32, vec![tokens.len(), vocabulary], floats(&logits)));
        if mtp.is_some() {
            tensors.insert("mtp_logits".into(), (Dtype::F32, vec![tokens.len() - 1, vocabulary], floats(&drafted)));
        }
        for (name, (dtype, bytes)) in collector.collected {
            let per_row = bytes.len() / 4 / tokens.len();
            let shape = if name.starts_with("hidden") { vec![tokens.len(), 4, per_row / 4] } else { vec![tokens.len(), per_row] };
            tensors.insert(name, (dtype, shape, bytes));
        }
        if let Some(count) = self.greedy {
            let decoded = greedy(&mut engine, &mut session, &tokens, count)?;
            tensors.insert("greedy_ids".into(), (Dtype::I32, vec![decoded.len()], ids(&decoded)));
        }
        write(&self.output, &tensors)
    }

    /// Runs all tokens and returns their logits, and those of the draft block. Pieces have a fixed length, so that the result depends on
    /// the arguments alone.
    fn feed(&self, engine: &mut Engine, session: &mut Session, tokens: &[TokenId], taps: &mut Collector) -> Result<(Vec<f32>, Vec<f32>)> {
        let step = self.step.unwrap_or(tokens.len()).clamp(1, engine.max_rows());
        let kind = if self.step.is_some() && step <= DECODE_ROWS as usize { RowKind::Generated } else { RowKind::Prompt };
        let progress = Progress::bar("tokens", tokens.len() as u64, Unit::Items);
        let (mut logits, mut drafted) = (Vec::new(), Vec::new());
        for (i, chunk) in tokens.chunks(step).enumerate() {
            let wants = (0..chunk.len() as u32).map(|row| (row, Want::Logits)).collect();
            let next = &tokens[i * step + 1..];
            let drafts = if self.mtp.is_some() { &next[..chunk.len().min(next.len())] } else { &[] };
            let part = Part { session: &mut *session, tokens: Tokens::Given(chunk), wants, drafts };
            let output = engine.step(kind, vec![part], taps)?;
            logits.extend(output.logits);
            drafted.extend(output.draft_logits);
            progress.add(chunk.len() as u64);
        }
        progress.finish();
        Ok((logits, drafted))
    }
}

fn greedy(engine: &mut Engine, session: &mut Session, tokens: &[TokenId], count: usize) -> Result<Vec<TokenId>> {
    let generation = Generation { sampling: Sampling::GREEDY, limit: count, stops: Vec::new() };
    let mut decoded = Vec::new();
    let sink = |id| {
        decoded.push(id);
        ControlFlow::Continue(())
    };
    session.generate(engine, tokens, &generation, Watch::quiet(interrupted()), sink)?;
    Ok(decoded)
}

fn read_tokens(path: &Path) -> Result<Vec<TokenId>> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let tokens: Vec<TokenId> =
        serde_json::from_str(&text).with_context(|| format!("{}: expected a JSON array of token ids", path.display()))?;
    if tokens.is_empty() {
        bail!("{}: the list of tokens is empty", path.display());
    }
    Ok(tokens)
}

/// Writes a temporary file next to `path` and renames it, so that `path` never names an incomplete file.
fn write(path: &Path, tensors: &Tensors) -> Result<()> {
    let views: Vec<(String, TensorView<'_>)> = tensors
        .iter()
        .map(|(name, (dtype, shape, bytes))| Ok((name.clone(), TensorView::new(*dtype, shape.clone(), bytes)?)))
        .collect::<Result<_>>()?;
    let bytes = safetensors::serialize(views, None)?;
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let temporary = tempfile::NamedTempFile::new_in(folder).with_context(|| folder.display().to_string())?;
    std::fs::write(temporary.path(), bytes).with_context(|| path.display().to_string())?;
    temporary.persist(path).with_context(|| path.display().to_string())?;
    Ok(())
}
