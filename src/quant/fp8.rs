//! FP8 as row blocks: 128 values in 132 bytes. This project defines the layout; it exists in memory only.
//!
//! | bytes | content |
//! |---|---|
//! | 0 | e8m0 scale of the tile |
//! | 1..4 | zero, so that the codes are aligned to words |
//! | 4..132 | 128 e4m3 codes, one a value |
//!
//! Value i is scale * code_i, exact in f32. A scale of 255 is NaN.
//!
//! The checkpoint stores the codes as [R, C] and one scale per tile of 128 x 128 as [ceil(R/128), ceil(C/128)] (SPEC 8, SPEC 10.7),
//! so that 128 rows share their scales. [`repack_rows`] copies the scales into every row. That costs 3% more bytes, and a row can then be
//! decoded without knowing its number. Where C is not a multiple of 128, the last block of a row is filled up with zero codes.

use crate::num::{e4m3_from_f32, e4m3_to_f32, e8m0_to_f32};
use std::ops::Range;

pub(super) const VALUES: usize = 128;
pub(super) const BYTES: usize = 132;

/// Rows and columns of a tile of the checkpoint that share one scale.
const TILE: usize = 128;

static E4M3: [f32; 256] = {
    let mut table = [0.0; 256];
    let mut code = 0;
    while code < 256 {
        table[code] = e4m3_to_f32(code as u8);
        code += 1;
    }
    table
};

/// Decodes one or more rows of whole blocks, or one row whose last block is cut off.
pub(super) fn decode(bytes: &[u8], out: &mut [f32]) {
    for (&[scale, _, _, _, ref codes @ ..], values) in bytes.as_chunks::<BYTES>().0.iter().zip(out.chunks_mut(VALUES)) {
        let scale = e8m0_to_f32(scale);
        for (value, &code) in values.iter_mut().zip(codes) {
            *value = E4M3[usize::from(code)] * scale;
        }
    }
}

/// Quantises whole blocks with the smallest power-of-two scale at which no value exceeds the largest code.
pub(super) fn encode(values: &[f32], _: &[f32], out: &mut [u8]) {
    for (block, values) in out.as_chunks_mut::<BYTES>().0.iter_mut().zip(values.chunks(VALUES)) {
        let largest = values.iter().fold(0.0f32, |a, x| a.max(x.abs()));
        let exponent = (largest / 448.0).log2().ceil();
        let scale = (exponent + 127.0).clamp(0.0, 254.0) as u8;
        *block = [0; BYTES];
        block[0] = scale;
        for (code, value) in block[4..].iter_mut().zip(values) {
            *code = e4m3_from_f32(value / e8m0_to_f32(scale));
        }
    }
}

/// Repacks the rows `rows` of a checkpoint matrix [R, `cols`], bit for bit. `codes` has all R rows and `scales` all tiles. `out` has
/// room for `rows.len()` rows of ceil(`cols`/128) blocks of 132 bytes.
/// Returns `None` and leaves `out` untouched where the lengths do not match or `rows` ends after R.
pub fn repack_rows(codes: &[u8], scales: &[u8], cols: usize, rows: Range<usize>, out: &mut [u8]) -> Option<()> {
    let blocks = cols.div_ceil(TILE);
    let all_rows = codes.len().checked_div(cols)?;
    let fits = codes.len() == all_rows * cols
        && Some(scales.len()) == all_rows.div_ceil(TILE).checked_mul(blocks)
        && rows.end <= all_rows
        && Some(out.len()) == rows.len().checked_mul(blocks)?.checked_mul(BYTES);
    if !fits {
        return None;
    }
    for (row, out) in rows.zip(out.chunks_exact_mut(blocks * BYTES)) {
        let scales = &scales[row / TILE * blocks..][..blocks];
        let codes = codes[row * cols..][..cols].chunks(VALUES);
        for ((block, codes), &scale) in out.as_chunks_mut::<BYTES>().0.iter_mut().zip(codes).zip(scales) {
            *block = [0; BYTES];
            block[0] = scale;
            block[4..][..codes.len()].copy_from_slice(codes);
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quant::BlockFormat;

    #[test]
    fn repack_keeps_every_value() {
        // 130 rows of 200 columns: four tiles with different scales, the outer ones cut off in both directions.
        let (all_rows, cols) = (130, 200);
        let codes: Vec<u8> = (0..all_rows * cols).map(|i| (i * 31 % 251) as u8).collect();
        let scales = [0, 120, 130, 254];
        let row_bytes = BlockFormat::Fp8.row_bytes(cols).unwrap();
        let mut out = vec![0xff; (130 - 126) * row_bytes];
        assert_eq!(repack_rows(&codes, &scales, cols, 126..130, &mut out), Some(()));
        for (row, bytes) in (126..130).zip(out.chunks_exact(row_bytes)) {
            let mut values = vec![0.0; cols];
            BlockFormat::Fp8.dequantize(bytes, &mut values);
            for (col, value) in values.into_iter().enumerate() {
                let expected = e4m3_to_f32(codes[row * cols + col]) * e8m0_to_f32(scales[row / 128 * 2 + col / 128]);
                assert_eq!(value.to_bits(), expected.to_bits(), "row {row}, column {col}");
            }
            assert_eq!(bytes[1..4], [0; 3]);
            assert_eq!(bytes[BYTES + 4 + 72..], [0; 56]);
        }
    }

    #[test]
    fn repack_refuses_other_lengths() {
        let mut out = [0; 2 * BYTES];
        assert_eq!(repack_rows(&[0; 256], &[0; 1], 128, 0..2, &mut out), Some(()));
        assert_eq!(repack_rows(&[0; 255], &[0; 1], 128, 0..2, &mut out), None);
        assert_eq!(repack_rows(&[0; 256], &[0; 2], 128, 0..2, &mut out), None);
        assert_eq!(repack_rows(&[0; 256], &[0; 1], 128, 0..3, &mut out), None);
        assert_eq!(repack_rows(&[0; 256], &[0; 1], 128, 1..2, &mut out), None);
        assert_eq!(repack_rows(&[], &[], 0, 0..0, &mut []), None);
    }
}
