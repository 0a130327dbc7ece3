//! What several commands do: load a model with its tokenizer, and show a progress bar during long work.

use super::args::{DeviceArgs, ModelArgs};
use super::screen::{interrupted, note};
use super::source::Source;
use crate::engine::{DeviceChoice, Engine, LoadOptions, Watch, mib};
use crate::model::{Model, Mtp};
use crate::progress::{Progress, Unit};
use crate::text::Tokenizer;
use crate::text::encoding::EffortTable;
use anyhow::{Result, bail};
use std::path::Path;

/// A model with its tokenizer, and the effort table that its name implies.
pub struct Loaded {
    pub model: Model,
    pub tokenizer: Tokenizer,
    pub efforts: EffortTable,
}

impl Loaded {
    /// Opens the model that `args` name. No weights are read yet.
    pub fn open(args: &ModelArgs) -> Result<Self> {
        let source = Source::of(args);
        let files = source.files()?;
        let model = Model::bind(&files)?;
        let tokenizer = source.tokenizer_in(&files)?;
        let (ids, vocabulary) = (tokenizer.vocab_size(), model.config.vocabulary);
        if ids as u64 > u64::from(vocabulary) {
            bail!("{}: the tokenizer has {ids} tokens, the model {vocabulary}", source.path().display());
        }
        let efforts = args.effort_table.unwrap_or_else(|| efforts_of(&model.config.name, source.path()));
        Ok(Self { model, tokenizer, efforts })
    }

    /// Loads the weights and prints the device to stderr.
    pub fn load(&self, mtp: Option<&Mtp>, device: &DeviceArgs, context: u32, sessions: u32) -> Result<Engine> {
        let options = LoadOptions { sessions, ..device.options(context) };
        load(&self.model, mtp, &options, device)
    }
}

/// Loads the weights of `model` with a progress bar, and prints the device to stderr.
pub fn load(model: &Model, mtp: Option<&Mtp>, options: &LoadOptions, asked: &DeviceArgs) -> Result<Engine> {
    let engine = watched("loading", Unit::Bytes, |watch| Engine::load(model, mtp, options, watch))?;
    announce(&engine, asked);
    Ok(engine)
}

/// Runs long work with a progress bar. Ctrl-C ends it early.
pub fn watched<T>(label: &'static str, unit: Unit, work: impl FnOnce(Watch<'_>) -> T) -> T {
    let progress = Progress::bar(label, 0, unit);
    let done = work(Watch { report: &|done, total| progress.set(done, total), cancel: interrupted() });
    progress.finish();
    done
}

/// Prints to stderr on which device the model runs, and the reason if it is not the one that a user would expect.
fn announce(engine: &Engine, asked: &DeviceArgs) {
    if asked.device == DeviceChoice::Auto && engine.plan().is_none() {
        note("no GPU found (Vulkan, Metal or Direct3D 12): the reference on the CPU runs instead, correct but slow");
    }
    let memory = engine.plan().map_or(String::new(), |plan| format!(", {} of its memory", mib(plan.total())));
    let (device, seconds) = (engine.device(), engine.load_seconds());
    note(&format!("{device}: loaded in {seconds:.1} s, context {}{memory}", engine.context()));
}

/// The effort table of a model. The refreshed checkpoints, which have their date in the name, have a table of their own.
fn efforts_of(name: &str, path: &Path) -> EffortTable {
    let named = |date: &str| name.contains(date) || path.to_string_lossy().contains(date);
    if named("0731") || named("0813") { EffortTable::V0731 } else { EffortTable::Original }
}
