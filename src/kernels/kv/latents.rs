//! What becomes of the projections of attention's input: normalised low-rank queries, window keys, and the compressed rows of windows that
//! close.

use super::kv_row::{KvRow, record_kv_row};
use crate::gpu::{Binding, Slice, Variant};
use crate::kernels::compressor::{Compress, Windows, for_windows, record_compress};
use crate::kernels::context::{KernelContext, KernelProfile, Strided};
use crate::kernels::norm::record_rms_norm;
use crate::kernels::pass::{Pass, bind};

kernels! {
    LatentsParams for "latents" in variants {
        tokens: u32, x_stride: u32, q_offset: u32, q_columns: u32, q_weight: u32, kv_offset: u32, kv_dim: u32, kv_weight: u32, rope: u32,
        angle_set: u32, eps: f32, windows: u32, first_window: u32, ring: u32, max_pages: u32, input_stride: u32, row_dim: u32, row_offset: u32,
        row_ape: u32, row_weight: u32, index_dim: u32, index_offset: u32, index_ape: u32, index_weight: u32,
    }
}

/// Low-rank queries and their norm.
#[derive(Clone, Debug)]
pub struct LowQueries<'a> {
    /// Projections: T rows.
    pub x: Strided,
    /// Number of channels.
    pub rank: u32,
    /// Weight of the norm (rank).
    pub norm: &'a Slice,
    /// Output: normalised queries (T, rank).
    pub y: &'a Strided,
}

/// The projections of attention's input, and the outputs that are computed from them.
#[derive(Clone, Debug)]
pub struct Latents<'a> {
    /// Low-rank queries. None if the kernel that multiplies them normalises them itself.
    pub queries: Option<LowQueries<'a>>,
    /// Projections of window keys: T rows of the same matrix of activations as the queries.
    pub keys: Strided,
    /// Sizes of a window key.
    pub key: KvRow,
    /// Weight of the keys' norm (K).
    pub kv_norm: &'a Slice,
    /// Rotations (T, 2, R/2).
    pub angles: &'a Slice,
    /// Output: window keys (T, K) of the cache's type.
    pub kv: &'a Slice,
    /// The layer's compressor and then the indexer's, as far as the layer has them. Beside each are its values and gates; all lie in one
    /// matrix of activations.
    pub compressors: Vec<(Compress<'a>, Strided)>,
    /// The windows that close in this step, of the layer's ratio.
    pub windows: Windows<'a>,
}

impl Latents<'_> {
    /// The compressors, if any window closes.
    fn closing(&self) -> &[(Compress<'_>, Strided)] {
        if self.windows.count > 0 { &self.compressors } else { &[] }
    }

    /// The range that spans the norm weights and `ape`, if they lie in one buffer and one binding can hold it.
    fn vectors(&self, kernels: &KernelContext) -> Option<Slice> {
        let own = self.compressors.iter().flat_map(|(sizes, _)| [sizes.ape, sizes.norm]);
        let vectors: Vec<&Slice> = self.queries.iter().map(|q| q.norm).chain([self.kv_norm]).chain(own).collect();
        Slice::spanning(&vectors).filter(|span| span.bytes <= kernels.profile.caps.max_binding_bytes)
    }
}

fn latents_variant(profile: &KernelProfile, queries: bool, closing: Option<(u32, u32, u32)>) -> Variant {
    let variant = profile.kv_variant("latents").flag_if(queries, "QUERIES");
    match closing {
        Some((ratio, page_rows, compressors)) => {
            for_windows(variant, ratio, page_rows).flag("WINDOWS").flag_if(compressors > 1, "INDEX").constant("COMPRESSORS", compressors)
        }
        None => variant,
    }
}

/// Records low-rank queries, window keys and compressed rows. For few rows and pools of one segment it is one launch, otherwise one for
/// each.
pub fn record_latents(pass: &mut Pass<'_>, latents: &Latents<'_>) {
    let whole = latents.compressors.iter().all(|(sizes, _)| sizes.pages.segments.len() == 1 && sizes.frontier.segments.len() == 1);
    if let (true, true, Some(vectors)) = (pass.rows.are_few(), whole, latents.vectors(pass.kernels)) {
        return record_together(pass, latents, vectors);
    }
    if let Some(q) = &latents.queries {
        record_rms_norm(pass, &q.x, (q.norm, latents.key.eps), q.y, q.rank);
    }
    record_kv_row(pass, latents.key, &latents.keys, latents.kv_norm, latents.angles, latents.kv);
    for (sizes, inputs) in &latents.compressors {
        record_compress(pass, sizes, &latents.windows, inputs);
    }
}

fn record_together(pass: &mut Pass<'_>, latents: &Latents<'_>, vectors: Slice) {
    let t = pass.t();
    let (closing, key, windows) = (latents.closing(), latents.key, &latents.windows);
    let at = |vector: &Slice| ((vector.offset - vectors.offset) / 4) as u32;
    let mut params = LatentsParams {
        tokens: t,
        x_stride: latents.keys.stride,
        kv_offset: latents.keys.offset,
        kv_dim: key.dim,
        kv_weight: at(latents.kv_norm),
        rope: key.rope,
        angle_set: u32::from(key.compressed),
        eps: key.eps,
        windows: windows.count,
        first_window: windows.first,
        ..LatentsParams::default()
    };
    let own = [(&latents.keys.slice).into(), Binding::Merged(vectors.clone()), latents.angles.into(), latents.kv.into()];
    let mut bindings = Vec::from(own);
    if let Some(q) = &latents.queries {
        (params.q_offset, params.q_columns, params.q_weight) = (q.x.offset, q.rank, at(q.norm));
        bindings.push((&q.y.slice).into());
    }
    if let Some((sizes, inputs)) = closing.first() {
        (params.ring, params.max_pages, params.input_stride) = (sizes.ring, sizes.max_pages, inputs.stride);
        (params.row_dim, params.row_offset, params.row_ape, params.row_weight) = (sizes.dim, inputs.offset, at(sizes.ape), at(sizes.norm));
        bindings.extend(bind([&inputs.slice, windows.list, windows.rows, windows.live, windows.angles, sizes.page_table]));
    }
    if let Some((sizes, inputs)) = closing.get(1) {
        let own = (sizes.dim, inputs.offset, at(sizes.ape), at(sizes.norm));
        (params.index_dim, params.index_offset, params.index_ape, params.index_weight) = own;
    }
    bindings.extend(closing.iter().flat_map(|(sizes, _)| [Binding::from(sizes.pages), sizes.frontier.into()]));
    let compressors = closing.len() as u32;
    let kind = closing.first().map(|(sizes, _)| (sizes.ratio, sizes.page_rows, compressors));
    let queries = u32::from(latents.queries.is_some());
    let variant = latents_variant(pass.profile(), queries > 0, kind);
    pass.launch(variant, &params, bindings, [(1 + queries) * t + compressors * windows.count, 1, 1]);
    if !latents.compressors.is_empty() {
        pass.rec.by_position();
    }
}

fn variants(profile: &KernelProfile) -> Vec<Variant> {
    let closing = [None, Some((4, 128, 2)), Some((128, 4, 1))];
    [false, true].into_iter().flat_map(|queries| closing.map(|kind| latents_variant(profile, queries, kind))).collect()
}
