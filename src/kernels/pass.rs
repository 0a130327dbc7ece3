//! What every record function is given first.

use super::context::{KernelContext, KernelProfile};
use super::rows::Rows;
use crate::gpu::{Binding, Recording, Slice, Variant};

/// Where launches are appended, what their variants are chosen by, and the rows of the step that they are for.
pub struct Pass<'a> {
    /// Receives the launches.
    pub rec: &'a mut Recording,
    /// The device and the numerics.
    pub kernels: &'a KernelContext,
    /// How many rows (T), and by which of the two kinds of kernels.
    pub rows: Rows,
}

impl Pass<'_> {
    /// The same recording for other rows.
    pub fn with_rows(&mut self, rows: Rows) -> Pass<'_> {
        Pass { rec: self.rec, kernels: self.kernels, rows }
    }

    /// T.
    pub(super) fn t(&self) -> u32 {
        self.rows.count()
    }

    pub(super) fn profile(&self) -> &KernelProfile {
        &self.kernels.profile
    }

    /// Appends a launch, as [`Recording::dispatch`].
    pub(super) fn launch<P: bytemuck::NoUninit>(&mut self, variant: Variant, params: &P, bindings: Vec<Binding>, grid: [u32; 3]) {
        self.rec.dispatch(variant, params, bindings, grid);
    }
}

/// Plain ranges to bind, in order.
pub(super) fn bind<const N: usize>(slices: [&Slice; N]) -> Vec<Binding> {
    slices.into_iter().map(Binding::from).collect()
}
