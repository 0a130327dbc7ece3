//! MXFP4: 32 values in 17 bytes (GGUF; OCP Microscaling Formats v1.0; SPEC 10.5, SPEC 10.6).
//!
//! | bytes | content |
//! |---|---|
//! | 0 | e8m0 scale |
//! | 1..17 | e2m1 codes; byte j holds value j in its low and value j + 16 in its high nibble |
//!
//! Value i is scale * code_i. A scale of 255 is NaN. Code 8 decodes to +0 as in ggml, although it is -0 in e2m1.
//!
//! The checkpoint stores the same codes and scales in two tensors: the codes [R, C/2] with value 2j in the low and 2j + 1 in the high
//! nibble of byte j, the scales [R, C/32]. [`repack`] makes blocks of them without loss.

use crate::num::{E2M1, e2m1_from_f32, e8m0_to_f32};

pub(super) const VALUES: usize = 32;
pub(super) const BYTES: usize = 17;

/// Values of the codes before scaling.
const CODES: [f32; 16] = {
    let mut codes = E2M1;
    codes[8] = 0.0;
    codes
};

/// Decodes whole blocks.
pub(super) fn decode(bytes: &[u8], out: &mut [f32]) {
    let (blocks, rows) = (bytes.as_chunks::<BYTES>().0, out.as_chunks_mut::<VALUES>().0);
    for (&[scale, ref codes @ ..], values) in blocks.iter().zip(rows) {
        let scale = e8m0_to_f32(scale);
        let (low, high) = values.split_at_mut(16);
        for ((low, high), &pair) in low.iter_mut().zip(high).zip(codes) {
            *low = scale * CODES[usize::from(pair & 15)];
            *high = scale * CODES[usize::from(pair >> 4)];
        }
    }
}

/// Repacks any number of whole rows of checkpoint FP4 into MXFP4 blocks, bit for bit. `codes` has 16 bytes a block, `scales` 1 byte,
/// `out` 17 bytes.
/// Returns `None` and leaves `out` untouched where the three lengths do not match.
pub fn repack(codes: &[u8], scales: &[u8], out: &mut [u8]) -> Option<()> {
    let (code_blocks, ragged) = codes.as_chunks::<16>();
    if !ragged.is_empty() || code_blocks.len() != scales.len() || Some(out.len()) != scales.len().checked_mul(BYTES) {
        return None;
    }
    for ((block, codes), &scale) in out.as_chunks_mut::<BYTES>().0.iter_mut().zip(code_blocks).zip(scales) {
        block[0] = scale;
        // The first 8 bytes of `codes` hold values 0..16, the last 8 bytes values 16..32. Byte j of both makes bytes 2j and 2j + 1.
        for j in 0..8 {
            let (first, second) = (codes[j], codes[j + 8]);
            block[1 + 2 * j] = (first & 15) | (second << 4);
            block[2 + 2 * j] = (first >> 4) | (second & 0xf0);
        }
    }
    Some(())
}

/// Quantises whole blocks. The scale that puts the largest value at the largest code competes with half and twice that scale, and the one
/// with the least weighted squared error wins.
pub(super) fn encode(values: &[f32], weights: &[f32], out: &mut [u8]) {
    let rows = values.as_chunks::<VALUES>().0.iter().zip(weights.as_chunks::<VALUES>().0);
    for (block, (values, weights)) in out.as_chunks_mut::<BYTES>().0.iter_mut().zip(rows) {
        let largest = values.iter().fold(0.0f32, |a, x| a.max(x.abs()));
        // The exponent of the largest value minus that of the largest code: 6 is 1.5 * 2^2.
        let exponent = (largest.to_bits() >> 23) as i32 - 2;
        let error = |scale: u8| -> f32 {
            let unit = e8m0_to_f32(scale);
            values.iter().zip(weights).map(|(&x, &w)| w * (x - unit * E2M1[usize::from(e2m1_from_f32(x / unit))]).powi(2)).sum()
        };
        let candidates = [exponent + 1, exponent, exponent - 1].map(|e| e.clamp(0, 254) as u8);
        let mut best = (f32::INFINITY, 0);
        for scale in candidates {
            let found = error(scale);
            if found < best.0 {
                best = (found, scale);
            }
        }
        let unit = e8m0_to_f32(best.1);
        block[0] = best.1;
        for (i, byte) in block[1..].iter_mut().enumerate() {
            // -0 is written as 0, because ggml decodes code 8 as 0.
            let [low, high] = [values[i], values[i + 16]].map(|x| match e2m1_from_f32(x / unit) {
                8 => 0,
                code => code,
            });
            *byte = low | (high << 4);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repack_keeps_every_value() {
        // Two blocks with a small and a large scale. The codes differ from place to place.
        let codes: Vec<u8> = (0..32u8).map(|j| j.wrapping_mul(37) ^ 0x5a).collect();
        let scales = [1, 200];
        let mut blocks = [0; 2 * BYTES];
        assert_eq!(repack(&codes, &scales, &mut blocks), Some(()));
        let mut values = [0.0; 64];
        decode(&blocks, &mut values);
        for (n, value) in values.into_iter().enumerate() {
            let code = (codes[n / 2] >> (4 * (n % 2))) & 15;
            assert_eq!(value.to_bits(), (e8m0_to_f32(scales[n / 32]) * CODES[usize::from(code)]).to_bits(), "value {n}");
        }
    }

    #[test]
    fn the_smallest_scale_is_subnormal_and_scale_255_is_nan() {
        let mut block = [0x71; BYTES];
        let mut values = [0.0; 32];
        block[0] = 0;
        decode(&block, &mut values);
        assert_eq!((f64::from(values[0]), f64::from(values[16])), (2f64.powi(-128), 6.0 * 2f64.powi(-127)));
        block[0] = 255;
        decode(&block, &mut values);
        assert!(values.iter().all(|value| value.is_nan()));
    }

    #[test]
    fn repack_refuses_other_lengths() {
        for (codes, scales, out) in [(15, 1, 17), (16, 2, 34), (32, 1, 17), (16, 1, 18)] {
            assert_eq!(repack(&vec![0; codes], &vec![0; scales], &mut vec![0; out]), None);
        }
    }
}
