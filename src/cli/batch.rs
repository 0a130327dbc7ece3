//! `dwarfstar run --batch`: many conversations, a JSON line each, several at a time in one engine. Steps of up to 16 rows give a row the
//! same bits in any company, so that an answer does not depend on what runs beside it.

use super::common::{Loaded, interrupted, put};
use crate::Error;
use crate::engine::{Decode, Engine, Flight, SampleRequest, Session, TokenId};
use crate::progress::{Progress, Unit};
use crate::reference::Sampling;
use crate::text::Detokenizer;
use crate::text::encoding::{Conversation, Effort, ThinkingMode};
use anyhow::{Result, bail};
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::Ordering;

/// Lines that are looked through for one that continues what a session holds.
const WINDOW: usize = 64;

/// What holds for every line.
pub struct Batch<'a> {
    pub loaded: &'a Loaded,
    pub sampling: Sampling,
    /// Most tokens of an answer.
    pub limit: usize,
    /// Mode and effort of lines that do not say.
    pub thinking: (ThinkingMode, Option<Effort>),
}

/// A line that waits.
struct Line {
    number: usize,
    prompt: Vec<TokenId>,
}

/// A line that is being answered.
struct Work {
    line: Line,
    answer: Vec<TokenId>,
    limit: usize,
    /// The prompt's last token, until it is submitted.
    first: Option<TokenId>,
    /// Tokens of the answer that are there or on their way.
    asked: usize,
}

/// A step on its way, and the seats that its rows belong to.
type Pending = (Flight, Vec<usize>);

/// A session and what it works on.
struct Seat {
    session: Session,
    work: Option<Work>,
}

impl Batch<'_> {
    /// Answers each line of `text` with a line on stdout, in order: `{"text", "ending", "prompt_tokens", "tokens"}` or `{"error"}`.
    ///
    /// # Errors
    /// The device fails, or Ctrl-C; answers up to there are written.
    pub fn run(&self, engine: &mut Engine, sessions: u32, text: &str) -> Result<()> {
        let mut answers = Answers::default();
        let mut queue = VecDeque::new();
        for (number, line) in text.lines().filter(|line| !line.trim().is_empty()).enumerate() {
            match self.prompt(line) {
                Ok(prompt) => queue.push_back(Line { number, prompt }),
                Err(error) => answers.add(number, failed(&error))?,
            }
        }
        answers.progress = Progress::bar("answers", queue.len() as u64, Unit::Items);
        let mut seats = Vec::new();
        for _ in 0..sessions.min(engine.max_rows() as u32) {
            seats.push(Seat { session: engine.open()?, work: None });
        }
        let mut pending = VecDeque::new();
        loop {
            // A session that gets another line must have nothing on its way.
            if pending.is_empty() {
                seats.iter_mut().for_each(|seat| seat.session.settle(engine));
                self.fill(engine, &mut seats, &mut queue, &mut answers)?;
            }
            if interrupted().load(Ordering::Relaxed) {
                answers.progress.finish();
                bail!("stopped after {} answers", answers.written);
            }
            let waits = !queue.is_empty() && seats.iter().any(|seat| seat.work.is_none());
            self.submit(engine, &mut seats, &mut pending, if waits { 0 } else { 1 + engine.look_ahead() })?;
            let Some(step) = pending.pop_front() else { break };
            self.land(engine, &mut seats, step, &mut answers)?;
        }
        answers.progress.finish();
        Ok(())
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

    /// Gives every idle session a line to work on, as long as there are any.
    fn fill(&self, engine: &mut Engine, seats: &mut [Seat], queue: &mut VecDeque<Line>, answers: &mut Answers) -> Result<()> {
        for i in 0..seats.len() {
            while seats[i].work.is_none() && !interrupted().load(Ordering::Relaxed) {
                let running: Vec<&[TokenId]> = seats.iter().filter_map(|s| s.work.as_ref()).map(|w| &w.line.prompt[..]).collect();
                let chosen = choose(queue, seats[i].session.tokens(), &running);
                let Some(line) = chosen.and_then(|at| queue.remove(at)) else { return Ok(()) };
                let number = line.number;
                match self.start(engine, &mut seats[i].session, line) {
                    Ok(work) => seats[i].work = Some(work),
                    Err(error @ Error::Device(_)) => return Err(error.into()),
                    Err(error) => answers.add(number, failed(&error.into()))?,
                }
            }
        }
        Ok(())
    }

    /// Brings the session to all of the prompt but its last token.
    fn start(&self, engine: &mut Engine, session: &mut Session, line: Line) -> Result<Work, Error> {
        let (tokens, context) = (line.prompt.len(), engine.context());
        let Some((&next, before)) = line.prompt.split_last().filter(|_| tokens < context) else {
            return Err(Error::Refused(format!("the prompt has {tokens} tokens, which does not suit a context of {context}")));
        };
        session.sync(engine, before, &Progress::hidden(), interrupted())?;
        Ok(Work { limit: self.limit.clamp(1, context - tokens), line, answer: Vec::new(), first: Some(next), asked: 0 })
    }

    /// Submits steps until `most` are on their way: a token more of every line whose answer can still grow.
    fn submit(&self, engine: &mut Engine, seats: &mut [Seat], pending: &mut VecDeque<Pending>, most: usize) -> Result<()> {
        while pending.len() < most {
            let (mut rows, mut numbers) = (Vec::new(), Vec::new());
            for (number, Seat { session, work }) in seats.iter_mut().enumerate() {
                if let Some(work) = work.as_mut().filter(|work| work.asked < work.limit) {
                    work.asked += 1;
                    rows.push(Decode { session, token: work.first.take(), request: self.request(work.line.number) });
                    numbers.push(number);
                }
            }
            if rows.is_empty() {
                break;
            }
            pending.push_back((engine.decode(rows)?, numbers));
        }
        Ok(())
    }

    /// Takes what a step sampled. Rows of answers that had ended before it are of no use.
    fn land(&self, engine: &mut Engine, seats: &mut [Seat], (flight, numbers): Pending, answers: &mut Answers) -> Result<()> {
        let eos = self.loaded.tokenizer.eos();
        for (number, sample) in numbers.into_iter().zip(engine.land(flight)?) {
            let Seat { session, work: place } = &mut seats[number];
            let Some(mut work) = place.take() else { continue };
            match sample {
                Ok(id) if Some(id) == eos => answers.add(work.line.number, self.answered(&work, "stop"))?,
                Ok(id) => {
                    session.took(id);
                    work.answer.push(id);
                    if work.answer.len() == work.limit {
                        answers.add(work.line.number, self.answered(&work, "length"))?;
                    } else {
                        *place = Some(work);
                    }
                }
                Err(_) => answers.add(work.line.number, json!({ "error": "the logits are not finite numbers" }))?,
            }
        }
        Ok(())
    }

    fn request(&self, line: usize) -> SampleRequest {
        // Lines with the same prompt get different answers, unless they are greedy.
        let sampling = Sampling { seed: self.sampling.seed.wrapping_add(line as u64), ..self.sampling };
        SampleRequest { sampling, stops: self.loaded.tokenizer.eos().into_iter().collect(), is_last: false, mask: None }
    }

    /// What was generated, special tokens spelt out, without the end-of-sentence token.
    fn answered(&self, work: &Work, ending: &str) -> Value {
        let mut detokenizer = Detokenizer::new(self.loaded.tokenizer.clone());
        let text: String = work.answer.iter().map(|&id| detokenizer.push(id)).collect();
        let text = text + &detokenizer.finish();
        json!({ "text": text, "ending": ending, "prompt_tokens": work.line.prompt.len(), "tokens": work.answer.len() })
    }
}

/// The line for a session that holds `held`: one that continues it, else the first that continues none of the running prompts (a session
/// will soon hold most of such a line), else the first.
fn choose(queue: &VecDeque<Line>, held: &[TokenId], running: &[&[TokenId]]) -> Option<usize> {
    let window = || queue.iter().take(WINDOW);
    let continues = |line: &Line| !held.is_empty() && line.prompt.starts_with(held);
    let waits = |line: &Line| running.iter().any(|prompt| line.prompt.len() > prompt.len() && line.prompt.starts_with(prompt));
    let found = window().position(continues).or_else(|| window().position(|line| !waits(line)));
    found.or((!queue.is_empty()).then_some(0))
}

fn failed(error: &anyhow::Error) -> Value {
    json!({ "error": format!("{error:#}") })
}

/// Writes answers in the order of their lines, whatever order they come in.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_prefers_what_it_holds_and_leaves_the_rest_to_others() {
        let line = |prompt: &[TokenId]| Line { number: 0, prompt: prompt.to_vec() };
        let queue: VecDeque<Line> = [line(&[1, 2, 3]), line(&[4, 5]), line(&[6, 7, 8])].into();
        assert_eq!(choose(&queue, &[6, 7], &[]), Some(2), "it continues what the session holds");
        assert_eq!(choose(&queue, &[], &[&[1, 2]]), Some(1), "the first continues what runs elsewhere");
        assert_eq!(choose(&queue, &[9], &[&[1], &[4], &[6]]), Some(0), "all do");
        assert_eq!(choose(&VecDeque::new(), &[1], &[]), None);
    }
}
