//! How the next token of a session is chosen: what a request says, and the kernel and the reference carry out.

use crate::{Error, Result};

/// How to choose.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// 0: greedy.
    pub temperature: f32,
    /// How many of the best tokens; 0: all.
    pub top_k: u32,
    /// Mass of the smallest set of most likely tokens, in (0, 1].
    pub top_p: f32,
    /// Least likelihood relative to the best token; 0: none.
    pub min_p: f32,
    /// With the position it fixes the draw.
    pub seed: u64,
}

impl Sampling {
    /// The best token.
    pub const GREEDY: Self = Self { temperature: 0.0, top_k: 0, top_p: 1.0, min_p: 0.0, seed: 0 };

    /// Refuses parameters that name no distribution.
    ///
    /// # Errors
    /// A temperature below 0, a top-p or min-p that is no probability.
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
