//! Matrix-vector products with rows that the same kernel normalises and rounds to int8: the fast twin of `rms_norm` and `matvec`.

use super::parts::{Grouping, Part, launches, parts, row_table, with_row_table};
use crate::gpu::{Binding, Slice, Variant, grid_1d};
use crate::kernels::context::{KernelContext, KernelProfile, Strided, WG};
use crate::kernels::cost;
use crate::kernels::formats::MIXED;
use crate::kernels::matrix::Matrix;
use crate::kernels::pass::{Pass, bind};
use crate::kernels::rows::Rows;
use crate::quant::BlockFormat;

kernels! {
    MatvecNormedParams for "matvec_normed" in variants {
        tokens: u32, columns: u32, rows: u32, x_stride: u32, x_offset: u32, y_stride: u32, y_offset: u32, eps: f32, ends_bases: [[u32; 4]; 4],
    }
}

/// The largest number of loads of 16 bytes that a lane has in flight. A lane loads all its weights at once, for as many neighbouring rows
/// as take this many loads in Q8_0.
const LOADS: u32 = 8;

/// The product `y[t] = W N(x[t]; norm)` for generated rows. The rows of all matrices lie one after another in y.
pub struct LinearNormed<'a> {
    parts: Vec<Part<'a>>,
    variant: Variant,
    rows_each: u32,
    columns: u32,
    tokens: u32,
}

impl<'a> LinearNormed<'a> {
    /// The product for a step of `rows`. None if they are rows of a prompt, if a format is neither F16 nor Q8_0 by eight, or if the device
    /// or the sizes do not allow it. Both formats together need matrices of an even number of rows.
    pub fn new(kernels: &KernelContext, matrices: &[&'a Matrix], rows: Rows) -> Option<Self> {
        let Rows::Few(t) = rows else { return None };
        let columns = matrices.first()?.columns;
        let formats: Vec<_> = matrices.iter().map(|m| m.format).collect();
        let are_known = formats.iter().all(|f| [BlockFormat::F16, BlockFormat::Q8_0x8].contains(f));
        let parts = parts(matrices, Grouping::Shared);
        let borders = parts.iter().fold(0, |bits, part| bits | part.rows);
        let each = 1 << borders.trailing_zeros();
        let variant = matvec_normed_variant(&kernels.profile, &formats, columns, t, each).filter(|_| are_known);
        variant.map(|(variant, rows_each)| Self { parts, variant, rows_each, columns, tokens: t })
    }

    /// A product for each of `matrices`. None if one of them cannot have it, or if none of them is of Q8_0 by eight: F16 weights are to be
    /// multiplied with rounded values only beside such a matrix.
    pub fn each(kernels: &KernelContext, matrices: &[&'a Matrix], rows: Rows) -> Option<Vec<Self>> {
        let rounds = matrices.iter().any(|m| m.format == BlockFormat::Q8_0x8);
        matrices.iter().map(|m| Self::new(kernels, &[m], rows).filter(|_| rounds)).collect()
    }

    /// Records the product. x: T rows; norm (C) -> y: T rows.
    pub fn record(&self, pass: &mut Pass<'_>, x: &Strided, (norm, eps): (&Slice, f32), y: &Strided) {
        for launch in launches(&self.parts, 0) {
            let (rows, ends_bases) = row_table(launch);
            let params = MatvecNormedParams {
                tokens: self.tokens,
                columns: self.columns,
                rows,
                x_stride: x.stride,
                x_offset: x.offset,
                y_stride: y.stride,
                y_offset: y.offset + launch[0].y_row,
                eps,
                ends_bases,
            };
            let mut bindings = vec![Binding::Twice(launch[0].arena.clone())];
            bindings.extend(bind([&x.slice, norm, &y.slice]));
            pass.launch(self.variant.clone(), &params, bindings, grid_1d(rows.div_ceil(self.rows_each)));
            pass.rec.cost(cost::linear(launch, self.columns, Grouping::Shared.rows(), (x, y), self.tokens));
        }
    }
}

/// The variant for rows of `columns`, at most `each` of them for a team, and the number of rows of a workgroup. None if the device does not
/// round activations or the rows are too wide.
fn matvec_normed_variant(profile: &KernelProfile, formats: &[BlockFormat], columns: u32, tokens: u32, each: u32) -> Option<(Variant, u32)> {
    let subgroup = profile.caps.subgroup.filter(|_| profile.int8())?;
    let quads = columns / 16;
    // A lane makes two loads of a row, or more if the row is longer than two loads of a subgroup.
    let lanes = (quads / 2).next_power_of_two().clamp(8, subgroup);
    let quads_each = quads.div_ceil(lanes);
    // A row of F16 takes twice as many loads as one of Q8_0. In a launch with both formats, F16 rows are taken in two phases.
    let (has_halves, has_others) = (formats.contains(&BlockFormat::F16), formats.iter().any(|f| *f != BlockFormat::F16));
    let phases = if has_halves && has_others { 2 } else { 1 };
    let loads = if has_halves && !has_others { 2 * quads_each } else { quads_each };
    let each = each.min((LOADS / loads).max(phases));
    let at_once = if has_halves { each / phases } else { 0 };
    let tokens_each = tokens.min(2);
    let bytes = tokens.next_power_of_two() * (columns / 8 * 9 + 4 * WG / subgroup);
    if !columns.is_multiple_of(256) || quads_each > LOADS || each < phases || bytes > profile.caps.workgroup_bytes {
        return None;
    }
    let variant = Variant::new("matvec_normed")
        .constant("WG", WG)
        .constant("SUBGROUP", subgroup)
        .constant("LANES", lanes)
        .constant("EACH", each)
        .constant("PHASES", phases)
        .constant("AT_ONCE", at_once)
        .constant("TOKENS_EACH", tokens_each)
        .constant("COLUMNS", columns)
        .constant("QUADS_EACH", quads_each)
        .constant("PIECES", (columns / 4).div_ceil(WG))
        .constant("TOKENS", tokens.next_power_of_two())
        .constant("SUMS", each.max(at_once * tokens_each));
    Some((with_row_table(variant, formats), WG / lanes * each))
}

fn variants(profile: &KernelProfile) -> Vec<Variant> {
    let sizes = [(256, 1, 4), (1024, 1, 4), (1024, 16, 4), (1536, 2, 1)];
    let sets = [&MIXED[..], &MIXED[..1], &MIXED[1..]];
    let normed = |formats| sizes.map(move |(columns, tokens, each)| matvec_normed_variant(profile, formats, columns, tokens, each));
    sets.into_iter().flat_map(normed).flatten().map(|(variant, _)| variant).collect()
}
