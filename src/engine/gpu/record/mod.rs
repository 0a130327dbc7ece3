//! Records a step: the embedding, two segments for each layer, then the output head and the draft block.

mod attention;
mod experts;
mod output;

use super::buffers::Buffers;
use super::cache::Cache;
use super::layout::GpuModel;
use super::step_data::StepData;
use crate::gpu::{Recording, Slice};
use crate::kernels::{
    Grouping, HcPreInput, HcResidual, HcRows, HcUpdate, HcWeights, KernelContext, Matrix, Pass, PrefetchRange, Quantized, Strided,
    record_embed, record_hc_mix, record_hc_pre, record_hc_sinkhorn, record_linear_int8,
};
use crate::model::{Config, Tap};

/// Records the launches of one step.
pub struct Recorder<'a> {
    pub kernels: &'a KernelContext,
    pub config: &'a Config,
    pub model: &'a GpuModel,
    pub cache: &'a Cache,
    pub buffers: &'a Buffers,
    pub data: &'a StepData,
    /// Whether kernels pass activations in f16. The matrix products of prompts multiply f16 in any case.
    pub keeps_f16: bool,
}

/// The launches of the attention or of the experts of a layer.
pub struct Segment {
    pub recording: Recording,
    /// Taps of the segment, with the buffers that hold them until the next segment reuses the buffers.
    pub taps: Vec<(Tap, Slice)>,
    /// Number of the layer, if the segment is its last.
    pub layer_done: Option<usize>,
}

/// The residual streams that a sub-layer reads, and those that it writes.
struct Streams<'a> {
    now: &'a Slice,
    next: &'a Slice,
}

/// Floats of a row of the products with `matrices`. It is a multiple of 8, so that every kernel can read the row as vectors.
fn stride_of(matrices: &[Matrix]) -> u32 {
    matrices.iter().map(|m| m.rows).sum::<u32>().next_multiple_of(8)
}

impl Recorder<'_> {
    fn t(&self) -> u32 {
        self.data.rows.len() as u32
    }

    /// Launches for all rows of the step, appended to `rec`.
    pub fn pass<'r>(&'r self, rec: &'r mut Recording) -> Pass<'r> {
        Pass { rec, kernels: self.kernels, rows: self.data.step }
    }

    /// The segments of all layers in order: attention, then experts. The embedding is in the first one. The last one writes the streams
    /// into the buffer in which they started.
    pub fn segments(&self) -> impl Iterator<Item = Segment> {
        let layers = &self.model.layers;
        layers.iter().enumerate().flat_map(|(l, layer)| {
            let (mut attention, mut experts) = (Recording::new(), Recording::new());
            let (outer, between) = (&self.buffers.streams, &self.buffers.streams_between);
            let pass = &mut self.pass(&mut attention);
            if l == 0 {
                self.embed(pass, &layer.attn_hc, outer);
            }
            self.attention(pass, (Some(l), layer), &self.cache.layers[l], &Streams { now: outer, next: between });
            let next = layers.get(l + 1).map_or(&self.model.head_hc, |next| &next.attn_hc);
            self.experts(&mut self.pass(&mut experts), (Some(l), layer), next, &Streams { now: between, next: outer });
            [
                Segment { recording: attention, taps: self.attention_taps(l, layer.ratio), layer_done: None },
                Segment { recording: experts, taps: self.experts_taps(l), layer_done: Some(l) },
            ]
        })
    }

    fn attention_taps(&self, l: usize, ratio: u32) -> Vec<(Tap, Slice)> {
        let b = self.buffers;
        let rows = |buffer: &Slice| b.first_rows(buffer, self.t());
        let mut taps = vec![
            (Tap::AttentionIn(l), rows(&b.normed)),
            (Tap::QueryLow(l), rows(&b.low)),
            (Tap::Heads(l), rows(&b.heads)),
            (Tap::OutLow(l), rows(&b.out_low)),
            (Tap::AttentionOut(l), rows(&b.y)),
        ];
        if ratio == 4 {
            taps.push((Tap::Selected(l), rows(&b.selected)));
        }
        taps
    }

    fn experts_taps(&self, l: usize) -> Vec<(Tap, Slice)> {
        let b = self.buffers;
        let rows = |buffer: &Slice| b.first_rows(buffer, self.t());
        vec![
            (Tap::ExpertsIn(l), rows(&b.normed)),
            (Tap::Chosen(l), rows(&b.chosen)),
            (Tap::ChosenWeights(l), rows(&b.weights)),
            (Tap::SharedAct(l), rows(&b.shared)),
            (Tap::RoutedAct(l), rows(&b.act)),
            (Tap::ExpertsOut(l), rows(&b.y)),
            (Tap::Hidden(l), rows(&b.streams)),
        ]
    }

    /// Records the embedding of the step's tokens into `streams`, and the mix for the sub-layer of `hc`.
    fn embed(&self, pass: &mut Pass<'_>, hc: &HcWeights, streams: &Slice) {
        let b = self.buffers;
        record_embed(pass, &self.model.embed, &b.rows, &self.cache.sampled, streams);
        record_hc_mix(pass, hc, streams, None, &b.mix);
    }

    /// The normed input of a sub-layer (T, D).
    fn normed(&self) -> Strided {
        Strided::whole(&self.buffers.normed, self.config.dim).with_f16(self.keeps_f16)
    }

    /// `slice` as rows of `columns` int8 values, or `None` where the step does not round activations to int8.
    fn int8(&self, slice: &Slice, columns: u32) -> Option<Quantized> {
        Quantized::new(&self.kernels.profile, slice, columns, self.data.step)
    }

    /// Records `y` = `x` times all `matrices`, whose results follow one another in a row. `x` may also be given rounded to int8.
    fn project(&self, pass: &mut Pass<'_>, matrices: &[Matrix], x: (&Strided, Option<&Quantized>), y: &Strided) {
        let matrices: Vec<&Matrix> = matrices.iter().collect();
        record_linear_int8(pass, &matrices, Grouping::Shared, x, (y, None));
    }

    /// The prefetch of `matrices`, which are in the order of their places. Only generated steps prefetch, because those of prompts are
    /// bound by arithmetic.
    fn prefetch(&self, matrices: &[&Matrix]) -> Vec<PrefetchRange> {
        if self.kernels.profile.int8() && self.data.step.are_few() { PrefetchRange::of(matrices) } else { Vec::new() }
    }

    /// Records the input of a sub-layer, and `inputs` = that input times `matrices`. Prefetches `matrices` and then those in `read_next`.
    fn pre_and_project(&self, pass: &mut Pass<'_>, input: &HcPreInput<'_>, matrices: &[Matrix], inputs: &Strided, read_next: &[&Matrix]) {
        let prefetch = self.prefetch(&[&matrices.iter().collect::<Vec<_>>(), read_next].concat());
        record_hc_pre(pass, input, &prefetch, HcRows::All);
        self.project(pass, matrices, (input.normed, input.normed_int8), inputs);
    }

    /// Arguments of `hc_pre` for the sub-layer or head with these hyper-connections. `x` are the streams.
    fn hc_pre_args<'s>(
        &'s self,
        weights: &'s HcWeights,
        x: &'s Slice,
        normed: &'s Strided,
        normed_int8: Option<&'s Quantized>,
    ) -> HcPreInput<'s> {
        let (b, c) = (self.buffers, self.config);
        let (mix, prefetch_sink) = (&b.mix, &b.prefetch_sink);
        HcPreInput { weights, mix, x, normed, normed_int8, hc_eps: c.hc_eps, norm_eps: c.norm_eps, prefetch_sink }
    }

    /// Records the weights that the sub-layer of `hc` needs to make the new streams, in `post`. Prefetches the matrices in `read_next`.
    fn residual_weights(&self, pass: &mut Pass<'_>, hc: &HcWeights, post: &Slice, read_next: &[&Matrix]) {
        let c = self.config;
        let constants = (c.sinkhorn_iterations, c.hc_eps, c.norm_eps);
        record_hc_sinkhorn(pass, hc, (&self.buffers.mix, post), constants, &self.prefetch(read_next));
    }

    /// Arguments of the kernel that makes the new streams, and their mix for the sub-layer or head that reads them (`weights`).
    fn update_args<'s>(&'s self, weights: &'s HcWeights, post: &'s Slice, streams: &Streams<'s>) -> HcUpdate<'s> {
        let b = self.buffers;
        let residual = HcResidual { post, y: &b.y, next: streams.next };
        HcUpdate { weights, x: streams.now, residual, mix: &b.mix }
    }

    /// Records the new streams and their mix, where no other kernel has made them.
    fn record_update(&self, pass: &mut Pass<'_>, update: &HcUpdate<'_>) {
        record_hc_mix(pass, update.weights, update.x, Some(update.residual), update.mix);
    }
}
