//! Q8_0: 32 values in 34 bytes (GGUF; SPEC section 10).
//!
//! | bytes | content |
//! |---|---|
//! | 0..2 | f16 scale d |
//! | 2..34 | 32 signed integers q |
//!
//! Value i is d * q_i.

use half::f16;

pub(super) const VALUES: usize = 32;
pub(super) const BYTES: usize = 34;

/// Decodes whole blocks.
pub(super) fn decode(bytes: &[u8], out: &mut [f32]) {
    let (blocks, rows) = (bytes.as_chunks::<BYTES>().0, out.as_chunks_mut::<VALUES>().0);
    for (&[d0, d1, ref quants @ ..], values) in blocks.iter().zip(rows) {
        let d = f16::from_le_bytes([d0, d1]).to_f32();
        for (value, &q) in values.iter_mut().zip(quants) {
            *value = d * f32::from(q as i8);
        }
    }
}
