//! What is measured: rows that take the best token, and prompts without meaning.

use crate::engine::{SampleRequest, TokenId};
use crate::model::Sampling;

/// What a decode step wants of a row in a generation.
pub(super) fn greedy() -> SampleRequest {
    SampleRequest { sampling: Sampling::GREEDY, stops: Vec::new(), is_last: false, mask: None }
}

/// Tokens without meaning: speed does not depend on them.
pub fn prompt(seed: u32, vocabulary: u32, len: usize) -> Vec<TokenId> {
    let mut rng = fastrand::Rng::with_seed(u64::from(seed));
    (0..len).map(|_| rng.u32(0..vocabulary.min(128_000))).collect()
}
