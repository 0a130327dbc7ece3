//! The interface between the engine and a device: the GPU, or the reference on the CPU.

use super::step::{Step, StepOutput};
use crate::Result;
use crate::gpu;
use crate::model::Taps;
use crate::reference::State;

/// A step that was submitted.
pub enum Ticket {
    /// The step is done.
    Done(StepOutput),
    /// The step runs on the GPU.
    Running(GpuTicket),
}

/// A step that runs on the GPU.
pub struct GpuTicket {
    /// Submissions in order. The last one downloads the samples.
    pub submissions: Vec<gpu::Ticket>,
    /// Number of samples in the download.
    pub samples: usize,
    /// Logits that were downloaded already. The samples are added to them.
    pub output: StepOutput,
}

/// The state of a session as a backend stores it.
#[derive(Clone, Debug)]
pub enum StateData {
    /// Ranges of the GPU's pools: window keys, frontiers and pages of each layer in turn.
    Pools(Vec<Vec<u8>>),
    /// The state of the reference.
    Reference(Box<State>),
}

/// A device that runs steps and keeps the state of sessions, each in a slot.
pub trait Backend {
    /// Takes a free slot for an empty session.
    fn open(&mut self) -> Result<u32>;

    /// Frees a slot.
    fn close(&mut self, slot: u32);

    /// Submits `step`. Steps run in the order of their submission. A step with taps is slow, because this function waits for each tap.
    fn submit(&mut self, step: &Step, taps: &mut dyn Taps) -> Result<Ticket>;

    /// Whether a step is done. Never blocks.
    fn is_done(&self, ticket: &Ticket) -> Result<bool>;

    /// Waits for the results of a step.
    fn wait(&mut self, ticket: Ticket) -> Result<StepOutput>;

    /// Cuts a session to its first `position` tokens. A cut to 0 is always possible, any other only by [`REWIND`](crate::model::REWIND)
    /// tokens or fewer.
    fn rewind(&mut self, slot: u32, position: u32);

    /// Copies the state of a session of `position` tokens, after all steps that were submitted.
    fn snapshot(&mut self, slot: u32, position: u32) -> Result<StateData>;

    /// Writes a state of `position` tokens into an empty session.
    fn restore(&mut self, slot: u32, position: u32, data: &StateData) -> Result<()>;

    /// Takes a free slot for a copy of a session of `position` tokens.
    fn fork(&mut self, slot: u32, position: u32) -> Result<u32>;

    /// Number of steps to keep queued behind the one that runs. It is less than `REWIND`, so that their rows can be dropped exactly.
    fn look_ahead(&self) -> usize;
}
