//! Normalises and rotates query heads for the kernels of `long`. The kernels of `few` do both themselves.

use crate::gpu::{Slice, Variant};
use crate::kernels::context::{KernelProfile, Strided};
use crate::kernels::pass::{Pass, bind};

kernels! {
    QRopeParams for "q_rope" in variants { dim: u32, rope: u32, x_stride: u32, x_offset: u32, angle_set: u32, eps: f32 }
}

/// Sizes of the query heads.
#[derive(Clone, Copy, Debug)]
pub struct QRope {
    /// H.
    pub heads: u32,
    /// K.
    pub dim: u32,
    /// Number of rotated channels, the last of a head.
    pub rope: u32,
    /// Whether the layer has compressed rows: such layers rotate by other angles.
    pub compressed: bool,
    /// Epsilon of the norm of a head, which has no weight (N0).
    pub norm_eps: f32,
}

/// `x[t, h] = RoPE(N0(x[t, h]))`, in place. angles (T, 2, R/2), x: T rows of (H, K).
pub fn record_q_rope(pass: &mut Pass<'_>, sizes: QRope, angles: &Slice, x: &Strided) {
    let params = QRopeParams {
        dim: sizes.dim,
        rope: sizes.rope,
        x_stride: x.stride,
        x_offset: x.offset,
        angle_set: u32::from(sizes.compressed),
        eps: sizes.norm_eps,
    };
    pass.launch(pass.kernels.variant("q_rope"), &params, bind([angles, &x.slice]), [sizes.heads, pass.t(), 1]);
}

fn variants(profile: &KernelProfile) -> Vec<Variant> {
    vec![profile.variant("q_rope")]
}
