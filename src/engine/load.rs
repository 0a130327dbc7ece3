//! Loading a model into an [`Engine`]: chooses the device, plans the memory and copies the weights.

use super::cpu::CpuBackend;
use super::device::DeviceChoice;
use super::gpu::{Capacity, GpuBackend, Layout, MemoryPlan, mib, rows_of_a_step};
use super::submit::{Engine, Loaded};
use super::watch::Watch;
use crate::gpu::{Adapter, AdapterKind, OpenOptions};
use crate::model::{Model, Mtp};
use crate::num::KvType;
use crate::{Error, Result};
use std::sync::Arc;
use std::time::Instant;

/// How to load a model.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// The device.
    pub device: DeviceChoice,
    /// The largest number of tokens in a session.
    pub context: u32,
    /// The largest number of sessions at a time.
    pub sessions: u32,
    /// Number format of cached rows. `None` means f16 on a GPU, and f32 on the CPU or where `exact` is set.
    pub kv: Option<KvType>,
    /// Whether kernels keep activations in f32, and round nothing to f16 or int8.
    pub exact: bool,
    /// The largest number of rows in a step. `None` means a number that suits the device.
    pub rows: Option<u32>,
    /// Options for opening a GPU.
    pub open: OpenOptions,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self { device: DeviceChoice::Auto, context: 4096, sessions: 1, kv: None, exact: false, rows: None, open: OpenOptions::default() }
    }
}

/// The largest number of rows in a step on the CPU. On a GPU that is short of memory, steps are not shortened below it.
pub const FEW_ROWS: u32 = 512;

/// The largest number of rows in a step on `adapter`, where the options do not state it. All rows of a step share the cost of reading and
/// decoding the weights, so that larger steps are faster a row.
pub fn default_rows(adapter: Option<&Adapter>) -> u32 {
    match adapter.map(|a| a.kind) {
        Some(AdapterKind::Discrete) => 4096,
        Some(AdapterKind::Integrated) => 1024,
        _ => FEW_ROWS,
    }
}

impl Engine {
    /// Loads `model`, and the draft block if there is one. `watch` gets the number of copied bytes.
    ///
    /// # Errors
    /// Where the device does not exist or has too little memory, which is found before anything is loaded, or where it fails.
    pub fn load(model: &Model, mtp: Option<&Mtp>, options: &LoadOptions, watch: Watch<'_>) -> Result<Self> {
        let started = Instant::now();
        let (context, sessions) = (options.context, options.sessions);
        if context == 0 || sessions == 0 || context > model.config.max_context {
            let most = model.config.max_context;
            return Err(Error::Refused(format!(
                "context of {context} tokens for {sessions} session(s): the model has room for 1 to {most}"
            )));
        }
        let mut loaded = match options.device.find()? {
            None => on_cpu(model, mtp, options),
            Some(adapter) => on_gpu(model, mtp, options, &adapter, watch)?,
        };
        loaded.load_seconds = started.elapsed().as_secs_f64();
        Ok(Self::new(loaded))
    }
}

fn on_cpu(model: &Model, mtp: Option<&Mtp>, options: &LoadOptions) -> Loaded {
    let capacity = Capacity {
        context: options.context,
        sessions: options.sessions,
        rows: options.rows.unwrap_or(FEW_ROWS).max(1),
        kv: options.kv.unwrap_or(KvType::F32),
    };
    Loaded {
        backend: Box::new(CpuBackend::new(model, mtp, capacity)),
        gpu: None,
        config: model.config.clone(),
        capacity,
        device: "cpu (reference)".into(),
        plan: None,
        load_seconds: 0.0,
    }
}

fn on_gpu(model: &Model, mtp: Option<&Mtp>, options: &LoadOptions, adapter: &Adapter, watch: Watch<'_>) -> Result<Loaded> {
    let (context, sessions) = (options.context, options.sessions);
    let kv = options.kv.unwrap_or(if options.exact { KvType::F32 } else { KvType::F16 });
    let gpu = Arc::new(adapter.open(options.open)?);
    let wanted = options.rows.unwrap_or(default_rows(Some(adapter)));
    let rows = rows_of_a_step(&model.config, kv, gpu.caps(), wanted.clamp(1, context))?;
    let layout = Layout::new(model, mtp, gpu.caps())?;
    let (wanted, fewest) = (Capacity { context, sessions, rows, kv }, options.rows.unwrap_or(FEW_ROWS));
    let plan = MemoryPlan::within(&model.config, &layout, wanted, gpu.caps(), fewest, adapter.memory_bytes)?;
    let capacity = plan.capacity;
    if let Some(available) = adapter.memory_bytes.filter(|&available| plan.total() > available) {
        return Err(Error::Refused(format!("{} has {} of memory, which is too little\n{plan}", adapter.name, mib(available))));
    }
    Ok(Loaded {
        backend: Box::new(GpuBackend::new(gpu.clone(), options.exact, &model.config, &layout, capacity, watch)?),
        gpu: Some(gpu),
        config: model.config.clone(),
        capacity,
        device: format!("{} ({}, {})", adapter.name, adapter.backend, adapter.driver),
        plan: Some(plan),
        load_seconds: 0.0,
    })
}
