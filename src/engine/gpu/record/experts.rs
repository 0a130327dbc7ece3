//! The experts segment of a layer: the router, the routed experts and the shared one.

use super::{Recorder, Streams, stride_of};
use crate::engine::gpu::layout::{Layer, RoutingTable};
use crate::kernels::{
    Chosen, HcWeights, Moe, MoeInt8, MoeScratch, Pass, Router, Routing, SharedAct, Strided, record_moe, record_moe_int8, record_router,
};
use std::slice;

impl Recorder<'_> {
    /// Records the experts segment of a layer. `next` are the hyper-connections of the sub-layer or head that reads the new streams.
    pub(super) fn experts(&self, pass: &mut Pass<'_>, (number, layer): (Option<usize>, &Layer), next: &HcWeights, streams: &Streams<'_>) {
        let (b, c, step) = (self.buffers, self.config, self.data.step);
        let (normed, normed_int8) = (self.normed(), self.int8(&b.normed_int8, c.dim));
        let inputs = Strided::whole(&b.inputs, stride_of(&layer.ffn_inputs));
        let pre = self.hc_pre_args(&layer.ffn_hc, streams.now, &normed, normed_int8.as_ref());
        self.pre_and_project(pass, &pre, &layer.ffn_inputs, &inputs, &[]);
        let router = match &layer.routing {
            RoutingTable::Scored(bias) => Router::Scored(bias),
            RoutingTable::Hashed(table) => Router::Hashed { table, rows: &b.rows, sampled: &self.cache.sampled },
        };
        let width = c.expert_width;
        let shared_int8 = self.int8(&b.shared_int8, width);
        let (gate, limit) = (inputs.offset, layer.limit);
        let logits = inputs.at(2 * width);
        let shared = Strided::whole(&b.shared, width).with_f16(self.keeps_f16);
        let routing = Routing {
            router,
            experts: c.experts,
            used: c.experts_used,
            scale: c.routed_scale,
            inputs: &logits,
            chosen: Chosen { experts: &b.chosen, weights: &b.weights },
            shared: SharedAct { gate, up: width, width, limit, act: &shared, act_int8: shared_int8.as_ref() },
        };
        let moe = Moe { gate_up: &layer.gate_up, down: &layer.down, used: c.experts_used, limit: layer.limit };
        let post = b.experts_post.of(number, step);
        let update = self.update_args(next, post, streams);
        let beside = |pass: &mut Pass<'_>| self.residual_weights(pass, &layer.ffn_hc, post, &[&layer.shared_down]);
        if let (Some(x_int8), Some(act_int8)) = (&normed_int8, &self.int8(&b.act_int8, width)) {
            let int8 =
                MoeInt8 { x: &b.normed, x_int8, act: &b.act, act_int8, shared_down: &layer.shared_down, y: &b.y, update: Some(update) };
            if !record_moe_int8(pass, &moe, &int8, &routing, beside) {
                self.record_update(pass, &update);
            }
            return;
        }
        beside(pass);
        record_router(pass, &routing);
        self.project(pass, slice::from_ref(&layer.shared_down), (&shared, None), &Strided::whole(&b.y, c.dim));
        let act = Strided::whole(&b.act, width).with_f16(self.keeps_f16);
        let scratch = MoeScratch { act, out: b.expert_outputs(), pairs: &b.pairs, tiles: &b.tiles };
        record_moe(pass, &moe, routing.chosen, &scratch, &normed, &b.y);
        self.record_update(pass, &update);
    }
}
