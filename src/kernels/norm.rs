//! RMS normalisation with a weight.

use super::kit::{Kit, Strided};
use super::quantized::{Quantized, binding, quantizing};
use crate::gpu::{Recording, Slice};

params! {
    RmsNormParams for "rms_norm" { columns: u32, x_stride: u32, x_offset: u32, eps: f32 }
}

/// `y[t] = N(x[t]; weight)`. x: T rows; weight (C) -> y (T, C), rounded too if asked to.
pub fn record_rms_norm(
    rec: &mut Recording,
    kit: &Kit,
    x: &Strided,
    weight: &Slice,
    (y, y_int8): (&Strided, Option<&Quantized>),
    columns: u32,
    eps: f32,
    t: u32,
) {
    let params = RmsNormParams { columns, x_stride: x.stride, x_offset: x.offset, eps };
    let mut bindings = vec![x.slice.clone(), weight.clone(), y.slice.clone()];
    bindings.extend(binding(y_int8));
    rec.dispatch(quantizing(y.written_by(kit.variant("rms_norm")), y_int8.is_some()), &params, bindings, [t, 1, 1]);
}
