//! `dwarfstar bench` measures the speed of prompts and of generation at growing contexts, in one session and in several, and where the time
//! of a step goes.

use super::args::{DeviceArgs, ModelArgs};
use super::common::{load, watched};
use super::screen::{interrupted, note, put};
use super::source::Source;
use crate::Error;
use crate::engine::{Engine, LoadOptions, Session, TokenId, Watch};
use crate::measure::{
    Beside, CapturedStep, CaseTime, Speed, decode_step, events, fill, generate_together, measured_warm, prefill_and_decode, prefill_step,
    prompt, prompt_beside, read_bandwidth, time_cases, trace,
};
use crate::model::Model;
use crate::num::KvType;
use crate::progress::Unit;
use crate::verify::{Family, Selection, Shapes};
use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

#[derive(Args, Debug)]
pub struct Bench {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    device: DeviceArgs,
    /// The context lengths at which to measure, in ascending order
    #[arg(long, value_delimiter = ',', default_value = "512,2048")]
    frontiers: Vec<u32>,
    /// The number of tokens to generate at each context length
    #[arg(short, default_value_t = 32, value_name = "N")]
    n: usize,
    /// The number of sessions that generate together at each context length, after one session alone
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=16))]
    sessions: u32,
    /// Then run a prompt of this many tokens in one session while the others generate after the last context, and show how much that slows
    /// them down; needs at least two sessions
    #[arg(long, value_name = "TOKENS")]
    beside: Option<u32>,
    /// Print a table of the launches of one prefill step and of one decode step of all sessions at the last context: number, time,
    /// bandwidth
    #[arg(long)]
    launches: bool,
    /// Time every kernel alone, without a model, on the cases that `verify` checks; weights are read from memory, not from a cache
    #[arg(long, conflicts_with_all = ["model", "effort_table", "rows", "frontiers", "n", "sessions", "beside", "launches", "trace"])]
    kernels: bool,
    /// The shapes of these cases: tiny, flash (the shapes of V4 Flash) or all [default: flash, or tiny if shaders run on the CPU]
    #[arg(long, requires = "kernels")]
    shapes: Option<Shapes>,
    /// Time only this family: embed, norm, linear, hc, kv, compressor, indexer, attention, router, moe, sample or stream
    #[arg(long, requires = "kernels")]
    family: Option<Family>,
    /// Write a trace of one prefill step and one decode step at the last context, for chrome://tracing or Perfetto, and print its sums by
    /// kernel
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Print JSON lines instead of CSV
    #[arg(long)]
    json: bool,
}

/// The largest size of all copies of inputs, in bytes: on a device whose driver does not report its memory, and where shaders run on the
/// CPU.
const COPIES: u64 = 2 << 30;
const SOFTWARE_COPIES: u64 = 256 << 20;

/// The number of tokens that each other session has room to generate while a long prompt runs.
const BESIDE_TOKENS: u32 = 8192;

impl Bench {
    pub fn run(self) -> Result<()> {
        if self.kernels {
            return self.run_kernels();
        }
        if self.n < 2 || self.frontiers.first().is_none_or(|first| *first == 0) || !self.frontiers.is_sorted_by(|a, b| a < b) {
            bail!("bench needs ascending context lengths and at least 2 tokens to decode");
        }
        if self.beside.is_some() && self.sessions < 2 {
            bail!("bench --beside needs at least 2 sessions");
        }
        let model = Model::bind(&Source::of(&self.model).files()?)?;
        let most = self.frontiers.last().copied().unwrap_or(0) + self.n as u32 + 1;
        let bandwidth = match self.device.device.find()? {
            Some(adapter) => Some(read_bandwidth(&adapter.open(self.device.open())?)?),
            None => None,
        };
        // The other sessions generate for as long as the long prompt takes.
        let room = self.beside.map_or(most, |tokens| most.max(tokens + 2) + BESIDE_TOKENS);
        let context = room.next_multiple_of(512).min(model.config.max_context);
        let options = LoadOptions { sessions: self.sessions, ..self.device.options(context) };
        let mut engine = load(&model, None, &options, &self.device)?;
        if self.launches {
            engine.gpu()?.has_timestamps()?;
        }
        let bytes = model.bytes_per_token();
        let measured = bandwidth.map_or(String::new(), |b| format!("; memory reads measured at {:.0} GB/s", b / 1e9));
        note(&format!("{:.2} GB of weights a decoded token{measured}", bytes as f64 / 1e9));
        if !self.json {
            put(
                "context,prefill_tokens,prefill_tps,decode_tokens,decode_tps,decode_gb_per_s,share_of_bandwidth,sessions,total_decode_tps\n",
            )?;
        }
        let prompts: Vec<_> = (1..=self.sessions).map(|seed| prompt(seed, model.config.vocabulary, most as usize)).collect();
        let mut sessions = prompts.iter().map(|_| engine.open()).collect::<Result<Vec<_>, _>>()?;
        let tokens = &prompts[0];
        // This step compiles the kernels of prompts, whose variants depend on the length of a step, and brings the clocks up.
        let longest = engine.max_rows().min(most as usize);
        for warm in [2, 1].map(|part| longest / part) {
            self.measure(&mut engine, &mut sessions[0], &tokens[..warm.max(1)])?;
            sessions[0].sync(&mut engine, &[], Watch::quiet(interrupted()))?;
        }
        for &frontier in &self.frontiers {
            let frontier = frontier as usize;
            let mut row = warm(&mut engine, &mut sessions, |engine, sessions| self.measure(engine, &mut sessions[0], &tokens[..frontier]))?;
            if self.sessions > 1 {
                let total = warm(&mut engine, &mut sessions, |engine, sessions| {
                    watched("prefill of all sessions", Unit::Items, |watch| fill(engine, sessions, &prompts, frontier, watch))?;
                    Ok(generate_together(engine, sessions, &prompts, (frontier, self.n), interrupted())?)
                })?;
                row.total_rate = total.unwrap_or_default();
            }
            if interrupted().load(Ordering::Relaxed) {
                return Ok(());
            }
            put(&format!("{}\n", self.line(&row, bytes, bandwidth)))?;
        }
        if let Some(tokens) = self.beside {
            self.run_beside(&mut engine, &mut sessions, &prompts, tokens)?;
        }
        if let Some(file) = &self.trace {
            run_trace(&mut engine, &mut sessions[0], tokens, file)?;
        }
        if self.launches {
            let context = *self.frontiers.last().unwrap_or(&0) as usize;
            self.run_launches(&mut engine, &mut sessions, &prompts, context, bandwidth)?;
        }
        Ok(())
    }

    /// A row as CSV or JSON. `bytes` is the size of the weights that a generated token reads, `bandwidth` the bytes per second that the
    /// device reads.
    fn line(&self, row: &Speed, bytes: u64, bandwidth: Option<f64>) -> String {
        let rate = bytes as f64 * row.decode_rate;
        let share = bandwidth.map(|b| rate / b);
        let &Speed { context, prefilled, prefill_rate, decoded, decode_rate, total_rate } = row;
        let sessions = self.sessions;
        if self.json {
            return json!({
                "context": context, "prefill_tokens": prefilled, "prefill_tps": prefill_rate, "decode_tokens": decoded,
                "decode_tps": decode_rate, "decode_gb_per_s": rate / 1e9, "share_of_bandwidth": share, "sessions": sessions,
                "total_decode_tps": total_rate,
            })
            .to_string();
        }
        let (share, rate) = (share.map_or(String::new(), |s| format!("{s:.3}")), rate / 1e9);
        format!("{context},{prefilled},{prefill_rate:.1},{decoded},{decode_rate:.2},{rate:.1},{share},{sessions},{total_rate:.2}")
    }

    /// Measures and prints how much a prompt of `tokens` tokens in one session slows the others down.
    fn run_beside(&self, engine: &mut Engine, sessions: &mut [Session], prompts: &[Vec<TokenId>], tokens: u32) -> Result<()> {
        let context = *self.frontiers.last().unwrap_or(&1) as usize;
        let long = prompt(self.sessions + 1, engine.config().vocabulary, tokens as usize);
        let found = warm(engine, sessions, |engine, sessions| {
            let others = &mut sessions[1..];
            watched("prefill of all sessions", Unit::Items, |watch| fill(engine, others, &prompts[1..], context, watch))?;
            Ok(prompt_beside(engine, sessions, prompts, (context, self.n), &long, interrupted())?)
        })?;
        let Some(Beside { share, rates: [before, beside], gap, seconds, is_cut_short }) = found else { return Ok(()) };
        if is_cut_short {
            note("the context is too short for the sessions beside the prompt");
        }
        let others = self.sessions - 1;
        put(&if self.json {
            let row = json!({
                "beside_prompt_tokens": tokens, "prompt_s": seconds, "others": others, "context": context, "alone_tps_each": before,
                "beside_tps_each": beside, "least_share": share, "longest_gap_s": gap,
            });
            format!("{row}\n")
        } else {
            let header = "beside_prompt_tokens,prompt_s,others,context,alone_tps_each,beside_tps_each,least_share,longest_gap_s";
            format!("{header}\n{tokens},{seconds:.2},{others},{context},{before:.2},{beside:.2},{share:.3},{gap:.3}\n")
        })
    }

    /// Times the kernels without a model and prints a line for each kernel of each case, as soon as it is measured.
    fn run_kernels(&self) -> Result<()> {
        let adapter = self.device.device.find()?.ok_or_else(|| anyhow!("the device cpu has no launches to measure"))?;
        let gpu = adapter.open(self.device.open())?;
        let bandwidth = read_bandwidth(&gpu)?;
        note(&format!("{}: {}; memory reads measured at {:.0} GB/s", gpu.name(), gpu.caps().summary(), bandwidth / 1e9));
        if gpu.has_timestamps().is_err() {
            note("the device has no timestamps inside a pass: times are the host's, the way to the device and back included");
        }
        let memory = if gpu.is_software() { SOFTWARE_COPIES } else { adapter.memory_bytes.map_or(COPIES, |bytes| bytes / 4) };
        let kv = self.device.kv.unwrap_or(if self.device.exact { KvType::F32 } else { KvType::F16 });
        let shapes = self.shapes.unwrap_or(if gpu.is_software() { Shapes::Tiny } else { Shapes::Flash });
        let selection = Selection { kv, exact: self.device.exact, shapes, family: self.family };
        if !self.json {
            put(&CaseTime::header())?;
        }
        let mut show =
            |time: &CaseTime| put(&if self.json { time.json() } else { time.text() }).map_err(|error| Error::Refused(format!("{error:#}")));
        time_cases(&gpu, selection, (bandwidth, memory), interrupted(), &mut show)?;
        if !self.json {
            note(CaseTime::footer());
        }
        Ok(())
    }

    /// Prints a table of the prefill step that ends at `context`, and one of the decode step after it.
    fn run_launches(
        &self,
        engine: &mut Engine,
        sessions: &mut [Session],
        prompts: &[Vec<TokenId>],
        context: usize,
        bandwidth: Option<f64>,
    ) -> Result<()> {
        let show = |step: CapturedStep, engine: &Engine| -> Result<()> {
            let gpu = engine.gpu()?;
            let table = watched("kinds of launches", Unit::Items, |watch| step.time(gpu, bandwidth, watch))?;
            table.map_or(Ok(()), |table| put(&if self.json { table.rows() } else { table.text() }))
        };
        let prefill = watched("prefill", Unit::Items, |watch| prefill_step(engine, &mut sessions[0], &prompts[0], context, watch))?;
        prefill.map_or(Ok(()), |step| show(step, engine))?;
        if interrupted().load(Ordering::Relaxed) {
            return Ok(());
        }
        show(decode_step(engine, sessions, prompts, context)?, engine)
    }

    fn measure(&self, engine: &mut Engine, session: &mut Session, prompt: &[TokenId]) -> Result<Speed> {
        Ok(watched("prefill", Unit::Items, |watch| prefill_and_decode(engine, session, prompt, self.n, watch))?)
    }
}

/// Measures until no kernel is compiled during the measurement, and returns that one.
fn warm<T>(engine: &mut Engine, sessions: &mut [Session], measure: impl FnMut(&mut Engine, &mut [Session]) -> Result<T>) -> Result<T> {
    let again = |kernels| note(&format!("{kernels} kernel(s) compiled meanwhile: measured again"));
    measured_warm(engine, sessions, Watch::quiet(interrupted()), again, measure)
}

/// Writes a trace of a decode step and a prefill step to `file`, and prints its sums to stderr.
fn run_trace(engine: &mut Engine, session: &mut Session, tokens: &[TokenId], file: &Path) -> Result<()> {
    let steps = trace(engine, session, tokens, interrupted())?;
    steps.iter().flat_map(|step| step.sums()).for_each(|line| note(&line));
    std::fs::write(file, events(&steps)).with_context(|| file.display().to_string())
}
