//! The routed experts of a layer, and their scratch memory.

use crate::gpu::Slice;
use crate::kernels::context::Strided;
use crate::kernels::matrix::Experts;

/// The routed experts of a layer.
#[derive(Clone, Debug)]
pub struct Moe<'a> {
    /// Gate and up of all experts.
    pub gate_up: &'a Experts,
    /// Down of all experts.
    pub down: &'a Experts,
    /// Number of experts that a row uses.
    pub used: u32,
    /// Limit of SwiGLU's inputs.
    pub limit: f32,
}

/// Scratch memory of the routed experts.
#[derive(Clone, Debug)]
pub struct MoeScratch<'a> {
    /// Activations (T * used, F).
    pub act: Strided,
    /// Results of each pair (T * used, D) f32, for rows of a prompt only.
    pub out: &'a Slice,
    /// Pairs of row and expert, sorted by expert (T * used).
    pub pairs: &'a Slice,
    /// Tiles of pairs: 1 + T * used / tile + E entries of 16 bytes.
    pub tiles: &'a Slice,
}

impl MoeScratch<'_> {
    /// Number of entries of `tiles` that `t` rows need at most, with the smallest tile.
    pub const fn most_tiles(t: u32, used: u32, experts: u32) -> u32 {
        1 + (t * used).div_ceil(8) + experts
    }
}
