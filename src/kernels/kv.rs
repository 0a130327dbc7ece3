//! Query heads and window keys, normalised and rotated, and the rings that keep a session's newest rows.

use super::kit::{Dialect, Kit, Strided, WG};
use super::matrix::Pool;
use crate::gpu::{Recording, Slice, Variant};

params! {
    QRopeParams for "q_rope" {
        dim: u32, rope: u32, x_stride: u32, x_offset: u32, angle_set: u32, eps: f32,
    }
    KvRowParams for "kv_row" { dim: u32, rope: u32, x_stride: u32, x_offset: u32, angle_set: u32, eps: f32 }
    RingStoreParams for "ring_store" { sources: [[u32; 4]; 3], places: [[u32; 4]; 3] }
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
pub fn record_kv_row(rec: &mut Recording, kit: &Kit, sizes: KvRow, x: &Strided, weight: &Slice, angles: &Slice, kv: &Slice, t: u32) {
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

/// A ring, and what goes into it.
#[derive(Clone, Debug)]
pub struct RingStore<'a> {
    /// (slots, size, words).
    pub ring: &'a Pool,
    /// Rows of a session.
    pub size: u32,
    /// Words of a row.
    pub words: u32,
    /// T rows.
    pub source: Strided,
}

/// Rings that one launch can write.
const RINGS: usize = 3;

/// The newest rows of each live session into its rings.
pub fn record_ring_store(rec: &mut Recording, kit: &Kit, stores: &[RingStore<'_>], rows: &Slice, live: &Slice, t: u32) {
    let segments: Vec<_> =
        stores.iter().flat_map(|store| store.ring.segments.iter().enumerate().map(move |(i, s)| (store, i, s))).collect();
    for several in segments.chunks(RINGS) {
        let mut params = RingStoreParams::default();
        let mut bindings = vec![rows.clone(), live.clone()];
        for (n, (store, i, segment)) in several.iter().enumerate() {
            params.sources[n] = [store.words, store.source.stride, store.source.offset, store.size];
            params.places[n] = [*i as u32 * store.ring.held, store.ring.held, 0, 0];
            bindings.extend([store.source.slice.clone(), (*segment).clone()]);
        }
        let words = several.iter().map(|(store, ..)| store.words).max().unwrap_or(0);
        let grid = [words.div_ceil(WG), t, several.len() as u32];
        rec.dispatch(ring_store_variant(&kit.dialect, several.len() as u32), &params, bindings, grid);
    }
}

pub(super) fn ring_store_variant(dialect: &Dialect, rings: u32) -> Variant {
    dialect.variant("ring_store").constant("RINGS", rings)
}
