//! Traces, which say when each launch of a step ran, and their sums by kernel.

use super::workload::greedy;
use crate::Result;
use crate::engine::{Engine, Part, RowKind, Session, TokenId, Want, Watch};
use crate::gpu::Span;
use crate::model::NoTaps;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;

/// A traced step.
pub struct TracedStep {
    /// "decode step" or "prefill step".
    pub name: &'static str,
    /// The launches, in order.
    spans: Vec<Span>,
}

/// Traces one step of a generated row after the tokens of `session`, and one step of a new prompt.
///
/// # Errors
/// The device has no timestamps, or failed.
pub fn trace(engine: &mut Engine, session: &mut Session, tokens: &[TokenId], cancel: &AtomicBool) -> Result<[TracedStep; 2]> {
    let last = tokens[session.tokens().len()];
    engine.gpu()?.trace(true)?;
    let wants = vec![(0, Want::Sample(greedy()))];
    engine.step(RowKind::Generated, vec![Part::given(session, &[last], wants)], &mut NoTaps)?;
    let decode = engine.gpu()?.trace(true)?;
    session.sync(engine, &[], Watch::quiet(cancel))?;
    let rows = engine.max_rows().min(tokens.len());
    engine.step(RowKind::Prompt, vec![Part::given(session, &tokens[..rows], Vec::new())], &mut NoTaps)?;
    let prefill = engine.gpu()?.trace(false)?;
    Ok([TracedStep { name: "decode step", spans: decode }, TracedStep { name: "prefill step", spans: prefill }])
}

/// The steps in the format of chrome://tracing and Perfetto, a thread for each step.
pub fn events(steps: &[TracedStep]) -> String {
    let mut events = Vec::new();
    for (thread, step) in (1..).zip(steps) {
        let origin = step.spans.first().map_or(0, |s| s.start_ns);
        for span in &step.spans {
            let (start, length) = ((span.start_ns - origin) as f64 / 1e3, (span.end_ns - span.start_ns) as f64 / 1e3);
            events.push(json!({
                "name": span.kernel, "cat": step.name, "ph": "X", "ts": start, "dur": length, "pid": 1, "tid": thread,
                "args": { "variant": span.label },
            }));
        }
    }
    json!({ "traceEvents": events }).to_string()
}

impl TracedStep {
    /// Lines of text with the sums of the step and of each of its kernels, the longest first.
    pub fn sums(&self) -> Vec<String> {
        let mut sums: BTreeMap<&str, (usize, u64)> = BTreeMap::new();
        for span in &self.spans {
            let sum = sums.entry(span.kernel).or_default();
            *sum = (sum.0 + 1, sum.1 + span.end_ns - span.start_ns);
        }
        let total: u64 = sums.values().map(|(_, ns)| ns).sum();
        let mut rows: Vec<_> = sums.into_iter().collect();
        rows.sort_by_key(|(_, (_, ns))| std::cmp::Reverse(*ns));
        let title = format!("{}: {} launches, {:.1} us", self.name, self.spans.len(), total as f64 / 1e3);
        let line = |(kernel, (count, ns)): (&str, (usize, u64))| {
            format!("  {kernel:<16} {count:>5} x {:>9.1} us {:>5.1}%", ns as f64 / 1e3, ns as f64 * 100.0 / total as f64)
        };
        [title].into_iter().chain(rows.into_iter().map(line)).collect()
    }
}
