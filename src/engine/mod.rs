//! A loaded model ([`Engine`]), timelines of tokens on it ([`Session`]), and the loop that runs them ([`Scheduler`]).
//!
//! An engine runs steps: rows of one or more sessions that go through the model together, either pieces of prompts or generated tokens. It
//! knows token ids and no text. It runs on a GPU with `kernels` (`gpu/`), or on the CPU with `reference` (`cpu.rs`). The tests are
//! `tests/golden/{engine,scheduler,snapshots,timeline}.rs`.

mod backend;
mod cpu;
mod device;
mod generate;
mod gpu;
mod load;
mod pace;
mod scheduler;
mod session;
mod snapshot;
mod step;
mod stream;
mod submit;
mod watch;

pub use crate::kernels::DECODE_ROWS;
pub use device::DeviceChoice;
pub use gpu::{Capacity, Layout, MemoryPlan, mib, rows_of_a_step};
pub use load::{FEW_ROWS, LoadOptions, default_rows};
pub use scheduler::{Event, Scheduler};
pub use session::Session;
pub use snapshot::{CheckpointStore, Snapshot};
pub use step::{RowKind, SampleRequest, StepOutput, TokenId, Unsampled, Want};
pub use stream::{Ending, Generation, Report, Request, StreamId};
pub use submit::{Engine, Flight, Part, Tokens};
pub use watch::Watch;
