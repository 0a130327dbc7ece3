//! Grouped block formats: the codes of several neighbouring blocks, then their scales, so that 16 bytes of codes are one aligned load.
//! A group has the same bytes as its blocks, in another order. These formats exist in GPU memory only; no file has them.
//!
//! | group | blocks | bytes | content |
//! |---|---|---|---|
//! | Q8_0 x 8 | 8 of Q8_0 | 0..256 | codes of blocks 0 to 7 |
//! | | | 256..272 | f16 scales d of the same blocks |
//! | IQ2_XXS x 8 | 8 of IQ2_XXS | 0..512 | codewords, signs and scales s of blocks 0 to 7 |
//! | | | 512..528 | f16 scales d of the same blocks |
//! | Q2_K x 4 | 4 of Q2_K | 0..256 | codes of blocks 0 to 3 |
//! | | | 256..320 | scales and minima, those of 64 values that share 16 bytes of codes in 4 neighbouring bytes |
//! | | | 320..336 | f16 scales d and m of the same blocks |

use super::{iq2_xxs, iq2_xxs_encode, q2_k, q8_0};

/// A grouped format.
pub(super) trait Group {
    /// Values in a group.
    const VALUES: usize;
    /// Bytes of a group, as many as its blocks have together.
    const BYTES: usize;
    /// Decodes whole blocks of the plain format.
    const DECODE: fn(&[u8], &mut [f32]);
    /// Encodes whole blocks of the plain format so that the weighted squared error is small.
    const ENCODE: fn(&[f32], &[f32], &mut [u8]);

    /// Writes the bytes of `blocks` into `group` in the order of the grouped format.
    fn gather(blocks: &[u8], group: &mut [u8]);
}

pub(super) struct Q8_0x8;

impl Group for Q8_0x8 {
    const VALUES: usize = 8 * q8_0::VALUES;
    const BYTES: usize = 8 * q8_0::BYTES;
    const DECODE: fn(&[u8], &mut [f32]) = q8_0::decode;
    const ENCODE: fn(&[f32], &[f32], &mut [u8]) = q8_0::encode;

    #[inline]
    fn gather(blocks: &[u8], group: &mut [u8]) {
        let (codes, scales) = group.split_at_mut(256);
        copy_field::<{ q8_0::BYTES }, 2, 32>(blocks, codes);
        copy_field::<{ q8_0::BYTES }, 0, 2>(blocks, scales);
    }
}

pub(super) struct Iq2Xxsx8;

impl Group for Iq2Xxsx8 {
    const VALUES: usize = 8 * iq2_xxs::VALUES;
    const BYTES: usize = 8 * iq2_xxs::BYTES;
    const DECODE: fn(&[u8], &mut [f32]) = iq2_xxs::decode;
    const ENCODE: fn(&[f32], &[f32], &mut [u8]) = iq2_xxs_encode::encode;

    #[inline]
    fn gather(blocks: &[u8], group: &mut [u8]) {
        let (codes, scales) = group.split_at_mut(512);
        copy_field::<{ iq2_xxs::BYTES }, 2, 64>(blocks, codes);
        copy_field::<{ iq2_xxs::BYTES }, 0, 2>(blocks, scales);
    }
}

pub(super) struct Q2Kx4;

impl Group for Q2Kx4 {
    const VALUES: usize = 4 * q2_k::VALUES;
    const BYTES: usize = 4 * q2_k::BYTES;
    const DECODE: fn(&[u8], &mut [f32]) = q2_k::decode;
    const ENCODE: fn(&[f32], &[f32], &mut [u8]) = q2_k::encode;

    #[inline]
    fn gather(blocks: &[u8], group: &mut [u8]) {
        let (codes, rest) = group.split_at_mut(256);
        let (scales, factors) = rest.split_at_mut(64);
        copy_field::<{ q2_k::BYTES }, 16, 64>(blocks, codes);
        copy_field::<{ q2_k::BYTES }, 0, 16>(blocks, scales);
        // Eight sub-blocks share 32 bytes of codes: the even ones lie in the first 16 of them, the odd ones in the others.
        for eight in scales.as_chunks_mut::<8>().0 {
            let word = u64::from_le_bytes(*eight);
            *eight = (even_bytes(word) | even_bytes(word >> 8) << 32).to_le_bytes();
        }
        copy_field::<{ q2_k::BYTES }, 80, 4>(blocks, factors);
    }
}

/// Bytes 0, 2, 4 and 6 of `word`, moved together into its lower 32 bits.
fn even_bytes(word: u64) -> u64 {
    let spread = word & 0x00ff_00ff_00ff_00ff;
    let pairs = (spread | spread >> 8) & 0x0000_ffff_0000_ffff;
    (pairs | pairs >> 16) & 0xffff_ffff
}

/// Copies from each block of `BLOCK` bytes the `BYTES` bytes at offset `AT`, one field after another.
#[inline]
fn copy_field<const BLOCK: usize, const AT: usize, const BYTES: usize>(blocks: &[u8], out: &mut [u8]) {
    for (block, out) in blocks.as_chunks::<BLOCK>().0.iter().zip(out.as_chunks_mut::<BYTES>().0) {
        out.copy_from_slice(&block[AT..AT + BYTES]);
    }
}

/// Rearranges whole rows of blocks into groups.
pub(super) fn repack<G: Group>(stored: &[u8], out: &mut [u8]) {
    for (blocks, group) in stored.chunks_exact(G::BYTES).zip(out.chunks_exact_mut(G::BYTES)) {
        G::gather(blocks, group);
    }
}

/// Decodes whole groups.
pub(super) fn decode<G: Group>(bytes: &[u8], out: &mut [f32]) {
    // The inverse of `gather` follows from `gather`: a group gathered from byte offsets says where each of its bytes comes from. An offset
    // does not fit in a byte, so the low and the high bytes of the offsets are gathered apart.
    let [low, high] = [0, 8].map(|shift| {
        let offsets: Vec<u8> = (0..G::BYTES).map(|i| (i >> shift) as u8).collect();
        let mut gathered = vec![0; G::BYTES];
        G::gather(&offsets, &mut gathered);
        gathered
    });
    let mut blocks = vec![0; G::BYTES];
    for (group, values) in bytes.chunks_exact(G::BYTES).zip(out.chunks_exact_mut(G::VALUES)) {
        for ((&byte, &low), &high) in group.iter().zip(&low).zip(&high) {
            blocks[usize::from(low) | usize::from(high) << 8] = byte;
        }
        (G::DECODE)(&blocks, values);
    }
}

/// Quantises whole groups so that the weighted squared error is small.
pub(super) fn encode<G: Group>(values: &[f32], weights: &[f32], out: &mut [u8]) {
    let mut blocks = vec![0; out.len()];
    (G::ENCODE)(values, weights, &mut blocks);
    repack::<G>(&blocks, out);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Blocks whose bytes differ from block to block and from offset to offset, and the group made of them.
    fn group<G: Group>(block: usize) -> (Vec<Vec<u8>>, Vec<u8>) {
        let stored: Vec<u8> = (0..G::BYTES).map(|i| (i % block + 31 * (i / block)) as u8).collect();
        let mut out = vec![0; G::BYTES];
        repack::<G>(&stored, &mut out);
        (stored.chunks_exact(block).map(<[u8]>::to_vec).collect(), out)
    }

    // `decode` inverts whatever `gather` does, so no other test notices bytes that lie where the shaders do not look for them.
    #[test]
    fn groups_are_laid_out_as_the_table_says() {
        for (bytes, codes, (blocks, out)) in [(34, 32, group::<Q8_0x8>(34)), (66, 64, group::<Iq2Xxsx8>(66))] {
            for (i, block) in blocks.iter().enumerate() {
                assert_eq!(out[i * codes..][..codes], block[2..], "codes of block {i} of {bytes} bytes");
                assert_eq!(out[8 * codes + 2 * i..][..2], block[..2], "scale of block {i} of {bytes} bytes");
            }
        }
        let (blocks, out) = group::<Q2Kx4>(84);
        for (i, block) in blocks.iter().enumerate() {
            assert_eq!(out[64 * i..][..64], block[16..80], "codes of block {i}");
            assert_eq!(out[320 + 4 * i..][..4], block[80..], "factors of block {i}");
            // Sub-block 8a + 2b + c has 16 values from column 128a + 32b + 16c on.
            for (a, b, c) in (0..16).map(|s| (s / 8, s / 2 % 4, s % 2)) {
                assert_eq!(out[256 + 16 * i + 8 * a + 4 * c + b], block[8 * a + 2 * b + c], "sub-block {a} {b} {c} of block {i}");
            }
        }
    }
}
