//! The options that several commands share: what can be said, not what it means.

use crate::engine::{DeviceChoice, LoadOptions};
use crate::gpu::OpenOptions;
use crate::model::Sampling;
use crate::num::KvType;
use crate::text::encoding::EffortTable;
use clap::Args;
use std::path::PathBuf;

/// Which model.
#[derive(Args, Clone, Debug)]
pub struct ModelArgs {
    /// GGUF file or checkpoint folder; else DWARFSTAR_MODEL, else the bundled demo model
    #[arg(short, long, value_name = "FILE|FOLDER")]
    pub model: Option<PathBuf>,
    /// What the words high and max mean: by default as the model's name says
    #[arg(long, value_name = "original|0731", value_parser = EffortTable::from_name)]
    pub effort_table: Option<EffortTable>,
}

/// Where and how it runs.
#[derive(Args, Clone, Debug)]
pub struct DeviceArgs {
    /// auto, cpu, a row of `dwarfstar devices`, or part of a device's name
    #[arg(long, default_value = "auto")]
    pub device: DeviceChoice,
    /// Type of cached rows [default: f16 on a GPU, f32 on the CPU]
    #[arg(long, value_name = "f16|f32", value_parser = kv_type)]
    pub kv: Option<KvType>,
    /// f32 activations and caches in every kernel, the variant that is compared with the reference
    #[arg(long)]
    pub exact: bool,
    /// Use only what every GPU has: no subgroups, no f16, no cooperative matrices
    #[arg(long)]
    pub portable: bool,
    /// Compile shaders with bounds checks
    #[arg(long)]
    pub debug_checks: bool,
    /// Most rows of a prefill step [default: what suits the device]
    #[arg(long, value_name = "ROWS")]
    pub rows: Option<u32>,
}

impl DeviceArgs {
    /// Options for a session of `context` tokens.
    pub fn options(&self, context: u32) -> LoadOptions {
        LoadOptions {
            device: self.device.clone(),
            context,
            sessions: 1,
            kv: self.kv,
            exact: self.exact,
            rows: self.rows,
            open: self.open(),
        }
    }

    /// How to open a GPU.
    pub fn open(&self) -> OpenOptions {
        OpenOptions {
            portable: self.portable,
            checks: self.debug_checks,
            binding_cap: crate::debug::environment().binding_cap,
            narrow: false,
        }
    }
}

fn kv_type(text: &str) -> Result<KvType, String> {
    match text {
        "f16" => Ok(KvType::F16),
        "f32" => Ok(KvType::F32),
        _ => Err(format!("unknown cache type {text:?}; there are f16 and f32")),
    }
}

/// How tokens are chosen.
#[derive(Args, Clone, Copy, Debug)]
pub struct SamplingArgs {
    /// 0 takes the best token [default: 1, for a batch 0]
    #[arg(long)]
    pub temp: Option<f32>,
    /// Keep the most likely tokens that together have this probability
    #[arg(long, default_value_t = 1.0)]
    pub top_p: f32,
    /// Keep this many of the most likely tokens; 0 keeps all
    #[arg(long, default_value_t = 0)]
    pub top_k: u32,
    /// Keep tokens at least this likely relative to the best
    #[arg(long, default_value_t = 0.0)]
    pub min_p: f32,
    /// Makes answers repeatable [default: from the clock]
    #[arg(long)]
    pub seed: Option<u64>,
}

impl SamplingArgs {
    /// As the engine takes it; `temperature` where none was given.
    pub fn sampling(&self, temperature: f32) -> Sampling {
        let Self { temp, top_p, top_k, min_p, seed } = *self;
        Sampling { temperature: temp.unwrap_or(temperature), top_k, top_p, min_p, seed: seed.unwrap_or_else(|| fastrand::u64(..)) }
    }
}

/// Whether the model reasons first.
#[derive(Args, Clone, Copy, Debug)]
pub struct ThinkingArgs {
    /// Reason before answering (default)
    #[arg(long, conflicts_with_all = ["think_max", "nothink"])]
    pub think: bool,
    /// Reason with the greatest effort
    #[arg(long, conflicts_with = "nothink")]
    pub think_max: bool,
    /// Answer at once
    #[arg(long)]
    pub nothink: bool,
}
