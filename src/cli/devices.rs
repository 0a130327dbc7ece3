//! `dwarfstar devices` lists the adapters, what each supports, and which kernels it gets.

use super::screen::put;
use crate::engine::mib;
use crate::gpu::{Adapter, Cooperative, adapters};
use anyhow::Result;
use clap::Args;
use serde_json::json;

#[derive(Args, Debug)]
pub struct Devices {
    /// Print JSON instead of text
    #[arg(long)]
    json: bool,
}

impl Devices {
    pub fn run(self) -> Result<()> {
        let all = adapters();
        if self.json {
            let rows: Vec<_> = all.iter().enumerate().map(|(i, a)| row(i, a)).collect();
            return put(&format!("{}\n", serde_json::Value::Array(rows)));
        }
        for (i, adapter) in all.iter().enumerate() {
            let memory = adapter.memory_bytes.map_or("memory unknown".into(), mib);
            put(&format!("{i}  {} ({}, {}, {:?}, {memory})\n", adapter.name, adapter.backend, adapter.driver, adapter.kind))?;
            put(&format!("   {}\n   kernels: {}\n", adapter.caps.summary(), kernels(adapter)))?;
        }
        put("cpu  the reference: f64 sums in plain Rust, slow\n")
    }
}

/// The kinds of kernels that the adapter gets, in words.
fn kernels(adapter: &Adapter) -> String {
    let reduction = adapter.caps.subgroup.map_or("sums through workgroup memory".into(), |n| format!("sums over subgroups of {n}"));
    let int8 = adapter.caps.dot_int8 && adapter.caps.subgroup.is_some_and(|n| n >= 8);
    let decode = if int8 { "decode on int8 activations" } else { "decode on f32 activations" };
    let matmul = match adapter.caps.cooperative {
        Cooperative::Size16 => "matmul on 16x16 cooperative matrices",
        Cooperative::Size8 => "matmul on 8x8 cooperative matrices",
        Cooperative::None => "matmul in f32",
    };
    format!("{reduction}, {decode}, {matmul}")
}

fn row(index: usize, adapter: &Adapter) -> serde_json::Value {
    let caps = &adapter.caps;
    json!({
        "index": index,
        "name": adapter.name,
        "backend": adapter.backend,
        "driver": adapter.driver,
        "kind": format!("{:?}", adapter.kind),
        "memory_bytes": adapter.memory_bytes,
        "subgroup": caps.subgroup,
        "f16": caps.f16,
        "dot_int8": caps.dot_int8,
        "cooperative": format!("{:?}", caps.cooperative),
        "immediates": caps.immediates,
        "unified_memory": caps.unified_memory,
        "max_binding_bytes": caps.max_binding_bytes,
        "max_buffer_bytes": caps.max_buffer_bytes,
        "workgroup_bytes": caps.workgroup_bytes,
        "kernels": kernels(adapter),
    })
}
