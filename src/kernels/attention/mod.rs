//! Attention over the sliding window and compressed rows. All heads share one key, which is the value too.

pub(super) mod few;
mod keys;
pub(super) mod long;
pub(super) mod q_rope;

pub use keys::{Attention, AttentionBuffers, MAX_PARTS};
pub use long::score_bytes;
pub use q_rope::{QRope, record_q_rope};

use super::kv::{Rings, record_ring_store};
use super::pass::Pass;

/// Records attention and then the rings: `out[t, h]` = attention of query head h over the keys that row t sees. The newest rows go into
/// `rings` only afterwards, because attention reads the keys there. `keys` is the number of keys that each row sees (T). `beside` records
/// launches that compute what the rings store and that can run at the same time as attention.
pub fn record_attention(
    pass: &mut Pass<'_>,
    sizes: &Attention<'_>,
    buffers: &AttentionBuffers<'_>,
    rings: &Rings<'_>,
    keys: &[u32],
    beside: impl FnOnce(&mut Pass<'_>),
) {
    if pass.rows.are_few() {
        few::record_parts(pass, sizes, buffers, keys);
        beside(pass);
        return few::record_merge(pass, sizes, buffers, rings);
    }
    match pass.profile().cooperative() {
        Some(shape) => long::record_cooperative(pass, shape, sizes, buffers, keys),
        None => few::record_whole(pass, sizes, buffers, keys),
    }
    beside(pass);
    record_ring_store(pass, rings, buffers.rows);
}
