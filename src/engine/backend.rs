//! What a step runs on: the GPU, or the reference on the CPU.

use super::step::{Step, StepOutput};
use crate::Result;
use crate::gpu;
use crate::reference::Taps;

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

/// Runs steps and keeps the state of sessions.
pub trait Backend {
    /// A free session.
    fn open(&mut self) -> Result<u32>;

    /// Gives a session back.
    fn close(&mut self, slot: u32);

    /// Cuts a session to its first `position` tokens: all of them gone, or no more than the last few.
    fn rewind(&mut self, slot: u32, position: u32);

    /// Lets a session that stopped write its state again.
    fn resume(&mut self, slot: u32);

    /// Runs `step` after everything submitted before it. Taps that are wanted make it slow.
    fn submit(&mut self, step: &Step, taps: &mut dyn Taps) -> Result<Ticket>;

    /// The results of a step.
    fn wait(&mut self, ticket: Ticket) -> Result<StepOutput>;

    /// Bytes of GPU memory in use, 0 without a GPU.
    fn held_bytes(&self) -> u64;

    /// Steps to submit ahead of the one whose token is waited for; what they write can be dropped exactly.
    fn look_ahead(&self) -> usize;

    /// Collects when each launch of the following steps ran, which makes them slow; `false` stops it. Returns what was collected.
    fn trace(&mut self, on: bool) -> Result<Vec<gpu::Span>>;

    /// The GPU, where it is one.
    fn gpu(&self) -> Option<&gpu::Gpu>;

    /// Kernels compiled so far.
    fn compiled(&self) -> usize;

    /// Tells how long a long step of `rows` rows took, so that the next ones are cut to suit.
    fn measured(&mut self, rows: usize, seconds: f64);
}
