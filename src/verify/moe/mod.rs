//! Cases of the routed experts, with f32 and f16 rows, and with rows rounded to int8.

mod int8;
mod plain;

use super::bench::Bench;
use crate::Result;

/// Shapes that reach every branch.
pub fn tiny(bench: &mut Bench<'_>) -> Result<()> {
    plain::tiny(bench)?;
    int8::tiny(bench)
}

/// The shapes of V4 Flash.
pub fn flash(bench: &mut Bench<'_>) -> Result<()> {
    plain::flash(bench)?;
    int8::flash(bench)
}
