//! What a step runs on: the GPU, or the reference on the CPU.

use super::step::{Step, StepOutput};
use crate::Result;
use crate::gpu;
use crate::model::Taps;
use crate::reference::State;

/// A step that was submitted.
pub enum Ticket {
    /// It is done.
    Done(StepOutput),
    /// It runs on the GPU.
    Running(GpuTicket),
}

/// What comes back from the GPU for one step, and how to read it.
pub struct GpuTicket {
    /// Submissions in order; the last one carries the results.
    pub submissions: Vec<gpu::Ticket>,
    /// Samples among the results.
    pub samples: usize,
    /// Logits that came back already.
    pub output: StepOutput,
}

/// A session's state as a backend keeps it.
#[derive(Clone, Debug)]
pub enum StateData {
    /// Ranges of the GPU's pools: window keys, frontiers and pages of each layer in turn.
    Pools(Vec<Vec<u8>>),
    /// The reference's own.
    Reference(Box<State>),
}

/// Runs steps and keeps the state of sessions, each in a slot.
pub trait Backend {
    /// A free slot, with an empty session in it.
    fn open(&mut self) -> Result<u32>;

    /// Frees a slot.
    fn close(&mut self, slot: u32);

    /// Runs `step` behind everything submitted before it. Taps that are wanted make it slow, because it waits for them.
    fn submit(&mut self, step: &Step, taps: &mut dyn Taps) -> Result<Ticket>;

    /// Whether the results of a step are there. Never blocks.
    fn is_done(&self, ticket: &Ticket) -> Result<bool>;

    /// Waits for the results of a step.
    fn wait(&mut self, ticket: Ticket) -> Result<StepOutput>;

    /// Cuts a session to its first `position` tokens: to none, or by no more than [`REWIND`](crate::model::REWIND).
    fn rewind(&mut self, slot: u32, position: u32);

    /// The state of a session of `position` tokens, behind everything submitted before.
    fn snapshot(&mut self, slot: u32, position: u32) -> Result<StateData>;

    /// Puts a state of `position` tokens into an empty session.
    fn restore(&mut self, slot: u32, position: u32, data: &StateData) -> Result<()>;

    /// A free slot with a copy of a session of `position` tokens in it.
    fn fork(&mut self, slot: u32, position: u32) -> Result<u32>;

    /// Steps to submit before the first of them has landed, beside the one that runs; what they write can be dropped exactly.
    fn look_ahead(&self) -> usize;
}
