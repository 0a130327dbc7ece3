//! Every kernel against the reference: cases with random inputs, what the kernels make of them on a device, and what they should make.

mod attention;
mod bench;
mod cached;
mod compressor;
mod hc;
mod indexer;
mod kv;
mod linear;
mod moe;
mod outcome;

use crate::Result;
use crate::gpu::Gpu;
use crate::kernels::Kit;
use crate::num::KvType;
use bench::Bench;
pub use outcome::{Outcome, Report};

/// Runs all checks on `gpu`, with `kv` caches; `exact`: without cooperative matrices.
///
/// # Errors
/// The device failed; a kernel that computes something else than the reference is an outcome, not an error.
pub fn check(gpu: &Gpu, kv: KvType, exact: bool) -> Result<Report> {
    let mut bench = Bench::new(gpu, Kit::new(gpu, kv, exact)?);
    linear::plain::run(&mut bench)?;
    hc::run(&mut bench)?;
    linear::int8::run(&mut bench)?;
    moe::plain::run(&mut bench)?;
    moe::int8::run(&mut bench)?;
    cached::run(&mut bench)?;
    compressor::run(&mut bench)?;
    indexer::run(&mut bench)?;
    attention::run(&mut bench)?;
    kv::latents::run(&mut bench)?;
    Ok(bench.into_report())
}
