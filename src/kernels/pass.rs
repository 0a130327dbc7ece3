//! The first argument of every record function.

use super::context::{KernelContext, KernelProfile};
use super::rows::Rows;
use crate::gpu::{Binding, Recording, Slice, Variant};

/// The recording that gets the launches, the context that chooses their variants, and the rows of the step that they run on.
pub struct Pass<'a> {
    /// Launches are appended here.
    pub rec: &'a mut Recording,
    /// The device, the numerics, and the tables of formats.
    pub kernels: &'a KernelContext,
    /// The number of rows (T), and which of the two kinds of kernels they take.
    pub rows: Rows,
}

impl Pass<'_> {
    /// A pass into the same recording for other rows.
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

    /// Appends a launch with [`Recording::dispatch`].
    pub(super) fn launch<P: bytemuck::NoUninit>(&mut self, variant: Variant, params: &P, bindings: Vec<Binding>, grid: [u32; 3]) {
        self.rec.dispatch(variant, params, bindings, grid);
    }
}

/// Bindings of plain ranges, in order.
pub(super) fn bind<const N: usize>(slices: [&Slice; N]) -> Vec<Binding> {
    slices.into_iter().map(Binding::from).collect()
}
