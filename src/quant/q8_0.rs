//! Q8_0: 32 values in 34 bytes (GGUF; SPEC 10.1).
//!
//! | bytes | content |
//! |---|---|
//! | 0..2 | f16 scale d |
//! | 2..34 | 32 signed integers q |
//!
//! Value i is d * q_i.

use super::affine::to_half;
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

/// Scales to try, as fractions of the smallest scale that does not clip the largest value. Clipping a value of little weight can reduce
/// the error of the others.
const SPANS: [f32; 4] = [1.0, 0.996, 0.99, 0.98];

/// Quantises whole blocks so that the weighted squared error is small.
pub(super) fn encode(values: &[f32], weights: &[f32], out: &mut [u8]) {
    let rows = values.as_chunks::<VALUES>().0.iter().zip(weights.as_chunks::<VALUES>().0);
    for (block, (values, weights)) in out.as_chunks_mut::<BYTES>().0.iter_mut().zip(rows) {
        let largest = values.iter().fold(0.0f32, |a, x| a.max(x.abs()));
        let mut best = (f32::INFINITY, 0.0);
        for span in SPANS {
            let mut d = to_half(largest * span / 127.0);
            // The second pass takes the scale that is best for the codes of the first, by least squares.
            for _ in 0..2 {
                let (mut error, mut xq, mut qq) = (0.0, 0.0, 0.0);
                for (&x, &w) in values.iter().zip(weights) {
                    let q = code(x, d);
                    error += w * (x - d * q) * (x - d * q);
                    xq += w * x * q;
                    qq += w * q * q;
                }
                if error < best.0 {
                    best = (error, d);
                }
                d = if qq > 0.0 { to_half(xq / qq) } else { d };
            }
        }
        let d = best.1;
        block[..2].copy_from_slice(&f16::from_f32(d).to_le_bytes());
        for (byte, &x) in block[2..].iter_mut().zip(values) {
            *byte = code(x, d) as i8 as u8;
        }
    }
}

fn code(x: f32, d: f32) -> f32 {
    if d > 0.0 { (x / d).round().clamp(-127.0, 127.0) } else { 0.0 }
}
