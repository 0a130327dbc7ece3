//! The launches after the last layer: logits, samples and the draft block.

use super::{Recorder, Streams};
use crate::engine::gpu::cache::LayerCache;
use crate::engine::gpu::layout::GpuMtp;
use crate::gpu::{Recording, Slice};
use crate::kernels::{
    DECODE_ROWS, Grouping, HcRows, HcWeights, Quantized, SampleBuffers, Strided, record_embed, record_hc_mix, record_hc_pre, record_linear,
    record_linear_int8, record_mtp_join, record_rms_norm, record_sample,
};

impl Recorder<'_> {
    /// Records the logits of the `count` rows whose numbers are in `wanted`. The buffer `mix` is ready for the head of `hc`.
    pub fn head(&self, rec: &mut Recording, hc: &HcWeights, streams: &Slice, wanted: &Slice, count: u32) {
        let (b, c, kit) = (self.buffers, self.config, self.kit);
        // The kernels are those of the step's kind, even where few of its rows are wanted.
        let step = self.data.step.with_count(count);
        let normed_int8 = Quantized::new(&kit.dialect, &b.normed_int8, c.dim, step);
        let (normed, logits) = (Strided::whole(&b.normed, c.dim), Strided::whole(&b.logits, c.vocabulary));
        let (rows, prefetch) = (HcRows::Wanted(wanted, count, self.data.step), self.prefetch(&[&self.model.output]));
        record_hc_pre(rec, kit, &self.hc_pre_args(hc, streams, &normed, normed_int8.as_ref()), &prefetch, rows);
        let (x, y) = ((&normed, normed_int8.as_ref()), (&logits, None));
        record_linear_int8(rec, kit, &[&self.model.output], Grouping::Shared, x, y, step);
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
        record_sample(rec, self.kit, &b.logits, &buffers, self.config.vocabulary, count);
    }

    /// The launches of the draft block, which reads the last layer's streams and the tokens in `draft_rows`, and the streams that they
    /// write. Afterwards the buffer `mix` is ready for the block's head.
    pub fn draft(&self, mtp: &GpuMtp, cache: &LayerCache) -> (Recording, &Slice) {
        let (outer, between) = (&self.buffers.streams, &self.buffers.streams_between);
        let mut rec = Recording::new();
        self.draft_input(&mut rec, mtp, &Streams { now: outer, next: between });
        self.attention(&mut rec, (None, &mtp.layer), cache, &Streams { now: between, next: outer });
        self.experts(&mut rec, (None, &mtp.layer), &mtp.head_hc, &Streams { now: outer, next: between });
        (rec, between)
    }

    /// Records the draft block's input and its mix. Reads and overwrites `streams.now`; the result is in `streams.next`.
    fn draft_input(&self, rec: &mut Recording, mtp: &GpuMtp, streams: &Streams<'_>) {
        let (b, c, kit, step) = (self.buffers, self.config, self.kit, self.data.step);
        let t = step.count();
        record_embed(rec, kit, &self.model.embed, &b.draft_rows, &self.cache.sampled, streams.next, t);
        // The four streams of an embedding are equal, so the first one is enough.
        let embedded = Strided::whole(streams.next, 4 * c.dim);
        let (normed, y) = (self.normed(), Strided::whole(&b.y, c.dim));
        record_rms_norm(rec, kit, &embedded, &mtp.e_norm, &normed, c.dim, c.norm_eps, t);
        record_linear(rec, kit, &[&mtp.e_proj], Grouping::Shared, &normed, &y, step);
        let each = Strided::whole(streams.now, c.dim);
        let normed = Strided::whole(streams.next, c.dim);
        record_rms_norm(rec, kit, &each, &mtp.h_norm, &normed, c.dim, c.norm_eps, 4 * t);
        // A row has four streams, so that few rows may have more products than a kernel for few rows takes.
        let most = if step.are_few() { DECODE_ROWS } else { 4 * t };
        for first in (0..4 * t).step_by(most as usize) {
            let rows = step.with_count(most.min(4 * t - first));
            record_linear(rec, kit, &[&mtp.h_proj], Grouping::Shared, &normed.from_row(first), &each.from_row(first), rows);
        }
        record_mtp_join(rec, kit, &b.y, streams.now, streams.next, c.dim, t);
        record_hc_mix(rec, kit, &mtp.layer.attn_hc, streams.next, None, &b.mix, step);
    }
}
