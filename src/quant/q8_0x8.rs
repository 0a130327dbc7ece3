//! Q8_0 by eight: eight blocks of Q8_0 with their codes together, so that 16 codes are one aligned load. In GPU memory only, no file has it.
//!
//! | bytes | content |
//! |---|---|
//! | 0..256 | signed integers q of blocks 0 to 7 |
//! | 256..272 | f16 scales d of the same blocks |
//!
//! Value i is d of block i / 32 times q_i.

use super::q8_0;

/// Blocks of Q8_0 in one of these.
const BLOCKS: usize = 8;
const CODES: usize = BLOCKS * q8_0::VALUES;

pub(super) const VALUES: usize = CODES;
pub(super) const BYTES: usize = BLOCKS * q8_0::BYTES;

/// Rearranges whole rows of Q8_0 in place.
pub(super) fn repack(bytes: &mut [u8]) {
    for eight in bytes.as_chunks_mut::<BYTES>().0 {
        let stored = *eight;
        for (i, block) in stored.as_chunks::<{ q8_0::BYTES }>().0.iter().enumerate() {
            eight[i * q8_0::VALUES..][..q8_0::VALUES].copy_from_slice(&block[2..]);
            eight[CODES + 2 * i..][..2].copy_from_slice(&block[..2]);
        }
    }
}

/// Decodes whole blocks.
pub(super) fn decode(bytes: &[u8], out: &mut [f32]) {
    for (eight, values) in bytes.as_chunks::<BYTES>().0.iter().zip(out.as_chunks_mut::<VALUES>().0) {
        let mut stored = [0; BYTES];
        for (i, block) in stored.as_chunks_mut::<{ q8_0::BYTES }>().0.iter_mut().enumerate() {
            block[..2].copy_from_slice(&eight[CODES + 2 * i..][..2]);
            block[2..].copy_from_slice(&eight[i * q8_0::VALUES..][..q8_0::VALUES]);
        }
        q8_0::decode(&stored, values);
    }
}

/// Quantises whole blocks, weighing squared errors.
pub(super) fn encode(values: &[f32], weights: &[f32], out: &mut [u8]) {
    q8_0::encode(values, weights, out);
    repack(out);
}
