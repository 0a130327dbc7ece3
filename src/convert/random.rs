//! Random weights in every block format, with a given standard deviation and mean zero.
//!
//! Codes are drawn uniformly. Trained weights look different, but uniform codes exercise every code, and random bytes are made fast. Scales
//! are then set so that the values have the wanted standard deviation.

use crate::num::e4m3_to_f32;
use crate::quant::BlockFormat;
use fastrand::Rng;
use half::{bf16, f16};
use std::sync::LazyLock;

/// 65,536 quantiles of the normal distribution, in order.
static NORMAL: LazyLock<Vec<f32>> = LazyLock::new(|| (0..1 << 16).map(|i| inverse_normal((f64::from(i) + 0.5) / 65536.0) as f32).collect());

/// Inverse of the normal distribution function: the rational approximation 26.2.23 of Abramowitz and Stegun, good to 4.5e-4.
fn inverse_normal(p: f64) -> f64 {
    let tail = p.min(1.0 - p);
    let t = (-2.0 * tail.ln()).sqrt();
    let quantile = t - (2.515517 + t * (0.802853 + t * 0.010328)) / (1.0 + t * (1.432788 + t * (0.189269 + t * 0.001308)));
    if p < 0.5 { -quantile } else { quantile }
}

/// A value of the normal distribution with standard deviation `sd`, from 16 random bits.
fn normal(bits: u16, sd: f32) -> f32 {
    NORMAL[usize::from(bits)] * sd
}

/// Fills `out`, whole blocks of `format`, with weights of standard deviation `sd`.
pub fn random_rows(format: BlockFormat, sd: f32, rng: &mut Rng, out: &mut [u8]) {
    rng.fill(out);
    let blocks = out.chunks_exact_mut(format.block_bytes());
    match format {
        BlockFormat::F32 => {
            for block in blocks {
                let value = normal(u16::from_le_bytes([block[0], block[1]]), sd);
                block.copy_from_slice(&value.to_le_bytes());
            }
        }
        BlockFormat::F16 => {
            blocks.for_each(|b| b.copy_from_slice(&f16::from_f32(normal(u16::from_le_bytes([b[0], b[1]]), sd)).to_le_bytes()))
        }
        BlockFormat::Bf16 => {
            blocks.for_each(|b| b.copy_from_slice(&bf16::from_f32(normal(u16::from_le_bytes([b[0], b[1]]), sd)).to_le_bytes()));
        }
        BlockFormat::Q8_0 => blocks.for_each(|b| put_f16(b, 0, jitter(b[2], sd / 73.9))),
        BlockFormat::Q8_0x8 => random_groups(BlockFormat::Q8_0, format, sd, rng, out),
        BlockFormat::Iq2Xxsx8 => random_groups(BlockFormat::Iq2Xxs, format, sd, rng, out),
        BlockFormat::Q2Kx4 => random_groups(BlockFormat::Q2K, format, sd, rng, out),
        BlockFormat::Q2K => {
            for block in blocks {
                // The mean of the codes is 1.5, so a minimum of 1.5 times the scale gives values of mean zero.
                block[..16].iter_mut().for_each(|b| *b = (*b & 15) | (*b << 4));
                let d = jitter(block[20], sd / 9.84);
                put_f16(block, 80, d);
                put_f16(block, 82, 1.5 * d);
            }
        }
        BlockFormat::Q4K => {
            for block in blocks {
                // Every minimum gets the integer of its scale: bytes 4..8 hold the first four minima, the upper nibbles of 8..12 the rest.
                for i in 0..4 {
                    block[8 + i] = block[4 + i];
                    block[12 + i] = (block[12 + i] & 15) | (block[12 + i] << 4);
                }
                let d = jitter(block[20], sd / 168.0);
                put_f16(block, 0, d);
                put_f16(block, 2, 7.5 * d);
            }
        }
        BlockFormat::Iq2Xxs => blocks.for_each(|b| put_f16(b, 0, jitter(b[2], sd / 43.0))),
        BlockFormat::Mxfp4 => {
            let exponent = 127 + (sd / 2.9).log2().round() as i32;
            blocks.for_each(|b| b[0] = (exponent - i32::from(b[0] & 1)).clamp(1, 250) as u8);
        }
        BlockFormat::Fp8 => {
            // Only codes with the exponents -2 and 0 occur. All sixteen exponents would spread the values over a range of 2^15.
            let spread = (0..64u8).map(|c| e4m3_to_f32(0x28 | c).powi(2)).sum::<f32>() / 64.0;
            let exponent = 127 + (sd / spread.sqrt()).log2().round() as i32;
            for block in blocks {
                block[0] = exponent.clamp(1, 250) as u8;
                block[1..4].fill(0);
                block[4..].iter_mut().for_each(|c| *c = (*c & 0x80) | 0x28 | (*c & 0x1f));
            }
        }
    }
}

fn random_groups(stored: BlockFormat, format: BlockFormat, sd: f32, rng: &mut Rng, out: &mut [u8]) {
    let mut blocks = vec![0; out.len()];
    random_rows(stored, sd, rng, &mut blocks);
    stored.repack(format.block_values(), &blocks, out);
}

/// The scale `d`, changed at random by up to 15%, so that scales differ from block to block.
fn jitter(bits: u8, d: f32) -> f32 {
    d * (0.85 + 0.3 * f32::from(bits) / 255.0)
}

fn put_f16(block: &mut [u8], at: usize, value: f32) {
    block[at..at + 2].copy_from_slice(&f16::from_f32(value).to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_values_of_every_format_have_the_wanted_spread() {
        for format in BlockFormat::ALL {
            let columns = 4096;
            let mut bytes = vec![0; 8 * format.row_bytes(columns).unwrap()];
            random_rows(format, 0.02, &mut Rng::with_seed(1), &mut bytes);
            let mut values = vec![0f32; 8 * columns];
            format.dequantize(&bytes, &mut values);
            let mean = values.iter().sum::<f32>() / values.len() as f32;
            let sd = (values.iter().map(|v| v * v).sum::<f32>() / values.len() as f32).sqrt();
            assert!(values.iter().all(|v| v.is_finite()), "{format}");
            assert!(mean.abs() < 0.002, "{format}: mean {mean}");
            assert!((0.01..0.04).contains(&sd), "{format}: standard deviation {sd}");
        }
    }
}
