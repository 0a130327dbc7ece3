//! Which experts a row uses and with what weight, and beside it the shared expert's activation. `moe_gate_up_int8` can do the same by itself.

use super::int8::{Quantized, binding, quantizing};
use super::kit::{Dialect, Kit, Strided, WG};
use crate::gpu::{Recording, Slice, Variant};

params! {
    RouterParams for "router" { stride: u32, offset: u32, scale: f32, width: u32, gate: u32, up: u32, limit: f32 }
}

/// How a layer chooses its experts.
#[derive(Clone, Debug)]
pub enum Router<'a> {
    /// By score: the bias (E) f32 that is added for the choice alone.
    Scored(&'a Slice),
    /// By token: a table (vocabulary, used) of expert numbers, all below E; and where token ids come from.
    Hashed {
        /// The table.
        table: &'a Slice,
        /// Rows (T).
        rows: &'a Slice,
        /// Ids that the sampler left (slots).
        sampled: &'a Slice,
    },
}

/// The shared expert's activation, which the router makes beside its own.
#[derive(Clone, Debug)]
pub struct SharedAct<'a> {
    /// The first of F gates in a row; F ups lie `up` floats further.
    pub gate: u32,
    /// How far.
    pub up: u32,
    /// F.
    pub width: u32,
    /// SwiGLU limit.
    pub limit: f32,
    /// The result (T, F).
    pub act: &'a Strided,
    /// The result rounded.
    pub act_int8: Option<&'a Quantized>,
}

/// What a router reads and writes.
#[derive(Clone, Debug)]
pub struct Routing<'a> {
    /// How experts are chosen.
    pub router: Router<'a>,
    /// E.
    pub experts: u32,
    /// Experts a token.
    pub used: u32,
    /// What the weights of a token sum to.
    pub scale: f32,
    /// T rows with E logits at its offset.
    pub inputs: &'a Strided,
    /// The experts of each row, best first (T, used).
    pub chosen: &'a Slice,
    /// Their weights (T, used).
    pub weights: &'a Slice,
    /// The shared expert's part.
    pub shared: SharedAct<'a>,
}

impl Routing<'_> {
    /// What `lib/route` binds, in its order.
    pub(super) fn bindings(&self) -> Vec<Slice> {
        let choice = match self.router {
            Router::Scored(bias) => vec![bias],
            Router::Hashed { table, rows, sampled } => vec![table, rows, sampled],
        };
        let own = [&self.inputs.slice, self.chosen, self.weights, &self.shared.act.slice];
        own.into_iter().chain(choice).cloned().chain(binding(self.shared.act_int8)).collect()
    }

    pub(super) fn choice(&self) -> Choice {
        Choice { experts: self.experts, used: self.used, hashed: matches!(self.router, Router::Hashed { .. }) }
    }
}

/// What shaders that choose experts are compiled for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Choice {
    pub experts: u32,
    pub used: u32,
    pub hashed: bool,
}

impl Choice {
    /// `variant` of a kernel with `lib/route`.
    pub fn variant(self, variant: Variant) -> Variant {
        let (wg, blocks) = (variant.value("WG").unwrap_or(WG), self.experts.div_ceil(32));
        variant
            .flag_if(self.hashed, "HASHED")
            .constant("EXPERTS", self.experts)
            .constant("USED", self.used)
            .constant("EXPERT_ROUNDS", (32 * blocks).div_ceil(wg))
            .constant("CANDIDATE_ROUNDS", (blocks * self.used).div_ceil(wg))
    }

    /// Workgroup memory that it takes to choose for `tokens`.
    pub fn workgroup_bytes(self, tokens: u32) -> u32 {
        let blocks = self.experts.div_ceil(32);
        let ranks = if self.hashed { 0 } else { blocks * (32 * 4 + self.used * 8) };
        4 * (self.experts + tokens * self.used) + ranks
    }
}

pub(super) fn router_variant(dialect: &Dialect, choice: Choice) -> Variant {
    choice.variant(dialect.variant("router"))
}

/// The experts of each row and their weights, and the shared expert's activation.
pub fn record_router(rec: &mut Recording, kit: &Kit, routing: &Routing<'_>, t: u32) {
    let (inputs, shared) = (routing.inputs, &routing.shared);
    let params = RouterParams {
        stride: inputs.stride,
        offset: inputs.offset,
        scale: routing.scale,
        width: shared.width,
        gate: shared.gate,
        up: shared.gate + shared.up,
        limit: shared.limit,
    };
    let variant = shared.act.written_by(router_variant(&kit.dialect, routing.choice()));
    let variant = quantizing(variant, shared.act_int8.is_some());
    rec.dispatch(variant, &params, routing.bindings(), [1 + (shared.width / 4).div_ceil(WG), t, 1]);
}
