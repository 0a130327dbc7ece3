//! The rings that keep a session's newest rows.

use crate::gpu::{Binding, Slice, Variant};
use crate::kernels::context::{KernelProfile, Strided, WG};
use crate::kernels::matrix::Pool;
use crate::kernels::pass::{Pass, bind};

kernels! {
    RingStoreParams for "ring_store" in variants { sources: [[u32; 4]; 3], places: [[u32; 4]; 3] }
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

/// The rings of a layer, and which sessions may write to them.
#[derive(Clone, Debug)]
pub struct Rings<'a> {
    /// The rings.
    pub stores: Vec<RingStore<'a>>,
    /// Which slots are live (slots).
    pub live: &'a Slice,
}

/// Rings that one launch can write.
pub const RINGS: usize = 3;

/// What one launch writes: up to three rings, or parts of rings that several bindings hold.
pub struct RingPart {
    /// Its parameters, as `lib/attention/ring_row` has them.
    pub sources: [[u32; 4]; RINGS],
    pub places: [[u32; 4]; RINGS],
    /// `live`, then source and ring of each.
    pub bindings: Vec<Binding>,
    /// How many.
    pub rings: u32,
    /// Workgroups that the longest row takes.
    pub workgroups: u32,
}

impl RingPart {
    /// With bindings for as many rings as a launch can write; those that are not there have rows of no words.
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
                part.places[n] = [*i as u32 * store.ring.held, store.ring.held, 0, 0];
                part.bindings.extend(bind([&store.source.slice, segment]));
            }
            part
        };
        segments.chunks(RINGS).map(part).collect()
    }
}

/// The newest rows of each live session into its rings.
pub fn record_ring_store(pass: &mut Pass<'_>, rings: &Rings<'_>, rows: &Slice) {
    rings.parts().into_iter().for_each(|part| record_ring_part(pass, part, rows));
}

/// One part of [`record_ring_store`].
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
