//! A step through the model as recordings: the embedding and two segments for each layer, then the output head and the draft block.

mod attention;
mod experts;
mod output;

use super::buffers::Buffers;
use super::cache::Cache;
use super::layout::GpuModel;
use super::step_data::StepData;
use crate::gpu::{Recording, Slice};
use crate::kernels::{
    Grouping, HcPreInput, HcResidual, HcRows, HcUpdate, HcWeights, Kit, Matrix, Pass, PrefetchRange, Quantized, Strided, record_embed,
    record_hc_mix, record_hc_pre, record_hc_sinkhorn, record_linear_int8,
};
use crate::model::{Config, Tap};

/// Everything that recording a step reads.
pub struct Recorder<'a> {
    pub kit: &'a Kit,
    pub config: &'a Config,
    pub model: &'a GpuModel,
    pub cache: &'a Cache,
    pub buffers: &'a Buffers,
    pub data: &'a StepData,
    /// Activations between kernels are f16: what a long step's matrices multiply anyway.
    pub half: bool,
}

/// The launches of half a layer, and the buffers that taps may read after them, before the next half reuses these buffers.
pub struct Segment {
    pub recording: Recording,
    pub taps: Vec<(Tap, Slice)>,
    /// The layer that it completes.
    pub layer_done: Option<usize>,
}

/// The streams that a sub-layer reads and the ones that it writes.
struct Streams<'a> {
    now: &'a Slice,
    next: &'a Slice,
}

/// Rows of a part of the buffer `inputs`: strides are multiples of 8 floats, so that every kernel can read them as vectors.
fn stride_of(matrices: &[Matrix]) -> u32 {
    matrices.iter().map(|m| m.rows).sum::<u32>().next_multiple_of(8)
}

impl Recorder<'_> {
    fn t(&self) -> u32 {
        self.data.rows.len() as u32
    }

    /// Launches for all rows of the step, appended to `rec`.
    pub fn pass<'r>(&'r self, rec: &'r mut Recording) -> Pass<'r> {
        Pass { rec, kit: self.kit, rows: self.data.step }
    }

    /// The embedding with the first layer's attention, its experts, and so on to the last layer's experts. The streams end where they began.
    pub fn segments(&self) -> impl Iterator<Item = Segment> {
        let layers = &self.model.layers;
        layers.iter().enumerate().flat_map(|(l, layer)| {
            let (mut attention, mut experts) = (Recording::new(), Recording::new());
            let (a, z) = (&self.buffers.streams, &self.buffers.streams_between);
            let pass = &mut self.pass(&mut attention);
            if l == 0 {
                self.embed(pass, &layer.attn_hc, a);
            }
            self.attention(pass, (Some(l), layer), &self.cache.layers[l], &Streams { now: a, next: z });
            let next = layers.get(l + 1).map_or(&self.model.head_hc, |next| &next.attn_hc);
            self.experts(&mut self.pass(&mut experts), (Some(l), layer), next, &Streams { now: z, next: a });
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

    /// Embeddings of the step's tokens, and their mix for the sub-layer of `hc`. -> streams.
    fn embed(&self, pass: &mut Pass<'_>, hc: &HcWeights, streams: &Slice) {
        let b = self.buffers;
        record_embed(pass, &self.model.embed, &b.rows, &self.cache.sampled, streams);
        record_hc_mix(pass, hc, streams, None, &b.mix);
    }

    /// Input of a sub-layer (T, D).
    fn normed(&self) -> Strided {
        Strided::whole(&self.buffers.normed, self.config.dim).with_f16(self.half)
    }

    /// Rows of `columns` values in `slice`, where this step rounds activations to int8.
    fn int8(&self, slice: &Slice, columns: u32) -> Option<Quantized> {
        Quantized::new(&self.kit.dialect, slice, columns, self.data.step)
    }

    /// `y` = the rows of all `matrices` times `x`, or times its rounded twin.
    fn project(&self, pass: &mut Pass<'_>, matrices: &[Matrix], x: (&Strided, Option<&Quantized>), y: &Strided) {
        let matrices: Vec<&Matrix> = matrices.iter().collect();
        record_linear_int8(pass, &matrices, Grouping::Shared, x, (y, None));
    }

    /// `matrices`, in the order of their places, to prefetch in a decode step. A long step hides the translation of addresses behind its products.
    fn prefetch(&self, matrices: &[&Matrix]) -> Vec<PrefetchRange> {
        if self.kit.dialect.int8() && self.data.step.are_few() { PrefetchRange::of(matrices) } else { Vec::new() }
    }

    /// The input of a sub-layer, a prefetch of `matrices` and of those in `next`, and `inputs` = the rows of all `matrices` times the input.
    fn project_input(&self, pass: &mut Pass<'_>, input: &HcPreInput<'_>, matrices: &[Matrix], inputs: &Strided, next: &[&Matrix]) {
        let prefetch = self.prefetch(&[&matrices.iter().collect::<Vec<_>>(), next].concat());
        record_hc_pre(pass, input, &prefetch, HcRows::All);
        self.project(pass, matrices, (input.normed, input.normed_int8), inputs);
    }

    /// How the input of the sub-layer or head of `weights` is made of the streams `x`.
    fn hc_input<'s>(
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

    /// The residual's weights for the sub-layer of `hc`, and a prefetch of `next`.
    fn residual_weights(&self, pass: &mut Pass<'_>, hc: &HcWeights, post: &Slice, next: &[&Matrix]) {
        let c = self.config;
        let constants = (c.sinkhorn_iterations, c.hc_eps, c.norm_eps);
        record_hc_sinkhorn(pass, hc, (&self.buffers.mix, post), constants, &self.prefetch(next));
    }

    /// The residual, with the mix for what reads the streams next: the sub-layer or the head of `weights`.
    fn update<'s>(&'s self, weights: &'s HcWeights, post: &'s Slice, streams: &Streams<'s>) -> HcUpdate<'s> {
        let b = self.buffers;
        let residual = HcResidual { post, y: &b.y, next: streams.next };
        HcUpdate { weights, x: streams.now, residual, mix: &b.mix }
    }

    fn record_update(&self, pass: &mut Pass<'_>, update: &HcUpdate<'_>) {
        record_hc_mix(pass, update.weights, update.x, Some(update.residual), update.mix);
    }
}
