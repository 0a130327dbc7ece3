//! Generates one answer and prints it as it comes, for `run` and `chat`.

use super::args::ThinkingArgs;
use super::screen::{aside, interrupted, put};
use crate::engine::{Engine, Generation, Report, Session, TokenId, Watch};
use crate::progress::{Progress, Unit};
use crate::text::encoding::{Effort, ThinkingMode};
use crate::text::stream::{Event, SplitOptions, Splitter, Start};
use crate::text::{Detokenizer, Tokenizer};
use anyhow::Result;
use std::ops::ControlFlow;

impl ThinkingArgs {
    /// The mode and effort for the prompt encoding.
    pub fn mode(self) -> (ThinkingMode, Option<Effort>) {
        match self {
            Self { nothink: true, .. } => (ThinkingMode::Chat, None),
            Self { think_max: true, .. } => (ThinkingMode::Thinking, Some(Effort::Max)),
            Self { .. } => (ThinkingMode::Thinking, None),
        }
    }
}

/// How an answer is printed.
pub enum Style {
    /// All text goes to stdout, markup included.
    Raw,
    /// Reasoning goes to stderr, the answer to stdout.
    Split(ThinkingMode),
}

/// What the model said.
#[derive(Default)]
pub struct Answer {
    pub text: String,
    pub reasoning: String,
    pub report: Option<Report>,
}

enum Printer {
    Raw(Detokenizer),
    Split(Box<Splitter>),
}

impl Answer {
    fn show(&mut self, text: String) -> Result<()> {
        put(&text)?;
        self.text.push_str(&text);
        Ok(())
    }

    fn take(&mut self, events: Vec<Event>) -> Result<()> {
        for event in events {
            match event {
                Event::Reasoning(text) => {
                    aside(&text);
                    self.reasoning.push_str(&text);
                }
                Event::Content(text) => {
                    if self.text.is_empty() && !self.reasoning.is_empty() {
                        aside("\n\n");
                    }
                    self.show(text)?;
                }
                // The prompt has no tools, so the splitter reports no calls.
                Event::ToolName { .. } | Event::ToolArguments { .. } => {}
            }
        }
        Ok(())
    }
}

/// Generates from `prompt` and prints the answer as it comes.
pub fn answer(
    engine: &mut Engine,
    session: &mut Session,
    tokenizer: &Tokenizer,
    prompt: &[TokenId],
    generation: &Generation,
    style: &Style,
) -> Result<Answer> {
    let mut printer = match style {
        Style::Raw => Printer::Raw(Detokenizer::new(tokenizer.clone())),
        Style::Split(mode) => {
            let start = if *mode == ThinkingMode::Thinking { Start::Reasoning } else { Start::Content };
            let options = SplitOptions { start, continues: false, tools: false, stop: Vec::new() };
            Printer::Split(Box::new(Splitter::new(tokenizer.clone(), options)))
        }
    };
    let mut answer = Answer::default();
    let mut failure = None;
    let progress = Progress::bar("prefill", prompt.len() as u64, Unit::Items);
    let sink = |id: TokenId| {
        progress.finish();
        let shown = match &mut printer {
            Printer::Raw(detokenizer) => answer.show(detokenizer.push(id)),
            Printer::Split(splitter) => answer.take(splitter.push(&[id])),
        };
        match shown {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                failure = Some(error);
                ControlFlow::Break(())
            }
        }
    };
    let watch = Watch { report: &|done, total| progress.set(done, total), cancel: interrupted() };
    let report = session.generate(engine, prompt, generation, watch, sink);
    progress.finish();
    let report = report?;
    if let Some(error) = failure {
        return Err(error);
    }
    match &mut printer {
        Printer::Raw(detokenizer) => answer.show(detokenizer.finish())?,
        Printer::Split(splitter) => answer.take(splitter.finish())?,
    }
    answer.report = Some(report);
    Ok(answer)
}

/// One line about an answer's speed.
pub fn speed(report: &Report) -> String {
    let rate = |n: usize, seconds: f64| if seconds > 0.0 { format!("{:.1} t/s", n as f64 / seconds) } else { "-".into() };
    format!(
        "prompt {} tokens ({} reused), first token after {:.2} s ({}); {} more at {}",
        report.prefilled + report.reused,
        report.reused,
        report.prefill_seconds,
        rate(report.prefilled, report.prefill_seconds),
        report.decoded,
        rate(report.decoded, report.decode_seconds)
    )
}
