//! Several sessions that generate together, and how much a long prompt in one of them slows the others down (`bench --sessions`,
//! `--beside`).

use crate::Result;
use crate::engine::{Engine, Event, Generation, Request, Scheduler, Session, StreamId, TokenId, Watch};
use crate::model::Sampling;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// Generation with a temperature. Greedy sessions may all repeat the same token, and then share experts, which real sessions do not.
fn drawn(seed: usize, limit: usize) -> Generation {
    Generation { sampling: Sampling { temperature: 1.0, seed: seed as u64, ..Sampling::GREEDY }, limit, stops: Vec::new() }
}

/// Streams that generate, and the times at which their tokens came.
struct Crowd {
    scheduler: Scheduler,
    streams: Vec<StreamId>,
    times: Vec<Vec<Instant>>,
    sessions: Vec<Option<Session>>,
}

impl Crowd {
    fn new(members: usize) -> Self {
        let sessions = (0..members).map(|_| None).collect();
        Self { scheduler: Scheduler::default(), streams: Vec::new(), times: vec![Vec::new(); members], sessions }
    }

    /// Starts the next stream.
    fn start(&mut self, engine: &mut Engine, session: &mut Session, request: Request) -> Result<()> {
        match self.scheduler.start(engine, std::mem::take(session), request) {
            Ok(stream) => {
                self.streams.push(stream);
                Ok(())
            }
            Err((own, error)) => {
                *session = own;
                Err(error)
            }
        }
    }

    /// Runs until `is_done` says so, until all streams have ended, or until `cancel` is set. It notes when tokens come.
    fn run(&mut self, engine: &mut Engine, cancel: &AtomicBool, is_done: impl Fn(&[Vec<Instant>]) -> bool) -> Result<()> {
        while !self.scheduler.is_idle() && !is_done(&self.times) && !cancel.load(Ordering::Relaxed) {
            self.turn(engine)?;
        }
        Ok(())
    }

    fn turn(&mut self, engine: &mut Engine) -> Result<()> {
        let member = |id: StreamId, streams: &[StreamId]| streams.iter().position(|own| *own == id);
        for event in self.scheduler.turn(engine) {
            match event {
                Event::Prompt { .. } => {}
                Event::Token { stream, .. } => {
                    if let Some(i) = member(stream, &self.streams) {
                        self.times[i].push(Instant::now());
                    }
                }
                Event::Ended { stream, session, result } => {
                    if let Some(i) = member(stream, &self.streams) {
                        self.sessions[i] = Some(session);
                    }
                    result?;
                }
            }
        }
        Ok(())
    }

    /// Ends all streams and puts their sessions back.
    fn finish(mut self, engine: &mut Engine, sessions: &mut [Session]) -> Result<()> {
        self.scheduler.cancel_all();
        while !self.scheduler.is_idle() {
            self.turn(engine)?;
        }
        for (place, session) in sessions.iter_mut().zip(self.sessions) {
            *place = session.unwrap_or_default();
        }
        Ok(())
    }
}

/// Tokens per second from the first of `times` to the last.
fn rate(times: &[Instant]) -> f64 {
    match times {
        [first, .., last] => (times.len() - 1) as f64 / (*last - *first).as_secs_f64(),
        _ => 0.0,
    }
}

/// Brings each session to all but the last of the first `context` tokens of its own prompt, one session after another.
///
/// # Errors
/// The device failed, or the context is full.
pub fn fill(engine: &mut Engine, sessions: &mut [Session], prompts: &[Vec<TokenId>], context: usize, watch: Watch<'_>) -> Result<()> {
    for (session, prompt) in sessions.iter_mut().zip(prompts) {
        session.sync(engine, &prompt[..context - 1], watch)?;
    }
    Ok(())
}

/// Generates `n` tokens in all sessions together, each after the first `context` tokens of its own prompt, to which [`fill`] brought it.
/// Returns the tokens per second of all sessions together. None if cancelled.
///
/// # Errors
/// The device failed, or the context is full.
pub fn generate_together(
    engine: &mut Engine,
    sessions: &mut [Session],
    prompts: &[Vec<TokenId>],
    (context, n): (usize, usize),
    cancel: &AtomicBool,
) -> Result<Option<f64>> {
    let mut crowd = Crowd::new(sessions.len());
    for (i, (session, prompt)) in sessions.iter_mut().zip(prompts).enumerate() {
        crowd.start(engine, session, Request { prompt: prompt[..context].to_vec(), generation: Some(drawn(i, n)) })?;
    }
    crowd.run(engine, cancel, |_| false)?;
    let total = crowd.times.iter().map(|times| rate(times)).sum();
    crowd.finish(engine, sessions)?;
    Ok(Some(total).filter(|_| !cancel.load(Ordering::Relaxed)))
}

/// How much a long prompt slows down the sessions beside it.
pub struct Beside {
    /// The speed of the slowest other session beside the prompt, as a share of its speed before.
    pub share: f64,
    /// Mean tokens per second of the other sessions: before the prompt, and beside it.
    pub rates: [f64; 2],
    /// The longest time between two tokens of a session beside the prompt, in seconds.
    pub gap: f64,
    /// Seconds from the prompt's start to its first token.
    pub seconds: f64,
    /// Whether a session generated fewer than two tokens meanwhile, because its context was full. The other figures mean little then.
    pub is_cut_short: bool,
}

/// Lets all sessions but the first generate after `context` tokens, to which [`fill`] brought them: first for `n` tokens without the first
/// session, then while that runs `prompt`. None if cancelled.
///
/// # Errors
/// The device failed, or the context is full.
pub fn prompt_beside(
    engine: &mut Engine,
    sessions: &mut [Session],
    prompts: &[Vec<TokenId>],
    (context, n): (usize, usize),
    prompt: &[TokenId],
    cancel: &AtomicBool,
) -> Result<Option<Beside>> {
    sessions[0].sync(engine, &[], Watch::quiet(cancel))?;
    let others = sessions.len() - 1;
    let mut crowd = Crowd::new(others + 1);
    for (i, (session, own)) in sessions[1..].iter_mut().zip(&prompts[1..]).enumerate() {
        crowd.start(engine, session, Request { prompt: own[..context].to_vec(), generation: Some(drawn(i, usize::MAX)) })?;
    }
    crowd.run(engine, cancel, |times| times[..others].iter().all(|own| own.len() > n))?;
    let before: Vec<f64> = crowd.times[..others].iter().map(|times| rate(times)).collect();
    let first: Vec<usize> = crowd.times[..others].iter().map(|times| times.len() - 1).collect();
    let started = Instant::now();
    crowd.start(engine, &mut sessions[0], Request { prompt: prompt.to_vec(), generation: Some(drawn(others, 1)) })?;
    crowd.run(engine, cancel, |times| !times[others].is_empty())?;
    let seconds = started.elapsed().as_secs_f64();
    let beside: Vec<&[Instant]> = crowd.times[..others].iter().zip(&first).map(|(times, first)| &times[*first..]).collect();
    let is_cut_short = beside.iter().any(|times| times.len() < 2);
    let rates: Vec<f64> = beside.iter().map(|times| rate(times)).collect();
    let gaps = beside.iter().flat_map(|times| times.windows(2)).map(|pair| (pair[1] - pair[0]).as_secs_f64());
    let mean = |rates: &[f64]| rates.iter().sum::<f64>() / rates.len() as f64;
    let found = Beside {
        share: rates.iter().zip(&before).map(|(now, before)| now / before).fold(f64::INFINITY, f64::min),
        rates: [mean(&before), mean(&rates)],
        gap: gaps.fold(0.0, f64::max),
        seconds,
        is_cut_short,
    };
    // The crowd numbers sessions from 0 in the order of their start, and the session with the prompt starts last.
    sessions.rotate_left(1);
    crowd.finish(engine, sessions)?;
    sessions.rotate_right(1);
    Ok(Some(found).filter(|_| !cancel.load(Ordering::Relaxed)))
}
