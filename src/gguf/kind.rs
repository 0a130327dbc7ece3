//! Element types of tensors.

use crate::quant::BlockFormat;
use std::fmt;

/// A tensor's type by its GGML number. The number may be one that this program does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GgmlType(pub u32);

/// Number, name, and values and bytes of a block. The missing numbers, Q8_1 among them, do not occur in files.
/// Source: ggml's list of types and block sizes. SPEC 10 has the layouts of the types that this program decodes.
const KNOWN: [(GgmlType, &str, u64, u64); 32] = [
    (GgmlType::F32, "F32", 1, 4),
    (GgmlType::F16, "F16", 1, 2),
    (GgmlType(2), "Q4_0", 32, 18),
    (GgmlType(3), "Q4_1", 32, 20),
    (GgmlType(6), "Q5_0", 32, 22),
    (GgmlType(7), "Q5_1", 32, 24),
    (GgmlType::Q8_0, "Q8_0", 32, 34),
    (GgmlType::Q2_K, "Q2_K", 256, 84),
    (GgmlType(11), "Q3_K", 256, 110),
    (GgmlType::Q4_K, "Q4_K", 256, 144),
    (GgmlType(13), "Q5_K", 256, 176),
    (GgmlType(14), "Q6_K", 256, 210),
    (GgmlType(15), "Q8_K", 256, 292),
    (GgmlType::IQ2_XXS, "IQ2_XXS", 256, 66),
    (GgmlType(17), "IQ2_XS", 256, 74),
    (GgmlType(18), "IQ3_XXS", 256, 98),
    (GgmlType(19), "IQ1_S", 256, 50),
    (GgmlType(20), "IQ4_NL", 32, 18),
    (GgmlType(21), "IQ3_S", 256, 110),
    (GgmlType(22), "IQ2_S", 256, 82),
    (GgmlType(23), "IQ4_XS", 256, 136),
    (GgmlType::I8, "I8", 1, 1),
    (GgmlType::I16, "I16", 1, 2),
    (GgmlType::I32, "I32", 1, 4),
    (GgmlType::I64, "I64", 1, 8),
    (GgmlType::F64, "F64", 1, 8),
    (GgmlType(29), "IQ1_M", 256, 56),
    (GgmlType::BF16, "BF16", 1, 2),
    (GgmlType(34), "TQ1_0", 256, 54),
    (GgmlType(35), "TQ2_0", 256, 66),
    (GgmlType::MXFP4, "MXFP4", 32, 17),
    (GgmlType(40), "NVFP4", 64, 36),
];

impl GgmlType {
    /// IEEE single precision.
    pub const F32: Self = Self(0);
    /// IEEE half precision.
    pub const F16: Self = Self(1);
    /// See [`BlockFormat::Q8_0`].
    pub const Q8_0: Self = Self(8);
    /// See [`BlockFormat::Q2K`].
    pub const Q2_K: Self = Self(10);
    /// See [`BlockFormat::Q4K`].
    pub const Q4_K: Self = Self(12);
    /// See [`BlockFormat::Iq2Xxs`].
    pub const IQ2_XXS: Self = Self(16);
    /// Signed, 8 bits.
    pub const I8: Self = Self(24);
    /// Signed, 16 bits.
    pub const I16: Self = Self(25);
    /// Signed, 32 bits.
    pub const I32: Self = Self(26);
    /// Signed, 64 bits.
    pub const I64: Self = Self(27);
    /// IEEE double precision.
    pub const F64: Self = Self(28);
    /// The upper half of an f32.
    pub const BF16: Self = Self(30);
    /// See [`BlockFormat::Mxfp4`].
    pub const MXFP4: Self = Self(39);

    /// Values and bytes of a block, or `None` for a type that this program does not know.
    pub fn block(self) -> Option<(u64, u64)> {
        KNOWN.iter().find(|known| known.0 == self).map(|known| (known.2, known.3))
    }

    /// The format that decodes blocks of this type, or `None` for integers and for types that this program does not decode.
    pub fn format(self) -> Option<BlockFormat> {
        Some(match self {
            Self::F32 => BlockFormat::F32,
            Self::F16 => BlockFormat::F16,
            Self::BF16 => BlockFormat::Bf16,
            Self::Q8_0 => BlockFormat::Q8_0,
            Self::Q2_K => BlockFormat::Q2K,
            Self::Q4_K => BlockFormat::Q4K,
            Self::IQ2_XXS => BlockFormat::Iq2Xxs,
            Self::MXFP4 => BlockFormat::Mxfp4,
            _ => return None,
        })
    }

    /// The type in which a GGUF file stores `format`, or `None` for the formats that exist in memory only.
    pub fn of(format: BlockFormat) -> Option<Self> {
        KNOWN.iter().map(|known| known.0).find(|kind| kind.format() == Some(format))
    }

    /// GGML's name of the type, or `type N` for one that this program does not know.
    pub fn name(self) -> String {
        match KNOWN.iter().find(|known| known.0 == self) {
            Some(known) => known.1.to_owned(),
            None => format!("type {}", self.0),
        }
    }
}

impl fmt::Display for GgmlType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_agree_with_the_formats() {
        for format in BlockFormat::ALL {
            let Some(kind) = GgmlType::of(format) else {
                let in_memory = [BlockFormat::Fp8, BlockFormat::Q8_0x8, BlockFormat::Iq2Xxsx8, BlockFormat::Q2Kx4];
                assert!(in_memory.contains(&format), "{format}: formats of files have a type");
                continue;
            };
            assert_eq!(kind.format(), Some(format));
            assert_eq!(kind.block(), Some((format.block_values() as u64, format.block_bytes() as u64)));
            assert_eq!(kind.name().to_lowercase(), format.name());
        }
    }

    #[test]
    fn unknown_types_have_a_number_only() {
        assert_eq!((GgmlType(4711).name().as_str(), GgmlType(4711).block()), ("type 4711", None));
        assert_eq!(GgmlType::I32.format(), None);
    }
}
