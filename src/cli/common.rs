//! What several commands do: find the model and its tokenizer, load the engine, watch for Ctrl-C.

use super::args::{DeviceArgs, ModelArgs};
use crate::debug::environment;
use crate::engine::{Engine, mib};
use crate::model::{Files, Model, Mtp};
use crate::text::Tokenizer;
use crate::text::encoding::EffortTable;
use anyhow::{Context, Result, bail};
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// The model that `-m` or the environment names.
pub fn model_path(args: &ModelArgs) -> Result<PathBuf> {
    match args.model.clone().or_else(|| environment().model.clone()) {
        Some(path) => Ok(path),
        None => bail!("no model: pass -m FILE (a GGUF file or a checkpoint folder), or set DWARFSTAR_MODEL"),
    }
}

/// The tokenizer of a model, or the tokenizer.json at `path` itself.
pub fn tokenizer(path: &Path) -> Result<Tokenizer> {
    let file = match path.extension().and_then(|e| e.to_str()) {
        _ if path.is_dir() => path.join("tokenizer.json"),
        Some("json") => path.to_path_buf(),
        _ => return Ok(Tokenizer::from_gguf(&crate::gguf::File::open(path)?)?),
    };
    let bytes = std::fs::read(&file).with_context(|| format!("{}: cannot read the tokenizer", file.display()))?;
    Ok(Tokenizer::from_json(&bytes, &file)?)
}

/// A model with its tokenizer, and what its name says about effort words.
pub struct Loaded {
    pub model: Model,
    pub tokenizer: Tokenizer,
    pub efforts: EffortTable,
}

impl Loaded {
    /// Opens the model that `args` name. Weights are not read yet.
    pub fn open(args: &ModelArgs) -> Result<Self> {
        let path = model_path(args)?;
        let files = Files::open(&path)?;
        let model = Model::bind(&files)?;
        let tokenizer = match &files {
            Files::Gguf(file) => Tokenizer::from_gguf(file)?,
            _ => tokenizer(&path)?,
        };
        let (ids, vocabulary) = (tokenizer.vocab_size(), model.config.vocabulary);
        if ids as u64 > u64::from(vocabulary) {
            bail!("{}: the tokenizer has {ids} tokens, the model {vocabulary}", path.display());
        }
        let efforts = args.effort_table.unwrap_or_else(|| efforts_of(&model.config.name, &path));
        Ok(Self { model, tokenizer, efforts })
    }

    /// Loads the weights, and says on stderr where to.
    pub fn load(&self, mtp: Option<&Mtp>, device: &DeviceArgs, context: u32) -> Result<Engine> {
        let engine = Engine::load(&self.model, mtp, &device.options(context), interrupted())?;
        note(&describe(&engine));
        Ok(engine)
    }
}

/// One line about a loaded engine.
pub fn describe(engine: &Engine) -> String {
    let memory = engine.plan().map_or(String::new(), |plan| format!(", {} of its memory", mib(plan.total())));
    let (device, seconds) = (engine.device(), engine.load_seconds());
    format!("{device}: loaded in {seconds:.1} s, context {}{memory}", engine.context())
}

/// The refreshed checkpoints, by their date in the name, have their own table (ENCODING section 3).
fn efforts_of(name: &str, path: &Path) -> EffortTable {
    let named = |date: &str| name.contains(date) || path.to_string_lossy().contains(date);
    if named("0731") || named("0813") { EffortTable::V0731 } else { EffortTable::Original }
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
