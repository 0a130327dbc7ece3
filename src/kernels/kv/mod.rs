//! What attention keeps of a row: window keys in rings, and compressed rows in pages. The low-rank queries are here too, because one launch
//! computes all three from the same projections.

pub(super) mod kv_row;
pub(super) mod latents;
pub(super) mod rings;

pub use kv_row::KvRow;
pub use latents::{Latents, LowQueries, record_latents};
pub(super) use rings::{RINGS, RingPart, record_ring_part};
pub use rings::{RingStore, Rings, record_ring_store};
