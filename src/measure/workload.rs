//! The work that is measured: greedy rows, and prompts without meaning.

use crate::engine::{SampleRequest, TokenId};
use crate::model::Sampling;

/// The request for a sampled token that a generated row makes.
pub(super) fn greedy() -> SampleRequest {
    SampleRequest { sampling: Sampling::GREEDY, stops: Vec::new(), is_last: false, mask: None }
}

/// A prompt of `len` tokens without meaning, since speed does not depend on it.
pub fn prompt(seed: u32, vocabulary: u32, len: usize) -> Vec<TokenId> {
    let mut rng = fastrand::Rng::with_seed(u64::from(seed));
    (0..len).map(|_| rng.u32(0..vocabulary.min(128_000))).collect()
}
