//! `dwarfstar inspect` shows metadata, tensors and their formats, where weights go on a device, and the memory plan.

use super::args::{DeviceArgs, ModelArgs};
use super::screen::put;
use super::source::Source;
use crate::engine::{Capacity, FEW_ROWS, Layout, MemoryPlan, default_rows, mib, rows_of_a_step};
use crate::gpu::Caps;
use crate::model::Model;
use crate::num::KvType;
use anyhow::Result;
use clap::Args;
use serde_json::json;
use std::collections::BTreeMap;

#[derive(Args, Debug)]
pub struct Inspect {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    device: DeviceArgs,
    /// The context lengths for which to plan the memory
    #[arg(long, value_delimiter = ',', default_value = "32768,131072,1048576")]
    ctx: Vec<u32>,
    /// The number of sessions for which to plan the memory
    #[arg(long, default_value_t = 1)]
    sessions: u32,
    /// List every tensor and metadata key
    #[arg(long)]
    all: bool,
    /// Print JSON instead of text
    #[arg(long)]
    json: bool,
}

/// Tensors of one type.
#[derive(Default)]
struct Share {
    tensors: usize,
    parameters: u64,
    bytes: u64,
}

impl Inspect {
    pub fn run(self) -> Result<()> {
        let source = Source::of(&self.model);
        let files = source.files()?;
        let model = Model::bind(&files)?;
        let listing = files.listing();
        let mut shares: BTreeMap<String, Share> = BTreeMap::new();
        for tensor in &listing {
            let share = shares.entry(tensor.kind.clone()).or_default();
            share.tensors += 1;
            share.parameters += tensor.elements;
            share.bytes += tensor.bytes;
        }
        // Without a GPU the plan is made for a device with the least limits.
        let adapter = self.device.device.find()?;
        let (device, caps) = adapter.as_ref().map_or(("any device", Caps::portable()), |a| (&a.name[..], a.caps.clone()));
        let caps = self.device.open().binding_cap.map_or(caps.clone(), |cap| Caps { max_binding_bytes: cap, ..caps });
        let layout = Layout::new(&model, None, &caps)?;
        let kv = self.device.kv.unwrap_or(if self.device.exact { KvType::F32 } else { KvType::F16 });
        let plan = |context: u32| -> Result<MemoryPlan> {
            let rows = rows_of_a_step(&model.config, kv, &caps, self.device.rows.unwrap_or(default_rows(adapter.as_ref())).min(context))?;
            let (wanted, fewest) = (Capacity { context, sessions: self.sessions, rows, kv }, self.device.rows.unwrap_or(FEW_ROWS));
            let there = adapter.as_ref().and_then(|a| a.memory_bytes);
            Ok(MemoryPlan::within(&model.config, &layout, wanted, &caps, fewest, there)?)
        };
        let total = |f: fn(&Share) -> u64| shares.values().map(f).sum::<u64>();
        let (parameters, bytes) = (total(|s| s.parameters), total(|s| s.bytes));
        let contexts: Vec<u32> = self.ctx.iter().copied().filter(|&c| c <= model.config.max_context).collect();
        if self.json {
            let plans = contexts.iter().map(|&c| plan(c).map(|p| plan_json(&p))).collect::<Result<Vec<_>>>()?;
            let formats: BTreeMap<_, _> = shares
                .iter()
                .map(|(kind, s)| (kind.clone(), json!({ "tensors": s.tensors, "parameters": s.parameters, "bytes": s.bytes })))
                .collect();
            let (tensors, arenas) = (listing.len(), layout.arenas());
            let report = json!({
                "path": source.path().display().to_string(), "name": model.config.name, "tensors": tensors, "parameters": parameters,
                "bytes": bytes, "formats": formats, "device": device, "arenas": arenas, "weight_bytes": layout.bytes(),
                "rearranged_bytes": layout.rearranged_bytes(), "plans": plans,
            });
            return put(&format!("{report}\n"));
        }
        put(&format!("{}\n{}\n", source.path().display(), model.config.summary()))?;
        put(&format!("{} tensors, {:.2} B parameters, {}\n", listing.len(), parameters as f64 / 1e9, gib(bytes)))?;
        for (kind, share) in &shares {
            let (tensors, billions) = (share.tensors, share.parameters as f64 / 1e9);
            put(&format!("  {kind:<10} {tensors:>5} tensors {billions:>9.3} B {:>12}\n", mib(share.bytes)))?;
        }
        if self.all {
            for line in files.metadata_lines() {
                put(&format!("  {line}\n"))?;
            }
            for tensor in &listing {
                put(&format!("  {:<48} {:<10} {:?}\n", tensor.name, tensor.kind, tensor.shape))?;
            }
        }
        let arenas = layout.arenas().len();
        let rearranged = layout.rearranged_bytes();
        let order = if rearranged > 0 {
            format!("{} of it with the codes of several blocks together", mib(rearranged))
        } else {
            "as in the file".into()
        };
        put(&format!("weights on {device}: {} in {arenas} buffers, {order}\n", mib(layout.bytes())))?;
        for context in contexts {
            put(&format!("{}\n", plan(context)?))?;
        }
        Ok(())
    }
}

fn gib(bytes: u64) -> String {
    format!("{:.2} GiB", bytes as f64 / f64::from(1 << 30))
}

fn plan_json(plan: &MemoryPlan) -> serde_json::Value {
    json!({
        "context": plan.capacity.context, "sessions": plan.capacity.sessions, "rows": plan.capacity.rows,
        "kv": plan.capacity.kv.name(), "weights": plan.weights, "compressed_rows": plan.compressed_rows, "index_rows": plan.index_rows,
        "rings": plan.rings, "frontiers": plan.frontiers, "activations": plan.activations, "total": plan.total(),
    })
}
