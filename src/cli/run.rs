//! `dwarfstar run` answers one prompt, or a file of conversations.

use super::answer::{Style, answer, speed};
use super::args::{DeviceArgs, ModelArgs, SamplingArgs, ThinkingArgs};
use super::batch::Batch;
use super::common::Loaded;
use super::screen::{note, put};
use crate::engine::{Ending, Generation};
use crate::text::encoding::{Chat, ChatTurn};
use crate::text::{Tokenizer, special};
use anyhow::{Context, Result};
use clap::Args;
use std::path::{Path, PathBuf};

#[derive(Args, Debug)]
pub struct Run {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    device: DeviceArgs,
    #[command(flatten)]
    sampling: SamplingArgs,
    #[command(flatten)]
    thinking: ThinkingArgs,
    /// The prompt
    #[arg(short, long, value_name = "TEXT", required_unless_present_any = ["prompt_file", "batch"])]
    prompt: Option<String>,
    /// Read the prompt from a file
    #[arg(long, value_name = "FILE", conflicts_with = "prompt")]
    prompt_file: Option<PathBuf>,
    /// The system message of the conversation
    #[arg(long, value_name = "TEXT", conflicts_with = "raw")]
    system: Option<String>,
    /// The largest number of tokens of an answer
    #[arg(short, default_value_t = 4096, value_name = "N")]
    n: usize,
    /// The largest length of prompt and answer together, in tokens
    #[arg(long, default_value_t = 8192, value_name = "N")]
    ctx: u32,
    /// Let the model continue the prompt as plain text, without the chat template
    #[arg(long)]
    raw: bool,
    /// Answer each line of this file, a JSON object with the keys that `render` reads, with a JSON line
    #[arg(long, value_name = "FILE", conflicts_with_all = ["prompt", "prompt_file", "system", "raw"])]
    batch: Option<PathBuf>,
    /// The number of conversations of a batch that are answered at the same time
    #[arg(long, default_value_t = 8, value_name = "N", requires = "batch", value_parser = clap::value_parser!(u32).range(1..=16))]
    sessions: u32,
}

impl Run {
    pub fn run(self) -> Result<()> {
        match &self.batch {
            Some(file) => self.run_batch(file),
            None => self.run_one(),
        }
    }

    fn run_batch(&self, file: &Path) -> Result<()> {
        let lines = read(file)?;
        let loaded = Loaded::open(&self.model)?;
        let mut engine = loaded.load(None, &self.device, self.context(&loaded), self.sessions)?;
        let batch = Batch { loaded: &loaded, sampling: self.sampling.sampling(0.0), limit: self.n, thinking: self.thinking.mode() };
        batch.run(&mut engine, self.sessions, &lines)
    }

    fn context(&self, loaded: &Loaded) -> u32 {
        self.ctx.min(loaded.model.config.max_context)
    }

    fn run_one(&self) -> Result<()> {
        let prompt = match (&self.prompt, &self.prompt_file) {
            (Some(text), _) => text.clone(),
            (None, Some(file)) => read(file)?,
            (None, None) => String::new(),
        };
        let loaded = Loaded::open(&self.model)?;
        let (mode, effort) = self.thinking.mode();
        let (ids, style) = if self.raw {
            (raw_ids(&loaded.tokenizer, &prompt)?, Style::Raw)
        } else {
            let turns = vec![ChatTurn::User(prompt)];
            let chat = Chat { system: self.system.clone(), turns, thinking: mode, effort };
            if effort.is_some() {
                note(&format!("effort table: {}", loaded.efforts.name()));
            }
            (chat.render(loaded.efforts)?.ids(&loaded.tokenizer)?, Style::Split(mode))
        };
        let mut engine = loaded.load(None, &self.device, self.context(&loaded), 1)?;
        let mut session = engine.open()?;
        let stops = loaded.tokenizer.eos().into_iter().collect();
        let generation = Generation { sampling: self.sampling.sampling(1.0), limit: self.n, stops };
        let answer = answer(&mut engine, &mut session, &loaded.tokenizer, &ids, &generation, &style)?;
        if !answer.text.ends_with('\n') {
            put("\n")?;
        }
        if let Some(report) = &answer.report {
            note(&speed(report));
            if report.ending == Ending::Cancelled {
                note("stopped");
            }
        }
        Ok(())
    }
}

fn read(file: &Path) -> Result<String> {
    std::fs::read_to_string(file).with_context(|| file.display().to_string())
}

/// The ids of `prompt` as plain text after the beginning-of-sentence token, as a base model reads it.
fn raw_ids(tokenizer: &Tokenizer, prompt: &str) -> Result<Vec<u32>> {
    let mut ids: Vec<u32> = tokenizer.token_id(special::BOS).into_iter().collect();
    ids.extend(tokenizer.encode(prompt)?);
    Ok(ids)
}
