//! Where the time of a step goes, by kind of launch.
//!
//! A timestamp between two launches takes longer than many launches do. So each kind runs alone: all its launches of the step one after
//! another, repeated. The difference between the step's time and the sum of all kinds is what kinds lose by waiting for one another, or
//! gain by finding each other's results in a cache. If the launches of a kind together read less than a cache holds, they find it there
//! when they are repeated, which shows as a share of the bandwidth above 1.
//!
//! The time of a kind in its place is the difference between the step with it and the step without it. There its instruction cache and TLB
//! are cold, and other launches may overlap with it.

use super::kinds::{kinds, label};
use super::table::{Line, Table, family};
use super::workload::greedy;
use crate::Result;
use crate::engine::{Engine, Part, RowKind, Session, TokenId, Want, Watch};
use crate::gpu::{Gpu, Recording};
use crate::model::NoTaps;
use std::slice;

/// The launches of a step that ran.
pub struct CapturedStep {
    /// "prefill" or "decode".
    name: &'static str,
    /// A description of the step.
    title: String,
    recording: Recording,
}

/// Runs and captures a step of a prompt that ends before token `context` of `tokens`. None if the context is too short for one, or if
/// cancelled. The session cannot be used afterwards.
///
/// # Errors
/// The device failed, or is none of this project's executors.
pub fn prefill_step(
    engine: &mut Engine,
    session: &mut Session,
    tokens: &[TokenId],
    context: usize,
    watch: Watch<'_>,
) -> Result<Option<CapturedStep>> {
    let before = context - 1;
    let start = before - before.min(engine.max_rows());
    session.sync(engine, &tokens[..start], watch)?;
    if start == before || watch.is_cancelled() {
        return Ok(None);
    }
    let title = format!("prefill step of {} row(s) at position {start}", before - start);
    let recording = captured(engine, RowKind::Prompt, vec![Part::given(session, &tokens[start..before], Vec::new())])?;
    Ok(Some(CapturedStep { name: "prefill", title, recording }))
}

/// Runs and captures a step of generated rows: token `context` of each prompt, a row of each session. The sessions must hold the tokens
/// before it. They can only be used to time the step afterwards, which reads them at the same places.
///
/// # Errors
/// The device failed, or is none of this project's executors.
pub fn decode_step(engine: &mut Engine, sessions: &mut [Session], prompts: &[Vec<TokenId>], context: usize) -> Result<CapturedStep> {
    let before = context - 1;
    let title = format!("decode step of {} row(s) at position {before}", sessions.len());
    let wants = || vec![(0, Want::Sample(greedy()))];
    let rows = sessions.iter_mut().zip(prompts);
    let parts = rows.map(|(session, prompt)| Part::given(session, slice::from_ref(&prompt[before]), wants())).collect();
    let recording = captured(engine, RowKind::Generated, parts)?;
    Ok(CapturedStep { name: "decode", title, recording })
}

/// Runs a step and returns its launches.
fn captured(engine: &mut Engine, kind: RowKind, parts: Vec<Part<'_>>) -> Result<Recording> {
    engine.gpu()?.capture(true);
    let ran = engine.step(kind, parts, &mut NoTaps);
    let step = engine.gpu()?.capture(false);
    ran?;
    Ok(step)
}

impl CapturedStep {
    /// Times the step and each kind of its launches. None if cancelled. `bandwidth`: what the device reads, bytes per second.
    ///
    /// # Errors
    /// The device failed.
    pub fn time(self, gpu: &Gpu, bandwidth: Option<f64>, watch: Watch<'_>) -> Result<Option<Table>> {
        let Self { name, title, recording: step } = self;
        let kinds = kinds(&step);
        let (launches, in_turn, whole) = (step.dispatches().len(), gpu.in_turn(&step)?, gpu.time(&step, &step)?);
        let mut table = Table { name, title, launches, in_turn, lines: Vec::new(), whole, bandwidth };
        for (done, kind) in kinds.iter().enumerate() {
            (watch.report)(done as u64, kinds.len() as u64);
            if watch.is_cancelled() {
                return Ok(None);
            }
            // The step runs before each kind, so that the kind finds the same contents in the buffers as in a step.
            let seconds = gpu.time(&step, &Recording::of(kind.launches.iter().copied()))?;
            // Only decode steps on a GPU are short enough to be timed once for each kind. Clocks change meanwhile, so each difference is
            // that of two steps timed right after one another.
            let is_compared = name == "decode" && !gpu.is_software();
            let in_place = if is_compared { Some(gpu.time(&step, &step)? - gpu.time(&step, &kind.left_out_of(&step))?) } else { None };
            table.lines.push(Line {
                kernel: kind.variant.kernel(),
                label: label(kind.variant, &kinds),
                family: family(kind.variant),
                grid: kind.grid,
                launches: kind.launches.len(),
                cost: kind.cost(),
                seconds,
                in_place,
            });
        }
        table.lines.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
        Ok(Some(table))
    }
}
