//! Normalises and rotates window keys.

use crate::gpu::{Slice, Variant};
use crate::kernels::context::{KernelProfile, Strided};
use crate::kernels::pass::{Pass, bind};

kernels! {
    KvRowParams for "kv_row" in variants { dim: u32, rope: u32, x_stride: u32, x_offset: u32, angle_set: u32, eps: f32 }
}

/// Sizes of a window key.
#[derive(Clone, Copy, Debug)]
pub struct KvRow {
    /// K.
    pub dim: u32,
    /// Number of rotated channels, the last of the key.
    pub rope: u32,
    /// Whether the layer has compressed rows: such layers rotate by other angles.
    pub compressed: bool,
    /// Epsilon of the norm.
    pub eps: f32,
}

/// Records `kv[t] = RoPE(N(x[t]; weight))`. x: T rows, weight (K), angles (T, 2, R/2) -> kv (T, K) of the cache's type.
pub fn record_kv_row(pass: &mut Pass<'_>, sizes: KvRow, x: &Strided, weight: &Slice, angles: &Slice, kv: &Slice) {
    let params = KvRowParams {
        dim: sizes.dim,
        rope: sizes.rope,
        x_stride: x.stride,
        x_offset: x.offset,
        angle_set: u32::from(sizes.compressed),
        eps: sizes.eps,
    };
    pass.launch(pass.profile().kv_variant("kv_row"), &params, bind([&x.slice, weight, angles, kv]), [pass.t(), 1, 1]);
}

fn variants(profile: &KernelProfile) -> Vec<Variant> {
    vec![profile.kv_variant("kv_row")]
}
