//! The experts segment of a layer: the router, the routed experts, the shared expert and the new streams.

use super::{Recorder, Streams, stride_of};
use crate::engine::gpu::layout::{Layer, RoutingTable};
use crate::gpu::Recording;
use crate::kernels::{
    HcWeights, Moe, MoeInt8, MoeScratch, Router, Routing, SharedAct, Strided, record_moe, record_moe_int8, record_router,
};
use std::slice;

impl Recorder<'_> {
    /// Records the experts segment of a layer. `next` are the hyper-connections of the sub-layer or head that reads the new streams.
    pub(super) fn experts(&self, rec: &mut Recording, (number, layer): (Option<usize>, &Layer), next: &HcWeights, streams: &Streams<'_>) {
        let (b, c, kit, step) = (self.buffers, self.config, self.kit, self.data.step);
        let t = step.count();
        let (normed, normed_int8) = (self.normed(), self.int8(&b.normed_int8, c.dim));
        let inputs = Strided::whole(&b.inputs, stride_of(&layer.ffn_inputs));
        let pre = self.hc_pre_args(&layer.ffn_hc, streams.now, &normed, normed_int8.as_ref());
        self.pre_and_project(rec, &pre, &layer.ffn_inputs, &inputs, &[]);
        let router = match &layer.routing {
            RoutingTable::Scored(bias) => Router::Scored(bias),
            RoutingTable::Hashed(table) => Router::Hashed { table, rows: &b.rows, sampled: &self.cache.sampled },
        };
        let width = c.expert_width;
        let shared_int8 = self.int8(&b.shared_int8, width);
        let (gate, limit) = (inputs.offset, layer.limit);
        let logits = inputs.at(2 * width);
        let shared = Strided::whole(&b.shared, width).halved(self.keeps_f16);
        let routing = Routing {
            router,
            experts: c.experts,
            used: c.experts_used,
            scale: c.routed_scale,
            inputs: &logits,
            chosen: &b.chosen,
            weights: &b.weights,
            shared: SharedAct { gate, up: width, width, limit, act: &shared, act_int8: shared_int8.as_ref() },
        };
        let moe = Moe { gate_up: &layer.gate_up, down: &layer.down, used: c.experts_used, limit: layer.limit };
        let post = b.experts_post.of(number, step);
        let residual = self.residual_args(next, post, streams);
        let record_weights = |rec: &mut Recording| self.residual_weights(rec, &layer.ffn_hc, post, &[&layer.shared_down]);
        if let (Some(x), Some(act)) = (&normed_int8, &self.int8(&b.act_int8, width)) {
            let int8 = MoeInt8 { x, act, shared_down: &layer.shared_down, leave: Some(residual) };
            if !record_moe_int8(rec, kit, (&moe, &int8), &routing, &b.act, &b.normed, &b.y, t, record_weights) {
                self.residual(rec, &residual);
            }
            return;
        }
        record_weights(rec);
        record_router(rec, kit, &routing, t);
        self.project(rec, slice::from_ref(&layer.shared_down), (&shared, None), &Strided::whole(&b.y, c.dim));
        let act = Strided::whole(&b.act, width).halved(self.keeps_f16);
        let scratch = MoeScratch { act, out: b.expert_outputs(), pairs: &b.pairs, tiles: &b.tiles };
        record_moe(rec, kit, &moe, &scratch, &normed, &b.chosen, &b.weights, &b.y, step);
        self.residual(rec, &residual);
    }
}
