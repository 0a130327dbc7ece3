//! Query heads and window keys, normalised and rotated.

use super::kit::{Kit, Strided};
use crate::gpu::{Recording, Slice};

params! {
    QRopeParams for "q_rope" {
        dim: u32, rope: u32, x_stride: u32, x_offset: u32, angle_set: u32, eps: f32,
    }
    KvRowParams for "kv_row" { dim: u32, rope: u32, x_stride: u32, x_offset: u32, angle_set: u32, eps: f32 }
}

/// Sizes of a head rotation.
#[derive(Clone, Copy, Debug)]
pub struct QRope {
    /// H.
    pub heads: u32,
    /// K.
    pub dim: u32,
    /// Rotated channels, the last of a head.
    pub rope: u32,
    /// The angles of layers with compressed rows instead of the plain ones.
    pub compressed: bool,
    /// Epsilon of N0 over the head.
    pub norm_eps: f32,
}

/// `x[t, h] = RoPE(N0(x[t, h]))`, in place. angles (T, 2, R/2), x: T rows of (H, K).
pub fn record_q_rope(rec: &mut Recording, kit: &Kit, sizes: QRope, angles: &Slice, x: &Strided, t: u32) {
    let params = QRopeParams {
        dim: sizes.dim,
        rope: sizes.rope,
        x_stride: x.stride,
        x_offset: x.offset,
        angle_set: u32::from(sizes.compressed),
        eps: sizes.norm_eps,
    };
    rec.dispatch(kit.variant("q_rope"), &params, vec![angles.clone(), x.slice.clone()], [sizes.heads, t, 1]);
}

/// Sizes of a window key.
#[derive(Clone, Copy, Debug)]
pub struct KvRow {
    /// K.
    pub dim: u32,
    /// Rotated channels.
    pub rope: u32,
    /// Which angles, as in [`QRope`].
    pub compressed: bool,
    /// Epsilon of the norm.
    pub eps: f32,
}

/// `kv[t] = RoPE(N(x[t]; weight))` as cached. x: T rows, weight (K), angles (T, 2, R/2) -> kv (T, K) of the cache's type.
pub(super) fn record_kv_row(rec: &mut Recording, kit: &Kit, sizes: KvRow, x: &Strided, weight: &Slice, angles: &Slice, kv: &Slice, t: u32) {
    let params = KvRowParams {
        dim: sizes.dim,
        rope: sizes.rope,
        x_stride: x.stride,
        x_offset: x.offset,
        angle_set: u32::from(sizes.compressed),
        eps: sizes.eps,
    };
    let bindings = vec![x.slice.clone(), weight.clone(), angles.clone(), kv.clone()];
    rec.dispatch(kit.dialect.kv_variant("kv_row"), &params, bindings, [t, 1, 1]);
}
