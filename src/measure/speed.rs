//! The speed at which one session runs a prompt and generates after it.

use crate::Result;
use crate::engine::{Engine, Generation, Session, TokenId, Watch};
use crate::model::Sampling;
use std::ops::ControlFlow;
use std::time::Instant;

/// The speed at one context length.
#[derive(Clone, Copy, Debug)]
pub struct Speed {
    /// Length of the context in tokens.
    pub context: u32,
    /// Number of its tokens that ran during the measurement.
    pub prefilled: usize,
    /// Tokens of the prompt per second.
    pub prefill_rate: f64,
    /// Number of tokens that were generated.
    pub decoded: usize,
    /// Generated tokens per second.
    pub decode_rate: f64,
    /// Generated tokens per second of all sessions together.
    pub total_rate: f64,
}

/// Brings the session to `prompt` and generates `n` tokens. Tokens of the prompt that the session holds already are not run again and not
/// timed. If the session has generated more tokens than it can drop, it holds none.
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

/// Runs `measure` until no kernel is compiled during it, and returns the result. Longer contexts and more rows need further kernels, which
/// take longer to compile than to run. If some were compiled, `again` gets their number, the first session is emptied, and `measure` runs
/// again.
///
/// # Errors
/// `measure` or the device failed.
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
