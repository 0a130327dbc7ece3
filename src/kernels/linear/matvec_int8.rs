//! Matrix-vector products with activations rounded to int8: the fast twin of `matvec`.

use super::parts::{Grouping, Part, launches, parts, row_table, with_row_table};
use super::record_linear;
use crate::gpu::{Binding, Variant, grid_1d};
use crate::kernels::context::{KernelProfile, Strided, WG};
use crate::kernels::cost;
use crate::kernels::formats::format_sets;
use crate::kernels::hc::{FUSED_CHANNELS, HcUpdate, with_hc_mix};
use crate::kernels::int8::{Quantized, UNIT, binding, with_int8_output};
use crate::kernels::matrix::Matrix;
use crate::kernels::pass::Pass;
use crate::quant::BlockFormat;

kernels! {
    MatvecInt8Params for "matvec_int8" in variants {
        tokens: u32, columns: u32, rows: u32, x_stride: u32, x_offset: u32, y_stride: u32, y_offset: u32, x_columns: u32,
        ends_bases: [[u32; 4]; 4], y_columns: u32, base_mix: u32, outputs: u32, padding: u32,
    }
}

/// Number of columns of a row that one lane multiplies, if there are enough lanes: two loads of 16 bytes of Q8_0.
const COLUMNS_EACH: u32 = 32;

/// The largest number of subgroups that share a row.
const MOST_SUBGROUPS: u32 = 4;

/// Number of lanes that share a row in variants that round their result: their workgroups compute 32 rows, which are a block of the result.
const LANES_QUANTIZING: u32 = 32;

/// Number of loads of weights that a lane has in flight. More of them would take registers from other workgroups.
const UNROLL: u32 = 4;

/// Formats that `matvec_int8` reads in loads of 16 bytes.
const WIDE: [BlockFormat; 2] = [BlockFormat::Q8_0x8, BlockFormat::F16];

/// Like [`record_linear`], with rounded x if that is faster. It also rounds y if `y_int8` is given and the rows allow it. Returns whether y
/// was rounded.
pub fn record_linear_int8(
    pass: &mut Pass<'_>,
    matrices: &[&Matrix],
    grouping: Grouping,
    (x, x_int8): (&Strided, Option<&Quantized>),
    (y, y_int8): (&Strided, Option<&Quantized>),
) -> bool {
    let (all, columns) = (parts(matrices, Grouping::Shared), matrices[0].columns);
    // A launch can round y only if it computes whole blocks of it.
    let y_int8 = y_int8.filter(|_| launches(&all, 0).all(|l| l[0].y_row.is_multiple_of(32) && row_table(l).0.is_multiple_of(32)));
    let has_use = |x: &&Quantized| columns.is_multiple_of(UNIT) && x.columns.is_multiple_of(columns);
    let Some(x_int8) = x_int8.filter(has_use).filter(|_| y_int8.is_some() || all.iter().any(|p| WIDE.contains(&p.format))) else {
        record_linear(pass, matrices, grouping, x, y);
        return false;
    };
    for launch in launches(&all, 0) {
        launch_matvec_int8(pass, launch, (columns, grouping), (x, x_int8), (y, y_int8), None);
    }
    y_int8.is_some()
}

/// Records the same product as [`record_linear_int8`] and [`record_hc_mix`](crate::kernels::record_hc_mix) in one launch. Returns false and
/// records nothing if matrix or device do not allow it. x: T rows -> y of `update` (T, D), the streams and their mix.
pub fn record_linear_with_hc_mix(
    pass: &mut Pass<'_>,
    matrix: &Matrix,
    (x, x_int8): (&Strided, Option<&Quantized>),
    update: HcUpdate<'_>,
) -> bool {
    let parts = parts(&[matrix], Grouping::Shared);
    let fits = |x: &&Quantized| matrix.format == BlockFormat::Q8_0x8 && parts.len() == 1 && x.columns == matrix.columns;
    let Some(x_int8) = x_int8.filter(fits) else { return false };
    let profile = pass.profile();
    let (variant, rows) = hc_mix_variant(profile, matrix.columns, pass.t());
    let fits = variant.value("WG").is_some_and(|wg| wg <= profile.caps.invocations);
    if !fits || !update.is_for(profile, rows, matrix.rows, pass.rows) {
        return false;
    }
    let y = Strided::whole(update.residual.y, matrix.rows);
    launch_matvec_int8(pass, &parts, (matrix.columns, Grouping::Shared), (x, x_int8), (&y, None), Some(update));
    true
}

fn launch_matvec_int8(
    pass: &mut Pass<'_>,
    parts: &[Part<'_>],
    (columns, grouping): (u32, Grouping),
    (x, x_int8): (&Strided, &Quantized),
    (y, y_int8): (&Strided, Option<&Quantized>),
    update: Option<HcUpdate<'_>>,
) {
    let tokens = pass.t();
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
        base_mix: update.map_or(0, |update| update.weights.mix.slices[0].base),
        outputs: update.map_or(0, |update| update.weights.mix.rows),
        padding: 0,
    };
    let formats: Vec<_> = parts.iter().map(|p| p.format).collect();
    let (variant, rows_each) = if update.is_some() {
        hc_mix_variant(pass.profile(), columns, tokens)
    } else {
        let each = rows_each(parts, grouping, params.y_offset, tokens);
        matvec_int8_variant(pass.profile(), &formats, columns, y_int8.is_some(), tokens, each)
    };
    let variant = with_row_groups(variant, grouping);
    let mut bindings = vec![Binding::Twice(parts[0].arena.clone())];
    bindings.extend([Binding::from(&x.slice), Binding::Twice(x_int8.slice.clone()), Binding::from(&y.slice)]);
    bindings.extend(binding(y_int8));
    bindings.extend(update.iter().flat_map(HcUpdate::bindings));
    bindings.extend(pass.kernels.tables(&formats));
    pass.launch(variant, &params, bindings, grid_1d(rows.div_ceil(rows_each)));
    pass.rec.cost(cost::linear(parts, columns, grouping.rows(), (x, y), tokens));
}

/// Number of rows of weights that a team of lanes multiplies at once, so that it loads the `tokens` rows of x once for all of them. It is
/// limited by registers, and the rows must belong to one matrix and one group of columns.
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

/// The variant for teams of up to `each` rows, and the number of rows of a workgroup.
fn matvec_int8_variant(
    profile: &KernelProfile,
    formats: &[BlockFormat],
    columns: u32,
    quantize: bool,
    tokens: u32,
    each: u32,
) -> (Variant, u32) {
    // The matrix alone decides how many lanes share a row, and so in which order its products are added.
    let (wg, lanes, each) = if quantize {
        let lanes = LANES_QUANTIZING.min(profile.caps.invocations / 32);
        // Eight invocations round each block of 32 rows, one block for each token.
        let each = each.min(32 * lanes / (8 * tokens.next_power_of_two()));
        (32 * lanes / each, lanes, each)
    } else {
        (WG, lanes(profile, columns), each)
    };
    let variant = with_int8_output(team_variant(profile, columns, tokens, (wg, lanes, each)), quantize);
    (with_row_table(variant, formats), wg / lanes * each)
}

/// Makes `variant` read the columns of each row's group.
fn with_row_groups(variant: Variant, grouping: Grouping) -> Variant {
    match grouping {
        Grouping::Shared => variant,
        Grouping::Rows(rows) => variant.constant("GROUP_ROWS", rows),
    }
}

/// The variant with a fused hc_mix, for a matrix of Q8_0 by eight. A team takes four rows, and a workgroup has as many teams as a slice
/// needs.
fn hc_mix_variant(profile: &KernelProfile, columns: u32, tokens: u32) -> (Variant, u32) {
    let (lanes, each) = (lanes(profile, columns), 4);
    let variant = team_variant(profile, columns, tokens, (FUSED_CHANNELS / each * lanes, lanes, each));
    (with_row_table(with_hc_mix(variant, tokens.next_power_of_two()), &[BlockFormat::Q8_0x8]), FUSED_CHANNELS)
}

/// Number of lanes that share a row of `columns`.
fn lanes(profile: &KernelProfile, columns: u32) -> u32 {
    let most = profile.caps.subgroup.unwrap_or(1) * MOST_SUBGROUPS;
    (columns / COLUMNS_EACH).next_power_of_two().clamp(8, most.clamp(8, WG))
}

/// The variant for workgroups of `wg` invocations in teams of `lanes`, each of which takes `each` rows.
fn team_variant(profile: &KernelProfile, columns: u32, tokens: u32, (wg, lanes, each): (u32, u32, u32)) -> Variant {
    let sums = tokens.next_power_of_two();
    // With many tokens there is enough work between loads, and unrolling would multiply the code. With many rows there are enough loads in
    // flight.
    let loads = (columns / 16).div_ceil(lanes);
    let unroll = match (tokens, each) {
        (3.., 4..) => 1,
        (3.., _) | (_, 4..) => 2,
        _ => loads.div_ceil(loads.div_ceil(UNROLL)),
    };
    Variant::new("matvec_int8")
        .constant("WG", wg)
        .constant("SUBGROUP", profile.caps.subgroup.unwrap_or(1))
        .constant("LANES", lanes)
        .constant("UNROLL", unroll)
        .constant("TOKENS", sums)
        .constant("ROWS_EACH", each)
        .constant("OUT_ROUNDS", (sums * each).div_ceil(lanes))
        .constant("SUMS", sums * each)
}

fn variants(profile: &KernelProfile) -> Vec<Variant> {
    // The list is for every device that can run these variants, even one that would not choose them.
    if profile.caps.subgroup.is_none() {
        return Vec::new();
    }
    let mut all = Vec::new();
    for formats in format_sets() {
        for (columns, tokens, each) in [(1024, 1, 1), (4096, 2, 1), (4096, 4, 2), (8192, 16, 1), (8192, 16, 4)] {
            let plain = [false, true].map(|quantize| matvec_int8_variant(profile, formats, columns, quantize, tokens, each).0);
            all.extend(plain.iter().map(|variant| with_row_groups(variant.clone(), Grouping::Rows(1024))));
            all.extend(plain);
        }
    }
    let fused = [(8192, 1), (8192, 16), (512, 2)].map(|(columns, tokens)| hc_mix_variant(profile, columns, tokens).0);
    all.extend(fused.into_iter().filter(|variant| variant.value("WG").is_some_and(|wg| wg <= profile.caps.invocations)));
    all
}
