//! Hyper-connections: the update of a row's four streams with a sub-layer's result, their mix, and the next sub-layer's input.

pub(super) mod mix;
pub(super) mod pre;
mod prefetch;
pub(super) mod sinkhorn;
mod weights;

pub(super) use mix::{FUSED_CHANNELS, with_hc_mix};
pub use mix::{HcResidual, HcUpdate, hc_mix_words, record_hc_mix};
pub use pre::{HcPreInput, HcRows, record_hc_pre};
pub use prefetch::PrefetchRange;
pub use sinkhorn::record_hc_sinkhorn;
pub use weights::HcWeights;
