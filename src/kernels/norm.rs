//! RMS normalisation with a weight.

use super::kit::{Kit, Strided};
use crate::gpu::{Recording, Slice};

params! {
    RmsNormParams for "rms_norm" { columns: u32, x_stride: u32, x_offset: u32, eps: f32 }
}

/// `y[t] = N(x[t]; weight)`. x: T rows; weight (C) -> y (T, C).
pub fn record_rms_norm(rec: &mut Recording, kit: &Kit, x: &Strided, weight: &Slice, y: &Strided, columns: u32, eps: f32, t: u32) {
    let params = RmsNormParams { columns, x_stride: x.stride, x_offset: x.offset, eps };
    let bindings = vec![x.slice.clone(), weight.clone(), y.slice.clone()];
    rec.dispatch(y.written_by(kit.variant("rms_norm")), &params, bindings, [t, 1, 1]);
}
