//! Dense matrices: `matvec` for the few rows of a decode step, `matmul` for the many of a prefill chunk.
//!
//! A decode step's rows must not depend on what else is in the step: `matvec` adds a row's products in an order that follows from the
//! matrix alone, and steps of up to [`DECODE_ROWS`] rows always use it.

use super::kit::{Dialect, Kit, Strided, with_formats};
use super::matrix::Matrix;
use crate::gpu::{Cooperative, Recording, Slice, Variant, grid_1d};
use crate::quant::BlockFormat;

params! {
    MatvecParams for "matvec" {
        tokens: u32, columns: u32, rows: u32, x_stride: u32, x_offset: u32, y_stride: u32, y_offset: u32, group_rows: u32,
        ends_bases: [[u32; 4]; 4], first_token: u32, padding_a: u32, padding_b: u32, padding_c: u32,
    }
    MatmulParams for "matmul" | "matmul_coop" {
        tokens: u32, columns: u32, rows: u32, x_stride: u32, x_offset: u32, y_stride: u32, y_offset: u32, base: u32, format: u32,
        base_up: u32, format_up: u32, first_expert: u32, experts: u32, used: u32, limit: f32,
    }
}

/// Up to this many rows a step is a decode step, whose rows are bit-identical whatever else is in it.
pub const DECODE_ROWS: u32 = 16;

/// Matrices that one launch can read.
const MATRICES: usize = 8;

/// Which part of the input a row of a matrix multiplies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grouping {
    /// All rows the same C columns.
    Shared,
    /// Every `0` rows the next C columns (the grouped output projection).
    Rows(u32),
}

/// `y[t, r] = W[r] . x[t]`, the rows of all `matrices` one after another in y. x: T rows -> y: T rows.
pub fn record_linear(rec: &mut Recording, kit: &Kit, matrices: &[&Matrix], grouping: Grouping, x: &Strided, y: &Strided, t: u32) {
    if t <= DECODE_ROWS {
        for parts in launches(&parts(matrices)) {
            launch_matvec(rec, kit, parts, matrices[0].columns, grouping, x, y, t);
        }
        return;
    }
    let mut y = y.clone();
    for matrix in matrices {
        record_matmul(rec, kit, matrix, grouping, x, &y, t);
        y = y.at(matrix.rows);
    }
}

/// One slice of one of the matrices, with its place in y.
pub(super) struct Part<'a> {
    pub arena: &'a Slice,
    pub base: u32,
    pub rows: u32,
    pub format: BlockFormat,
    pub y_row: u32,
}

/// The slices of `matrices` in the order of y's rows.
pub(super) fn parts<'a>(matrices: &[&'a Matrix]) -> Vec<Part<'a>> {
    let mut parts = Vec::new();
    let mut y_row = 0;
    for matrix in matrices {
        for slice in &matrix.slices {
            let (arena, base, rows) = (&slice.arena, slice.base, slice.rows);
            parts.push(Part { arena, base, rows, format: matrix.format, y_row: y_row + slice.first_row });
        }
        y_row += matrix.rows;
    }
    parts
}

/// What one launch reads each: neighbours in one arena.
pub(super) fn launches<'p, 'a>(parts: &'p [Part<'a>]) -> impl Iterator<Item = &'p [Part<'a>]> {
    let same_launch = |a: &Part<'_>, b: &Part<'_>| a.arena.buffer.same(&b.arena.buffer) && a.arena.offset == b.arena.offset;
    parts.chunk_by(same_launch).flat_map(|run| run.chunks(MATRICES))
}

/// Rows of all `parts`, and the table by which the shader finds a row's matrix (`lib/locate`).
pub(super) fn row_table(parts: &[Part<'_>]) -> (u32, [[u32; 4]; 4]) {
    let mut ends_bases = [[0u32; 4]; 4];
    let mut rows = 0;
    for (i, part) in parts.iter().enumerate() {
        rows += part.rows;
        ends_bases[i / 2][i % 2 * 2] = rows | (part.format as u32) << 28;
        ends_bases[i / 2][i % 2 * 2 + 1] = part.base;
    }
    (rows, ends_bases)
}

impl Grouping {
    /// Rows that share an input.
    pub(super) fn rows(self) -> u32 {
        match self {
            Self::Shared => u32::MAX,
            Self::Rows(rows) => rows,
        }
    }
}

fn launch_matvec(
    rec: &mut Recording,
    kit: &Kit,
    parts: &[Part<'_>],
    columns: u32,
    grouping: Grouping,
    x: &Strided,
    y: &Strided,
    tokens: u32,
) {
    let (rows, ends_bases) = row_table(parts);
    let params = MatvecParams {
        tokens,
        columns,
        rows,
        x_stride: x.stride,
        x_offset: x.offset,
        y_stride: y.stride,
        y_offset: y.offset + parts[0].y_row,
        group_rows: grouping.rows(),
        ends_bases,
        ..Default::default()
    };
    let formats: Vec<_> = parts.iter().map(|p| p.format).collect();
    let (variant, rows_each) = matvec_variant(&kit.dialect, &formats, tokens);
    let mut bindings = vec![parts[0].arena.clone(), x.slice.clone(), y.slice.clone()];
    bindings.extend(kit.tables(&formats));
    rec.dispatch(variant, &params, bindings, grid_1d(rows.div_ceil(rows_each)));
}

pub(super) fn matvec_variant(dialect: &Dialect, formats: &[BlockFormat], tokens: u32) -> (Variant, u32) {
    let (variant, rows) = dialect.lanes_variant("matvec", tokens.next_power_of_two());
    (with_formats(variant, formats), rows)
}

fn record_matmul(rec: &mut Recording, kit: &Kit, matrix: &Matrix, grouping: Grouping, x: &Strided, y: &Strided, t: u32) {
    let tile = Tile::choose(&kit.dialect);
    for slice in &matrix.slices {
        // A launch works on rows of one group.
        let group_rows = match grouping {
            Grouping::Shared => matrix.rows,
            Grouping::Rows(rows) => rows,
        };
        let row_bytes = matrix.format.row_bytes(matrix.columns as usize).unwrap_or(0) as u32;
        let mut row = slice.first_row;
        while row < slice.first_row + slice.rows {
            let group = row / group_rows;
            let rows = ((group + 1) * group_rows).min(slice.first_row + slice.rows) - row;
            let x = x.at(group * matrix.columns);
            let params = MatmulParams {
                tokens: t,
                columns: matrix.columns,
                rows,
                x_stride: x.stride,
                x_offset: x.offset,
                y_stride: y.stride,
                y_offset: y.offset + row,
                base: slice.base + (row - slice.first_row) * row_bytes,
                format: matrix.format as u32,
                ..Default::default()
            };
            let formats = [matrix.format];
            let mut bindings = vec![slice.arena.clone(), x.slice.clone(), y.slice.clone()];
            bindings.extend(kit.tables(&formats));
            let grid = [rows.div_ceil(tile.rows), t.div_ceil(tile.tokens), 1];
            rec.dispatch(with_formats(tile.variant.clone(), &formats), &params, bindings, grid);
            row += rows;
        }
    }
}

/// A matmul's workgroup: which kernel, and the part of y that it makes.
pub(super) struct Tile {
    pub variant: Variant,
    /// Rows of x.
    pub tokens: u32,
    /// Rows of W.
    pub rows: u32,
    /// Operands are rounded to f16.
    pub half: bool,
}

impl Tile {
    /// The tile for `kit`'s device: cooperative where it has the matrices and the workgroup memory.
    pub fn choose(dialect: &Dialect) -> Self {
        let caps = &dialect.caps;
        let (Some(subgroup), size) = (caps.subgroup, dialect.cooperative()) else { return Self::plain() };
        let (size, blocks_t) = match size {
            Cooperative::None => return Self::plain(),
            Cooperative::Size8 => (8, 4),
            Cooperative::Size16 => (16, if caps.workgroup_bytes >= 40 << 10 { 4 } else { 2 }),
        };
        let (subgroups_t, subgroups_w) = if blocks_t == 4 && size == 16 { (2, 4) } else { (2, 2) };
        if subgroups_t * subgroups_w * subgroup > caps.invocations {
            return Self::plain();
        }
        let variant = Variant::new("matmul_coop")
            .flag("F16")
            .flag("COOPERATIVE")
            .flag(if size == 16 { "SIZE_16" } else { "SIZE_8" })
            .constant("SIZE", size)
            .constant("SUBGROUP", subgroup)
            .constant("SUBGROUPS_T", subgroups_t)
            .constant("SUBGROUPS_W", subgroups_w)
            .constant("BLOCKS_T", blocks_t);
        Self { variant, tokens: subgroups_t * blocks_t * size, rows: subgroups_w * 2 * size, half: true }
    }

    fn plain() -> Self {
        Self { variant: Variant::new("matmul"), tokens: 64, rows: 64, half: false }
    }
}
