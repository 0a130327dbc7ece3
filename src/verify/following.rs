//! The streams behind a sub-layer, for kernels that leave them in the launch that makes the sub-layer's result.

use super::bench::{Bench, Output};
use crate::Result;
use crate::gpu::Slice;
use crate::kernels::{HcResidual, HcUpdate, HcWeights, Rows, hc_mix_words};
use crate::quant::BlockFormat;

/// What may follow a matrix in its launch: streams of `tokens` rows of `dim` channels, and where they and their mix go.
pub struct Following {
    weights: HcWeights,
    streams: Slice,
    post: Slice,
    outputs: [Output; 2],
    slices: [Slice; 2],
}

impl Following {
    /// With random values.
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

    /// What is left.
    pub fn outputs(&self) -> [&Output; 2] {
        self.outputs.each_ref()
    }

    /// Behind the result `y`.
    pub fn update<'a>(&'a self, y: &'a Slice) -> HcUpdate<'a> {
        let [next, mix] = &self.slices;
        HcUpdate { weights: &self.weights, x: &self.streams, residual: HcResidual { post: &self.post, y, next }, mix }
    }
}
