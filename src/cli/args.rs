//! The options that several commands share.

use crate::engine::{DeviceChoice, LoadOptions};
use crate::gpu::OpenOptions;
use crate::model::Sampling;
use crate::num::KvType;
use crate::text::encoding::EffortTable;
use clap::Args;
use std::path::PathBuf;

/// The options that name the model.
#[derive(Args, Clone, Debug)]
pub struct ModelArgs {
    /// The model: a GGUF file or a checkpoint folder [default: DWARFSTAR_MODEL, or the bundled demo model if that is not set]
    #[arg(short, long, value_name = "FILE|FOLDER")]
    pub model: Option<PathBuf>,
    /// The table of effort words in prompts: that of the original or of the 0731 checkpoints [default: by the model's name]
    #[arg(long, value_name = "original|0731", value_parser = EffortTable::from_name)]
    pub effort_table: Option<EffortTable>,
}

/// The options that say on which device a model runs, and how.
#[derive(Args, Clone, Debug)]
pub struct DeviceArgs {
    /// The device to run on: auto, cpu, a number that `dwarfstar devices` lists, or part of a device's name
    #[arg(long, default_value = "auto")]
    pub device: DeviceChoice,
    /// The type in which keys and values of earlier tokens are cached [default: f16 on a GPU, f32 on the CPU]
    #[arg(long, value_name = "f16|f32", value_parser = kv_type)]
    pub kv: Option<KvType>,
    /// Compute with f32 activations and caches in every kernel: the closest to the reference, and slower
    #[arg(long)]
    pub exact: bool,
    /// Use only what every supported GPU has: no subgroups, no f16, no cooperative matrices
    #[arg(long)]
    pub portable: bool,
    /// Compile shaders with bounds checks, to find faults in kernels
    #[arg(long)]
    pub debug_checks: bool,
    /// The largest number of prompt tokens in one step [default: chosen for the device]
    #[arg(long, value_name = "ROWS")]
    pub rows: Option<u32>,
}

impl DeviceArgs {
    /// The engine's options for one session of `context` tokens.
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

/// The options that say how tokens are drawn.
#[derive(Args, Clone, Copy, Debug)]
pub struct SamplingArgs {
    /// The temperature of draws; 0 always takes the most likely token [default: 1, or 0 for a batch]
    #[arg(long)]
    pub temp: Option<f32>,
    /// Draw only from the most likely tokens that together have this probability
    #[arg(long, default_value_t = 1.0)]
    pub top_p: f32,
    /// Draw only from this many of the most likely tokens; 0 draws from all
    #[arg(long, default_value_t = 0)]
    pub top_k: u32,
    /// Draw only tokens whose probability is at least this share of the most likely token's
    #[arg(long, default_value_t = 0.0)]
    pub min_p: f32,
    /// The seed of the draws: the same seed gives the same answer [default: random]
    #[arg(long)]
    pub seed: Option<u64>,
}

impl SamplingArgs {
    /// The engine's sampling options. `temperature` is used if the user gave none.
    pub fn sampling(&self, temperature: f32) -> Sampling {
        let Self { temp, top_p, top_k, min_p, seed } = *self;
        Sampling { temperature: temp.unwrap_or(temperature), top_k, top_p, min_p, seed: seed.unwrap_or_else(|| fastrand::u64(..)) }
    }
}

/// The options that say whether the model reasons before it answers.
#[derive(Args, Clone, Copy, Debug)]
pub struct ThinkingArgs {
    /// Let the model reason before it answers (the default)
    #[arg(long, conflicts_with_all = ["think_max", "nothink"])]
    pub think: bool,
    /// Let the model reason with the greatest effort
    #[arg(long, conflicts_with = "nothink")]
    pub think_max: bool,
    /// Let the model answer without reasoning
    #[arg(long)]
    pub nothink: bool,
}
