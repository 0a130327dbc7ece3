//! A loaded model ([`Engine`]) and timelines of tokens on it ([`Session`]).
//!
//! An engine runs steps: rows of one or more sessions that go through the model together, a prefill chunk being many rows of one session
//! and a decode step one row of each of several. Speaks token ids only, never text. Runs on the GPU through `kernels`, or on the CPU
//! through `reference`; nothing outside this room knows which. Called by the commands and the server; tests are `tests/golden/engine.rs`.

mod backend;
mod buffers;
mod cache;
mod cpu;
mod device;
mod gpu;
mod layout;
mod pace;
mod place;
mod plan;
mod record;
mod session;
mod sizes;
mod step;
mod upload;

pub use crate::reference::{NoTaps, Tap, TapData, Taps};
pub use device::DeviceChoice;
pub use layout::Layout;
pub use plan::{MemoryPlan, mib};
pub use session::{Decode, Ending, Flight, Generation, Part, Report, Session};
pub use sizes::{Capacity, rows_of_a_step};
pub use step::{SampleRequest, StepOutput, TokenId, Unsampled, Want};

use crate::gpu::{Adapter, AdapterKind, Gpu, OpenOptions, Span};
use crate::model::{Config, Model, Mtp};
use crate::num::KvType;
use crate::progress::{Progress, Unit};
use crate::{Error, Result};
use backend::Backend;
use pace::Pace;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

/// How to load a model.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// Where to.
    pub device: DeviceChoice,
    /// Longest session, in tokens.
    pub context: u32,
    /// Sessions at a time.
    pub sessions: u32,
    /// How cached rows are stored; f16 on a GPU and f32 on the CPU where it is not said.
    pub kv: Option<KvType>,
    /// f32 activations and caches in every kernel.
    pub exact: bool,
    /// Most rows of a step; what suits the device where it is not said.
    pub rows: Option<u32>,
    /// How to open a GPU.
    pub open: OpenOptions,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self { device: DeviceChoice::Auto, context: 4096, sessions: 1, kv: None, exact: false, rows: None, open: OpenOptions::default() }
    }
}

/// Most rows of a step on the CPU, and how far steps on a GPU are shortened where memory is short.
pub const FEW_ROWS: u32 = 512;

/// Most rows of a step on `adapter` if nobody says: more share what reading and decoding weights costs.
pub fn default_rows(adapter: Option<&Adapter>) -> u32 {
    match adapter.map(|a| a.kind) {
        Some(AdapterKind::Discrete) => 4096,
        Some(AdapterKind::Integrated) => 1024,
        _ => FEW_ROWS,
    }
}

/// A loaded model.
pub struct Engine {
    pub(crate) backend: Box<dyn Backend>,
    config: Config,
    capacity: Capacity,
    device: String,
    plan: Option<MemoryPlan>,
    load_seconds: f64,
    pace: Pace,
}

impl Engine {
    /// Loads `model`, and the draft block if there is one.
    ///
    /// # Errors
    /// No such device; more memory needed than there is, said before anything is loaded; the device fails.
    pub fn load(model: &Model, mtp: Option<&Mtp>, options: &LoadOptions, cancel: &AtomicBool) -> Result<Self> {
        let started = Instant::now();
        let (context, sessions) = (options.context, options.sessions);
        if context == 0 || sessions == 0 || context > model.config.max_context {
            let most = model.config.max_context;
            return Err(Error::Refused(format!(
                "context of {context} tokens for {sessions} session(s): the model has room for 1 to {most}"
            )));
        }
        let Some(adapter) = options.device.find()? else {
            let kv = options.kv.unwrap_or(KvType::F32);
            let capacity = Capacity { context, sessions, rows: options.rows.unwrap_or(FEW_ROWS).max(1), kv };
            let backend = Box::new(cpu::CpuBackend::new(model, mtp, capacity));
            let device = "cpu (reference)".into();
            return Ok(Self::new(backend, model, capacity, device, None, started));
        };
        let kv = options.kv.unwrap_or(if options.exact { KvType::F32 } else { KvType::F16 });
        let gpu = adapter.open(options.open)?;
        let wanted = options.rows.unwrap_or(default_rows(Some(&adapter)));
        let rows = rows_of_a_step(&model.config, kv, gpu.caps(), wanted.clamp(1, context))?;
        let layout = Layout::new(model, mtp, gpu.caps())?;
        let (wanted, fewest) = (Capacity { context, sessions, rows, kv }, options.rows.unwrap_or(FEW_ROWS));
        let plan = MemoryPlan::within(&model.config, &layout, wanted, gpu.caps(), fewest, adapter.memory_bytes)?;
        let capacity = plan.capacity;
        if let Some(there) = adapter.memory_bytes.filter(|&there| plan.total() > there) {
            return Err(Error::Refused(format!("{} has {} of memory, which is too little\n{plan}", adapter.name, mib(there))));
        }
        let bytes = layout.copies().iter().map(place::Copy::bytes).sum();
        let progress = Progress::bar("loading", bytes, Unit::Bytes);
        let made = gpu::GpuBackend::new(gpu, options.exact, &model.config, &layout, capacity, &progress, cancel);
        progress.finish();
        let device = format!("{} ({}, {})", adapter.name, adapter.backend, adapter.driver);
        Ok(Self::new(Box::new(made?), model, capacity, device, Some(plan), started))
    }

    fn new(
        backend: Box<dyn Backend>,
        model: &Model,
        capacity: Capacity,
        device: String,
        plan: Option<MemoryPlan>,
        started: Instant,
    ) -> Self {
        let load_seconds = started.elapsed().as_secs_f64();
        Self { backend, config: model.config.clone(), capacity, device, plan, load_seconds, pace: Pace::default() }
    }

    /// Hyper-parameters of the model.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The device, for people.
    pub fn device(&self) -> &str {
        &self.device
    }

    /// What the engine takes on a GPU.
    pub fn plan(&self) -> Option<&MemoryPlan> {
        self.plan.as_ref()
    }

    /// Bytes of GPU memory in use: no more than the plan says.
    pub fn held_bytes(&self) -> u64 {
        self.backend.held_bytes()
    }

    /// Seconds that loading took.
    pub fn load_seconds(&self) -> f64 {
        self.load_seconds
    }

    /// Longest session, in tokens.
    pub fn context(&self) -> usize {
        self.capacity.context as usize
    }

    /// Most rows of a step.
    pub fn max_rows(&self) -> usize {
        self.capacity.rows as usize
    }

    /// A new, empty session.
    ///
    /// # Errors
    /// All that the engine has room for are open.
    pub fn open(&mut self) -> Result<Session> {
        Ok(Session::new(self.backend.open()?))
    }

    /// Gives a session's memory back.
    pub fn close(&mut self, session: Session) {
        self.backend.close(session.slot);
    }

    /// Collects when each launch of the following steps ran, which makes them slow; `false` ends that. Returns what was collected.
    ///
    /// # Errors
    /// The device has no timestamps.
    pub fn trace(&mut self, on: bool) -> Result<Vec<Span>> {
        self.backend.trace(on)
    }

    /// The GPU that the engine runs on, for those who measure its launches.
    ///
    /// # Errors
    /// It runs on the CPU.
    pub fn gpu(&self) -> Result<&Gpu> {
        self.backend.gpu().ok_or_else(|| Error::Refused("the device cpu has no launches to measure".into()))
    }

    /// Refuses ids that the model does not have, and more tokens than fit behind `held` ones.
    fn check(&self, tokens: &[TokenId], held: usize) -> Result<()> {
        if let Some((i, id)) = tokens.iter().enumerate().find(|(_, id)| **id >= self.config.vocabulary) {
            let vocabulary = self.config.vocabulary;
            return Err(Error::Refused(format!("token {i} has id {id}, the vocabulary has {vocabulary} ids")));
        }
        let (total, context) = (held + tokens.len(), self.context());
        if total > context {
            return Err(Error::Refused(format!("{total} tokens do not fit in a context of {context}; raise --ctx")));
        }
        Ok(())
    }

    /// Kernels compiled so far: what was timed while this grew says nothing of their speed.
    pub fn compiled(&self) -> usize {
        self.backend.compiled()
    }

    /// Rows of the next prefill piece.
    fn piece_rows(&self) -> usize {
        self.pace.rows().min(self.max_rows())
    }

    /// How long a piece of a prefill took.
    fn measured(&mut self, rows_wanted: (usize, usize), seconds: f64, has_compiled: bool) {
        if self.pace.measured(rows_wanted, seconds, has_compiled) {
            self.backend.measured(rows_wanted.0, seconds);
        }
    }
}
