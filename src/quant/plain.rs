//! The formats without blocks: one number after the other, little-endian.

/// Decodes F32, 4 bytes a value.
pub(super) fn f32(bytes: &[u8], out: &mut [f32]) {
    for (&code, value) in bytes.as_chunks().0.iter().zip(out) {
        *value = f32::from_le_bytes(code);
    }
}

/// Decodes F16, 2 bytes a value.
pub(super) fn f16(bytes: &[u8], out: &mut [f32]) {
    for (&code, value) in bytes.as_chunks().0.iter().zip(out) {
        *value = half::f16::from_le_bytes(code).to_f32();
    }
}

/// Decodes BF16, 2 bytes a value.
pub(super) fn bf16(bytes: &[u8], out: &mut [f32]) {
    for (&code, value) in bytes.as_chunks().0.iter().zip(out) {
        *value = half::bf16::from_le_bytes(code).to_f32();
    }
}

/// Encodes as F32.
pub(super) fn to_f32(values: &[f32], _: &[f32], out: &mut [u8]) {
    for (code, value) in out.as_chunks_mut().0.iter_mut().zip(values) {
        *code = value.to_le_bytes();
    }
}

/// Encodes as F16, rounding to nearest, ties to even.
pub(super) fn to_f16(values: &[f32], _: &[f32], out: &mut [u8]) {
    for (code, &value) in out.as_chunks_mut().0.iter_mut().zip(values) {
        *code = half::f16::from_f32(value).to_le_bytes();
    }
}

/// Encodes as BF16, rounding to nearest, ties to even.
pub(super) fn to_bf16(values: &[f32], _: &[f32], out: &mut [u8]) {
    for (code, &value) in out.as_chunks_mut().0.iter_mut().zip(values) {
        *code = half::bf16::from_f32(value).to_le_bytes();
    }
}

#[cfg(test)]
mod tests {
    use crate::quant::BlockFormat;

    #[test]
    fn plain_formats_decode_known_values() {
        let mut out = [0.0; 2];
        BlockFormat::F32.dequantize(&[0, 0, 0x80, 0x3f, 1, 0, 0, 0x80], &mut out);
        assert_eq!(out.map(f32::to_bits), [0x3f80_0000, 0x8000_0001]);
        BlockFormat::F16.dequantize(&[0, 0x3c, 1, 0x80], &mut out);
        assert_eq!(out, [1.0, -2f32.powi(-24)]);
        BlockFormat::Bf16.dequantize(&[0x80, 0x3f, 0xc8, 0xc2], &mut out);
        assert_eq!(out, [1.0, -100.0]);
    }
}
