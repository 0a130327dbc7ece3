//! `dwarfstar bench`: prefill and decode speed at growing contexts.

use super::args::{DeviceArgs, ModelArgs};
use super::common::{announce, interrupted, note, put};
use super::source::Source;
use crate::engine::{Engine, Generation, SampleRequest, Session, TokenId, Want};
use crate::gpu::{Gpu, Recording, Span};
use crate::kernels::{Kit, record_stream_read};
use crate::model::Model;
use crate::num::KvType;
use crate::progress::{Progress, Unit};
use crate::reference::{NoTaps, Sampling};
use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::json;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Instant;

#[derive(Args, Debug)]
pub struct Bench {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    device: DeviceArgs,
    /// Context lengths to measure at, ascending
    #[arg(long, value_delimiter = ',', default_value = "512,2048")]
    frontiers: Vec<u32>,
    /// Tokens to decode at each
    #[arg(short, default_value_t = 32, value_name = "N")]
    n: usize,
    /// Write a trace of one prefill step and one decode step at the last context, for chrome://tracing or Perfetto, and its sums by kernel
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// As JSON lines instead of CSV
    #[arg(long)]
    json: bool,
}

/// What was measured at one context length.
struct Row {
    context: u32,
    prefilled: usize,
    prefill_rate: f64,
    decoded: usize,
    decode_rate: f64,
}

impl Bench {
    pub fn run(self) -> Result<()> {
        if self.n < 2 || self.frontiers.is_empty() || !self.frontiers.is_sorted_by(|a, b| a < b) {
            bail!("bench needs ascending context lengths and at least 2 tokens to decode");
        }
        let model = Model::bind(&Source::of(&self.model).files()?)?;
        let most = self.frontiers.last().copied().unwrap_or(0) + self.n as u32 + 1;
        let bandwidth = match self.device.device.find()? {
            Some(adapter) => Some(read_bandwidth(&adapter.open(self.device.open())?)?),
            None => None,
        };
        let options = self.device.options(most.next_multiple_of(512).min(model.config.max_context));
        let mut engine = Engine::load(&model, None, &options, interrupted())?;
        announce(&engine, &self.device);
        let bytes = model.bytes_per_token();
        let measured = bandwidth.map_or(String::new(), |b| format!("; memory reads measured at {:.0} GB/s", b / 1e9));
        note(&format!("{:.2} GB of weights a decoded token{measured}", bytes as f64 / 1e9));
        if !self.json {
            put("context,prefill_tokens,prefill_tps,decode_tokens,decode_tps,decode_gb_per_s,share_of_bandwidth\n")?;
        }
        let mut session = engine.open()?;
        let tokens = prompt(model.config.vocabulary, most as usize);
        // Compiles the kernels of the steps to come, whose variants depend on their length, and brings the clocks up.
        let longest = engine.max_rows().min(most as usize);
        for warm in [2, 1].map(|part| longest / part) {
            self.measure(&mut engine, &mut session, &tokens[..warm.max(1)])?;
            session.sync(&mut engine, &[], &Progress::hidden(), interrupted())?;
        }
        for &frontier in &self.frontiers {
            let row = self.measure(&mut engine, &mut session, &tokens[..frontier as usize])?;
            if interrupted().load(Ordering::Relaxed) {
                break;
            }
            let rate = bytes as f64 * row.decode_rate;
            let share = bandwidth.map(|b| rate / b);
            let line = if self.json {
                json!({
                    "context": row.context, "prefill_tokens": row.prefilled, "prefill_tps": row.prefill_rate,
                    "decode_tokens": row.decoded, "decode_tps": row.decode_rate, "decode_gb_per_s": rate / 1e9, "share_of_bandwidth": share,
                })
                .to_string()
            } else {
                let share = share.map_or(String::new(), |s| format!("{s:.3}"));
                let Row { context, prefilled, prefill_rate, decoded, decode_rate } = row;
                format!("{context},{prefilled},{prefill_rate:.1},{decoded},{decode_rate:.2},{:.1},{share}", rate / 1e9)
            };
            put(&format!("{line}\n"))?;
        }
        match &self.trace {
            Some(file) => trace(&mut engine, &mut session, &tokens, file),
            None => Ok(()),
        }
    }

    /// Brings the session to `prompt` and decodes; the newest piece of the prompt is timed. The session is left at the prompt's last
    /// token but one, so that the next frontier continues it.
    fn measure(&self, engine: &mut Engine, session: &mut Session, prompt: &[TokenId]) -> Result<Row> {
        let progress = Progress::bar("prefill", prompt.len() as u64, Unit::Items);
        let started = Instant::now();
        let reused = session.sync(engine, &prompt[..prompt.len() - 1], &progress, interrupted())?;
        let seconds = started.elapsed().as_secs_f64();
        progress.finish();
        let generation = Generation { sampling: Sampling::GREEDY, limit: self.n, stops: Vec::new() };
        let report = session.generate(engine, prompt, &generation, &progress, interrupted(), |_| ControlFlow::Continue(()))?;
        let prefilled = prompt.len() - 1 - reused;
        Ok(Row {
            context: prompt.len() as u32,
            prefilled,
            prefill_rate: prefilled as f64 / seconds,
            decoded: report.decoded,
            decode_rate: report.decoded as f64 / report.decode_seconds,
        })
    }
}

/// Traces one long step of a new prompt and one decode step behind `session`.
fn trace(engine: &mut Engine, session: &mut Session, tokens: &[TokenId], file: &Path) -> Result<()> {
    // A decode step as in a generation: one row whose next token is wanted.
    let request = SampleRequest { sampling: Sampling::GREEDY, stops: Vec::new(), is_last: false, mask: None };
    let mut events = Vec::new();
    let last = tokens[session.tokens().len()];
    engine.trace(true)?;
    session.step(engine, &[last], vec![(0, Want::Sample(request))], Vec::new(), &mut NoTaps)?;
    report("decode step", &engine.trace(true)?, 1, &mut events);
    session.sync(engine, &[], &Progress::hidden(), interrupted())?;
    let rows = engine.max_rows().min(tokens.len());
    session.step(engine, &tokens[..rows], Vec::new(), Vec::new(), &mut NoTaps)?;
    report("prefill step", &engine.trace(false)?, 2, &mut events);
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

/// Tokens without meaning: speed does not depend on them.
fn prompt(vocabulary: u32, len: usize) -> Vec<TokenId> {
    let mut rng = fastrand::Rng::with_seed(1);
    (0..len).map(|_| rng.u32(0..vocabulary.min(128_000))).collect()
}

/// Bytes per second that the device reads, over a buffer that no cache holds.
fn read_bandwidth(gpu: &Gpu) -> Result<f64> {
    const WORKGROUPS: u32 = 2112;
    const REPEATS: u32 = 10;
    let kit = Kit::new(gpu, KvType::F16, true)?;
    let software = gpu.name().contains("llvmpipe");
    let bytes = (if software { 32 << 20 } else { 1 << 30 }).min(gpu.caps().max_binding_bytes / 16 * 16).min(gpu.caps().max_buffer_bytes);
    let source = gpu.buffer("source", bytes)?.all();
    let sums = gpu.buffer("sums", u64::from(WORKGROUPS) * 4)?.all();
    let mut rec = Recording::new();
    (0..REPEATS).for_each(|_| record_stream_read(&mut rec, &kit, &source, &sums, WORKGROUPS));
    // The first runs compile, clear the buffer and bring the clocks up.
    let mut best = f64::INFINITY;
    for _ in 0..4 {
        let started = Instant::now();
        gpu.run(&rec)?;
        best = best.min(started.elapsed().as_secs_f64());
    }
    Ok(bytes as f64 * f64::from(REPEATS) / best)
}
