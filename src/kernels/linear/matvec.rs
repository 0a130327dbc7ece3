//! Matrix-vector products for generated rows in f32: any format on any device.

use super::parts::{Grouping, launches, parts, row_table, with_row_table};
use crate::gpu::{Variant, grid_1d};
use crate::kernels::context::{KernelProfile, Strided};
use crate::kernels::cost;
use crate::kernels::formats::format_sets;
use crate::kernels::matrix::Matrix;
use crate::kernels::pass::{Pass, bind};
use crate::quant::BlockFormat;

kernels! {
    MatvecParams for "matvec" in variants {
        tokens: u32, columns: u32, rows: u32, x_stride: u32, x_offset: u32, y_stride: u32, y_offset: u32, group_rows: u32,
        ends_bases: [[u32; 4]; 4],
    }
}

/// See [`record_linear`](super::record_linear).
pub fn record_matvec(pass: &mut Pass<'_>, matrices: &[&Matrix], grouping: Grouping, x: &Strided, y: &Strided) {
    let (columns, tokens) = (matrices[0].columns, pass.t());
    // The shader finds the group of columns of each row, so parts need not be cut where a group begins.
    for parts in launches(&parts(matrices, Grouping::Shared), 0) {
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
        };
        let formats: Vec<_> = parts.iter().map(|p| p.format).collect();
        let (variant, rows_each) = matvec_variant(pass.profile(), &formats, tokens);
        let mut bindings = bind([parts[0].arena, &x.slice, &y.slice]);
        bindings.extend(pass.kernels.tables(&formats));
        pass.launch(variant, &params, bindings, grid_1d(rows.div_ceil(rows_each)));
        pass.rec.cost(cost::linear(parts, columns, grouping.rows(), (x, y), tokens));
    }
}

/// The variant, and the number of rows of a workgroup.
fn matvec_variant(profile: &KernelProfile, formats: &[BlockFormat], tokens: u32) -> (Variant, u32) {
    let (variant, rows) = profile.lanes_variant("matvec", tokens.next_power_of_two());
    (with_row_table(variant, formats), rows)
}

fn variants(profile: &KernelProfile) -> Vec<Variant> {
    format_sets().flat_map(|formats| [1, 2, 4, 8, 16].map(|tokens| matvec_variant(profile, formats, tokens).0)).collect()
}
