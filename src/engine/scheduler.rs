//! The only loop that runs tokens: it feeds prompts in pieces, lets sessions generate together, and keeps the device busy ahead of the host.
//!
//! Each [`Request`] becomes a stream. Pieces of prompts and steps that generate alternate in the device's queue and never share a step. While
//! sessions generate, prompts get a fixed share of the device's time, so that a long one slows the others down and does not stop them. Time
//! decides when something runs, never what a row computes.

use super::pace::Plan;
use super::session::Session;
use super::snapshot::CheckpointStore;
use super::step::{RowKind, StepOutput, TokenId};
use super::stream::{Ending, Report, Request, Stream, StreamId};
use super::submit::{Engine, Flight};
use crate::kernels::DECODE_ROWS;
use crate::{Error, Result};
use std::collections::VecDeque;
use std::time::Instant;

/// The share of the device's time that generating sessions keep while prompts run.
const GENERATING_SHARE: f64 = 0.62;

/// What a turn of the scheduler brought.
#[derive(Debug)]
pub enum Event {
    /// The session holds so many tokens of the stream's prompt.
    Prompt {
        /// The stream.
        stream: StreamId,
        /// Tokens of the prompt.
        held: usize,
    },
    /// A new token, which is not a stop id.
    Token {
        /// The stream.
        stream: StreamId,
        /// The token.
        token: TokenId,
    },
    /// The stream is over, and nothing of it is in flight.
    Ended {
        /// The stream.
        stream: StreamId,
        /// Its session, which can be used again unless the device failed.
        session: Session,
        /// What the stream did, or why it failed.
        result: Result<Report>,
    },
}

/// Streams that share an engine. While there are any, the engine's steps are submitted here alone.
#[derive(Default)]
pub struct Scheduler {
    streams: Vec<Stream>,
    flights: VecDeque<InFlight>,
    started: u64,
    /// Seconds of the device's time that generating sessions are owed before the next piece of a prompt.
    owed: f64,
    last_landed: Option<Instant>,
    store: Option<Box<dyn CheckpointStore>>,
}

/// A submitted step and the streams that its rows belong to.
struct InFlight {
    flight: Flight,
    cargo: Cargo,
    /// Before it was: a backend may run a step while it is submitted.
    submitted: Instant,
}

enum Cargo {
    /// Pieces of prompts: tokens of each stream, and whether the last of them samples.
    Piece { plan: Plan, has_compiled: bool, parts: Vec<(StreamId, usize, bool)> },
    /// A row of each stream.
    Step(Vec<StreamId>),
}

impl Scheduler {
    /// A scheduler that looks for the start of a prompt in `store`, and offers it what streams leave.
    pub fn with_store(store: Box<dyn CheckpointStore>) -> Self {
        Self { store: Some(store), ..Self::default() }
    }

    /// Starts a stream that brings `session` to the request's prompt and generates from there. The session is reused as far as it agrees with
    /// the prompt; it comes back with [`Event::Ended`].
    ///
    /// # Errors
    /// A prompt that is empty, does not fit in the context, or has ids out of range; sampling parameters out of range. The session comes back
    /// unchanged.
    pub fn start(&mut self, engine: &mut Engine, session: Session, request: Request) -> Result<StreamId, (Session, Error)> {
        if let Err(error) = request.check(engine) {
            return Err((session, error));
        }
        let mut session = session;
        if let Some(store) = &mut self.store
            && let Some(snapshot) = store.find(&request.prompt, request.reusable(&session))
            && let Err(error) = engine.restore(&mut session, &snapshot)
        {
            return Err((session, error));
        }
        let id = StreamId(self.started);
        self.started += 1;
        self.streams.push(Stream::new(id, engine, session, request));
        Ok(id)
    }

    /// Ends a stream early. Its session keeps the tokens that were given out so far.
    pub fn cancel(&mut self, id: StreamId) {
        if let Some(stream) = self.stream(id) {
            stream.end(Ok(Ending::Cancelled));
        }
    }

    /// Ends all streams early.
    pub fn cancel_all(&mut self) {
        self.streams.iter_mut().for_each(|stream| stream.end(Ok(Ending::Cancelled)));
    }

    /// Whether no stream is left.
    pub fn is_idle(&self) -> bool {
        self.streams.is_empty()
    }

    /// Submits what fits in the queue, and waits for the oldest step unless a stream is over. Returns what happened, in order.
    pub fn turn(&mut self, engine: &mut Engine) -> Vec<Event> {
        let mut events = self.fill(engine);
        if events.is_empty() {
            self.land_oldest(engine, &mut events);
        }
        events
    }

    /// As [`Scheduler::turn`], for callers that may not block: takes the steps that have landed, and submits what follows. Returns nothing while
    /// the device works.
    pub fn poll(&mut self, engine: &mut Engine) -> Vec<Event> {
        let mut events = self.fill(engine);
        // A step whose state cannot be asked for has failed, and says so when it lands.
        while self.flights.front().is_some_and(|oldest| engine.has_landed(&oldest.flight).unwrap_or(true)) {
            self.land_oldest(engine, &mut events);
        }
        events.extend(self.fill(engine));
        events
    }

    /// Waits for the oldest step, if there is one, and takes what it brought.
    fn land_oldest(&mut self, engine: &mut Engine, events: &mut Vec<Event>) {
        if let Some(InFlight { flight, cargo, submitted }) = self.flights.pop_front() {
            let output = engine.land(flight);
            self.landed(engine, output, cargo, submitted, events);
        }
    }

    fn stream(&mut self, id: StreamId) -> Option<&mut Stream> {
        self.streams.iter_mut().find(|stream| stream.id == id)
    }

    /// Submits steps until the queue is full, and hands out the streams that are over.
    fn fill(&mut self, engine: &mut Engine) -> Vec<Event> {
        loop {
            match self.submit_next(engine) {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => self.fail_all(&error),
            }
        }
        let mut events = Vec::new();
        for stream in self.streams.extract_if(.., |stream| stream.is_over()) {
            let id = stream.id;
            let (session, mut result) = stream.finish(engine);
            if let Some(store) = &mut self.store
                && result.is_ok()
                && store.wants(session.tokens())
            {
                match engine.snapshot(&session) {
                    Ok(snapshot) => store.keep(snapshot),
                    Err(error) => result = Err(error),
                }
            }
            events.push(Event::Ended { stream: id, session, result });
        }
        events
    }

    /// A device that fails takes all streams with it.
    fn fail_all(&mut self, error: &Error) {
        self.streams.iter_mut().for_each(|stream| stream.end(Err(error.clone())));
    }

    /// Submits a piece of the prompts that wait, or else a step of the sessions that generate. Says whether it did.
    fn submit_next(&mut self, engine: &mut Engine) -> Result<bool> {
        let is_shared = self.streams.iter().any(Stream::generates);
        if !is_shared {
            self.owed = 0.0;
        }
        let has_piece = self.flights.iter().any(|flight| matches!(flight.cargo, Cargo::Piece { .. }));
        if self.owed <= 0.0 && !has_piece && self.streams.iter().any(|stream| stream.waiting() > 0) {
            self.submit_piece(engine, is_shared)?;
            return Ok(true);
        }
        let steps = self.flights.iter().filter(|flight| matches!(flight.cargo, Cargo::Step(_))).count();
        Ok(steps <= engine.look_ahead() && self.submit_step(engine)?)
    }

    /// A step of waiting prompts: rows of the first one that waits, and of the next ones if it ends before the piece does. One that is not done
    /// goes behind the others.
    fn submit_piece(&mut self, engine: &mut Engine, is_shared: bool) -> Result<()> {
        let (submitted, compiled) = (Instant::now(), engine.compiled());
        let mut plan = engine.pace.plan(is_shared);
        plan.rows = plan.rows.min(engine.max_rows());
        let mut left = plan.rows;
        let mut chosen = Vec::new();
        for stream in self.streams.iter_mut().filter(|stream| stream.waiting() > 0) {
            let count = stream.waiting().min(left);
            left -= count;
            if count > 0 {
                chosen.push((stream, count));
            }
        }
        let expected = engine.pace.expect(plan, plan.rows - left);
        let parts = chosen.iter_mut().map(|(stream, count)| stream.piece(*count)).collect();
        let flight = engine.submit_long(parts, expected)?;
        let parts: Vec<_> = chosen.into_iter().map(|(stream, count)| (stream.id, count, stream.submitted_piece(count))).collect();
        self.streams.sort_by_key(|stream| stream.waiting() > 0 && parts.iter().any(|(id, ..)| *id == stream.id));
        let has_compiled = engine.compiled() != compiled;
        self.flights.push_back(InFlight { flight, cargo: Cargo::Piece { plan, has_compiled, parts }, submitted });
        Ok(())
    }

    /// A step of a row of each session that generates. Where they are more than a step has rows, they take turns.
    fn submit_step(&mut self, engine: &mut Engine) -> Result<bool> {
        let submitted = Instant::now();
        let (look_ahead, most) = (engine.look_ahead(), engine.max_rows().min(DECODE_ROWS as usize));
        let mut chosen: Vec<_> = self.streams.iter_mut().filter(|stream| stream.can_step(look_ahead)).collect();
        chosen.sort_by_key(|stream| stream.asked());
        chosen.truncate(most);
        if chosen.is_empty() {
            return Ok(false);
        }
        let flight = engine.submit(RowKind::Generated, chosen.iter_mut().map(|stream| stream.row()).collect())?;
        let ids = chosen
            .into_iter()
            .map(|stream| {
                stream.submitted_row();
                stream.id
            })
            .collect();
        self.flights.push_back(InFlight { flight, cargo: Cargo::Step(ids), submitted });
        Ok(true)
    }

    /// Takes what a step brought. `submitted` is when it was; the device began with it then, or when the step before was done.
    fn landed(&mut self, engine: &mut Engine, output: Result<StepOutput>, cargo: Cargo, submitted: Instant, events: &mut Vec<Event>) {
        let began = self.last_landed.map_or(submitted, |last| last.max(submitted));
        let now = Instant::now();
        self.last_landed = Some(now);
        let seconds = (now - began).as_secs_f64();
        let output = output.unwrap_or_else(|error| {
            self.fail_all(&error);
            StepOutput::default()
        });
        let mut samples = output.samples.into_iter();
        let parts = match cargo {
            Cargo::Piece { plan, has_compiled, parts } => {
                let rows = parts.iter().map(|(_, count, _)| count).sum();
                engine.pace.measured(plan, rows, seconds, has_compiled);
                self.owed = seconds * GENERATING_SHARE / (1.0 - GENERATING_SHARE);
                parts
            }
            Cargo::Step(ids) => {
                self.owed -= seconds;
                ids.into_iter().map(|id| (id, 0, true)).collect()
            }
        };
        for (id, count, has_sample) in parts {
            let sample = if has_sample { samples.next() } else { None };
            let Some(stream) = self.stream(id) else { continue };
            stream.landed();
            if count > 0 {
                events.push(Event::Prompt { stream: id, held: stream.landed_piece(count) });
            }
            if has_sample && let Some(token) = stream.sampled(sample) {
                events.push(Event::Token { stream: id, token });
            }
        }
    }
}
