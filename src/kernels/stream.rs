//! The yardstick of the benchmarks: how fast a device reads its memory.

use super::cost;
use super::kit::Kit;
use crate::gpu::{Recording, Slice};

params! {
    StreamReadParams for "stream_read" { words: u32 }
}

/// Reads all of `source` once. sums: a word for each of `workgroups` workgroups.
pub fn record_stream_read(rec: &mut Recording, kit: &Kit, source: &Slice, sums: &Slice, workgroups: u32) {
    let params = StreamReadParams { words: (source.bytes / 16) as u32 };
    rec.dispatch(kit.variant("stream_read"), &params, vec![source.clone(), sums.clone()], [workgroups, 1, 1]);
    rec.cost(cost::floats(4 * params.words, 1));
}
