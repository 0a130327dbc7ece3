//! The parameter blocks of all kernels, for the tests.

use super::params::ParamsLayout;
use super::{
    attention, attention_long, compressor, embed, hc, indexer, kv, latents, linear, moe, moe_int8, norm, normed, quantized, rings, router,
    sample, stream,
};

/// Every kernel's parameter block.
pub fn layouts() -> impl Iterator<Item = &'static ParamsLayout> {
    [
        attention::LAYOUTS,
        attention_long::LAYOUTS,
        compressor::LAYOUTS,
        embed::LAYOUTS,
        hc::LAYOUTS,
        indexer::LAYOUTS,
        kv::LAYOUTS,
        latents::LAYOUTS,
        linear::LAYOUTS,
        moe::LAYOUTS,
        moe_int8::LAYOUTS,
        norm::LAYOUTS,
        normed::LAYOUTS,
        quantized::LAYOUTS,
        rings::LAYOUTS,
        router::LAYOUTS,
        sample::LAYOUTS,
        stream::LAYOUTS,
    ]
    .into_iter()
    .flatten()
}
