//! Block formats in groups: several blocks with their codes together, then their scales, so that 16 bytes of codes are one aligned load.
//! A group has the bytes of its blocks, in another order. In GPU memory only, no file has them.
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

use super::{iq2_xxs, q2_k, q8_0};
use std::ops::Range;

/// How the blocks of a format are grouped.
pub(super) trait Group {
    /// Blocks in a group.
    const BLOCKS: usize;
    /// Values in a block.
    const BLOCK_VALUES: usize;
    /// Bytes of a block.
    const BLOCK_BYTES: usize;
    /// Where the parts of a block lie that follow one another in a group: each of all blocks before the next one.
    const PARTS: &'static [&'static [Range<usize>]];
    /// Decodes blocks.
    const DECODE: fn(&[u8], &mut [f32]);
    /// Encodes blocks.
    const ENCODE: fn(&[f32], &[f32], &mut [u8]);

    /// Values in a group.
    const VALUES: usize = Self::BLOCKS * Self::BLOCK_VALUES;
    /// Bytes of a group.
    const BYTES: usize = Self::BLOCKS * Self::BLOCK_BYTES;
}

pub(super) struct Q8_0x8;

impl Group for Q8_0x8 {
    const BLOCKS: usize = 8;
    const BLOCK_VALUES: usize = q8_0::VALUES;
    const BLOCK_BYTES: usize = q8_0::BYTES;
    const PARTS: &'static [&'static [Range<usize>]] = &[&[2..34], &[0..2]];
    const DECODE: fn(&[u8], &mut [f32]) = q8_0::decode;
    const ENCODE: fn(&[f32], &[f32], &mut [u8]) = q8_0::encode;
}

pub(super) struct Iq2Xxsx8;

impl Group for Iq2Xxsx8 {
    const BLOCKS: usize = 8;
    const BLOCK_VALUES: usize = iq2_xxs::VALUES;
    const BLOCK_BYTES: usize = iq2_xxs::BYTES;
    const PARTS: &'static [&'static [Range<usize>]] = &[&[2..66], &[0..2]];
    const DECODE: fn(&[u8], &mut [f32]) = iq2_xxs::decode;
    const ENCODE: fn(&[f32], &[f32], &mut [u8]) = super::iq2_xxs_encode::encode;
}

pub(super) struct Q2Kx4;

impl Group for Q2Kx4 {
    const BLOCKS: usize = 4;
    const BLOCK_VALUES: usize = q2_k::VALUES;
    const BLOCK_BYTES: usize = q2_k::BYTES;
    #[rustfmt::skip]
    const PARTS: &'static [&'static [Range<usize>]] = &[
        &[16..80],
        &[0..1, 2..3, 4..5, 6..7, 1..2, 3..4, 5..6, 7..8, 8..9, 10..11, 12..13, 14..15, 9..10, 11..12, 13..14, 15..16],
        &[80..84],
    ];
    const DECODE: fn(&[u8], &mut [f32]) = q2_k::decode;
    const ENCODE: fn(&[f32], &[f32], &mut [u8]) = q2_k::encode;
}

/// Calls `copy` for every part of a group with where it lies in the blocks, and in the group.
#[inline(always)]
fn each_part<G: Group>(mut copy: impl FnMut(Range<usize>, Range<usize>)) {
    let mut first = 0;
    for plane in G::PARTS {
        for block in 0..G::BLOCKS {
            for part in *plane {
                let stored = block * G::BLOCK_BYTES + part.start..block * G::BLOCK_BYTES + part.end;
                copy(stored, first..first + part.len());
                first += part.len();
            }
        }
    }
}

/// Groups whole rows of blocks.
pub(super) fn repack<G: Group>(stored: &[u8], out: &mut [u8]) {
    for (blocks, group) in stored.chunks_exact(G::BYTES).zip(out.chunks_exact_mut(G::BYTES)) {
        each_part::<G>(|in_blocks, in_group| group[in_group].copy_from_slice(&blocks[in_blocks]));
    }
}

/// Decodes whole groups.
pub(super) fn decode<G: Group>(bytes: &[u8], out: &mut [f32]) {
    let mut blocks = vec![0; G::BYTES];
    for (group, values) in bytes.chunks_exact(G::BYTES).zip(out.chunks_exact_mut(G::VALUES)) {
        each_part::<G>(|in_blocks, in_group| blocks[in_blocks].copy_from_slice(&group[in_group]));
        (G::DECODE)(&blocks, values);
    }
}

/// Quantises whole groups, weighing squared errors.
pub(super) fn encode<G: Group>(values: &[f32], weights: &[f32], out: &mut [u8]) {
    let mut blocks = vec![0; out.len()];
    (G::ENCODE)(values, weights, &mut blocks);
    repack::<G>(&blocks, out);
}
