//! IQ2_XXS: 256 values in 66 bytes (GGUF; SPEC 10.4).
//!
//! | bytes | content |
//! |---|---|
//! | 0..2 | f16 scale d |
//! | 2..66 | eight groups of 8 bytes, 32 values each |
//!
//! Bytes 0..4 of a group pick codewords of eight magnitudes from [`GRID`]. Bytes 4..8 are a little-endian word: seven sign bits for
//! each of the four codewords, from the low end, then a four-bit scale s in the top bits. The eighth sign is not stored, because the
//! number of minus signs is always even. A value is d * (2s + 1) / 8 * sign * magnitude; every product is exact in f32.

use super::GRID;
use half::f16;

pub(super) const VALUES: usize = 256;
pub(super) const BYTES: usize = 66;

/// Decodes whole blocks.
pub(super) fn decode(bytes: &[u8], out: &mut [f32]) {
    let (blocks, rows) = (bytes.as_chunks::<BYTES>().0, out.as_chunks_mut::<VALUES>().0);
    for (&[d0, d1, ref groups @ ..], values) in blocks.iter().zip(rows) {
        let d = f16::from_le_bytes([d0, d1]).to_f32();
        for (&[c0, c1, c2, c3, w0, w1, w2, w3], values) in groups.as_chunks().0.iter().zip(values.as_chunks_mut::<32>().0) {
            let word = u32::from_le_bytes([w0, w1, w2, w3]);
            let scale = d * (2 * (word >> 28) + 1) as f32 / 8.0;
            for (k, (codeword, values)) in [c0, c1, c2, c3].into_iter().zip(values.as_chunks_mut::<8>().0).enumerate() {
                let signs = with_parity(word >> (7 * k));
                for (i, (value, magnitude)) in values.iter_mut().zip(GRID[usize::from(codeword)].to_le_bytes()).enumerate() {
                    let magnitude = scale * f32::from(magnitude);
                    *value = if signs >> i & 1 == 1 { -magnitude } else { magnitude };
                }
            }
        }
    }
}

/// The low seven bits of `index`, with their parity in bit 7.
fn with_parity(index: u32) -> u32 {
    let index = index & 127;
    index | (index.count_ones() & 1) << 7
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sign_patterns_have_an_even_number_of_minus_signs() {
        assert!((0..128).all(|index| with_parity(index).count_ones().is_multiple_of(2) && with_parity(index) & 127 == index));
    }

    #[test]
    fn codewords_are_distinct_and_have_three_magnitudes() {
        let mut sorted = GRID;
        sorted.sort_unstable();
        assert!(sorted.windows(2).all(|pair| pair[0] != pair[1]));
        assert!(GRID.iter().flat_map(|word| word.to_le_bytes()).all(|magnitude| [8, 25, 43].contains(&magnitude)));
    }
}
