//! Matrices times activations rounded to int8: the fast twin of `matvec` for decode steps.

use super::cost;
use super::hc::{HcLeave, LEAVE_SLICE, leaving};
use super::int8::{Quantized, UNIT, binding, quantizing};
use super::kit::{Dialect, Kit, Strided, WG};
use super::linear::record_linear;
use super::matrix::Matrix;
use super::parts::{Grouping, Part, launches, locating, parts, row_table};
use super::rows::Rows;
use crate::gpu::{Recording, Variant, grid_1d};
use crate::quant::BlockFormat;

params! {
    MatvecInt8Params for "matvec_int8" {
        tokens: u32, columns: u32, rows: u32, x_stride: u32, x_offset: u32, y_stride: u32, y_offset: u32, x_columns: u32,
        ends_bases: [[u32; 4]; 4], y_columns: u32, base_mix: u32, outputs: u32, padding: u32,
    }
}

/// Columns of a row of weights for one lane, where there are lanes enough: two loads of 16 bytes of Q8_0.
const COLUMNS_EACH: u32 = 32;

/// Subgroups that share a row at most.
const MOST_SUBGROUPS: u32 = 4;

/// Lanes that share a row of weights where 32 rows of a workgroup make a block of the result.
const LANES_QUANTIZING: u32 = 32;

/// Loads of weights that a lane has in flight: more need registers that other workgroups could use.
const UNROLL: u32 = 4;

/// Formats of which `matvec_int8` loads 16 bytes at a time.
const WIDE: [BlockFormat; 2] = [BlockFormat::Q8_0x8, BlockFormat::F16];

/// As [`record_linear`], on rounded x where that is faster. Rounds y too if asked to; says whether it did.
pub fn record_linear_int8(
    rec: &mut Recording,
    kit: &Kit,
    matrices: &[&Matrix],
    grouping: Grouping,
    (x, x_int8): (&Strided, Option<&Quantized>),
    (y, y_int8): (&Strided, Option<&Quantized>),
    rows: Rows,
) -> bool {
    let (all, columns) = (parts(matrices, Grouping::Shared), matrices[0].columns);
    // A launch makes whole blocks of y, or none.
    let y_int8 = y_int8.filter(|_| launches(&all, 0).all(|l| l[0].y_row.is_multiple_of(32) && row_table(l).0.is_multiple_of(32)));
    let has_use = |x: &&Quantized| columns.is_multiple_of(UNIT) && x.columns.is_multiple_of(columns);
    let Some(x_int8) = x_int8.filter(has_use).filter(|_| y_int8.is_some() || all.iter().any(|p| WIDE.contains(&p.format))) else {
        record_linear(rec, kit, matrices, grouping, x, y, rows);
        return false;
    };
    for launch in launches(&all, 0) {
        launch_matvec_int8(rec, kit, launch, columns, grouping, (x, x_int8), (y, y_int8), None, rows.count());
    }
    y_int8.is_some()
}

/// `y` = the rows of `matrix` times x as [`record_linear_int8`] makes them, and what follows in the same launch, where that can be. Says
/// whether it was. x: T rows -> y of `leave` (T, D), and what it leaves.
pub fn record_linear_leaving(
    rec: &mut Recording,
    kit: &Kit,
    matrix: &Matrix,
    (x, x_int8): (&Strided, Option<&Quantized>),
    leave: HcLeave<'_>,
    t: u32,
) -> bool {
    let parts = parts(&[matrix], Grouping::Shared);
    let fits = |x: &&Quantized| matrix.format == BlockFormat::Q8_0x8 && parts.len() == 1 && x.columns == matrix.columns;
    let Some(x_int8) = x_int8.filter(fits) else { return false };
    let (variant, rows) = leaving_variant(&kit.dialect, matrix.columns, t);
    if !leave.is_for(&kit.dialect, rows, matrix.rows, Rows::Few(t))
        || variant.value("WG").is_none_or(|wg| wg > kit.dialect.caps.invocations)
    {
        return false;
    }
    let y = Strided::whole(leave.residual.y, matrix.rows);
    launch_matvec_int8(rec, kit, &parts, matrix.columns, Grouping::Shared, (x, x_int8), (&y, None), Some(leave), t);
    true
}

fn launch_matvec_int8(
    rec: &mut Recording,
    kit: &Kit,
    parts: &[Part<'_>],
    columns: u32,
    grouping: Grouping,
    (x, x_int8): (&Strided, &Quantized),
    (y, y_int8): (&Strided, Option<&Quantized>),
    leave: Option<HcLeave<'_>>,
    tokens: u32,
) {
    let (rows, ends_bases) = row_table(parts);
    let params = MatvecInt8Params {
        tokens,
        columns,
        rows,
        x_stride: x.stride,
        x_offset: x.offset,
        y_stride: y.stride,
        y_offset: y.offset + parts[0].y_row,
        x_columns: x_int8.columns,
        ends_bases,
        y_columns: y_int8.map_or(0, |y| y.columns),
        base_mix: leave.map_or(0, |leave| leave.weights.mix.slices[0].base),
        outputs: leave.map_or(0, |leave| leave.weights.mix.rows),
        padding: 0,
    };
    let formats: Vec<_> = parts.iter().map(|p| p.format).collect();
    let (variant, rows_each) = if leave.is_some() {
        leaving_variant(&kit.dialect, columns, tokens)
    } else {
        let each = rows_each(parts, grouping, params.y_offset, tokens);
        matvec_int8_variant(&kit.dialect, &formats, columns, y_int8.is_some(), tokens, each)
    };
    let variant = grouped(variant, grouping);
    let arena = parts[0].arena;
    let mut bindings = [arena, arena, &x.slice, &x_int8.slice, &x_int8.slice, &y.slice].map(Clone::clone).to_vec();
    bindings.extend(binding(y_int8));
    bindings.extend(leave.iter().flat_map(HcLeave::bindings));
    bindings.extend(kit.tables(&formats));
    rec.dispatch(variant, &params, bindings, grid_1d(rows.div_ceil(rows_each)));
    rec.cost(cost::linear(parts, columns, grouping.rows(), (x, y), tokens));
}

/// Rows of weights that a team of lanes multiplies `tokens` rows of x by at once, so that it reads these from caches once for all: as many as
/// registers allow, of one matrix and one group of columns.
fn rows_each(parts: &[Part<'_>], grouping: Grouping, y_offset: u32, tokens: u32) -> u32 {
    let most = match tokens {
        0..=2 => 1,
        3..=4 => 2,
        _ => 4,
    };
    let rows = parts.iter().fold(0, |bits, part| bits | part.rows);
    let borders = if grouping == Grouping::Shared { rows } else { rows | grouping.rows() | y_offset };
    most.min(1 << borders.trailing_zeros().min(2))
}

/// For up to `each` rows a team. Returns the rows of a workgroup, too.
pub(super) fn matvec_int8_variant(
    dialect: &Dialect,
    formats: &[BlockFormat],
    columns: u32,
    quantize: bool,
    tokens: u32,
    each: u32,
) -> (Variant, u32) {
    // What a team adds up, and in which order, follows from the matrix alone.
    let (wg, lanes, each) = if quantize {
        let lanes = LANES_QUANTIZING.min(dialect.caps.invocations / 32);
        // Eight invocations round a block of 32 rows.
        let each = each.min(32 * lanes / (8 * tokens.next_power_of_two()));
        (32 * lanes / each, lanes, each)
    } else {
        (WG, lanes(dialect, columns), each)
    };
    let variant = quantizing(team_variant(dialect, columns, tokens, (wg, lanes, each)), quantize);
    (locating(variant, formats), wg / lanes * each)
}

/// `variant` for rows of which each group has columns of its own.
pub(super) fn grouped(variant: Variant, grouping: Grouping) -> Variant {
    match grouping {
        Grouping::Shared => variant,
        Grouping::Rows(rows) => variant.constant("GROUP_ROWS", rows),
    }
}

/// For a matrix of Q8_0 by eight whose workgroups leave the streams too: four rows a team, as many teams as make a slice.
pub(super) fn leaving_variant(dialect: &Dialect, columns: u32, tokens: u32) -> (Variant, u32) {
    let (lanes, each) = (lanes(dialect, columns), 4);
    let variant = team_variant(dialect, columns, tokens, (LEAVE_SLICE / each * lanes, lanes, each));
    (locating(leaving(variant, tokens.next_power_of_two()), &[BlockFormat::Q8_0x8]), LEAVE_SLICE)
}

/// Lanes that share a row of `columns`.
fn lanes(dialect: &Dialect, columns: u32) -> u32 {
    let most = dialect.caps.subgroup.unwrap_or(1) * MOST_SUBGROUPS;
    (columns / COLUMNS_EACH).next_power_of_two().clamp(8, most.clamp(8, WG))
}

/// Workgroups of `wg` invocations, `lanes` to a team, `each` rows a team.
fn team_variant(dialect: &Dialect, columns: u32, tokens: u32, (wg, lanes, each): (u32, u32, u32)) -> Variant {
    let sums = tokens.next_power_of_two();
    // Many tokens have enough to do between loads, and would multiply the code; many rows are loads enough.
    let loads = (columns / 16).div_ceil(lanes);
    let unroll = match (tokens, each) {
        (3.., 4..) => 1,
        (3.., _) | (_, 4..) => 2,
        _ => loads.div_ceil(loads.div_ceil(UNROLL)),
    };
    Variant::new("matvec_int8")
        .constant("WG", wg)
        .constant("SUBGROUP", dialect.caps.subgroup.unwrap_or(1))
        .constant("LANES", lanes)
        .constant("UNROLL", unroll)
        .constant("TOKENS", sums)
        .constant("ROWS_EACH", each)
        .constant("OUT_ROUNDS", (sums * each).div_ceil(lanes))
        .constant("SUMS", sums * each)
}
