//! The routed experts of a layer, and the buffers that they work in.

use crate::gpu::Slice;
use crate::kernels::context::Strided;
use crate::kernels::matrix::Experts;

/// The routed experts of a layer.
#[derive(Clone, Debug)]
pub struct Moe<'a> {
    /// Gate and up.
    pub gate_up: &'a Experts,
    /// Down.
    pub down: &'a Experts,
    /// Experts a token.
    pub used: u32,
    /// SwiGLU limit.
    pub limit: f32,
}

/// Buffers that the routed experts work in.
#[derive(Clone, Debug)]
pub struct MoeScratch<'a> {
    /// Activations (T * used, F).
    pub act: Strided,
    /// Results (T * used, D) f32, for many rows only.
    pub out: &'a Slice,
    /// Pairs by expert (T * used).
    pub pairs: &'a Slice,
    /// Tiles: 1 + T * used / tile + E entries of 16 bytes.
    pub tiles: &'a Slice,
}

impl MoeScratch<'_> {
    /// Entries of `tiles` that `t` rows may need, whatever the tile.
    pub const fn most_tiles(t: u32, used: u32, experts: u32) -> u32 {
        1 + (t * used).div_ceil(8) + experts
    }
}
