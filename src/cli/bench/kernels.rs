//! `bench --kernels`: where a step's time goes, by kind of launch. A timestamp between two launches costs more than many of them take, so
//! that each kind runs alone, all its launches of the step in a row and over and over: what is left of the step's time as a whole is what
//! kinds lose by waiting for one another, or gain by finding each other's results in a cache.

use super::greedy;
use crate::cli::common::{interrupted, note, put};
use crate::engine::{Engine, Session, TokenId};
use crate::gpu::{Cost, Dispatch, Gpu, Recording, Variant};
use crate::progress::{Progress, Unit};
use crate::reference::NoTaps;
use anyhow::Result;
use serde_json::json;
use std::sync::atomic::Ordering;

/// Families of kernels, in the order in which their sums are printed.
const FAMILIES: [&str; 9] =
    ["dense matrices", "experts", "attention", "indexer", "compressor", "hyper-connections", "norms/rope/kv", "router", "sample/embed"];

/// The family of a kernel, by the folder of its shader; the experts of long steps share theirs with dense matrices.
fn family(variant: &Variant) -> &'static str {
    match variant.folder() {
        "matmul" if variant.flags().contains(&"EXPERTS") => FAMILIES[1],
        "matmul" | "matvec" => FAMILIES[0],
        "moe" => FAMILIES[1],
        "hc" => FAMILIES[5],
        "norm" | "rope" | "kv" => FAMILIES[6],
        "sample" | "embed" => FAMILIES[8],
        folder => folder,
    }
}

/// Launches of a step that differ in nothing but buffers and parameters.
struct Kind<'a> {
    variant: &'a Variant,
    grid: [u32; 3],
    launches: Vec<&'a Dispatch>,
}

impl Kind<'_> {
    /// Of all launches; what is not known of one is not known of the kind.
    fn cost(&self) -> Cost {
        let sum = |of: fn(&Cost) -> u64| {
            let each = self.launches.iter().map(|launch| of(&launch.cost));
            if each.clone().all(|n| n > 0) { each.sum() } else { 0 }
        };
        Cost { bytes: sum(|c| c.bytes), flops: sum(|c| c.flops) }
    }
}

/// The kinds of launches of a step, in the order of their first one.
fn kinds(step: &Recording) -> Vec<Kind<'_>> {
    let mut kinds: Vec<Kind<'_>> = Vec::new();
    for launch in step.dispatches() {
        match kinds.iter_mut().find(|kind| kind.grid == launch.grid && *kind.variant == launch.variant) {
            Some(kind) => kind.launches.push(launch),
            None => kinds.push(Kind { variant: &launch.variant, grid: launch.grid, launches: vec![launch] }),
        }
    }
    kinds
}

/// The flags of a variant, and those constants that tell it from others of `kinds`.
fn label(variant: &Variant, kinds: &[Kind<'_>]) -> String {
    let alike: Vec<_> =
        kinds.iter().map(|kind| kind.variant).filter(|v| v.kernel() == variant.kernel() && v.flags() == variant.flags()).collect();
    let telling = variant.constants().iter().filter(|constant| !alike.iter().all(|other| other.constants().contains(constant)));
    let constants = telling.map(|(name, value)| format!("{name}={value}"));
    let parts: Vec<_> = variant.flags().iter().map(ToString::to_string).chain(constants).collect();
    if parts.is_empty() { "-".into() } else { parts.join(" ") }
}

/// Tables of a long step that ends at `context` tokens and of the decode step behind it, on stdout. Spoils `session`. `bandwidth`: what the
/// device reads, bytes per second.
pub(super) fn table(
    engine: &mut Engine,
    session: &mut Session,
    tokens: &[TokenId],
    context: usize,
    bandwidth: Option<f64>,
    as_json: bool,
) -> Result<()> {
    let before = context - 1;
    let start = before - before.min(engine.max_rows());
    let progress = Progress::bar("prefill", start as u64, Unit::Items);
    session.sync(engine, &tokens[..start], &progress, interrupted())?;
    progress.finish();
    // The long step comes first: what is left of the session does for timing the decode step, which reads it from the same places.
    for (name, rows, wants) in [("prefill", start..before, Vec::new()), ("decode", before..context, vec![(0, greedy())])] {
        if rows.is_empty() || interrupted().load(Ordering::Relaxed) {
            continue;
        }
        engine.gpu()?.capture(true);
        session.step(engine, &tokens[rows.clone()], wants, Vec::new(), &mut NoTaps)?;
        let step = engine.gpu()?.capture(false);
        let title = format!("{name} step of {} row(s) at position {}", rows.len(), rows.start);
        report(engine.gpu()?, &step, (name, &title), bandwidth, as_json)?;
    }
    Ok(())
}

/// A row of a table: a kind and what it takes.
struct Line {
    kernel: &'static str,
    label: String,
    family: &'static str,
    grid: [u32; 3],
    launches: usize,
    /// Of all launches, together.
    cost: Cost,
    seconds: f64,
}

impl Line {
    /// 10^9 bytes per second.
    fn gigabytes(&self) -> Option<f64> {
        (self.cost.bytes > 0).then(|| self.cost.bytes as f64 / self.seconds / 1e9)
    }

    /// 10^12 operations per second.
    fn teraflops(&self) -> Option<f64> {
        (self.cost.flops > 0).then(|| self.cost.flops as f64 / self.seconds / 1e12)
    }
}

fn report(gpu: &Gpu, step: &Recording, (name, title): (&str, &str), bandwidth: Option<f64>, as_json: bool) -> Result<()> {
    let whole = gpu.time(step, step)?;
    let kinds = kinds(step);
    let progress = Progress::bar("kinds of launches", kinds.len() as u64, Unit::Items);
    let mut lines = Vec::new();
    for kind in &kinds {
        if interrupted().load(Ordering::Relaxed) {
            progress.finish();
            note("stopped");
            return Ok(());
        }
        // The step first: whatever the kind before this one left in the buffers, this one finds what it finds in a step.
        let seconds = gpu.time(step, &Recording::of(kind.launches.iter().copied()))?;
        lines.push(Line {
            kernel: kind.variant.kernel(),
            label: label(kind.variant, &kinds),
            family: family(kind.variant),
            grid: kind.grid,
            launches: kind.launches.len(),
            cost: kind.cost(),
            seconds,
        });
        progress.add(1);
    }
    progress.finish();
    lines.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
    if as_json { put(&as_rows(&lines, name, whole, bandwidth)) } else { put(&as_text(&lines, title, whole, bandwidth)) }
}

/// Launches and seconds of each family that has any.
fn families(lines: &[Line]) -> impl Iterator<Item = (&'static str, usize, f64)> {
    FAMILIES.iter().filter_map(|family| {
        let own = lines.iter().filter(|line| line.family == *family);
        let launches = own.clone().map(|line| line.launches).sum();
        (launches > 0).then(|| (*family, launches, own.map(|line| line.seconds).sum()))
    })
}

fn as_text(lines: &[Line], title: &str, whole: f64, bandwidth: Option<f64>) -> String {
    let (launches, sum): (usize, f64) = (lines.iter().map(|l| l.launches).sum(), lines.iter().map(|l| l.seconds).sum());
    let number = |value: Option<f64>, digits: usize| value.map_or("-".into(), |v| format!("{v:.digits$}"));
    let wide = lines.iter().map(|line| line.label.len()).max().unwrap_or(0).max("variant".len());
    let mut text = format!(
        "\n{title}: {launches} launches\n{:<16} {:<wide$} {:>14} {:>8} {:>9} {:>8} {:>7} {:>8} {:>10} {:>6}\n",
        "kernel", "variant", "grid", "launches", "us each", "GB/s", "of peak", "TFLOP/s", "us a step", "%"
    );
    for line in lines {
        let [x, y, z] = line.grid;
        let share = line.gigabytes().zip(bandwidth).map(|(rate, most)| rate * 1e9 / most);
        text += &format!(
            "{:<16} {:<wide$} {:>14} {:>8} {:>9.2} {:>8} {:>7} {:>8} {:>10.1} {:>6.1}\n",
            line.kernel,
            line.label,
            format!("{x}x{y}x{z}"),
            line.launches,
            line.seconds * 1e6 / line.launches as f64,
            number(line.gigabytes(), 1),
            number(share, 2),
            number(line.teraflops(), 2),
            line.seconds * 1e6,
            line.seconds * 100.0 / sum
        );
    }
    for (family, launches, seconds) in families(lines) {
        text += &format!("  {family:<18} {launches:>5} {:>10.1} us {:>5.1}%\n", seconds * 1e6, seconds * 100.0 / sum);
    }
    text + &format!("  {:<18} {launches:>5} {:>10.1} us; the step in one pass {:.1} us\n", "all", sum * 1e6, whole * 1e6)
}

fn as_rows(lines: &[Line], name: &str, whole: f64, bandwidth: Option<f64>) -> String {
    let mut text = String::new();
    for line in lines {
        let row = json!({
            "step": name, "kernel": line.kernel, "variant": line.label, "family": line.family, "grid": line.grid, "launches": line.launches,
            "us": line.seconds * 1e6 / line.launches as f64, "gb_per_s": line.gigabytes(),
            "share_of_bandwidth": line.gigabytes().zip(bandwidth).map(|(rate, most)| rate * 1e9 / most), "tflops": line.teraflops(),
            "us_a_step": line.seconds * 1e6,
        });
        text += &format!("{row}\n");
    }
    let families: serde_json::Map<_, _> = families(lines).map(|(family, _, s)| (family.to_string(), json!(s * 1e6))).collect();
    let (launches, sum): (usize, f64) = (lines.iter().map(|l| l.launches).sum(), lines.iter().map(|l| l.seconds).sum());
    let row = json!({ "step": name, "launches": launches, "sum_us": sum * 1e6, "pass_us": whole * 1e6, "families_us": families });
    text + &format!("{row}\n")
}
