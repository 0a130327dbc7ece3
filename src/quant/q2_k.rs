//! Q2_K: 256 values in 84 bytes (GGUF; SPEC 10.2).
//!
//! | bytes | content |
//! |---|---|
//! | 0..16 | one byte per 16 values: scale in the low nibble, minimum in the high nibble |
//! | 16..80 | two-bit codes q, four to a byte |
//! | 80..82 | f16 scale d of the scales |
//! | 82..84 | f16 scale m of the minima |
//!
//! The codes are stored in two runs of 32 bytes. Byte c of run a holds values 128a + c, 128a + c + 32, 128a + c + 64 and 128a + c + 96,
//! from its low bits up. A value of sub-block s (16 values) is (d * scale_s) * q - (m * minimum_s).

use super::affine;
use half::f16;
use multiversion::multiversion;

pub(super) const VALUES: usize = 256;
pub(super) const BYTES: usize = 84;

/// Decodes whole blocks.
pub(super) fn decode(bytes: &[u8], out: &mut [f32]) {
    let (blocks, rows) = (bytes.as_chunks::<BYTES>().0, out.as_chunks_mut::<VALUES>().0);
    for (block, values) in blocks.iter().zip(rows) {
        let (scales, quants) = (&block[..16], &block[16..80]);
        let d = f16::from_le_bytes([block[80], block[81]]).to_f32();
        let m = f16::from_le_bytes([block[82], block[83]]).to_f32();
        for (s, (sub_block, &scale)) in values.as_chunks_mut::<16>().0.iter_mut().zip(scales).enumerate() {
            let scaled = d * f32::from(scale & 15);
            let minimum = m * f32::from(scale >> 4);
            // Sub-block s has the codes of 16 bytes: the lowest bit of s says which 16 of a run of 32, the next two bits which pair of
            // bits in them, and the highest bit which run.
            let first = 32 * (s / 8) + 16 * (s % 2);
            let shift = 2 * (s / 2 % 4);
            for (value, code) in sub_block.iter_mut().zip(&quants[first..first + 16]) {
                *value = scaled * f32::from((code >> shift) & 3) - minimum;
            }
        }
    }
}

/// Quantises whole blocks so that the weighted squared error is small.
#[multiversion(targets("x86_64+avx+avx2"))]
pub(super) fn encode(values: &[f32], weights: &[f32], out: &mut [u8]) {
    let rows = values.as_chunks().0.iter().zip(weights.as_chunks().0);
    for (block, (values, weights)) in out.as_chunks_mut::<BYTES>().0.iter_mut().zip(rows) {
        let fit = affine::fit::<16, 16, 3, 15>(values, weights);
        *block = [0; BYTES];
        for (s, byte) in block[..16].iter_mut().enumerate() {
            *byte = fit.scales[s] | (fit.minima[s] << 4);
        }
        for (i, code) in fit.codes.into_iter().enumerate() {
            block[16 + 32 * (i / 128) + i % 32] |= code << (2 * (i % 128 / 32));
        }
        block[80..82].copy_from_slice(&fit.d.to_le_bytes());
        block[82..84].copy_from_slice(&fit.m.to_le_bytes());
    }
}
