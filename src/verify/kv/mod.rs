//! Cases of the kernels that compute and keep keys: latents of generated rows, keys and queries of prompts, and rings.

mod keys;
mod latents;
mod rings;

use super::bench::Bench;
use crate::Result;

/// Shapes that reach every branch.
pub fn tiny(bench: &mut Bench<'_>) -> Result<()> {
    keys::tiny(bench)?;
    rings::tiny(bench)?;
    latents::tiny(bench)
}

/// The shapes of V4 Flash.
pub fn flash(bench: &mut Bench<'_>) -> Result<()> {
    keys::flash(bench)?;
    rings::flash(bench)?;
    latents::flash(bench)
}
