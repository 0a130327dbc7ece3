//! Cuts the rows of several matrices into parts, and distributes the parts over launches.

use crate::gpu::{Slice, Variant};
use crate::kernels::formats::{row_entry, with_row_entries};
use crate::kernels::matrix::Matrix;
use crate::quant::BlockFormat;

/// The largest number of parts that one launch can read.
const MATRICES: usize = 8;

/// Which columns of the input a row of a matrix is multiplied with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grouping {
    /// All rows take the same C columns.
    Shared,
    /// Each group of this many rows takes the next C columns (the grouped output projection).
    Rows(u32),
}

impl Grouping {
    /// Number of rows that take the same columns.
    pub fn rows(self) -> u32 {
        match self {
            Self::Shared => u32::MAX,
            Self::Rows(rows) => rows,
        }
    }
}

/// Neighbouring rows of one matrix. Their results start at row `y_row` of y.
pub struct Part<'a> {
    pub arena: &'a Slice,
    pub base: u32,
    pub rows: u32,
    pub format: BlockFormat,
    pub y_row: u32,
    /// Number of the group of C columns of x that the rows take.
    pub group: u32,
}

/// The slices of `matrices` in the order of y's rows, cut where a group of columns begins.
pub(super) fn parts<'a>(matrices: &[&'a Matrix], grouping: Grouping) -> Vec<Part<'a>> {
    let mut parts = Vec::new();
    let mut y_row = 0;
    let group_rows = grouping.rows();
    for matrix in matrices {
        let row_bytes = matrix.row_bytes();
        for slice in &matrix.slices {
            let end = slice.first_row + slice.rows;
            let mut row = slice.first_row;
            while row < end {
                let group = row / group_rows;
                let rows = (group + 1).saturating_mul(group_rows).min(end) - row;
                let base = slice.base + (row - slice.first_row) * row_bytes;
                parts.push(Part { arena: &slice.arena, base, rows, format: matrix.format, y_row: y_row + row, group });
                row += rows;
            }
        }
        y_row += matrix.rows;
    }
    parts
}

/// The parts of each launch: neighbours in one arena. The group of columns of each part is that of the part before plus `step`.
pub(super) fn launches<'p, 'a>(parts: &'p [Part<'a>], step: u32) -> impl Iterator<Item = &'p [Part<'a>]> {
    let same_arena = |a: &Part<'_>, b: &Part<'_>| a.arena.buffer.same(&b.arena.buffer) && a.arena.offset == b.arena.offset;
    parts.chunk_by(move |a, b| same_arena(a, b) && b.group == a.group + step).flat_map(|run| run.chunks(MATRICES))
}

/// The number of rows of all `parts`, and the table in which the shader finds the part of a row (`lib/linear/locate`).
pub(super) fn row_table(parts: &[Part<'_>]) -> (u32, [[u32; 4]; 4]) {
    let mut ends_bases = [[0u32; 4]; 4];
    let mut rows = 0;
    for (i, part) in parts.iter().enumerate() {
        rows += part.rows;
        ends_bases[i / 2][i % 2 * 2] = row_entry(rows, part.format);
        ends_bases[i / 2][i % 2 * 2 + 1] = part.base;
    }
    (rows, ends_bases)
}

/// Adds to `variant` what a kernel needs that imports `lib/linear/locate`, for one part in each of `formats`. The number of parts is
/// rounded up, so that layers share few variants: one that ran before may still be in the instruction cache.
pub(super) fn with_row_table(variant: Variant, formats: &[BlockFormat]) -> Variant {
    let matrices = if formats.len() == 1 { 1 } else { formats.len().next_multiple_of(4) };
    with_row_entries(variant, formats).constant("MATRICES", matrices as u32)
}
