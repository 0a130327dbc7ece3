//! One timeline of tokens: bring it to a prompt, and generate from there.

use super::backend::Ticket;
use super::step::{SampleRequest, Step, StepRow, Token, TokenId, Unsampled, Want};
use super::{Engine, StepOutput};
use crate::progress::Progress;
use crate::reference::{NoTaps, REWIND, Sampling, Taps};
use crate::{Error, Result};
use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// One timeline of tokens on an engine. Close it with [`Engine::close`]; its slot is taken until then.
#[derive(Debug)]
pub struct Session {
    pub(super) slot: u32,
    tokens: Vec<TokenId>,
    /// Rows behind those tokens that were submitted before it was known what they are.
    ahead: u32,
}

/// How to generate.
#[derive(Clone, Debug)]
pub struct Generation {
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// Most tokens.
    pub limit: usize,
    /// Ids that end the turn; at most two.
    pub stops: Vec<TokenId>,
}

/// Why a generation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// A stop id, which is not part of the timeline.
    Stop,
    /// The limit, or the end of the context.
    Length,
    /// The caller said so.
    Cancelled,
}

/// What a generation did.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    /// Why it ended.
    pub ending: Ending,
    /// Prompt tokens that were in the session already.
    pub reused: usize,
    /// Prompt tokens that were run.
    pub prefilled: usize,
    /// Seconds from the start until the first token was known.
    pub prefill_seconds: f64,
    /// Tokens after the first.
    pub decoded: usize,
    /// Seconds that those took.
    pub decode_seconds: f64,
}

impl Session {
    pub(super) fn new(slot: u32) -> Self {
        Self { slot, tokens: Vec::new(), ahead: 0 }
    }

    /// The tokens that the session holds.
    pub fn tokens(&self) -> &[TokenId] {
        &self.tokens
    }

    /// Makes the session hold exactly `tokens`, running as few of them as it can: what it holds already is reused, up to [`REWIND`] wrong
    /// tokens at its end are dropped, otherwise it starts anew. Returns how many tokens were reused.
    ///
    /// # Errors
    /// The tokens do not fit in the context or the vocabulary; the device fails. Cancelled work is not an error: the session then holds
    /// a prefix.
    pub fn sync(&mut self, engine: &mut Engine, tokens: &[TokenId], progress: &Progress, cancel: &AtomicBool) -> Result<usize> {
        engine.check(tokens, 0)?;
        let reused = self.cut_to_prefix(engine, tokens);
        progress.add(reused as u64);
        self.prefill(engine, &tokens[reused..], progress, cancel)?;
        Ok(reused)
    }

    /// Drops what does not belong to `tokens`. Returns how many tokens are left.
    fn cut_to_prefix(&mut self, engine: &mut Engine, tokens: &[TokenId]) -> usize {
        let common = self.tokens.iter().zip(tokens).take_while(|(a, b)| a == b).count();
        let kept = if self.tokens.len() - common <= REWIND as usize { common } else { 0 };
        self.cut(engine, kept);
        kept
    }

    fn cut(&mut self, engine: &mut Engine, kept: usize) {
        if kept < self.tokens.len() {
            engine.backend.rewind(self.slot, kept as u32);
            self.tokens.truncate(kept);
        }
    }

    /// Drops the last `count` tokens exactly, as if they had never been.
    ///
    /// # Errors
    /// More than [`REWIND`], or more than there are.
    pub fn drop_last(&mut self, engine: &mut Engine, count: usize) -> Result<()> {
        if count > self.tokens.len() || count > REWIND as usize {
            let held = self.tokens.len();
            return Err(Error::Refused(format!("cannot drop {count} tokens of {held}: at most {REWIND} can be dropped exactly")));
        }
        self.cut(engine, self.tokens.len() - count);
        Ok(())
    }

    /// Runs one step of `tokens` and waits for what is wanted of its rows. `draft`: the tokens after the first of them, for the draft
    /// block's logits.
    ///
    /// # Errors
    /// As [`Engine::step`].
    pub fn step(
        &mut self,
        engine: &mut Engine,
        tokens: &[TokenId],
        wants: Vec<(u32, Want)>,
        draft: Vec<TokenId>,
        taps: &mut dyn Taps,
    ) -> Result<StepOutput> {
        engine.step(&mut [Part { session: self, tokens, wants }], draft, taps)
    }

    /// Runs `tokens` in pieces that suit the device's speed. Stops early when `cancel` is set.
    fn prefill(&mut self, engine: &mut Engine, tokens: &[TokenId], progress: &Progress, cancel: &AtomicBool) -> Result<()> {
        let mut left = tokens;
        while !left.is_empty() && !cancel.load(Ordering::Relaxed) {
            let wanted = engine.piece_rows();
            let rows = wanted.min(left.len());
            let (now, later) = left.split_at(rows);
            let (started, compiled) = (Instant::now(), engine.compiled());
            self.step(engine, now, Vec::new(), Vec::new(), &mut NoTaps)?;
            let has_compiled = engine.compiled() != compiled;
            engine.measured((rows, wanted), started.elapsed().as_secs_f64(), has_compiled);
            progress.add(rows as u64);
            left = later;
        }
        Ok(())
    }

    /// Brings the session to `prompt` and generates. Every new token goes to `sink` as soon as it is known; `sink` ends the generation
    /// with [`ControlFlow::Break`]. The session afterwards holds the prompt and what the sink got, without a stop id, and perhaps without
    /// the very last token, which then runs with the next prompt.
    ///
    /// # Errors
    /// An empty prompt, or one that leaves no room in the context; ids out of range; logits that are not finite; the device fails.
    pub fn generate(
        &mut self,
        engine: &mut Engine,
        prompt: &[TokenId],
        generation: &Generation,
        progress: &Progress,
        cancel: &AtomicBool,
        mut sink: impl FnMut(TokenId) -> ControlFlow<()>,
    ) -> Result<Report> {
        let Some((&last, before)) = prompt.split_last() else {
            return Err(Error::Refused("the prompt is empty".into()));
        };
        engine.check(prompt, 0)?;
        generation.check(engine)?;
        let context = engine.context();
        if prompt.len() >= context {
            return Err(Error::Refused(format!(
                "the prompt has {} tokens, which leaves no room in a context of {context}; raise --ctx",
                prompt.len()
            )));
        }
        let started = Instant::now();
        // The last token is run again even if the session holds it: its logits are needed.
        let reused = self.cut_to_prefix(engine, before);
        progress.add(reused as u64);
        self.prefill(engine, &before[reused..], progress, cancel)?;
        let mut report = Report {
            ending: Ending::Cancelled,
            reused,
            prefilled: prompt.len() - reused,
            prefill_seconds: 0.0,
            decoded: 0,
            decode_seconds: 0.0,
        };
        if cancel.load(Ordering::Relaxed) || self.tokens.len() < before.len() {
            return Ok(report);
        }
        let limit = generation.limit.min(context - prompt.len());
        let mut first_at = None;
        if limit == 0 {
            self.sync(engine, prompt, progress, cancel)?;
            report.ending = Ending::Length;
            return Ok(report);
        }

        let mut pending = VecDeque::new();
        let ended = self.generate_behind(engine, last, generation, limit, &mut pending, |session, id| {
            let first = *first_at.get_or_insert_with(Instant::now);
            report.decode_seconds = first.elapsed().as_secs_f64();
            report.decoded = session.tokens.len() - prompt.len();
            if generation.stops.contains(&id) {
                return Some(Ending::Stop);
            }
            let goes_on = sink(id).is_continue() && !cancel.load(Ordering::Relaxed);
            session.took(id);
            (!goes_on).then_some(Ending::Cancelled)
        });
        report.prefill_seconds = first_at.map_or_else(|| started.elapsed(), |at| at - started).as_secs_f64();
        // An error leaves nothing on its way either: the session can be used again.
        for flight in pending {
            engine.land(flight)?;
        }
        self.settle(engine);
        report.ending = ended?;
        Ok(report)
    }

    /// Runs `last` and up to `limit` - 1 of the tokens that follow, and shows each to `take` until it names an ending. What is still on its
    /// way then is left in `pending`.
    fn generate_behind(
        &mut self,
        engine: &mut Engine,
        last: TokenId,
        generation: &Generation,
        limit: usize,
        pending: &mut VecDeque<Flight>,
        mut take: impl FnMut(&mut Self, TokenId) -> Option<Ending>,
    ) -> Result<Ending> {
        let final_position = self.position() + limit as u32 - 1;
        let mut token = Some(last);
        loop {
            while pending.len() <= engine.look_ahead() && self.position() <= final_position {
                let is_last = self.position() == final_position;
                let request = SampleRequest { sampling: generation.sampling, stops: generation.stops.clone(), is_last, mask: None };
                pending.push_back(engine.decode(vec![Decode { session: self, token: token.take(), request }])?);
            }
            let Some(flight) = pending.pop_front() else { return Ok(Ending::Length) };
            let sample = engine.land(flight)?.first().copied();
            let id = self.sampled(sample)?;
            if let Some(ending) = take(self, id) {
                return Ok(ending);
            }
        }
    }

    /// Position of the next row to submit.
    fn position(&self) -> u32 {
        self.tokens.len() as u32 + self.ahead
    }

    /// Tells which token a landed step sampled, if it belongs to the timeline. Where no row of it is on its way yet, it is left for a later
    /// turn to run.
    pub fn took(&mut self, id: TokenId) {
        if self.ahead > 0 {
            self.ahead -= 1;
            self.tokens.push(id);
        }
    }

    /// Drops the rows that ran ahead of the timeline's end, when nothing of the session is on its way any more.
    pub fn settle(&mut self, engine: &mut Engine) {
        if std::mem::take(&mut self.ahead) > 0 {
            engine.backend.rewind(self.slot, self.tokens.len() as u32);
        }
    }

    fn sampled(&self, sample: Option<Result<TokenId, Unsampled>>) -> Result<TokenId> {
        let (slot, position) = (self.slot, self.tokens.len());
        match sample {
            Some(Ok(id)) => Ok(id),
            Some(Err(Unsampled::NotFinite)) => {
                Err(Error::NotFinite(format!("session {slot}: the logits after position {} are not finite numbers", position - 1)))
            }
            Some(Err(Unsampled::NothingAllowed)) => {
                Err(Error::Refused(format!("session {slot}: the mask allows no token at position {position}")))
            }
            Some(Err(Unsampled::NotLive)) | None => Err(Error::Device(format!("session {slot}: no token at position {position}"))),
        }
    }
}

/// A session's share of a step.
#[derive(Debug)]
pub struct Part<'a> {
    /// The session.
    pub session: &'a mut Session,
    /// Its tokens.
    pub tokens: &'a [TokenId],
    /// What is wanted, by number of the token.
    pub wants: Vec<(u32, Want)>,
}

/// A session's row of a decode step.
#[derive(Debug)]
pub struct Decode<'a> {
    /// The session.
    pub session: &'a mut Session,
    /// Its next token; none for the one that the step before samples.
    pub token: Option<TokenId>,
    /// How the token after it is chosen.
    pub request: SampleRequest,
}

/// A decode step on its way.
#[must_use = "its tokens are what it was submitted for"]
pub struct Flight(Ticket);

impl Engine {
    /// Refuses steps that the buffers have no room for.
    fn check_rows(&self, rows: usize) -> Result<()> {
        let most = self.max_rows();
        if rows == 0 || rows > most {
            return Err(Error::Refused(format!("a step of {rows} rows; this engine runs 1 to {most}")));
        }
        Ok(())
    }

    /// Decode steps to submit before the first of them has landed: that many can be dropped exactly. While one runs the next is prepared.
    pub fn look_ahead(&self) -> usize {
        self.backend.look_ahead()
    }

    /// Submits a step of a row of each of several sessions, and does not wait. Sessions that step over their end in what follows, because it
    /// was not known yet, have [`Session::settle`] called once all has landed.
    ///
    /// # Errors
    /// No rows, or more than a step has; a session's context is full, an id is out of range: nothing has changed then. The device fails.
    pub fn decode(&mut self, rows: Vec<Decode<'_>>) -> Result<Flight> {
        self.check_rows(rows.len())?;
        for Decode { session, token, .. } in &rows {
            self.check(&[token.unwrap_or(0)], session.position() as usize)?;
        }
        let mut step = Step::default();
        for Decode { session, token, request } in rows {
            let position = session.position();
            let token = if let Some(id) = token {
                self.backend.resume(session.slot);
                session.tokens.push(id);
                Token::Id(id)
            } else {
                session.ahead += 1;
                Token::Sampled
            };
            step.wants.push((step.rows.len() as u32, Want::Sample(request)));
            step.rows.push(StepRow { slot: session.slot, position, token });
        }
        Ok(Flight(self.backend.submit(&step, &mut NoTaps)?))
    }

    /// Waits for a step, steps in the order of their submission. Returns the tokens in the order of its rows.
    ///
    /// # Errors
    /// The device fails.
    pub fn land(&mut self, flight: Flight) -> Result<Vec<Result<TokenId, Unsampled>>> {
        Ok(self.backend.wait(flight.0)?.samples)
    }

    /// Runs one step of several sessions, each in `parts` once, and waits for what is wanted of their rows: logits and samples come in
    /// the order of the parts and their wants. `draft`: the tokens after the first rows, for the draft block's logits.
    ///
    /// # Errors
    /// Too many tokens for a step or for the context, ids out of range; the device fails.
    pub fn step(&mut self, parts: &mut [Part<'_>], draft: Vec<TokenId>, taps: &mut dyn Taps) -> Result<StepOutput> {
        let mut step = Step { draft, ..Default::default() };
        for part in &*parts {
            self.check(part.tokens, part.session.tokens.len())?;
            let first = step.rows.len() as u32;
            step.wants.extend(part.wants.iter().map(|(row, want)| (first + row, want.clone())));
            let positions = part.session.tokens.len() as u32..;
            let slot = part.session.slot;
            step.rows.extend(positions.zip(part.tokens).map(|(position, &id)| StepRow { slot, position, token: Token::Id(id) }));
        }
        let rows = step.rows.len();
        self.check_rows(rows)?;
        if let Some((row, _)) = step.wants.iter().find(|(row, _)| *row as usize >= rows) {
            return Err(Error::Refused(format!("something is wanted of row {row} of a step of {rows} rows")));
        }
        for part in &*parts {
            self.backend.resume(part.session.slot);
        }
        let ticket = self.backend.submit(&step, taps)?;
        for part in parts {
            part.session.tokens.extend_from_slice(part.tokens);
        }
        self.backend.wait(ticket)
    }
}

impl Generation {
    fn check(&self, engine: &Engine) -> Result<()> {
        let s = &self.sampling;
        let bad = |what: String| Err(Error::Refused(what));
        if !(s.temperature >= 0.0 && s.temperature.is_finite()) {
            return bad(format!("temperature is {}, it must be 0 or more", s.temperature));
        }
        if !(s.top_p > 0.0 && s.top_p <= 1.0) {
            return bad(format!("top-p is {}, it must be above 0 and at most 1", s.top_p));
        }
        if !(0.0..=1.0).contains(&s.min_p) {
            return bad(format!("min-p is {}, it must be between 0 and 1", s.min_p));
        }
        if self.stops.len() > 2 {
            return bad(format!("{} stop tokens, at most 2 are possible", self.stops.len()));
        }
        engine.check(&self.stops, 0)
    }
}
