//! `bench --sessions`: several sessions that hold a context of the same length each, and decode together.

use super::greedy;
use crate::cli::common::interrupted;
use crate::engine::{Decode, Engine, Session, TokenId};
use crate::progress::{Progress, Unit};
use anyhow::Result;
use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// Fills each session with the first `context` tokens of its own prompt and runs steps of a row of each, of which the next are prepared while
/// one runs. Returns the tokens per second of all of them together from the second of `n` steps on, as for a single session; none if
/// interrupted.
pub(super) fn decode_together(
    engine: &mut Engine,
    sessions: &mut [Session],
    prompts: &[Vec<TokenId>],
    context: usize,
    n: usize,
) -> Result<Option<f64>> {
    let progress = Progress::bar("prefill of all sessions", (context * sessions.len()) as u64, Unit::Items);
    for (session, prompt) in sessions.iter_mut().zip(prompts) {
        session.sync(engine, &prompt[..context - 1], &progress, interrupted())?;
    }
    progress.finish();
    let mut started = Instant::now();
    let mut pending = VecDeque::new();
    for i in 0..n {
        if interrupted().load(Ordering::Relaxed) {
            return Ok(None);
        }
        while pending.len() <= engine.look_ahead() && i + pending.len() < n {
            // Tokens of their own, of which experts that sessions share are as few as they would be in real company.
            let at = i + pending.len();
            let rows = sessions.iter_mut().zip(prompts).map(|(session, prompt)| Decode {
                session,
                token: Some(prompt[at % prompt.len()]),
                request: greedy(),
            });
            pending.push_back(engine.decode(rows.collect())?);
        }
        if let Some(flight) = pending.pop_front() {
            engine.land(flight)?;
        }
        if i == 0 {
            started = Instant::now();
        }
    }
    Ok(Some(((n - 1) * sessions.len()) as f64 / started.elapsed().as_secs_f64()))
}
