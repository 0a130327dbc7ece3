//! The update of the streams after a sub-layer, for cases of kernels with a fused hc_mix.

use super::bench::{Bench, Output};
use crate::Result;
use crate::gpu::Slice;
use crate::kernels::{HcResidual, HcUpdate, HcWeights, Rows, hc_mix_words};
use crate::quant::BlockFormat;

/// The arguments of a fused hc_mix: streams of `tokens` rows of `dim` channels, and the outputs for the updated streams and their mix.
pub struct Following {
    weights: HcWeights,
    streams: Slice,
    post: Slice,
    outputs: [Output; 2],
    slices: [Slice; 2],
}

impl Following {
    /// Makes them with random values.
    pub fn new(bench: &mut Bench<'_>, dim: usize, tokens: usize) -> Result<Self> {
        let (_, mix) = bench.matrix(BlockFormat::F16, 24, 4 * dim, 1)?;
        let (streams, post) = (bench.floats(tokens * 4 * dim), bench.floats(tokens * 32));
        let (streams, post) = (bench.upload(&streams)?, bench.upload(&post)?);
        let mix_words = hc_mix_words(&bench.kernels.profile, dim as u32, Rows::Few(tokens as u32)) as usize;
        let outputs = [bench.output(tokens * 4 * dim)?, bench.output(tokens * mix_words)?];
        let slices = outputs.each_ref().map(Output::slice);
        // The mix alone needs neither base nor norm.
        let weights = HcWeights { mix, base_scale: post.clone(), norm: post.clone() };
        Ok(Self { weights, streams, post, outputs, slices })
    }

    /// The outputs: the updated streams and their mix.
    pub fn outputs(&self) -> [&Output; 2] {
        self.outputs.each_ref()
    }

    /// The update with the sub-layer's result `y`.
    pub fn update<'a>(&'a self, y: &'a Slice) -> HcUpdate<'a> {
        let [next, mix] = &self.slices;
        HcUpdate { weights: &self.weights, x: &self.streams, residual: HcResidual { post: &self.post, y, next }, mix }
    }
}
