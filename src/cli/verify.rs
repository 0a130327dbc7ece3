//! `dwarfstar verify` compares the kernels with the reference on the adapters of this machine. The kernel tests run the same cases.

use super::screen::put;
use crate::engine::DeviceChoice;
use crate::gpu::{Cooperative, OpenOptions, adapters, kernels};
use crate::num::KvType;
use crate::verify::{Family, Report, Selection, Shapes, check};
use clap::{Args, ValueEnum};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// The arguments of `dwarfstar verify`.
#[derive(Args, Debug)]
pub struct Verify {
    /// Check only this device: a number that `dwarfstar devices` lists, or part of a device's name
    #[arg(long)]
    device: Option<DeviceChoice>,
    /// Check only this way of opening the device
    #[arg(long)]
    way: Option<Way>,
    /// The shapes of the cases: tiny, flash (the shapes of V4 Flash, some 4 GB) or all [default: all, or tiny if shaders run on the CPU]
    #[arg(long)]
    shapes: Option<Shapes>,
    /// Check only this family: embed, norm, linear, hc, kv, compressor, indexer, attention, router, moe, sample or stream
    #[arg(long)]
    family: Option<Family>,
    /// Print every check, not only those that fail
    #[arg(long)]
    all: bool,
    /// Print JSON lines instead of tables
    #[arg(long)]
    json: bool,
}

/// How a device is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Way {
    /// Use everything that the device offers
    Best,
    /// Use no cooperative matrices and no int8, and a cache of f32
    Exact,
    /// Use only what every supported device has
    Portable,
    /// Compile shaders with bounds checks
    Checked,
    /// Treat the device as one whose subgroups vary in size
    Narrow,
}

impl Way {
    fn options(self) -> OpenOptions {
        OpenOptions { portable: self == Self::Portable, checks: self == Self::Checked, binding_cap: None, narrow: self == Self::Narrow }
    }

    fn kv(self) -> KvType {
        if self == Self::Exact { KvType::F32 } else { KvType::F16 }
    }
}

/// The word that `--way` takes.
impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_possible_value().map_or(Ok(()), |value| f.write_str(value.get_name()))
    }
}

/// Checks of one kernel in one way.
#[derive(Default)]
struct Row {
    checks: usize,
    failed: usize,
    nmse: f64,
    max: f64,
}

impl Verify {
    /// Runs the command.
    ///
    /// # Errors
    /// No adapter, or a kernel that differs from the reference.
    pub fn run(self) -> anyhow::Result<()> {
        let all = match self.device.clone() {
            None => adapters(),
            Some(choice) => choice.find()?.into_iter().collect(),
        };
        if all.is_empty() {
            anyhow::bail!("no adapter to verify; the reference is what the others are compared with");
        }
        let mut failed = 0;
        for adapter in all {
            let mut launched = BTreeSet::new();
            for &way in Way::value_variants().iter().filter(|way| self.way.is_none_or(|only| only == **way)) {
                let gpu = adapter.open(way.options())?;
                let shapes = self.shapes.unwrap_or(if gpu.is_software() { Shapes::Tiny } else { Shapes::All });
                let report = check(&gpu, Selection { kv: way.kv(), exact: way == Way::Exact, shapes, family: self.family })?;
                failed += report.outcomes.iter().filter(|o| o.failure.is_some()).count();
                let title = format!("{} ({}, {}), {way}: {} cache", adapter.name, adapter.backend, adapter.driver, way.kv());
                self.report(&title, &gpu.caps().summary(), &report)?;
                launched.extend(report.launched);
            }
            // Only a device with cooperative matrices can launch every kernel.
            let missed: Vec<&str> = kernels().filter(|kernel| !launched.contains(kernel)).collect();
            let is_whole = self.family.is_none() && self.shapes != Some(Shapes::Flash);
            if adapter.caps.cooperative != Cooperative::None && is_whole && !missed.is_empty() && !self.json {
                put(&format!("{}: no check launched {}\n\n", adapter.name, missed.join(", ")))?;
            }
        }
        if failed > 0 {
            anyhow::bail!("{failed} checks failed");
        }
        Ok(())
    }

    fn report(&self, title: &str, caps: &str, Report { outcomes, launched }: &Report) -> anyhow::Result<()> {
        let mut rows: BTreeMap<&str, Row> = BTreeMap::new();
        for outcome in outcomes {
            let row = rows.entry(outcome.kernel).or_default();
            row.checks += 1;
            row.failed += usize::from(outcome.failure.is_some());
            row.nmse = row.nmse.max(outcome.nmse);
            row.max = row.max.max(outcome.max);
        }
        if self.json {
            let kernels: Vec<_> = rows
                .iter()
                .map(|(kernel, r)| json!({ "kernel": kernel, "checks": r.checks, "failed": r.failed, "nmse": r.nmse, "max": r.max }))
                .collect();
            return put(&format!("{}\n", json!({ "device": title, "caps": caps, "kernels": kernels, "launched": launched })));
        }
        put(&format!("{title}\n{caps}\n{:<16} {:>6} {:>6} {:>9} {:>9}\n", "kernel", "checks", "failed", "NMSE", "max/rms"))?;
        for (kernel, row) in &rows {
            put(&format!("{kernel:<16} {:>6} {:>6} {:>9.1e} {:>9.1e}\n", row.checks, row.failed, row.nmse, row.max))?;
        }
        for outcome in outcomes.iter().filter(|o| self.all || o.failure.is_some()) {
            let verdict = outcome.failure.as_deref().unwrap_or("equal");
            put(&format!("  {}: {}: {verdict} (NMSE {:.1e}, max {:.1e})\n", outcome.kernel, outcome.case, outcome.nmse, outcome.max))?;
        }
        put("\n")
    }
}
