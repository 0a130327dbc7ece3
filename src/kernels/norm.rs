//! RMS normalisation with a weight.

use super::context::{KernelProfile, Strided, with_f16_output};
use super::pass::{Pass, bind};
use crate::gpu::{Slice, Variant};

kernels! {
    RmsNormParams for "rms_norm" in variants { columns: u32, x_stride: u32, x_offset: u32, eps: f32 }
}

/// `y[t] = N(x[t]; weight)`. x: T rows; weight (C) -> y (T, C).
pub fn record_rms_norm(pass: &mut Pass<'_>, x: &Strided, (weight, eps): (&Slice, f32), y: &Strided, columns: u32) {
    let params = RmsNormParams { columns, x_stride: x.stride, x_offset: x.offset, eps };
    let variant = y.written_by(pass.kernels.variant("rms_norm"));
    pass.launch(variant, &params, bind([&x.slice, weight, &y.slice]), [pass.t(), 1, 1]);
}

fn variants(profile: &KernelProfile) -> Vec<Variant> {
    let plain = profile.variant("rms_norm");
    if profile.uses_f16() { vec![with_f16_output(plain.clone()), plain] } else { vec![plain] }
}
