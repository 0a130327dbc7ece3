//! Weights that a decode step reads soon: one idle workgroup touches each 2 MiB page of them, since all weights exceed the TLB's reach.

use crate::gpu::{Binding, Slice, Variant};
use crate::kernels::matrix::Matrix;

/// Neighbouring weights in one arena, to be prefetched.
#[derive(Clone, Debug)]
pub struct PrefetchRange {
    arena: Slice,
    base: u32,
    bytes: u32,
}

impl PrefetchRange {
    /// Most of them in a launch.
    pub const MOST: usize = 2;

    /// What each of the first arenas holds of `matrices`, which are placed one after another.
    pub fn of(matrices: &[&Matrix]) -> Vec<Self> {
        let runs = matrices.chunk_by(|a, b| a.slices[0].arena.buffer.same(&b.slices[0].arena.buffer));
        let range = |run: &[&Matrix]| {
            let first = &run[0].slices[0];
            let end = run.iter().map(|m| m.slices[0].base + m.slices[0].rows * m.row_bytes()).max().unwrap_or(first.base);
            Self { arena: first.arena.clone(), base: first.base, bytes: end.saturating_sub(first.base).max(4) }
        };
        runs.take(Self::MOST).map(range).collect()
    }
}

/// `variant` of a kernel that prefetches so many ranges.
pub fn with_prefetch(variant: Variant, ranges: usize) -> Variant {
    if ranges > 0 { variant.constant("PREFETCH", ranges as u32) } else { variant }
}

/// What `lib/rows/prefetch` binds, if there is anything to prefetch. `sink`: see [`Binding::Prefetch`].
pub fn prefetch_binding(ranges: &[PrefetchRange], sink: Option<&Slice>) -> Option<Binding> {
    let slices = || ranges.iter().map(|range| range.arena.clone()).collect();
    (!ranges.is_empty()).then(|| Binding::Prefetch { ranges: slices(), sink: sink.cloned() })
}

/// The parameter that says where the ranges lie in their bindings: first byte and bytes of each.
pub fn prefetch_places(ranges: &[PrefetchRange]) -> [u32; 4] {
    let mut places = [0; 2 * PrefetchRange::MOST];
    places.chunks_exact_mut(2).zip(ranges).for_each(|(place, range)| place.copy_from_slice(&[range.base, range.bytes]));
    places
}
