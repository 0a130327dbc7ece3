//! The only loop that runs streams. It runs prompts in pieces, lets sessions generate together, and keeps steps queued on the device.
//!
//! Each [`Request`] becomes a stream. Pieces of prompts and steps that generate alternate in the device's queue and never share a step.
//! While sessions generate, prompts get a fixed share of the device's time, so that a long prompt slows the others down and does not stop
//! them. Measured time decides when a row runs, never what it computes.

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

/// Something that happened to a stream.
#[derive(Debug)]
pub enum Event {
    /// A piece of the stream's prompt has run.
    Prompt {
        /// The stream.
        stream: StreamId,
        /// Number of prompt tokens that the session holds now.
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
        /// The session, which can be used again unless the device failed.
        session: Session,
        /// The report of the stream, or the error that ended it.
        result: Result<Report>,
    },
}

/// Streams that share an engine. While a scheduler has streams, nobody else may submit steps to the engine.
#[derive(Default)]
pub struct Scheduler {
    streams: Vec<Stream>,
    flights: VecDeque<InFlight>,
    /// Number of streams so far, which is the id of the next one.
    started: u64,
    /// Seconds of the device's time that generating sessions get before the next piece of a prompt.
    owed: f64,
    last_landed: Option<Instant>,
    store: Option<Box<dyn CheckpointStore>>,
}

/// A submitted step and the streams that its rows belong to.
struct InFlight {
    flight: Flight,
    rows: FlightRows,
    /// The time just before the submission, because the CPU runs a step while it is submitted.
    submitted: Instant,
}

enum FlightRows {
    /// A piece of prompts. For each stream it has the number of tokens, and whether the last of them samples.
    Piece { plan: Plan, has_compiled: bool, parts: Vec<(StreamId, usize, bool)> },
    /// A generated step, with one row of each stream.
    Step(Vec<StreamId>),
}

impl Scheduler {
    /// A scheduler that restores snapshots from `store` before it runs a prompt, and offers `store` the sessions of streams that end.
    pub fn with_store(store: Box<dyn CheckpointStore>) -> Self {
        Self { store: Some(store), ..Self::default() }
    }

    /// Starts a stream that brings `session` to the request's prompt and generates from there. Tokens of the prompt that the session holds
    /// already are not run again. The session comes back with [`Event::Ended`].
    ///
    /// # Errors
    /// Where the prompt is empty, does not fit in the context or has ids out of range, or sampling parameters are out of range. The session
    /// comes back unchanged.
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

    /// Ends a stream early. Its session keeps the tokens that the caller got so far.
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

    /// Submits steps until the queue is full, and waits for the oldest one unless a stream has ended. Returns the events in order.
    pub fn turn(&mut self, engine: &mut Engine) -> Vec<Event> {
        let mut events = self.fill(engine);
        if events.is_empty() {
            self.land_oldest(engine, &mut events);
        }
        events
    }

    /// Like [`Scheduler::turn`], for callers that must not block: lands the steps that are done, and submits the next ones. Returns no
    /// events while the device works.
    pub fn poll(&mut self, engine: &mut Engine) -> Vec<Event> {
        let mut events = self.fill(engine);
        // Where asking fails, the device has failed, and landing the step gives the error.
        while self.flights.front().is_some_and(|oldest| engine.has_landed(&oldest.flight).unwrap_or(true)) {
            self.land_oldest(engine, &mut events);
        }
        events.extend(self.fill(engine));
        events
    }

    /// Waits for the oldest step in flight, if there is one, and takes its results.
    fn land_oldest(&mut self, engine: &mut Engine, events: &mut Vec<Event>) {
        if let Some(InFlight { flight, rows, submitted }) = self.flights.pop_front() {
            let output = engine.land(flight);
            self.landed(engine, output, rows, submitted, events);
        }
    }

    fn stream(&mut self, id: StreamId) -> Option<&mut Stream> {
        self.streams.iter_mut().find(|stream| stream.id == id)
    }

    /// Submits steps until the queue is full, and ends the streams that are over.
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

    /// Ends all streams with the error of the device.
    fn fail_all(&mut self, error: &Error) {
        self.streams.iter_mut().for_each(|stream| stream.end(Err(error.clone())));
    }

    /// Submits a piece of the waiting prompts, or else a step of the sessions that generate. Returns whether it submitted anything.
    fn submit_next(&mut self, engine: &mut Engine) -> Result<bool> {
        let is_shared = self.streams.iter().any(Stream::generates);
        if !is_shared {
            self.owed = 0.0;
        }
        let has_piece = self.flights.iter().any(|flight| matches!(flight.rows, FlightRows::Piece { .. }));
        if self.owed <= 0.0 && !has_piece && self.streams.iter().any(|stream| stream.waiting() > 0) {
            self.submit_piece(engine, is_shared)?;
            return Ok(true);
        }
        let steps = self.flights.iter().filter(|flight| matches!(flight.rows, FlightRows::Step(_))).count();
        Ok(steps <= engine.look_ahead() && self.submit_step(engine)?)
    }

    /// Submits a piece of the waiting prompts: rows of the first one, and of the next ones if that one ends before the piece is full. A
    /// prompt that is not finished then queues behind the others.
    fn submit_piece(&mut self, engine: &mut Engine, is_shared: bool) -> Result<()> {
        let (submitted, compiled) = (Instant::now(), engine.compiled());
        let mut plan = engine.pace.plan(is_shared);
        plan.rows = plan.rows.min(engine.max_rows());
        let mut room = plan.rows;
        let mut chosen = Vec::new();
        for stream in self.streams.iter_mut().filter(|stream| stream.waiting() > 0) {
            let count = stream.waiting().min(room);
            room -= count;
            if count > 0 {
                chosen.push((stream, count));
            }
        }
        let expected = engine.pace.expect(plan, plan.rows - room);
        let parts = chosen.iter_mut().map(|(stream, count)| stream.piece(*count)).collect();
        let flight = engine.submit_long(parts, expected)?;
        let parts: Vec<_> = chosen.into_iter().map(|(stream, count)| (stream.id, count, stream.submitted_piece(count))).collect();
        self.streams.sort_by_key(|stream| stream.waiting() > 0 && parts.iter().any(|(id, ..)| *id == stream.id));
        let has_compiled = engine.compiled() != compiled;
        self.flights.push_back(InFlight { flight, rows: FlightRows::Piece { plan, has_compiled, parts }, submitted });
        Ok(())
    }

    /// Submits a step with one row of each session that generates. Where there are more sessions than rows, they take turns. Returns
    /// whether any session could take a row.
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
        self.flights.push_back(InFlight { flight, rows: FlightRows::Step(ids), submitted });
        Ok(true)
    }

    /// Gives the results of a step to its streams. The step ran from its submission, or from the end of the previous step if that is later.
    fn landed(&mut self, engine: &mut Engine, output: Result<StepOutput>, rows: FlightRows, submitted: Instant, events: &mut Vec<Event>) {
        let began = self.last_landed.map_or(submitted, |last| last.max(submitted));
        let now = Instant::now();
        self.last_landed = Some(now);
        let seconds = (now - began).as_secs_f64();
        let output = output.unwrap_or_else(|error| {
            self.fail_all(&error);
            StepOutput::default()
        });
        let mut samples = output.samples.into_iter();
        let parts = match rows {
            FlightRows::Piece { plan, has_compiled, parts } => {
                let count = parts.iter().map(|(_, count, _)| count).sum();
                engine.pace.measured(plan, count, seconds, has_compiled);
                self.owed = seconds * GENERATING_SHARE / (1.0 - GENERATING_SHARE);
                parts
            }
            FlightRows::Step(ids) => {
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
