//! Block formats: how a row of weights is laid out in bytes, and the f32 values that those bytes stand for.
//!
//! This room does not know where the bytes come from (`gguf`, `hf`) or what they mean to the model (`model`). Each format has a file, and
//! the table `FORMATS` lists them all. Each file has tests, and `tests/golden/blocks.rs` compares with values of other implementations.

mod affine;
pub mod fp8;
mod grouped;
mod iq2_xxs;
mod iq2_xxs_encode;
mod iq2_xxs_grid;
pub mod mxfp4;
mod plain;
mod q2_k;
mod q4_k;
mod q8_0;

pub use iq2_xxs_grid::GRID;

use grouped::{Group, Iq2Xxsx8, Q2Kx4, Q8_0x8};
use std::fmt;

/// A way to store rows of weights. A row is a whole number of blocks; rows follow one another without padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BlockFormat {
    /// IEEE single precision, little-endian.
    F32,
    /// IEEE half precision, little-endian.
    F16,
    /// The upper half of an f32, little-endian.
    Bf16,
    /// 8-bit integers, one f16 scale per 32.
    Q8_0,
    /// 2-bit integers, one 4-bit scale and minimum per 16, two f16 scales of those per 256.
    Q2K,
    /// 4-bit integers, one 6-bit scale and minimum per 32, two f16 scales of those per 256.
    Q4K,
    /// Codewords for eight magnitudes, signs, one 4-bit scale per 32, one f16 scale per 256: 2.0625 bits a value.
    Iq2Xxs,
    /// FP4 e2m1, one e8m0 scale per 32.
    Mxfp4,
    /// FP8 e4m3 as row blocks, one e8m0 scale per 128. It exists in memory only; the checkpoint's FP8 has one scale per tile.
    Fp8,
    /// Q8_0 with the codes of eight blocks first, then their scales. It exists in GPU memory only.
    Q8_0x8,
    /// IQ2_XXS with the codes of eight blocks first, then their scales. It exists in GPU memory only.
    Iq2Xxsx8,
    /// Q2_K with the codes of four blocks first, then their scales. It exists in GPU memory only.
    Q2Kx4,
}

/// One row of [`FORMATS`].
struct Layout {
    format: BlockFormat,
    name: &'static str,
    /// The name of its number in shaders.
    shader_constant: &'static str,
    /// Values in a block.
    values: usize,
    /// Bytes of a block.
    bytes: usize,
    /// Decodes whole blocks. The caller has checked the lengths.
    decode: fn(&[u8], &mut [f32]),
    /// Encodes whole blocks. Arguments: values, the weight of each squared error, and the blocks to write.
    encode: fn(&[f32], &[f32], &mut [u8]),
}

/// All formats, in the order of the enum.
const FORMATS: [Layout; 12] = [
    Layout {
        format: BlockFormat::F32,
        name: "f32",
        shader_constant: "FORMAT_F32",
        values: 1,
        bytes: 4,
        decode: plain::f32,
        encode: plain::to_f32,
    },
    Layout {
        format: BlockFormat::F16,
        name: "f16",
        shader_constant: "FORMAT_F16",
        values: 1,
        bytes: 2,
        decode: plain::f16,
        encode: plain::to_f16,
    },
    Layout {
        format: BlockFormat::Bf16,
        name: "bf16",
        shader_constant: "FORMAT_BF16",
        values: 1,
        bytes: 2,
        decode: plain::bf16,
        encode: plain::to_bf16,
    },
    Layout {
        format: BlockFormat::Q8_0,
        name: "q8_0",
        shader_constant: "FORMAT_Q8_0",
        values: q8_0::VALUES,
        bytes: q8_0::BYTES,
        decode: q8_0::decode,
        encode: q8_0::encode,
    },
    Layout {
        format: BlockFormat::Q2K,
        name: "q2_k",
        shader_constant: "FORMAT_Q2_K",
        values: q2_k::VALUES,
        bytes: q2_k::BYTES,
        decode: q2_k::decode,
        encode: q2_k::encode,
    },
    Layout {
        format: BlockFormat::Q4K,
        name: "q4_k",
        shader_constant: "FORMAT_Q4_K",
        values: q4_k::VALUES,
        bytes: q4_k::BYTES,
        decode: q4_k::decode,
        encode: q4_k::encode,
    },
    Layout {
        format: BlockFormat::Iq2Xxs,
        name: "iq2_xxs",
        shader_constant: "FORMAT_IQ2_XXS",
        values: iq2_xxs::VALUES,
        bytes: iq2_xxs::BYTES,
        decode: iq2_xxs::decode,
        encode: iq2_xxs_encode::encode,
    },
    Layout {
        format: BlockFormat::Mxfp4,
        name: "mxfp4",
        shader_constant: "FORMAT_MXFP4",
        values: mxfp4::VALUES,
        bytes: mxfp4::BYTES,
        decode: mxfp4::decode,
        encode: mxfp4::encode,
    },
    Layout {
        format: BlockFormat::Fp8,
        name: "fp8",
        shader_constant: "FORMAT_FP8",
        values: fp8::VALUES,
        bytes: fp8::BYTES,
        decode: fp8::decode,
        encode: fp8::encode,
    },
    group::<Q8_0x8>(BlockFormat::Q8_0x8, ["q8_0x8", "FORMAT_Q8_0X8"]),
    group::<Iq2Xxsx8>(BlockFormat::Iq2Xxsx8, ["iq2_xxsx8", "FORMAT_IQ2_XXSX8"]),
    group::<Q2Kx4>(BlockFormat::Q2Kx4, ["q2_kx4", "FORMAT_Q2_KX4"]),
];

const fn group<G: Group>(format: BlockFormat, [name, shader_constant]: [&'static str; 2]) -> Layout {
    Layout { format, name, shader_constant, values: G::VALUES, bytes: G::BYTES, decode: grouped::decode::<G>, encode: grouped::encode::<G> }
}

// A format's number in the enum is the index of its row in the table.
const _: () = {
    let mut i = 0;
    while i < FORMATS.len() {
        assert!(FORMATS[i].format as usize == i && BlockFormat::ALL[i] as usize == i);
        i += 1;
    }
};

impl BlockFormat {
    /// Every format.
    pub const ALL: [Self; 12] = [
        Self::F32,
        Self::F16,
        Self::Bf16,
        Self::Q8_0,
        Self::Q2K,
        Self::Q4K,
        Self::Iq2Xxs,
        Self::Mxfp4,
        Self::Fp8,
        Self::Q8_0x8,
        Self::Iq2Xxsx8,
        Self::Q2Kx4,
    ];

    /// The format in which a GPU keeps rows of `cols` values: as many bytes as the stored format, and faster to read.
    pub fn on_device(self, cols: usize) -> Self {
        let grouped = match self {
            Self::Q8_0 => Self::Q8_0x8,
            Self::Iq2Xxs => Self::Iq2Xxsx8,
            Self::Q2K => Self::Q2Kx4,
            other => other,
        };
        if cols.is_multiple_of(grouped.block_values()) { grouped } else { self }
    }

    /// Rearranges whole rows of `cols` values into the format that [`BlockFormat::on_device`] names. `out` is as long as `stored`.
    pub fn repack(self, cols: usize, stored: &[u8], out: &mut [u8]) {
        match self.on_device(cols) {
            Self::Q8_0x8 => grouped::repack::<Q8_0x8>(stored, out),
            Self::Iq2Xxsx8 => grouped::repack::<Iq2Xxsx8>(stored, out),
            Self::Q2Kx4 => grouped::repack::<Q2Kx4>(stored, out),
            _ => out.copy_from_slice(stored),
        }
    }

    fn layout(self) -> &'static Layout {
        &FORMATS[self as usize]
    }

    /// The name in commands, reports and shader files: `q8_0`, `iq2_xxs`, ...
    pub fn name(self) -> &'static str {
        self.layout().name
    }

    /// The name of the format's number in shaders: `FORMAT_Q8_0`, ...
    pub fn shader_constant(self) -> &'static str {
        self.layout().shader_constant
    }

    /// Values in one block.
    pub fn block_values(self) -> usize {
        self.layout().values
    }

    /// Bytes of one block.
    pub fn block_bytes(self) -> usize {
        self.layout().bytes
    }

    /// Bytes of a row of `cols` values, or `None` where `cols` is not a whole number of blocks or the size does not fit in `usize`. Only
    /// [`BlockFormat::Fp8`] pads its last block.
    pub fn row_bytes(self, cols: usize) -> Option<usize> {
        let Layout { values, bytes, .. } = *self.layout();
        let blocks = match self {
            Self::Fp8 => cols.div_ceil(values),
            _ if cols.is_multiple_of(values) => cols / values,
            _ => return None,
        };
        blocks.checked_mul(bytes)
    }

    /// Decodes whole rows: `bytes` holds exactly the blocks of `out`'s values, in order. Several rows may be decoded at once where
    /// rows are whole blocks; a [`BlockFormat::Fp8`] row with a padded last block must be decoded alone. Every step is one f32 operation,
    /// in the order of SPEC 10.
    ///
    /// # Panics
    /// Where the two lengths do not match. Binding a tensor checks its shape, so a file cannot cause that.
    pub fn dequantize(self, bytes: &[u8], out: &mut [f32]) {
        assert_eq!(self.row_bytes(out.len()), Some(bytes.len()), "{self}: bytes for {} values", out.len());
        (self.layout().decode)(bytes, out);
    }

    /// Encodes whole rows so that the sum of `weights` times squared error is small. `weights` has a number of at least zero for each
    /// value, and `out` takes exactly the blocks of `values`. The same input always gives the same bytes.
    ///
    /// # Panics
    /// Where the three lengths do not match.
    pub fn quantize(self, values: &[f32], weights: &[f32], out: &mut [u8]) {
        assert_eq!(self.row_bytes(values.len()), Some(out.len()), "{self}: bytes for {} values", values.len());
        assert_eq!(values.len(), weights.len(), "{self}: weights");
        (self.layout().encode)(values, weights, out);
    }
}

impl fmt::Display for BlockFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_whole_blocks_and_fit_in_memory() {
        assert_eq!(BlockFormat::Iq2Xxs.row_bytes(4096), Some(1056));
        assert_eq!(BlockFormat::Q2K.row_bytes(2048), Some(672));
        assert_eq!(BlockFormat::Q8_0.row_bytes(48), None);
        assert_eq!(BlockFormat::Fp8.row_bytes(129), Some(264));
        assert_eq!(BlockFormat::Bf16.row_bytes(0), Some(0));
        assert_eq!(BlockFormat::F32.row_bytes(usize::MAX), None);
        assert_eq!(BlockFormat::Fp8.row_bytes(usize::MAX), None);
    }

    #[test]
    fn repacked_rows_decode_to_the_same_values() {
        let mut rng = fastrand::Rng::with_seed(4);
        for (format, columns) in [(BlockFormat::Q8_0, 768), (BlockFormat::Iq2Xxs, 6144), (BlockFormat::Q2K, 3072)] {
            let mut stored = vec![0; format.row_bytes(columns).unwrap()];
            rng.fill(&mut stored);
            // The mask clears an exponent bit in every byte, so that every f16 scale is finite.
            stored.iter_mut().for_each(|byte| *byte &= 0xbb);
            let values = |format: BlockFormat, bytes: &[u8]| {
                let mut out = vec![0.0; columns];
                format.dequantize(bytes, &mut out);
                out
            };
            let mut repacked = vec![0; stored.len()];
            format.repack(columns / 3 / 8, &stored, &mut repacked);
            assert_eq!(repacked, stored, "{format}: not whole groups");
            format.repack(columns, &stored, &mut repacked);
            assert_ne!(repacked, stored, "{format}");
            assert_eq!(values(format.on_device(columns), &repacked), values(format, &stored), "{format}");
        }
    }

    #[test]
    #[should_panic(expected = "q4_k")]
    fn lengths_must_match() {
        BlockFormat::Q4K.dequantize(&[0; 143], &mut [0.0; 256]);
    }
}
