//! Reads a buffer and does nothing else: the speed at which a device reads its memory, with which benchmarks compare kernels.

use super::context::KernelProfile;
use super::cost;
use super::pass::{Pass, bind};
use crate::gpu::{Slice, Variant};

kernels! {
    StreamReadParams for "stream_read" in variants { words: u32 }
}

/// Records one read of all of `source`. `sums` gets a word from each of `workgroups` workgroups.
pub fn record_stream_read(pass: &mut Pass<'_>, source: &Slice, sums: &Slice, workgroups: u32) {
    let params = StreamReadParams { words: (source.bytes / 16) as u32 };
    pass.launch(pass.kernels.variant("stream_read"), &params, bind([source, sums]), [workgroups, 1, 1]);
    pass.rec.cost(cost::floats(4 * params.words, 1));
}

fn variants(profile: &KernelProfile) -> Vec<Variant> {
    vec![profile.variant("stream_read")]
}
