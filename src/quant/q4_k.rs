//! Q4_K: 256 values in 144 bytes (GGUF; SPEC 10.3).
//!
//! | bytes | content |
//! |---|---|
//! | 0..2 | f16 scale d of the scales |
//! | 2..4 | f16 scale m of the minima |
//! | 4..16 | eight 6-bit scales and eight 6-bit minima, see [`scale_and_minimum`] |
//! | 16..144 | four-bit codes q |
//!
//! The codes are stored in four runs of 32 bytes. Byte c of run a holds value 64a + c in its low and 64a + 32 + c in its high nibble.
//! A value of sub-block j (32 values) is (d * scale_j) * q - (m * minimum_j).

use super::affine;
use half::f16;
use multiversion::multiversion;

pub(super) const VALUES: usize = 256;
pub(super) const BYTES: usize = 144;

/// Scale and minimum of sub-block `j` (0..8). Those of sub-blocks 0..4 are the low six bits of bytes 0..4 (scales) and 4..8 (minima).
/// Those of sub-blocks 4..8 have their low four bits in the nibbles of bytes 8..12, and their high two bits in the top bits of bytes 0..4
/// (scales) and 4..8 (minima).
fn scale_and_minimum(packed: &[u8], j: usize) -> (u8, u8) {
    if j < 4 {
        (packed[j] & 63, packed[j + 4] & 63)
    } else {
        let low = packed[j + 4];
        ((low & 15) | ((packed[j - 4] >> 6) << 4), (low >> 4) | ((packed[j] >> 6) << 4))
    }
}

/// Decodes whole blocks.
pub(super) fn decode(bytes: &[u8], out: &mut [f32]) {
    let (blocks, rows) = (bytes.as_chunks::<BYTES>().0, out.as_chunks_mut::<VALUES>().0);
    for (block, values) in blocks.iter().zip(rows) {
        let d = f16::from_le_bytes([block[0], block[1]]).to_f32();
        let m = f16::from_le_bytes([block[2], block[3]]).to_f32();
        let (packed, quants) = (&block[4..16], &block[16..]);
        for (j, sub_block) in values.as_chunks_mut::<32>().0.iter_mut().enumerate() {
            let (scale, minimum) = scale_and_minimum(packed, j);
            let (scaled, minimum) = (d * f32::from(scale), m * f32::from(minimum));
            let (first, shift) = (32 * (j / 2), 4 * (j % 2));
            for (value, code) in sub_block.iter_mut().zip(&quants[first..first + 32]) {
                *value = scaled * f32::from((code >> shift) & 15) - minimum;
            }
        }
    }
}

/// Quantises whole blocks so that the weighted squared error is small.
#[multiversion(targets("x86_64+avx+avx2"))]
pub(super) fn encode(values: &[f32], weights: &[f32], out: &mut [u8]) {
    let rows = values.as_chunks().0.iter().zip(weights.as_chunks().0);
    for (block, (values, weights)) in out.as_chunks_mut::<BYTES>().0.iter_mut().zip(rows) {
        let fit = affine::fit::<8, 32, 15, 63>(values, weights);
        *block = [0; BYTES];
        block[..2].copy_from_slice(&fit.d.to_le_bytes());
        block[2..4].copy_from_slice(&fit.m.to_le_bytes());
        let packed = &mut block[4..16];
        for (j, (&scale, &minimum)) in fit.scales.iter().zip(&fit.minima).enumerate() {
            if j < 4 {
                packed[j] |= scale;
                packed[j + 4] |= minimum;
            } else {
                packed[j + 4] = (scale & 15) | (minimum << 4);
                packed[j - 4] |= (scale >> 4) << 6;
                packed[j] |= (minimum >> 4) << 6;
            }
        }
        for (i, code) in fit.codes.into_iter().enumerate() {
            block[16 + 32 * (i / 64) + i % 32] |= code << (4 * (i % 64 / 32));
        }
    }
}
