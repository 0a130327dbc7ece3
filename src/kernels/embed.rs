//! Embedding rows into the four hyper-connection streams, and the draft block's input.

use super::kit::{Kit, WG, with_formats};
use super::matrix::Matrix;
use crate::gpu::{Recording, Slice};

params! {
    EmbedParams for "embed" { base: u32, first_id: u32, ids: u32, dim: u32, format: u32 }
    MtpJoinParams for "mtp_join" { dim: u32 }
}

/// `X[t, j] = table[token t]` for the four streams j. rows (T) Row, sampled (slots) ids -> x (T, 4, D).
pub fn record_embed(rec: &mut Recording, kit: &Kit, table: &Matrix, rows: &Slice, sampled: &Slice, x: &Slice, t: u32) {
    let formats = [table.format];
    for slice in &table.slices {
        let params =
            EmbedParams { base: slice.base, first_id: slice.first_row, ids: slice.rows, dim: table.columns, format: table.format as u32 };
        let mut bindings = vec![rows.clone(), sampled.clone(), slice.arena.clone(), x.clone()];
        bindings.extend(kit.tables(&formats));
        let grid = [(table.columns / 8).div_ceil(WG), t, 1];
        rec.dispatch(with_formats(kit.variant("embed"), &formats), &params, bindings, grid);
    }
}

/// `x[t, j] = embedding[t] + streams[t, j]`. embedding (T, D), streams (T, 4, D) -> x (T, 4, D).
pub fn record_mtp_join(rec: &mut Recording, kit: &Kit, embedding: &Slice, streams: &Slice, x: &Slice, dim: u32, t: u32) {
    let bindings = vec![embedding.clone(), streams.clone(), x.clone()];
    rec.dispatch(kit.variant("mtp_join"), &MtpJoinParams { dim }, bindings, [(dim / 4).div_ceil(WG), t * 4, 1]);
}
