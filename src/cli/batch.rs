//! `dwarfstar run --batch` answers many conversations, a JSON line each, several at a time in one engine. The bits of a row do not depend
//! on the other rows of its step, so an answer does not depend on the other conversations.

use super::common::Loaded;
use super::screen::{interrupted, put};
use crate::Error;
use crate::engine::{Ending, Engine, Event, Generation, Report, Request, Scheduler, Session, StreamId, TokenId};
use crate::model::Sampling;
use crate::progress::{Progress, Unit};
use crate::text::Detokenizer;
use crate::text::encoding::{Conversation, Effort, ThinkingMode};
use anyhow::{Result, bail};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::Ordering;

/// The options that hold for every line.
pub struct Batch<'a> {
    pub loaded: &'a Loaded,
    pub sampling: Sampling,
    /// The largest number of tokens of an answer.
    pub limit: usize,
    /// Mode and effort of lines that do not name any.
    pub thinking: (ThinkingMode, Option<Effort>),
}

/// A line that is being answered.
struct Work {
    number: usize,
    prompt_tokens: usize,
    answer: Vec<TokenId>,
}

/// The lines that wait, the lines that are being answered, and the sessions that are free.
struct Desk {
    queue: VecDeque<(usize, Vec<TokenId>)>,
    work: HashMap<StreamId, Work>,
    free: Vec<Session>,
    answers: Answers,
}

impl Batch<'_> {
    /// Answers each line of `text` with a line on stdout, in order: `{"text", "ending", "prompt_tokens", "tokens"}` or `{"error"}`.
    ///
    /// # Errors
    /// The device failed, or the user pressed Ctrl-C. The answers before that are written.
    pub fn run(&self, engine: &mut Engine, sessions: u32, text: &str) -> Result<()> {
        let free = (0..sessions).map(|_| engine.open()).collect::<Result<_, _>>()?;
        let mut desk = Desk { queue: VecDeque::new(), work: HashMap::new(), free, answers: Answers::default() };
        for (number, line) in text.lines().filter(|line| !line.trim().is_empty()).enumerate() {
            match self.prompt(line) {
                Ok(prompt) => desk.queue.push_back((number, prompt)),
                Err(error) => desk.answers.add(number, failed(&error))?,
            }
        }
        desk.answers.progress = Progress::bar("answers", desk.queue.len() as u64, Unit::Items);
        let mut scheduler = Scheduler::default();
        loop {
            let stops = interrupted().load(Ordering::Relaxed);
            if stops {
                scheduler.cancel_all();
            } else {
                self.start(engine, &mut scheduler, &mut desk)?;
            }
            if scheduler.is_idle() {
                desk.answers.progress.finish();
                if stops {
                    bail!("stopped after {} answers", desk.answers.written);
                }
                return Ok(());
            }
            for event in scheduler.turn(engine) {
                self.take(event, &mut desk)?;
            }
        }
    }

    fn prompt(&self, line: &str) -> Result<Vec<TokenId>> {
        let (mode, effort) = self.thinking;
        let mut value: Value = serde_json::from_str(line)?;
        if let Some(keys) = value.as_object_mut().filter(|keys| !keys.contains_key("thinking_mode")) {
            let name = if mode == ThinkingMode::Thinking { "thinking" } else { "chat" };
            keys.insert("thinking_mode".into(), name.into());
        }
        let mut conversation = Conversation::from_json(&value)?;
        conversation.effort = conversation.effort.or(effort.filter(|_| conversation.thinking == ThinkingMode::Thinking));
        Ok(conversation.render(self.loaded.efforts)?.ids(&self.loaded.tokenizer)?)
    }

    /// Starts a line in every free session, as long as there are lines. The session is emptied before: rows that it generated have other
    /// bits than the same tokens in a prompt, and an answer must not depend on which session it gets.
    fn start(&self, engine: &mut Engine, scheduler: &mut Scheduler, desk: &mut Desk) -> Result<()> {
        while !desk.queue.is_empty()
            && let Some(session) = desk.free.pop()
            && let Some((number, prompt)) = desk.queue.pop_front()
        {
            engine.close(session);
            let session = engine.open()?;
            let prompt_tokens = prompt.len();
            match scheduler.start(engine, session, Request { prompt, generation: Some(self.generation(number)) }) {
                Ok(stream) => drop(desk.work.insert(stream, Work { number, prompt_tokens, answer: Vec::new() })),
                Err((session, error)) => {
                    desk.free.push(session);
                    desk.answers.add(number, failed(&error.into()))?;
                }
            }
        }
        Ok(())
    }

    fn generation(&self, line: usize) -> Generation {
        // The line number changes the seed, so that lines with the same prompt get different answers at a temperature above 0.
        let sampling = Sampling { seed: self.sampling.seed.wrapping_add(line as u64), ..self.sampling };
        Generation { sampling, limit: self.limit.max(1), stops: self.loaded.tokenizer.eos().into_iter().collect() }
    }

    fn take(&self, event: Event, desk: &mut Desk) -> Result<()> {
        match event {
            Event::Prompt { .. } => {}
            Event::Token { stream, token } => {
                if let Some(work) = desk.work.get_mut(&stream) {
                    work.answer.push(token);
                }
            }
            Event::Ended { stream, session, result } => {
                desk.free.push(session);
                let Some(work) = desk.work.remove(&stream) else { return Ok(()) };
                match result {
                    Ok(Report { ending: Ending::Cancelled, .. }) => {}
                    Ok(Report { ending: Ending::Stop, .. }) => desk.answers.add(work.number, self.answered(&work, "stop"))?,
                    Ok(Report { ending: Ending::Length, .. }) => desk.answers.add(work.number, self.answered(&work, "length"))?,
                    Err(error @ Error::Device(_)) => return Err(error.into()),
                    Err(error) => desk.answers.add(work.number, failed(&error.into()))?,
                }
            }
        }
        Ok(())
    }

    /// The answer of a line: what was generated, with special tokens spelt out and without the end-of-sentence token.
    fn answered(&self, work: &Work, ending: &str) -> Value {
        let mut detokenizer = Detokenizer::new(self.loaded.tokenizer.clone());
        let text: String = work.answer.iter().map(|&id| detokenizer.push(id)).collect();
        let text = text + &detokenizer.finish();
        json!({ "text": text, "ending": ending, "prompt_tokens": work.prompt_tokens, "tokens": work.answer.len() })
    }
}

fn failed(error: &anyhow::Error) -> Value {
    json!({ "error": format!("{error:#}") })
}

/// Writes answers in the order of their lines, in whatever order they end.
struct Answers {
    waiting: BTreeMap<usize, Value>,
    written: usize,
    progress: Progress,
}

impl Default for Answers {
    fn default() -> Self {
        Self { waiting: BTreeMap::new(), written: 0, progress: Progress::hidden() }
    }
}

impl Answers {
    fn add(&mut self, number: usize, answer: Value) -> Result<()> {
        self.waiting.insert(number, answer);
        self.progress.add(1);
        while let Some(answer) = self.waiting.remove(&self.written) {
            put(&format!("{answer}\n"))?;
            self.written += 1;
        }
        Ok(())
    }
}
