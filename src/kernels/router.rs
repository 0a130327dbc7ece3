//! Which experts a row uses and with what weight, and beside it the shared expert's activation. `moe_gate_up_int8` can do the same by itself.

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
    /// Offset of the F gate values in a row, in floats.
    pub gate: u32,
    /// Offset of the F up values, relative to `gate`.
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

/// The experts that rows use.
#[derive(Clone, Copy, Debug)]
pub struct Chosen<'a> {
    /// Those of each row, best first (T, used).
    pub experts: &'a Slice,
    /// Their weights (T, used).
    pub weights: &'a Slice,
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
    /// The result.
    pub chosen: Chosen<'a>,
    /// The shared expert's part.
    pub shared: SharedAct<'a>,
}

impl Routing<'_> {
    /// What `lib/experts/route` binds, in its order.
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

/// What shaders that choose experts are compiled for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Choice {
    pub experts: u32,
    pub used: u32,
    pub hashed: bool,
}

impl Choice {
    /// `variant` of a kernel with `lib/experts/route`.
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

fn router_variant(profile: &KernelProfile, choice: Choice) -> Variant {
    choice.variant(profile.variant("router"))
}

/// The experts of each row and their weights, and the shared expert's activation.
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

/// Choices to list variants for: of V4 Flash, of V4 Pro, the most that there may be, and of the small test models.
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
    if profile.uses_half() {
        all.extend(plain[..2].iter().cloned().map(with_f16_output));
    }
    // Rounding is tried on devices that would not choose it too, where it can run.
    if profile.caps.subgroup.is_some() {
        all.extend(plain.map(|variant| with_int8_output(variant, true)));
    }
    all
}
