//! Embeddings, copied into the four hyper-connection streams, and the input of the draft block.

use super::context::{KernelProfile, WG};
use super::formats::{format_sets, with_formats};
use super::matrix::Matrix;
use super::pass::{Pass, bind};
use crate::gpu::{Slice, Variant};
use crate::quant::BlockFormat;

kernels! {
    EmbedParams for "embed" in embed_variants { base: u32, first_id: u32, ids: u32, dim: u32, format: u32 }
    MtpJoinParams for "mtp_join" in mtp_join_variants { dim: u32 }
}

/// `X[t, j] = table[token t]` for the four streams j. rows (T) Row, sampled (slots) ids -> x (T, 4, D).
pub fn record_embed(pass: &mut Pass<'_>, table: &Matrix, rows: &Slice, sampled: &Slice, x: &Slice) {
    let formats = [table.format];
    for slice in &table.slices {
        let params =
            EmbedParams { base: slice.base, first_id: slice.first_row, ids: slice.rows, dim: table.columns, format: table.format as u32 };
        let mut bindings = bind([rows, sampled, &slice.arena, x]);
        bindings.extend(pass.kernels.tables(&formats));
        let grid = [(table.columns / 8).div_ceil(WG), pass.t(), 1];
        pass.launch(embed_variant(pass.profile(), &formats), &params, bindings, grid);
    }
}

/// `x[t, j] = embedding[t] + streams[t, j]`. embedding (T, D), streams (T, 4, D) -> x (T, 4, D).
pub fn record_mtp_join(pass: &mut Pass<'_>, embedding: &Slice, streams: &Slice, x: &Slice, dim: u32) {
    let grid = [(dim / 4).div_ceil(WG), pass.t() * 4, 1];
    pass.launch(pass.kernels.variant("mtp_join"), &MtpJoinParams { dim }, bind([embedding, streams, x]), grid);
}

fn embed_variant(profile: &KernelProfile, formats: &[BlockFormat]) -> Variant {
    with_formats(profile.variant("embed"), formats)
}

fn embed_variants(profile: &KernelProfile) -> Vec<Variant> {
    format_sets().map(|formats| embed_variant(profile, formats)).collect()
}

fn mtp_join_variants(profile: &KernelProfile) -> Vec<Variant> {
    vec![profile.variant("mtp_join")]
}
