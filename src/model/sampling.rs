//! Sampling parameters: a request states them, and the sampling kernel and the reference follow them.

use crate::{Error, Result};

/// How to choose the next token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// Divisor of the logits. 0 always chooses the most likely token.
    pub temperature: f32,
    /// Number of most likely tokens to choose from. 0 means all.
    pub top_k: u32,
    /// Probability mass to choose from, in (0, 1]: the smallest set of most likely tokens that reaches it.
    pub top_p: f32,
    /// The smallest probability of a token, relative to the most likely one. 0 means no limit.
    pub min_p: f32,
    /// Seed of the random number, which depends on nothing else but the position.
    pub seed: u64,
}

impl Sampling {
    /// Always the most likely token.
    pub const GREEDY: Self = Self { temperature: 0.0, top_k: 0, top_p: 1.0, min_p: 0.0, seed: 0 };

    /// Refuses parameters that define no distribution.
    ///
    /// # Errors
    /// Where the temperature is negative or not finite, or where top-p or min-p is not a probability.
    pub fn check(&self) -> Result<()> {
        let bad = |what: String| Err(Error::Refused(what));
        if !(self.temperature >= 0.0 && self.temperature.is_finite()) {
            return bad(format!("temperature is {}, it must be 0 or more", self.temperature));
        }
        if !(self.top_p > 0.0 && self.top_p <= 1.0) {
            return bad(format!("top-p is {}, it must be above 0 and at most 1", self.top_p));
        }
        if !(0.0..=1.0).contains(&self.min_p) {
            return bad(format!("min-p is {}, it must be between 0 and 1", self.min_p));
        }
        Ok(())
    }
}
