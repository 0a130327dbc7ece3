//! How fast one session takes a prompt and generates behind it.

use crate::Result;
use crate::engine::{Engine, Generation, Session, TokenId, Watch};
use crate::model::Sampling;
use std::ops::ControlFlow;
use std::time::Instant;

/// What was measured at one context length.
#[derive(Clone, Copy, Debug)]
pub struct Speed {
    /// Tokens of the context.
    pub context: u32,
    /// Tokens of it that ran while it was measured.
    pub prefilled: usize,
    /// Tokens per second of the prompt.
    pub prefill_rate: f64,
    /// Tokens that were generated.
    pub decoded: usize,
    /// Generated tokens per second.
    pub decode_rate: f64,
    /// Generated tokens per second of all sessions together.
    pub total_rate: f64,
}

/// Brings the session to `prompt` and generates `n` tokens. What the session holds of the prompt is not run again and not timed: after more
/// generated tokens than it can drop, that is nothing.
///
/// # Errors
/// The device failed, or the context is full.
pub fn prefill_and_decode(engine: &mut Engine, session: &mut Session, prompt: &[TokenId], n: usize, watch: Watch<'_>) -> Result<Speed> {
    let started = Instant::now();
    let reused = session.sync(engine, &prompt[..prompt.len() - 1], watch)?;
    let seconds = started.elapsed().as_secs_f64();
    let generation = Generation { sampling: Sampling::GREEDY, limit: n, stops: Vec::new() };
    let report = session.generate(engine, prompt, &generation, Watch::quiet(watch.cancel), |_| ControlFlow::Continue(()))?;
    let prefilled = prompt.len() - 1 - reused;
    let decode_rate = report.decoded as f64 / report.decode_seconds;
    Ok(Speed {
        context: prompt.len() as u32,
        prefilled,
        prefill_rate: prefilled as f64 / seconds,
        decoded: report.decoded,
        decode_rate,
        total_rate: decode_rate,
    })
}

/// What `measure` says where no kernel is compiled meanwhile: those that are first needed in a longer context, or for more rows, take longer to
/// compile than to run. Then `again` is told how many there were, the first session is emptied, and it is measured again.
///
/// # Errors
/// Those of `measure`, and the device failed.
pub fn measured_warm<T, E: From<crate::Error>>(
    engine: &mut Engine,
    sessions: &mut [Session],
    watch: Watch<'_>,
    again: impl FnOnce(usize),
    mut measure: impl FnMut(&mut Engine, &mut [Session]) -> Result<T, E>,
) -> Result<T, E> {
    let compiled = engine.compiled();
    let first = measure(engine, sessions)?;
    let count = engine.compiled() - compiled;
    if count == 0 {
        return Ok(first);
    }
    again(count);
    sessions[0].sync(engine, &[], Watch::quiet(watch.cancel))?;
    measure(engine, sessions)
}
