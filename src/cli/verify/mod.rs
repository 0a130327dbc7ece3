//! `dwarfstar verify`: every kernel variant against the reference on this machine's adapters. The kernel tests run the same checks.

mod bench;
mod cache;
mod dense;
mod experts;

use crate::Result;
use crate::gpu::Gpu;
use crate::kernels::Kit;
use crate::num::KvType;
use bench::Bench;
pub use bench::Outcome;

/// Runs all checks on `gpu`, with `kv` caches; `exact`: without cooperative matrices.
///
/// # Errors
/// The device failed; a kernel that computes something else than the reference is an outcome, not an error.
pub fn check(gpu: &Gpu, kv: KvType, exact: bool) -> Result<Vec<Outcome>> {
    let mut bench = Bench::new(gpu, Kit::new(gpu, kv, exact)?);
    dense::run(&mut bench)?;
    experts::run(&mut bench)?;
    cache::run(&mut bench)?;
    Ok(bench.into_outcomes())
}
