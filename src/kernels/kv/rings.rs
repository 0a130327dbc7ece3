//! Rings, which keep a session's newest rows.

use crate::gpu::{Binding, Slice, Variant};
use crate::kernels::context::{KernelProfile, Strided, WG};
use crate::kernels::matrix::Pool;
use crate::kernels::pass::{Pass, bind};

kernels! {
    RingStoreParams for "ring_store" in variants { sources: [[u32; 4]; 3], places: [[u32; 4]; 3] }
}

/// A ring, and the rows that go into it.
#[derive(Clone, Debug)]
pub struct RingStore<'a> {
    /// The ring (slots, size, words).
    pub ring: &'a Pool,
    /// Number of rows of a session.
    pub size: u32,
    /// Size of a row in words.
    pub words: u32,
    /// Rows of the step (T).
    pub source: Strided,
}

/// The rings of a layer, and which sessions may write to them.
#[derive(Clone, Debug)]
pub struct Rings<'a> {
    /// Each ring with its rows.
    pub stores: Vec<RingStore<'a>>,
    /// Live words (slots): the rings of a slot whose word is 0 are not written.
    pub live: &'a Slice,
}

/// The largest number of rings that one launch can write.
pub const RINGS: usize = 3;

/// What one launch writes: up to three rings, or segments of rings that are split.
pub struct RingPart {
    /// Parameters `sources` and `places` of `lib/attention/ring_row`.
    pub sources: [[u32; 4]; RINGS],
    pub places: [[u32; 4]; RINGS],
    /// Bindings: `live`, then source and ring of each.
    pub bindings: Vec<Binding>,
    /// Number of rings or segments.
    pub rings: u32,
    /// Number of workgroups that the longest row takes.
    pub workgroups: u32,
}

impl RingPart {
    /// The same part with bindings for [`RINGS`] rings. The additional ones have rows of 0 words and are not written.
    pub fn filled(mut self) -> Self {
        let last = self.bindings.split_at(self.bindings.len() - 2).1;
        let unused: Vec<_> = last.iter().flat_map(Binding::slices).cloned().map(Binding::Unused).collect();
        self.bindings.extend((self.rings as usize..RINGS).flat_map(|_| unused.clone()));
        self
    }
}

impl Rings<'_> {
    pub(in crate::kernels) fn parts(&self) -> Vec<RingPart> {
        let segments: Vec<_> =
            self.stores.iter().flat_map(|store| store.ring.segments.iter().enumerate().map(move |(i, s)| (store, i, s))).collect();
        let part = |several: &[(&RingStore<'_>, usize, &Slice)]| {
            let mut part = RingPart {
                sources: Default::default(),
                places: Default::default(),
                bindings: vec![self.live.into()],
                rings: several.len() as u32,
                workgroups: several.iter().map(|(store, ..)| store.words).max().unwrap_or(0).div_ceil(WG),
            };
            for (n, (store, i, segment)) in several.iter().enumerate() {
                part.sources[n] = [store.words, store.source.stride, store.source.offset, store.size];
                part.places[n] = [*i as u32 * store.ring.units_per_segment, store.ring.units_per_segment, 0, 0];
                part.bindings.extend(bind([&store.source.slice, segment]));
            }
            part
        };
        segments.chunks(RINGS).map(part).collect()
    }
}

/// Records that the newest rows of each live session go into its rings.
pub fn record_ring_store(pass: &mut Pass<'_>, rings: &Rings<'_>, rows: &Slice) {
    rings.parts().into_iter().for_each(|part| record_ring_part(pass, part, rows));
}

/// Records one part of [`record_ring_store`].
pub fn record_ring_part(pass: &mut Pass<'_>, part: RingPart, rows: &Slice) {
    let params = RingStoreParams { sources: part.sources, places: part.places };
    let bindings = [rows.into()].into_iter().chain(part.bindings).collect();
    pass.launch(ring_store_variant(pass.profile(), part.rings), &params, bindings, [part.workgroups, pass.t(), part.rings]);
}

fn ring_store_variant(profile: &KernelProfile, rings: u32) -> Variant {
    profile.variant("ring_store").constant("RINGS", rings)
}

fn variants(profile: &KernelProfile) -> Vec<Variant> {
    [1, 2, 3].map(|rings| ring_store_variant(profile, rings)).to_vec()
}
