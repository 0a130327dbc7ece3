//! `bench --trace`: when each launch of a step ran, for chrome://tracing or Perfetto, and sums by kernel.

use super::workload::greedy;
use crate::cli::screen::{interrupted, note};
use crate::engine::{Engine, Part, RowKind, Session, TokenId, Want, Watch};
use crate::gpu::Span;
use crate::model::NoTaps;
use anyhow::{Context, Result};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;

/// Traces one decode step behind `session`, and one long step of a new prompt.
pub(super) fn trace(engine: &mut Engine, session: &mut Session, tokens: &[TokenId], file: &Path) -> Result<()> {
    let mut events = Vec::new();
    let last = tokens[session.tokens().len()];
    engine.gpu()?.trace(true)?;
    let wants = vec![(0, Want::Sample(greedy()))];
    engine.step(RowKind::Generated, vec![Part::given(session, &[last], wants)], &mut NoTaps)?;
    report("decode step", &engine.gpu()?.trace(true)?, 1, &mut events);
    session.sync(engine, &[], Watch::quiet(interrupted()))?;
    let rows = engine.max_rows().min(tokens.len());
    engine.step(RowKind::Prompt, vec![Part::given(session, &tokens[..rows], Vec::new())], &mut NoTaps)?;
    report("prefill step", &engine.gpu()?.trace(false)?, 2, &mut events);
    std::fs::write(file, json!({ "traceEvents": events }).to_string()).with_context(|| file.display().to_string())
}

/// Sums of a traced step by kernel, on stderr, and its launches as events of thread `thread`.
fn report(what: &str, spans: &[Span], thread: u32, events: &mut Vec<serde_json::Value>) {
    let mut sums: BTreeMap<&str, (usize, u64)> = BTreeMap::new();
    let origin = spans.first().map_or(0, |s| s.start_ns);
    for span in spans {
        let sum = sums.entry(span.kernel).or_default();
        *sum = (sum.0 + 1, sum.1 + span.end_ns - span.start_ns);
        let (start, length) = ((span.start_ns - origin) as f64 / 1e3, (span.end_ns - span.start_ns) as f64 / 1e3);
        events.push(json!({
            "name": span.kernel, "cat": what, "ph": "X", "ts": start, "dur": length, "pid": 1, "tid": thread, "args": { "variant": span.label },
        }));
    }
    let total: u64 = sums.values().map(|(_, ns)| ns).sum();
    note(&format!("{what}: {} launches, {:.1} us", spans.len(), total as f64 / 1e3));
    let mut rows: Vec<_> = sums.into_iter().collect();
    rows.sort_by_key(|(_, (_, ns))| std::cmp::Reverse(*ns));
    for (kernel, (count, ns)) in rows {
        note(&format!("  {kernel:<16} {count:>5} x {:>9.1} us {:>5.1}%", ns as f64 / 1e3, ns as f64 * 100.0 / total as f64));
    }
}
