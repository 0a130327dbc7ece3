//! Weights and caches in GPU memory, as kernels see them: formats, shapes and slices of buffers.

use crate::gpu::{Binding, Slice};
use crate::quant::BlockFormat;

/// A matrix [rows, columns] in one block format, its rows in one or more slices.
#[derive(Clone, Debug)]
pub struct Matrix {
    /// How rows are stored.
    pub format: BlockFormat,
    /// R.
    pub rows: u32,
    /// C.
    pub columns: u32,
    /// The rows, in order and without gaps.
    pub slices: Vec<MatrixSlice>,
}

impl Matrix {
    /// Bytes of a row.
    pub(super) fn row_bytes(&self) -> u32 {
        self.format.row_bytes(self.columns as usize).unwrap_or(0) as u32
    }
}

/// Neighbouring rows of a matrix.
#[derive(Clone, Debug)]
pub struct MatrixSlice {
    /// The buffer range that is bound. Matrices that one launch reads together share it.
    pub arena: Slice,
    /// Byte offset of the first row in it.
    pub base: u32,
    /// The first row's number.
    pub first_row: u32,
    /// How many rows.
    pub rows: u32,
}

/// The same matrices (gate and up, or down alone) of all experts of a layer, stacked.
#[derive(Clone, Debug)]
pub struct Experts {
    /// Format of each member.
    pub formats: Vec<BlockFormat>,
    /// E.
    pub experts: u32,
    /// Rows of one expert's matrix: F for gate and up, D for down.
    pub rows: u32,
    /// Columns: D for gate and up, F for down.
    pub columns: u32,
    /// All experts and rows, without gaps.
    pub slices: Vec<ExpertsSlice>,
}

/// Neighbouring experts, or neighbouring rows of one expert.
#[derive(Clone, Debug)]
pub struct ExpertsSlice {
    /// The buffer range that is bound.
    pub arena: Slice,
    /// Byte offset of each member's first row in it.
    pub bases: Vec<u32>,
    /// The first expert.
    pub first_expert: u32,
    /// How many experts.
    pub experts: u32,
    /// The first row of each expert.
    pub first_row: u32,
    /// Rows of each expert.
    pub rows: u32,
}

/// Cached rows or pages in one or more buffers of `held` units each (the last may hold fewer).
#[derive(Clone, Debug)]
pub struct Pool {
    /// The bindings.
    pub segments: Vec<Slice>,
    /// Rows (rings) or pages in each segment.
    pub held: u32,
}

impl From<&Pool> for Binding {
    fn from(pool: &Pool) -> Self {
        Self::Pool(pool.segments.clone())
    }
}
