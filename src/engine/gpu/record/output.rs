//! What follows the last layer: logits, samples, and the draft block.

use super::{Recorder, Streams};
use crate::engine::gpu::cache::LayerCache;
use crate::engine::gpu::layout::GpuMtp;
use crate::gpu::{Recording, Slice};
use crate::kernels::{
    DECODE_ROWS, Grouping, HcRows, HcWeights, Pass, Quantized, SampleBuffers, Strided, record_embed, record_hc_mix, record_hc_pre,
    record_linear, record_linear_int8, record_mtp_join, record_rms_norm, record_sample,
};

impl Recorder<'_> {
    /// Records the logits of the `count` rows whose numbers are in `wanted`. The buffer `mix` is ready for the head of `hc`.
    pub fn head(&self, rec: &mut Recording, hc: &HcWeights, streams: &Slice, wanted: &Slice, count: u32) {
        let (b, c, pass) = (self.buffers, self.config, &mut self.pass(rec));
        // The kernels are those of the step's kind, even where few of its rows are wanted.
        let rows = self.data.step.with_count(count);
        let normed_int8 = Quantized::new(&self.kernels.profile, &b.normed_int8, c.dim, rows);
        let (normed, logits) = (Strided::whole(&b.normed, c.dim), Strided::whole(&b.logits, c.vocabulary));
        let (pre, prefetch) = (self.hc_pre_args(hc, streams, &normed, normed_int8.as_ref()), self.prefetch(&[&self.model.output]));
        record_hc_pre(pass, &pre, &prefetch, HcRows::Wanted(wanted, count));
        let (x, y) = ((&normed, normed_int8.as_ref()), (&logits, None));
        record_linear_int8(&mut pass.with_rows(rows), &[&self.model.output], Grouping::Shared, x, y);
    }

    /// Records the sampling of the first `count` rows of logits.
    pub fn sample(&self, rec: &mut Recording, count: u32) {
        let b = self.buffers;
        let buffers = SampleBuffers {
            samplers: &b.samplers,
            masks: &b.masks,
            sampled: &self.cache.sampled,
            live: &self.cache.live,
            results: &b.results,
        };
        let rows = self.data.step.with_count(count);
        record_sample(&mut self.pass(rec).with_rows(rows), &b.logits, &buffers, self.config.vocabulary);
    }

    /// The launches of the draft block, which reads the last layer's streams and the tokens in `draft_rows`, and the streams that they
    /// write. Afterwards the buffer `mix` is ready for the block's head.
    pub fn draft(&self, mtp: &GpuMtp, cache: &LayerCache) -> (Recording, &Slice) {
        let (outer, between) = (&self.buffers.streams, &self.buffers.streams_between);
        let mut rec = Recording::new();
        let pass = &mut self.pass(&mut rec);
        self.draft_input(pass, mtp, &Streams { now: outer, next: between });
        self.attention(pass, (None, &mtp.layer), cache, &Streams { now: between, next: outer });
        self.experts(pass, (None, &mtp.layer), &mtp.head_hc, &Streams { now: outer, next: between });
        (rec, between)
    }

    /// Records the draft block's input and its mix. Reads and overwrites `streams.now`; the result is in `streams.next`.
    fn draft_input(&self, pass: &mut Pass<'_>, mtp: &GpuMtp, streams: &Streams<'_>) {
        let (b, c, step) = (self.buffers, self.config, self.data.step);
        let t = step.count();
        record_embed(pass, &self.model.embed, &b.draft_rows, &self.cache.sampled, streams.next);
        // The four streams of an embedding are equal, so the first one is enough.
        let embedded = Strided::whole(streams.next, 4 * c.dim);
        let (normed, y) = (self.normed(), Strided::whole(&b.y, c.dim));
        record_rms_norm(pass, &embedded, (&mtp.e_norm, c.norm_eps), &normed, c.dim);
        record_linear(pass, &[&mtp.e_proj], Grouping::Shared, &normed, &y);
        let each = Strided::whole(streams.now, c.dim);
        let normed = Strided::whole(streams.next, c.dim);
        record_rms_norm(&mut pass.with_rows(step.with_count(4 * t)), &each, (&mtp.h_norm, c.norm_eps), &normed, c.dim);
        // A row has four streams, so that few rows may have more products than a kernel for few rows takes.
        let most = if step.are_few() { DECODE_ROWS } else { 4 * t };
        for first in (0..4 * t).step_by(most as usize) {
            let rows = step.with_count(most.min(4 * t - first));
            let (x, y) = (normed.from_row(first), each.from_row(first));
            record_linear(&mut pass.with_rows(rows), &[&mtp.h_proj], Grouping::Shared, &x, &y);
        }
        record_mtp_join(pass, &b.y, streams.now, streams.next, c.dim);
        record_hc_mix(pass, &mtp.layer.attn_hc, streams.next, None, &b.mix);
    }
}
