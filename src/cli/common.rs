//! What several commands do: load a model with its tokenizer, write lines, watch for Ctrl-C.

use super::args::{DeviceArgs, ModelArgs};
use super::source::Source;
use crate::Error;
use crate::engine::{DeviceChoice, Engine, LoadOptions, Watch, mib};
use crate::model::{Model, Mtp};
use crate::progress::{Progress, Unit};
use crate::text::Tokenizer;
use crate::text::encoding::EffortTable;
use anyhow::{Context, Result, bail};
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// A model with its tokenizer, and what its name says about effort words.
pub struct Loaded {
    pub model: Model,
    pub tokenizer: Tokenizer,
    pub efforts: EffortTable,
}

impl Loaded {
    /// Opens the model that `args` name. Weights are not read yet.
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

    /// Loads the weights, and says on stderr where to.
    pub fn load(&self, mtp: Option<&Mtp>, device: &DeviceArgs, context: u32, sessions: u32) -> Result<Engine> {
        let options = LoadOptions { sessions, ..device.options(context) };
        load(&self.model, mtp, &options, device)
    }
}

/// Loads the weights of `model` behind a progress bar, and says on stderr where to.
pub fn load(model: &Model, mtp: Option<&Mtp>, options: &LoadOptions, asked: &DeviceArgs) -> Result<Engine> {
    let engine = watched("loading", Unit::Bytes, |watch| Engine::load(model, mtp, options, watch))?;
    announce(&engine, asked);
    Ok(engine)
}

/// Runs long work behind a progress bar, until Ctrl-C.
pub fn watched<T>(label: &'static str, unit: Unit, work: impl FnOnce(Watch<'_>) -> T) -> T {
    let progress = Progress::bar(label, 0, unit);
    let done = work(Watch { report: &|done, total| progress.set(done, total), cancel: interrupted() });
    progress.finish();
    done
}

/// Says on stderr where a model was loaded to, and why, where it is not what one would expect.
fn announce(engine: &Engine, asked: &DeviceArgs) {
    if asked.device == DeviceChoice::Auto && engine.plan().is_none() {
        note("no GPU found (Vulkan, Metal or Direct3D 12): the reference on the CPU runs instead, correct but slow");
    }
    let memory = engine.plan().map_or(String::new(), |plan| format!(", {} of its memory", mib(plan.total())));
    let (device, seconds) = (engine.device(), engine.load_seconds());
    note(&format!("{device}: loaded in {seconds:.1} s, context {}{memory}", engine.context()));
}

/// The refreshed checkpoints, by their date in the name, have their own table: [`EffortTable`] has both.
fn efforts_of(name: &str, path: &Path) -> EffortTable {
    let named = |date: &str| name.contains(date) || path.to_string_lossy().contains(date);
    if named("0731") || named("0813") { EffortTable::V0731 } else { EffortTable::Original }
}

/// An error as one line, with the option that helps where there is one.
pub fn explained(error: &anyhow::Error) -> String {
    let hint = if matches!(error.downcast_ref(), Some(Error::ContextFull { .. })) { "; raise --ctx" } else { "" };
    format!("{error:#}{hint}")
}

/// A line for people, on stderr.
#[expect(clippy::print_stderr, reason = "this is where lines for people go")]
pub fn note(line: &str) {
    eprintln!("{line}");
}

/// Writes results to stdout. A reader that went away ends the program quietly, as for any tool in a pipe.
pub fn put(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        done => done.context("stdout"),
    }
}

/// Reasoning and other asides: on stderr, dimmed on a terminal.
#[expect(clippy::print_stderr, reason = "this is where asides go")]
pub fn aside(text: &str) {
    if std::io::stderr().is_terminal() {
        eprint!("\x1b[2m{text}\x1b[0m");
    } else {
        eprint!("{text}");
    }
}

/// Set by Ctrl-C. A second Ctrl-C ends the program at once.
pub fn interrupted() -> &'static AtomicBool {
    static FLAG: AtomicBool = AtomicBool::new(false);
    static WATCH: OnceLock<()> = OnceLock::new();
    WATCH.get_or_init(|| {
        let watch = ctrlc::set_handler(|| {
            if FLAG.swap(true, Ordering::Relaxed) {
                std::process::exit(130);
            }
        });
        if let Err(error) = watch {
            note(&format!("Ctrl-C will not stop cleanly: {error}"));
        }
    });
    &FLAG
}
