//! Weights and caches in GPU memory, as kernels see them: formats, shapes, and slices of buffers.

use crate::gpu::{Binding, Slice};
use crate::quant::BlockFormat;

/// A matrix [rows, columns] in one block format. Its rows are split over one or more slices.
#[derive(Clone, Debug)]
pub struct Matrix {
    /// Block format of the rows.
    pub format: BlockFormat,
    /// R.
    pub rows: u32,
    /// C.
    pub columns: u32,
    /// The rows, in order and without gaps.
    pub slices: Vec<MatrixSlice>,
}

impl Matrix {
    /// Size of a row in bytes.
    pub(super) fn row_bytes(&self) -> u32 {
        self.format.row_bytes(self.columns as usize).unwrap_or(0) as u32
    }
}

/// Neighbouring rows of a matrix.
#[derive(Clone, Debug)]
pub struct MatrixSlice {
    /// The buffer range that is bound. Matrices that one launch reads together share it.
    pub arena: Slice,
    /// Byte offset of the first row in `arena`.
    pub base: u32,
    /// Number of the first row in the matrix.
    pub first_row: u32,
    /// Number of rows.
    pub rows: u32,
}

/// The same matrices of all experts of a layer, stacked: gate and up, or down alone. Each of these is a member of the stack.
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
    /// All experts and rows, in order and without gaps.
    pub slices: Vec<ExpertsSlice>,
}

/// Neighbouring experts, or neighbouring rows of one expert.
#[derive(Clone, Debug)]
pub struct ExpertsSlice {
    /// The buffer range that is bound.
    pub arena: Slice,
    /// Byte offset of each member's first row in `arena`.
    pub bases: Vec<u32>,
    /// Number of the first expert.
    pub first_expert: u32,
    /// Number of experts.
    pub experts: u32,
    /// Number of the first row of each expert.
    pub first_row: u32,
    /// Number of rows of each expert.
    pub rows: u32,
}

/// Cached rows or pages, split over segments: buffers that one binding can hold.
#[derive(Clone, Debug)]
pub struct Pool {
    /// The segments, in order.
    pub segments: Vec<Slice>,
    /// Number of rows (of rings and frontiers) or of pages in each segment. The last segment may hold fewer.
    pub units_per_segment: u32,
}

impl From<&Pool> for Binding {
    fn from(pool: &Pool) -> Self {
        Self::Pool(pool.segments.clone())
    }
}
