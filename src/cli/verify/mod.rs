//! `dwarfstar verify`: every kernel variant against the reference on this machine's adapters. The kernel tests run the same checks.

mod bench;
mod cache;
mod dense;
mod experts;
mod experts_int8;
mod int8;
mod latents;

use super::screen::put;
use crate::Result;
use crate::engine::DeviceChoice;
use crate::gpu::{Gpu, OpenOptions, adapters};
use crate::kernels::Kit;
use crate::num::KvType;
use bench::Bench;
pub use bench::Outcome;
use clap::Args;
use serde_json::json;
use std::collections::BTreeMap;

/// Runs all checks on `gpu`, with `kv` caches; `exact`: without cooperative matrices.
///
/// # Errors
/// The device failed; a kernel that computes something else than the reference is an outcome, not an error.
pub fn check(gpu: &Gpu, kv: KvType, exact: bool) -> Result<Vec<Outcome>> {
    let mut bench = Bench::new(gpu, Kit::new(gpu, kv, exact)?);
    dense::run(&mut bench)?;
    int8::run(&mut bench)?;
    experts::run(&mut bench)?;
    experts_int8::run(&mut bench)?;
    cache::run(&mut bench)?;
    latents::run(&mut bench)?;
    Ok(bench.into_outcomes())
}

/// The arguments of `dwarfstar verify`.
#[derive(Args, Debug)]
pub struct Verify {
    /// Only this device: a row of `dwarfstar devices`, or part of a name
    #[arg(long)]
    device: Option<DeviceChoice>,
    /// Only this way of opening it: best, exact, portable, checked or narrow
    #[arg(long)]
    way: Option<String>,
    /// Name every check, not only the failed ones
    #[arg(long)]
    all: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// The ways in which a device is opened: what it offers, exact, what every device has, with shader checks, and as if subgroups varied.
/// Name, cache, exact, options.
const WAYS: [(&str, KvType, bool, OpenOptions); 5] = {
    const BEST: OpenOptions = OpenOptions { portable: false, checks: false, binding_cap: None, narrow: false };
    [
        ("best", KvType::F16, false, BEST),
        ("exact", KvType::F32, true, BEST),
        ("portable", KvType::F16, false, OpenOptions { portable: true, ..BEST }),
        ("checked", KvType::F16, false, OpenOptions { checks: true, ..BEST }),
        ("narrow", KvType::F16, false, OpenOptions { narrow: true, ..BEST }),
    ]
};

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
        if let Some(way) = self.way.as_ref().filter(|way| !WAYS.iter().any(|(name, ..)| name == way)) {
            anyhow::bail!("unknown way {way:?}; there are best, exact, portable, checked and narrow");
        }
        let mut failed = 0;
        for adapter in all {
            for (way, kv, exact, options) in WAYS {
                if self.way.as_ref().is_some_and(|only| only != way) {
                    continue;
                }
                let gpu = adapter.open(options)?;
                let outcomes = check(&gpu, kv, exact)?;
                failed += outcomes.iter().filter(|o| o.failure.is_some()).count();
                let title = format!("{} ({}, {}), {way}: {kv} cache", adapter.name, adapter.backend, adapter.driver);
                self.report(&title, &gpu.caps().summary(), &outcomes)?;
            }
        }
        if failed > 0 {
            anyhow::bail!("{failed} checks failed");
        }
        Ok(())
    }

    fn report(&self, title: &str, caps: &str, outcomes: &[Outcome]) -> anyhow::Result<()> {
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
            return put(&format!("{}\n", json!({ "device": title, "caps": caps, "kernels": kernels })));
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
