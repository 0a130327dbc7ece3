//! Element types of tensors.

use std::fmt;

/// A tensor's element type. All numbers are little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dtype<'a> {
    /// The upper half of an f32.
    Bf16,
    /// IEEE half precision.
    F16,
    /// IEEE single precision.
    F32,
    /// Signed, 8 bits. The checkpoint's FP4 has this type: two e2m1 codes a byte.
    I8,
    /// Signed, 32 bits.
    I32,
    /// Signed, 64 bits.
    I64,
    /// Unsigned, 8 bits.
    U8,
    /// FP8 e4m3fn.
    F8E4m3,
    /// Power-of-two scale e8m0.
    F8E8m0,
    /// A type that this program does not read, by its name in the file. Its tensors can be listed, but their size is not checked.
    Other(&'a str),
}

const KNOWN: [(Dtype<'static>, &str, usize); 9] = [
    (Dtype::Bf16, "BF16", 2),
    (Dtype::F16, "F16", 2),
    (Dtype::F32, "F32", 4),
    (Dtype::I8, "I8", 1),
    (Dtype::I32, "I32", 4),
    (Dtype::I64, "I64", 8),
    (Dtype::U8, "U8", 1),
    (Dtype::F8E4m3, "F8_E4M3", 1),
    (Dtype::F8E8m0, "F8_E8M0", 1),
];

impl<'a> Dtype<'a> {
    /// The type with this name in a file.
    pub(super) fn named(name: &'a str) -> Self {
        KNOWN.iter().find(|known| known.1 == name).map_or(Self::Other(name), |known| known.0)
    }

    /// Bytes of an element, or `None` for [`Dtype::Other`].
    pub fn size(self) -> Option<usize> {
        KNOWN.iter().find(|known| known.0 == self).map(|known| known.2)
    }

    /// The name in files.
    pub fn name(self) -> &'a str {
        match self {
            Self::Other(name) => name,
            _ => KNOWN.iter().find(|known| known.0 == self).map_or("", |known| known.1),
        }
    }
}

impl fmt::Display for Dtype<'_> {
    /// Writes the name with control characters escaped, because it may come from a file and messages must stay one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.name().escape_debug())
    }
}
