//! Prefetch of weights that a decode step reads soon. The weights together exceed the TLB's reach, so one more workgroup of a short launch
//! touches each 2 MiB page of them ahead of use.

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
    /// The largest number of ranges in a launch.
    pub const MOST: usize = 2;

    /// A range for each arena that holds some of `matrices`, at most [`PrefetchRange::MOST`]. The matrices of an arena must lie one after
    /// another.
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

/// Makes `variant` prefetch `ranges` ranges.
pub fn with_prefetch(variant: Variant, ranges: usize) -> Variant {
    if ranges > 0 { variant.constant("PREFETCH", ranges as u32) } else { variant }
}

/// The binding of `lib/rows/prefetch`, if there is anything to prefetch. For `sink` see [`Binding::Prefetch`].
pub fn prefetch_binding(ranges: &[PrefetchRange], sink: Option<&Slice>) -> Option<Binding> {
    let slices = || ranges.iter().map(|range| range.arena.clone()).collect();
    (!ranges.is_empty()).then(|| Binding::Prefetch { ranges: slices(), sink: sink.cloned() })
}

/// The parameter that locates the ranges in their bindings: first byte and number of bytes of each.
pub fn prefetch_places(ranges: &[PrefetchRange]) -> [u32; 4] {
    let mut places = [0; 2 * PrefetchRange::MOST];
    places.chunks_exact_mut(2).zip(ranges).for_each(|(place, range)| place.copy_from_slice(&[range.base, range.bytes]));
    places
}
