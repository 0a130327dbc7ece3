//! `bench --kernels`: where a step's time goes, by kind of launch. A timestamp between two launches costs more than many of them take, so
//! that each kind runs alone, all its launches of the step in a row and over and over: what is left of the step's time as a whole is what
//! kinds lose by waiting for one another, or gain by finding each other's results in a cache. A kind whose launches together read less
//! than a cache holds finds it there when it is repeated: a share above 1 of what memory gives says so. What a kind takes in its place is
//! what the step is shorter without it: its code and tables of addresses are cold there, and others may run beside it.

use super::bandwidth::is_software;
use super::workload::greedy;
use crate::cli::common::watched;
use crate::cli::screen::{interrupted, put};
use crate::engine::{Engine, Part, RowKind, Session, TokenId, Want};
use crate::gpu::{Cost, Dispatch, Gpu, Recording, Variant};
use crate::model::NoTaps;
use crate::progress::{Progress, Unit};
use anyhow::Result;
use serde_json::json;
use std::slice;
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
    fn has(&self, launch: &Dispatch) -> bool {
        self.grid == launch.grid && *self.variant == launch.variant
    }

    /// The other launches of `step`.
    fn left_out_of(&self, step: &Recording) -> Recording {
        Recording::of(step.dispatches().iter().filter(|launch| !self.has(launch)))
    }

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
        match kinds.iter_mut().find(|kind| kind.has(launch)) {
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

/// Tables of a long step that ends at `context` tokens and of the decode step behind it, a row of each session, on stdout. Spoils the
/// sessions, of which all but the first hold such a context already. `bandwidth`: what the device reads, bytes per second.
pub(super) fn table(
    engine: &mut Engine,
    sessions: &mut [Session],
    prompts: &[Vec<TokenId>],
    context: usize,
    bandwidth: Option<f64>,
    as_json: bool,
) -> Result<()> {
    let (before, tokens) = (context - 1, &prompts[0]);
    let start = before - before.min(engine.max_rows());
    watched("prefill", Unit::Items, |watch| sessions[0].sync(engine, &tokens[..start], watch))?;
    // The long step comes first: what is left of the sessions does for timing the decode step, which reads them at the same places.
    if start < before {
        let step = captured(engine, RowKind::Prompt, vec![Part::given(&mut sessions[0], &tokens[start..before], Vec::new())])?;
        let title = format!("prefill step of {} row(s) at position {start}", before - start);
        if !print(engine, &step, "prefill", title, bandwidth, as_json)? {
            return Ok(());
        }
    }
    let title = format!("decode step of {} row(s) at position {before}", sessions.len());
    let wants = || vec![(0, Want::Sample(greedy()))];
    let rows = sessions.iter_mut().zip(prompts);
    let parts = rows.map(|(session, prompt)| Part::given(session, slice::from_ref(&prompt[before]), wants())).collect();
    let step = captured(engine, RowKind::Generated, parts)?;
    print(engine, &step, "decode", title, bandwidth, as_json)?;
    Ok(())
}

/// Runs a step and keeps its launches.
fn captured(engine: &mut Engine, kind: RowKind, parts: Vec<Part<'_>>) -> Result<Recording> {
    engine.gpu()?.capture(true);
    let ran = engine.step(kind, parts, &mut NoTaps);
    let step = engine.gpu()?.capture(false);
    ran?;
    Ok(step)
}

/// Times the launches of a step and prints its table; false if interrupted.
fn print(engine: &Engine, step: &Recording, name: &'static str, title: String, bandwidth: Option<f64>, as_json: bool) -> Result<bool> {
    if interrupted().load(Ordering::Relaxed) {
        return Ok(false);
    }
    let Some(table) = measure(engine.gpu()?, step, name, title, bandwidth)? else { return Ok(false) };
    put(&if as_json { table.rows() } else { table.text() })?;
    Ok(true)
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
    /// What the step is shorter without them.
    in_place: Option<f64>,
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

/// Where the time of a step goes.
struct Table {
    /// "prefill" or "decode".
    name: &'static str,
    /// What the step was.
    title: String,
    /// Of the step.
    launches: usize,
    /// Those that wait for all before them.
    in_turn: usize,
    /// Kinds of them, the longest first.
    lines: Vec<Line>,
    /// Seconds of the step in one pass, everything in its order.
    whole: f64,
    /// Bytes per second that the device reads.
    bandwidth: Option<f64>,
}

/// Times the step and each kind of its launches. None if interrupted.
fn measure(gpu: &Gpu, step: &Recording, name: &'static str, title: String, bandwidth: Option<f64>) -> Result<Option<Table>> {
    let kinds = kinds(step);
    let (launches, in_turn, whole) = (step.dispatches().len(), gpu.in_turn(step)?, gpu.time(step, step)?);
    let mut table = Table { name, title, launches, in_turn, lines: Vec::new(), whole, bandwidth };
    let progress = Progress::bar("kinds of launches", kinds.len() as u64, Unit::Items);
    for kind in &kinds {
        if interrupted().load(Ordering::Relaxed) {
            progress.finish();
            return Ok(None);
        }
        // The step first: whatever the kind before this one left in the buffers, this one finds what it finds in a step.
        let seconds = gpu.time(step, &Recording::of(kind.launches.iter().copied()))?;
        // Of prefill, and on a CPU, so many steps take minutes. Clocks move meanwhile: each difference is of two steps timed together.
        let is_compared = name == "decode" && !is_software(gpu);
        let in_place = if is_compared { Some(gpu.time(step, step)? - gpu.time(step, &kind.left_out_of(step))?) } else { None };
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
        progress.add(1);
    }
    progress.finish();
    table.lines.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
    Ok(Some(table))
}

impl Table {
    /// Seconds of all kinds.
    fn sum(&self) -> f64 {
        self.lines.iter().map(|line| line.seconds).sum()
    }

    /// Launches and seconds of each family that has any.
    fn families(&self) -> impl Iterator<Item = (&'static str, usize, f64)> {
        FAMILIES.iter().filter_map(|family| {
            let own = self.lines.iter().filter(|line| line.family == *family);
            let launches = own.clone().map(|line| line.launches).sum();
            (launches > 0).then(|| (*family, launches, own.map(|line| line.seconds).sum()))
        })
    }

    /// How much of the bandwidth a kind uses.
    fn share(&self, line: &Line) -> Option<f64> {
        line.gigabytes().zip(self.bandwidth).map(|(rate, most)| rate * 1e9 / most)
    }

    fn text(&self) -> String {
        let number = |value: Option<f64>, digits: usize| value.map_or("-".into(), |v| format!("{v:.digits$}"));
        let wide = self.lines.iter().map(|line| line.label.len()).max().unwrap_or(0).max("variant".len());
        let sum = self.sum();
        let mut text = format!(
            "\n{}: {} launches, {} in turn\n{:<16} {:<wide$} {:>14} {:>8} {:>9} {:>8} {:>8} {:>7} {:>8} {:>10} {:>6}\n",
            self.title,
            self.launches,
            self.in_turn,
            "kernel",
            "variant",
            "grid",
            "launches",
            "us each",
            "in place",
            "GB/s",
            "of peak",
            "TFLOP/s",
            "us a step",
            "%"
        );
        for line in &self.lines {
            let [x, y, z] = line.grid;
            text += &format!(
                "{:<16} {:<wide$} {:>14} {:>8} {:>9.2} {:>8} {:>8} {:>7} {:>8} {:>10.1} {:>6.1}\n",
                line.kernel,
                line.label,
                format!("{x}x{y}x{z}"),
                line.launches,
                line.seconds * 1e6 / line.launches as f64,
                number(line.in_place.map(|seconds| seconds * 1e6 / line.launches as f64), 2),
                number(line.gigabytes(), 1),
                number(self.share(line), 2),
                number(line.teraflops(), 3),
                line.seconds * 1e6,
                line.seconds * 100.0 / sum
            );
        }
        for (family, launches, seconds) in self.families() {
            text += &format!("  {family:<18} {launches:>5} {:>10.1} us {:>5.1}%\n", seconds * 1e6, seconds * 100.0 / sum);
        }
        let (sum, whole) = (sum * 1e6, self.whole * 1e6);
        text + &format!("  {:<18} {:>5} {sum:>10.1} us; the step in one pass {whole:.1} us\n", "all", self.launches)
    }

    /// A JSON line for each kind, and one for the step.
    fn rows(&self) -> String {
        let step = self.name;
        let mut text = String::new();
        for line in &self.lines {
            let us = line.seconds * 1e6;
            let row = json!({
                "step": step, "kernel": line.kernel, "variant": line.label, "family": line.family, "grid": line.grid,
                "launches": line.launches, "us": us / line.launches as f64,
                "us_in_place": line.in_place.map(|seconds| seconds * 1e6 / line.launches as f64), "gb_per_s": line.gigabytes(),
                "share_of_bandwidth": self.share(line), "tflops": line.teraflops(), "us_a_step": us,
            });
            text += &format!("{row}\n");
        }
        let families: serde_json::Map<_, _> = self.families().map(|(family, _, s)| (family.to_string(), json!(s * 1e6))).collect();
        let (launches, sum, whole) = (self.launches, self.sum() * 1e6, self.whole * 1e6);
        let row = json!({ "step": step, "launches": launches, "in_turn": self.in_turn, "sum_us": sum, "pass_us": whole, "families_us": families });
        text + &format!("{row}\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_differ_in_variant_or_grid_and_are_told_apart_by_what_differs() {
        let matvec = |lanes| Variant::new("matvec").flag("W_Q8_0").constant("WG", 256).constant("LANES", lanes);
        let mut step = Recording::new();
        for (variant, x, bytes) in [(matvec(32), 1, 5), (matvec(32), 2, 5), (matvec(16), 1, 0), (matvec(32), 1, 6), (matvec(16), 1, 7)] {
            step.dispatch(variant, &0u32, Vec::new(), [x, 1, 1]);
            step.cost(Cost { bytes, flops: 1 });
        }
        step.dispatch(Variant::new("matmul").flag("EXPERTS"), &0u32, Vec::new(), [1, 1, 1]);
        let kinds = kinds(&step);
        assert_eq!(kinds.iter().map(|k| k.launches.len()).collect::<Vec<_>>(), [2, 1, 2, 1]);
        assert_eq!(kinds[0].cost(), Cost { bytes: 11, flops: 2 });
        assert_eq!(kinds[2].cost(), Cost { bytes: 0, flops: 2 }, "one of them is not known");
        let others: Vec<_> = kinds[0].left_out_of(&step).dispatches().iter().map(|launch| launch.cost.bytes).collect();
        assert_eq!(others, [5, 0, 7, 0], "all but the two of 5 and 6 bytes");
        let labels: Vec<_> = kinds.iter().map(|k| label(k.variant, &kinds)).collect();
        assert_eq!(labels, ["W_Q8_0 LANES=32", "W_Q8_0 LANES=32", "W_Q8_0 LANES=16", "EXPERTS"]);
        assert_eq!((family(kinds[0].variant), family(kinds[3].variant)), ("dense matrices", "experts"));
    }

    #[test]
    fn every_kernel_of_a_step_has_a_family() {
        for kernel in crate::gpu::kernels().filter(|kernel| *kernel != "stream_read") {
            assert!(FAMILIES.contains(&family(&Variant::new(kernel))), "{kernel}");
        }
    }

    #[test]
    fn a_table_says_what_is_not_known_with_a_dash() {
        let line = |kernel, bytes, seconds| Line {
            kernel,
            label: "-".into(),
            family: "router",
            grid: [1, 2, 3],
            launches: 2,
            cost: Cost { bytes, flops: 0 },
            seconds,
            in_place: (bytes > 0).then_some(4e-6),
        };
        let lines = vec![line("a", 3000, 3e-6), line("b", 0, 1e-6)];
        let table = Table { name: "decode", title: "a step".into(), launches: 4, in_turn: 3, lines, whole: 5e-6, bandwidth: Some(4e9) };
        let text = table.text();
        let words = |n: usize| text.lines().nth(n).unwrap().split_whitespace().collect::<Vec<_>>();
        assert_eq!(words(3), ["a", "-", "1x2x3", "2", "1.50", "2.00", "1.0", "0.25", "-", "3.0", "75.0"]);
        assert_eq!(words(4), ["b", "-", "1x2x3", "2", "0.50", "-", "-", "-", "-", "1.0", "25.0"]);
        assert!(text.ends_with("  all                    4        4.0 us; the step in one pass 5.0 us\n"), "{text}");
        assert_eq!(table.rows().lines().count(), 3);
    }
}
