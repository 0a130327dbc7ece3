//! Metadata values and their types.

use super::cursor::Cursor;

/// Type of a metadata value. The discriminants are the numbers in files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueKind {
    /// Unsigned, 8 bits.
    U8 = 0,
    /// Signed, 8 bits.
    I8 = 1,
    /// Unsigned, 16 bits.
    U16 = 2,
    /// Signed, 16 bits.
    I16 = 3,
    /// Unsigned, 32 bits.
    U32 = 4,
    /// Signed, 32 bits.
    I32 = 5,
    /// IEEE single precision.
    F32 = 6,
    /// One byte, 0 or 1.
    Bool = 7,
    /// Text. The specification says UTF-8; real files may have any bytes.
    String = 8,
    /// Elements of one type, which may be arrays.
    Array = 9,
    /// Unsigned, 64 bits.
    U64 = 10,
    /// Signed, 64 bits.
    I64 = 11,
    /// IEEE double precision.
    F64 = 12,
}

use ValueKind as K;

impl ValueKind {
    const ALL: [Self; 13] = [K::U8, K::I8, K::U16, K::I16, K::U32, K::I32, K::F32, K::Bool, K::String, K::Array, K::U64, K::I64, K::F64];

    /// The type with this number.
    pub(super) fn from_number(number: u32) -> Option<Self> {
        Self::ALL.get(usize::try_from(number).ok()?).copied()
    }

    /// Bytes of a value, or `None` for strings and arrays.
    pub(super) fn size(self) -> Option<usize> {
        match self {
            K::U8 | K::I8 | K::Bool => Some(1),
            K::U16 | K::I16 => Some(2),
            K::U32 | K::I32 | K::F32 => Some(4),
            K::U64 | K::I64 | K::F64 => Some(8),
            K::String | K::Array => None,
        }
    }

    /// The fewest bytes that a value takes in a file.
    pub(super) fn min_bytes(self) -> usize {
        match self {
            K::String => 8,
            K::Array => 12,
            _ => self.size().unwrap_or(1),
        }
    }

    /// The name in messages: `u32`, `string`, ...
    pub fn name(self) -> &'static str {
        match self {
            K::U8 => "u8",
            K::I8 => "i8",
            K::U16 => "u16",
            K::I16 => "i16",
            K::U32 => "u32",
            K::I32 => "i32",
            K::F32 => "f32",
            K::Bool => "bool",
            K::String => "string",
            K::Array => "array",
            K::U64 => "u64",
            K::I64 => "i64",
            K::F64 => "f64",
        }
    }
}

/// An owned metadata value, for writing and for copying from file to file.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Unsigned, 8 bits.
    U8(u8),
    /// Signed, 8 bits.
    I8(i8),
    /// Unsigned, 16 bits.
    U16(u16),
    /// Signed, 16 bits.
    I16(i16),
    /// Unsigned, 32 bits.
    U32(u32),
    /// Signed, 32 bits.
    I32(i32),
    /// IEEE single precision.
    F32(f32),
    /// A bool.
    Bool(bool),
    /// Text.
    String(String),
    /// Elements, all of the given type.
    Array(ValueKind, Vec<Value>),
    /// Unsigned, 64 bits.
    U64(u64),
    /// Signed, 64 bits.
    I64(i64),
    /// IEEE double precision.
    F64(f64),
}

impl Value {
    /// The value's type.
    pub fn kind(&self) -> ValueKind {
        match self {
            Self::U8(_) => K::U8,
            Self::I8(_) => K::I8,
            Self::U16(_) => K::U16,
            Self::I16(_) => K::I16,
            Self::U32(_) => K::U32,
            Self::I32(_) => K::I32,
            Self::F32(_) => K::F32,
            Self::Bool(_) => K::Bool,
            Self::String(_) => K::String,
            Self::Array(..) => K::Array,
            Self::U64(_) => K::U64,
            Self::I64(_) => K::I64,
            Self::F64(_) => K::F64,
        }
    }

    /// The number, where the value is an integer of any type.
    pub(super) fn integer(&self) -> Option<i128> {
        Some(match *self {
            Self::U8(v) => v.into(),
            Self::I8(v) => v.into(),
            Self::U16(v) => v.into(),
            Self::I16(v) => v.into(),
            Self::U32(v) => v.into(),
            Self::I32(v) => v.into(),
            Self::U64(v) => v.into(),
            Self::I64(v) => v.into(),
            _ => return None,
        })
    }

    /// The number, rounded to f32, where the value is a floating-point number.
    pub(super) fn float(&self) -> Option<f32> {
        match *self {
            Self::F32(v) => Some(v),
            Self::F64(v) => Some(v as f32),
            _ => None,
        }
    }

    /// Reads a number or bool of type `kind` from its little-endian bytes. `None` where the number of bytes is not that of the type.
    pub(super) fn scalar(kind: ValueKind, bytes: &[u8]) -> Option<Self> {
        Some(match kind {
            K::U8 => Self::U8(u8::from_le_bytes(bytes.try_into().ok()?)),
            K::I8 => Self::I8(i8::from_le_bytes(bytes.try_into().ok()?)),
            K::U16 => Self::U16(u16::from_le_bytes(bytes.try_into().ok()?)),
            K::I16 => Self::I16(i16::from_le_bytes(bytes.try_into().ok()?)),
            K::U32 => Self::U32(u32::from_le_bytes(bytes.try_into().ok()?)),
            K::I32 => Self::I32(i32::from_le_bytes(bytes.try_into().ok()?)),
            K::F32 => Self::F32(f32::from_le_bytes(bytes.try_into().ok()?)),
            K::Bool => Self::Bool(u8::from_le_bytes(bytes.try_into().ok()?) != 0),
            K::U64 => Self::U64(u64::from_le_bytes(bytes.try_into().ok()?)),
            K::I64 => Self::I64(i64::from_le_bytes(bytes.try_into().ok()?)),
            K::F64 => Self::F64(f64::from_le_bytes(bytes.try_into().ok()?)),
            K::String | K::Array => return None,
        })
    }

    /// Reads a value of type `kind`.
    pub(super) fn read(cursor: &mut Cursor<'_>, kind: ValueKind, what: &str) -> Result<Self, String> {
        match kind {
            K::String => match std::str::from_utf8(cursor.string(what)?) {
                Ok(text) => Ok(Self::String(text.to_owned())),
                Err(_) => Err(format!("{what} is not UTF-8")),
            },
            K::Array => {
                let element = cursor.u32(what)?;
                let element = Self::known(element, what)?;
                let len = cursor.count(element.min_bytes(), what)?;
                let items = (0..len).map(|_| Self::read(cursor, element, what)).collect::<Result<_, _>>()?;
                Ok(Self::Array(element, items))
            }
            _ => {
                let bytes = cursor.take(kind.min_bytes() as u64, what)?;
                Self::scalar(kind, bytes).ok_or_else(|| format!("{what} is no {}", kind.name()))
            }
        }
    }

    /// The type with this number, or an error about `what`.
    pub(super) fn known(number: u32, what: &str) -> Result<ValueKind, String> {
        ValueKind::from_number(number).ok_or_else(|| format!("{what} has value type {number}, expected 0 to {}", ValueKind::ALL.len() - 1))
    }

    /// Appends the bytes of the value without its type. `Err` says which array element has the wrong type.
    pub(super) fn write(&self, out: &mut Vec<u8>) -> Result<(), String> {
        match self {
            Self::U8(v) => out.extend(v.to_le_bytes()),
            Self::I8(v) => out.extend(v.to_le_bytes()),
            Self::U16(v) => out.extend(v.to_le_bytes()),
            Self::I16(v) => out.extend(v.to_le_bytes()),
            Self::U32(v) => out.extend(v.to_le_bytes()),
            Self::I32(v) => out.extend(v.to_le_bytes()),
            Self::F32(v) => out.extend(v.to_le_bytes()),
            Self::Bool(v) => out.push(u8::from(*v)),
            Self::String(v) => write_string(v, out),
            Self::Array(kind, items) => {
                out.extend((*kind as u32).to_le_bytes());
                out.extend((items.len() as u64).to_le_bytes());
                for (i, item) in items.iter().enumerate() {
                    if item.kind() != *kind {
                        return Err(format!("element {i} of the array is {}, expected {}", item.kind().name(), kind.name()));
                    }
                    item.write(out)?;
                }
            }
            Self::U64(v) => out.extend(v.to_le_bytes()),
            Self::I64(v) => out.extend(v.to_le_bytes()),
            Self::F64(v) => out.extend(v.to_le_bytes()),
        }
        Ok(())
    }
}

/// Appends a string as files store it: a u64 length, then the bytes.
pub(super) fn write_string(text: &str, out: &mut Vec<u8>) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_numbered_in_order() {
        for (i, kind) in ValueKind::ALL.into_iter().enumerate() {
            assert_eq!((kind as usize, ValueKind::from_number(i as u32)), (i, Some(kind)));
        }
        assert_eq!(ValueKind::from_number(13), None);
    }

    #[test]
    fn arrays_of_mixed_types_are_refused() {
        let mixed = Value::Array(ValueKind::U32, vec![Value::U32(1), Value::Bool(true)]);
        assert_eq!(mixed.write(&mut Vec::new()).unwrap_err(), "element 1 of the array is bool, expected u32");
    }
}
