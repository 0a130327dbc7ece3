//! The router: which experts a row uses, and with what weights. The same launch computes the shared expert's activation, which reads the
//! same projection. `moe_gate_up_int8` can do the work of the router itself.

use super::context::{KernelProfile, Strided, WG, with_f16_output};
use super::int8::{Quantized, binding, with_int8_output};
use super::pass::{Pass, bind};
use crate::gpu::{Binding, Slice, Variant};

kernels! {
    RouterParams for "router" in variants { stride: u32, offset: u32, scale: f32, width: u32, gate: u32, up: u32, limit: f32 }
}

/// How a layer chooses its experts.
#[derive(Clone, Debug)]
pub enum Router<'a> {
    /// By score. The bias (E) f32 is added to the scores for the choice and not for the weights.
    Scored(&'a Slice),
    /// By token id, from a table.
    Hashed {
        /// Experts of each id (vocabulary, used), all below E.
        table: &'a Slice,
        /// Rows of the step (T), with the ids of given tokens.
        rows: &'a Slice,
        /// Ids that the sampler drew (slots).
        sampled: &'a Slice,
    },
}

/// The shared expert's activation, which the router's launch computes too.
#[derive(Clone, Debug)]
pub struct SharedAct<'a> {
    /// Offset of the F gate values in a row, in floats.
    pub gate: u32,
    /// Offset of the F up values, relative to `gate`.
    pub up: u32,
    /// F.
    pub width: u32,
    /// Limit of SwiGLU's inputs.
    pub limit: f32,
    /// Output (T, F).
    pub act: &'a Strided,
    /// Output rounded to int8.
    pub act_int8: Option<&'a Quantized>,
}

/// The experts that each row uses.
#[derive(Clone, Copy, Debug)]
pub struct Chosen<'a> {
    /// Numbers of the experts, best first (T, used).
    pub experts: &'a Slice,
    /// Weights of the experts (T, used).
    pub weights: &'a Slice,
}

/// What a router reads and writes.
#[derive(Clone, Debug)]
pub struct Routing<'a> {
    /// How the layer chooses its experts.
    pub router: Router<'a>,
    /// E.
    pub experts: u32,
    /// Number of experts that a row uses.
    pub used: u32,
    /// Sum of a row's weights.
    pub scale: f32,
    /// T rows with E logits at the offset.
    pub inputs: &'a Strided,
    /// Output: the experts.
    pub chosen: Chosen<'a>,
    /// Output: the shared expert's activation.
    pub shared: SharedAct<'a>,
}

impl Routing<'_> {
    /// The bindings of `lib/experts/route`, in its order.
    pub(super) fn bindings(&self) -> Vec<Binding> {
        let mut bindings = bind([&self.inputs.slice, self.chosen.experts, self.chosen.weights, &self.shared.act.slice]);
        bindings.extend(match self.router {
            Router::Scored(bias) => bind([bias]),
            Router::Hashed { table, rows, sampled } => bind([table, rows, sampled]),
        });
        bindings.extend(binding(self.shared.act_int8));
        bindings
    }

    pub(super) fn choice(&self) -> Choice {
        Choice { experts: self.experts, used: self.used, hashed: matches!(self.router, Router::Hashed { .. }) }
    }
}

/// The sizes for which a shader that chooses experts is compiled.
#[derive(Clone, Copy, Debug)]
pub(super) struct Choice {
    pub experts: u32,
    pub used: u32,
    pub hashed: bool,
}

impl Choice {
    /// Adds to `variant` what a kernel needs that imports `lib/experts/route`.
    pub fn variant(self, variant: Variant) -> Variant {
        let (wg, blocks) = (variant.value("WG").unwrap_or(WG), self.experts.div_ceil(32));
        variant
            .flag_if(self.hashed, "HASHED")
            .constant("EXPERTS", self.experts)
            .constant("USED", self.used)
            .constant("EXPERT_ROUNDS", (32 * blocks).div_ceil(wg))
            .constant("CANDIDATE_ROUNDS", (blocks * self.used).div_ceil(wg))
    }

    /// Workgroup memory in bytes that choosing the experts of `tokens` rows takes.
    pub fn workgroup_bytes(self, tokens: u32) -> u32 {
        let blocks = self.experts.div_ceil(32);
        let ranks = if self.hashed { 0 } else { blocks * (32 * 4 + self.used * 8) };
        4 * (self.experts + tokens * self.used) + ranks
    }
}

fn router_variant(profile: &KernelProfile, choice: Choice) -> Variant {
    choice.variant(profile.variant("router"))
}

/// Records the choice of each row's experts and weights, and the shared expert's activation.
pub fn record_router(pass: &mut Pass<'_>, routing: &Routing<'_>) {
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
    let variant = shared.act.written_by(router_variant(pass.profile(), routing.choice()));
    let variant = with_int8_output(variant, shared.act_int8.is_some());
    pass.launch(variant, &params, routing.bindings(), [1 + (shared.width / 4).div_ceil(WG), pass.t(), 1]);
}

/// The choices for which variants are listed: V4 Flash, V4 Pro, the most experts that a kernel can choose from, and the small test models.
pub(super) const CHOICES: [Choice; 8] = {
    const fn choice(experts: u32, used: u32, hashed: bool) -> Choice {
        Choice { experts, used, hashed }
    }
    [
        choice(256, 6, false),
        choice(256, 6, true),
        choice(384, 6, false),
        choice(384, 6, true),
        choice(1024, 16, false),
        choice(1024, 16, true),
        choice(8, 2, false),
        choice(8, 2, true),
    ]
};

fn variants(profile: &KernelProfile) -> Vec<Variant> {
    let plain = CHOICES.map(|choice| router_variant(profile, choice));
    let mut all = plain.to_vec();
    if profile.uses_f16() {
        all.extend(plain[..2].iter().cloned().map(with_f16_output));
    }
    // The list has the rounding variants for every device that can run them, even one that would not choose them.
    if profile.caps.subgroup.is_some() {
        all.extend(plain.map(|variant| with_int8_output(variant, true)));
    }
    all
}
