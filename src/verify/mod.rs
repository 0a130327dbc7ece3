//! The kernels' cases. A case has random inputs, which are the same each time, the recording that computes something of them, and the
//! reference that says what it should be. [`check`] compares the two on a device; [`collect`] hands the recordings to somebody who measures
//! them.
//!
//! A family is a file or folder: its `tiny` cases reach every branch of its kernels with little work, its `flash` cases have the shapes of
//! V4 Flash. There the reference computes some rows and tokens only, spread over all.

mod attention;
mod bench;
mod cached;
mod compressor;
mod embed;
mod family;
mod following;
mod hc;
mod indexer;
mod kv;
mod linear;
mod moe;
mod norm;
mod outcome;
mod parts;
mod rounded;
mod router;
mod sample;
mod stream;

use crate::Result;
use crate::gpu::{Gpu, Recording};
use crate::kernels::KernelContext;
use crate::num::KvType;
use bench::{Bench, Purpose};
pub use family::{Family, Shapes};
pub use outcome::{Outcome, Report};

/// Which cases to run, and with which kernels.
#[derive(Clone, Copy, Debug)]
pub struct Selection {
    /// The type of cached rows.
    pub kv: KvType,
    /// Selects kernels with f32 activations, without cooperative matrices.
    pub exact: bool,
    /// The shapes of the cases.
    pub shapes: Shapes,
    /// The only family to run; None for all.
    pub family: Option<Family>,
}

/// Runs the selected cases on `gpu` and compares them with the reference.
///
/// # Errors
/// The device failed. A kernel that differs from the reference is an outcome and not an error.
pub fn check(gpu: &Gpu, selection: Selection) -> Result<Report> {
    let bench = Bench::new(gpu, KernelContext::new(gpu, selection.kv, selection.exact)?, Purpose::Check(Report::default()));
    Ok(run(bench, selection)?.into_report())
}

/// Gives each case's name and recording to `collector`, while the buffers that the recording names are alive and hold its inputs.
///
/// # Errors
/// The device or `collector` failed.
pub fn collect(gpu: &Gpu, selection: Selection, collector: &mut dyn FnMut(&str, &Recording) -> Result<()>) -> Result<()> {
    run(Bench::new(gpu, KernelContext::new(gpu, selection.kv, selection.exact)?, Purpose::Collect(collector)), selection)?;
    Ok(())
}

fn run<'g>(mut bench: Bench<'g>, selection: Selection) -> Result<Bench<'g>> {
    for family in Family::ALL.into_iter().filter(|own| selection.family.is_none_or(|only| only == *own)) {
        for (cases, shapes) in family.cases().into_iter().zip([Shapes::Tiny, Shapes::Flash]) {
            if [shapes, Shapes::All].contains(&selection.shapes) {
                // The seed is set again, so that the inputs of a family do not depend on the families before it.
                bench.rng.seed(0);
                cases(&mut bench)?;
            }
        }
    }
    Ok(bench)
}
