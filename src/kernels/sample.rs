//! The sampler: the most likely token of each row, or a seeded draw by temperature, top-k, top-p and min-p.

use super::context::{KernelProfile, WG};
use super::pass::{Pass, bind};
use crate::gpu::{Slice, Variant};

kernels! {
    SampleParams for "sample" in variants { vocabulary: u32 }
}

/// How one row is sampled, laid out as the shader reads it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct Sampler {
    /// Slot of the session, which receives the id. Its live word is cleared at a stop id and at the last token.
    pub slot: u32,
    /// Position of the row that made the logits. Seed and position together determine the random number.
    pub position: u32,
    /// The seed: lower 32 bits, then upper.
    pub seed: [u32; 2],
    /// Temperature; 0 takes the most likely token.
    pub temperature: f32,
    /// Probability of the nucleus, in (0, 1]; 1 turns it off.
    pub top_p: f32,
    /// Least probability relative to that of the most likely token; 0 turns it off.
    pub min_p: f32,
    /// Number of the most likely tokens to draw from; 0 turns it off.
    pub top_k: u32,
    /// Row in [`SampleBuffers::masks`], or [`NO_MASK`].
    pub mask: u32,
    /// 1 if this token reaches the limit of the request, otherwise 0.
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
    /// A [`Sampler`] for each row of logits (R).
    pub samplers: &'a Slice,
    /// Bits of the allowed tokens (masks, ceil(vocabulary / 32)).
    pub masks: &'a Slice,
    /// Output: ids for the next step (slots).
    pub sampled: &'a Slice,
    /// Live words (slots), which the kernel reads and clears.
    pub live: &'a Slice,
    /// Output (id, status) (R). Status 0: drawn; 1: the slot is not live; 2: a logit is not finite; 3: the mask allows no token.
    pub results: &'a Slice,
}

/// The workgroup is as large as the device allows, up to 1024: one workgroup samples a row, and few rows leave the device empty.
fn sample_variant(profile: &KernelProfile) -> Variant {
    profile.sized_variant("sample", if profile.caps.invocations >= 1024 { 1024 } else { WG })
}

/// Records the sampling of each row of `logits` (R, vocabulary). R is the number of rows of the pass.
pub fn record_sample(pass: &mut Pass<'_>, logits: &Slice, buffers: &SampleBuffers<'_>, vocabulary: u32) {
    let bindings = bind([logits, buffers.samplers, buffers.masks, buffers.sampled, buffers.live, buffers.results]);
    pass.launch(sample_variant(pass.profile()), &SampleParams { vocabulary }, bindings, [pass.t(), 1, 1]);
}

fn variants(profile: &KernelProfile) -> Vec<Variant> {
    vec![sample_variant(profile)]
}
