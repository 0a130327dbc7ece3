//! Cases of dense matrices, with f32 and f16 rows, with rows rounded to int8, and with rows that the kernel normalises.

mod int8;
mod normed;
mod plain;

use super::bench::Bench;
use crate::Result;

/// Shapes that reach every branch.
pub fn tiny(bench: &mut Bench<'_>) -> Result<()> {
    plain::tiny(bench)?;
    int8::tiny(bench)?;
    normed::tiny(bench)
}

/// The shapes of V4 Flash.
pub fn flash(bench: &mut Bench<'_>) -> Result<()> {
    plain::flash(bench)?;
    int8::flash(bench)?;
    normed::flash(bench)
}
