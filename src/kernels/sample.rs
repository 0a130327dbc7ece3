//! The next token of each row: greedy, or a seeded draw after temperature, top-k, top-p and min-p.

use super::context::{KernelProfile, WG};
use super::pass::{Pass, bind};
use crate::gpu::{Slice, Variant};

kernels! {
    SampleParams for "sample" in variants { vocabulary: u32 }
}

/// How one row is sampled, as the shader sees it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct Sampler {
    /// The session's slot: receives the id, and loses its live word at a stop id or the last token.
    pub slot: u32,
    /// Position of the row that made the logits; with the seed it fixes the draw.
    pub position: u32,
    /// Lower and upper half of the seed.
    pub seed: [u32; 2],
    /// 0: greedy.
    pub temperature: f32,
    /// Mass of the nucleus, in (0, 1]; 1: off.
    pub top_p: f32,
    /// Least likelihood relative to the best token; 0: off.
    pub min_p: f32,
    /// How many of the best tokens; 0: off.
    pub top_k: u32,
    /// Row of the masks, or [`NO_MASK`].
    pub mask: u32,
    /// 1: this token reaches the limit.
    pub is_last: u32,
    /// Ids that end the turn, or [`NO_TOKEN`].
    pub stops: [u32; 2],
}

/// In [`Sampler::mask`]: every token is allowed.
pub const NO_MASK: u32 = u32::MAX;

/// In [`Sampler::stops`]: no id.
pub const NO_TOKEN: u32 = u32::MAX;

/// Buffers of the sampler.
#[derive(Clone, Debug)]
pub struct SampleBuffers<'a> {
    /// Samplers (R).
    pub samplers: &'a Slice,
    /// Allowed tokens (masks, ceil(vocabulary / 32)).
    pub masks: &'a Slice,
    /// Ids for the next step (slots).
    pub sampled: &'a Slice,
    /// Live words (slots).
    pub live: &'a Slice,
    /// (id, status) (R): 0 drawn, 1 not live, 2 a logit is not finite, 3 the mask allows nothing.
    pub results: &'a Slice,
}

/// As large a workgroup as there is: it has the device to itself.
fn sample_variant(profile: &KernelProfile) -> Variant {
    profile.sized_variant("sample", if profile.caps.invocations >= 1024 { 1024 } else { WG })
}

/// Samples each row of logits (R, vocabulary), as many as the pass has rows.
pub fn record_sample(pass: &mut Pass<'_>, logits: &Slice, buffers: &SampleBuffers<'_>, vocabulary: u32) {
    let bindings = bind([logits, buffers.samplers, buffers.masks, buffers.sampled, buffers.live, buffers.results]);
    pass.launch(sample_variant(pass.profile()), &SampleParams { vocabulary }, bindings, [pass.t(), 1, 1]);
}

fn variants(profile: &KernelProfile) -> Vec<Variant> {
    vec![sample_variant(profile)]
}
