//! The header of a safetensors file: 8 bytes of length, then JSON, then the data without gaps.
//!
//! This program has a parser of its own, because the crate `safetensors` (0.7) has three faults. It adds the last offset to the header's
//! size unchecked, so that a hostile header panics, or in a release build passes with offsets outside the file. It drops all but one of
//! several tensors of the same name. And it refuses a whole file for one tensor of a type that it does not know.

use super::dtype::Dtype;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use std::fmt;
use std::ops::Range;

/// The longest header that the format allows, in bytes.
const MAX_HEADER_BYTES: u64 = 100_000_000;

/// A tensor of the header. Its range counts from the start of the file.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) dtype: Box<str>,
    pub(super) shape: Vec<usize>,
    pub(super) range: Range<usize>,
}

/// All tensors of a file in the header's order, with ranges that lie inside `file`. Names may repeat; the caller checks that.
/// `Err` says on one line what is wrong.
pub(super) fn parse(file: &[u8]) -> Result<Vec<Entry>, String> {
    let (length, rest) =
        file.split_first_chunk().ok_or_else(|| format!("has {} bytes, expected at least 8: not a safetensors file", file.len()))?;
    let length = u64::from_le_bytes(*length);
    if length > MAX_HEADER_BYTES || length > rest.len() as u64 {
        return Err(format!(
            "the header has {length} bytes, expected at most {}: truncated, or not a safetensors file",
            MAX_HEADER_BYTES.min(rest.len() as u64)
        ));
    }
    // The cast does not truncate, because `length` is at most `rest.len()`.
    let (json, data) = rest.split_at(length as usize);
    if json.first() != Some(&b'{') {
        return Err("the header does not start with '{': not a safetensors file".to_owned());
    }
    let Header(raw) = serde_json::from_slice(json).map_err(|error| format!("the header is not what safetensors has: {error}"))?;
    let start = file.len() - data.len();
    let mut entries = Vec::new();
    for (name, tensor) in raw {
        let range = data_range(&tensor, data.len()).map_err(|what| format!("tensor {name:?} {what}"))?;
        let range = start + range.start..start + range.end;
        entries.push(Entry { name, dtype: tensor.dtype, shape: tensor.shape, range });
    }
    check_cover(&entries, start..file.len())?;
    Ok(entries)
}

/// The range of a tensor within the data, which has `data_bytes` bytes.
fn data_range(tensor: &RawTensor, data_bytes: usize) -> Result<Range<usize>, String> {
    let [start, end] = tensor.data_offsets;
    if start > end || end > data_bytes as u64 {
        return Err(format!("has data offsets {start} to {end}, but the file has {data_bytes} bytes of data"));
    }
    let dtype = Dtype::named(&tensor.dtype);
    if let Some(size) = dtype.size() {
        let bytes = tensor.shape.iter().try_fold(size, |bytes, &dim| bytes.checked_mul(dim));
        if bytes.map(|bytes| bytes as u64) != Some(end - start) {
            let found = end - start;
            return Err(match bytes {
                Some(bytes) => format!("is {dtype} of shape {}, {bytes} bytes, but its data offsets span {found}", shown(&tensor.shape)),
                None => format!("is {dtype} of shape {}, more than 2^64 bytes", shown(&tensor.shape)),
            });
        }
    }
    // Neither cast truncates, because both offsets are at most `data_bytes`.
    Ok(start as usize..end as usize)
}

/// A shape as a message shows it: only the first eight dimensions of a longer one.
fn shown(shape: &[usize]) -> String {
    match shape.get(..8) {
        Some(first) if shape.len() > 8 => format!("{first:?} and {} more dimensions", shape.len() - 8),
        _ => format!("{shape:?}"),
    }
}

/// Checks that every byte of the data belongs to exactly one tensor, as the format demands.
fn check_cover(entries: &[Entry], data: Range<usize>) -> Result<(), String> {
    let mut order: Vec<&Entry> = entries.iter().collect();
    order.sort_unstable_by_key(|entry| (entry.range.start, entry.range.end));
    let mut end = data.start;
    for Entry { name, range, .. } in order {
        if range.start != end {
            let (found, expected) = (range.start - data.start, end - data.start);
            return Err(format!("tensor {name:?} starts at data offset {found}, expected {expected}, where the previous tensor ends"));
        }
        end = range.end;
    }
    if end != data.end {
        return Err(format!("has {} bytes of data, but its tensors cover {}", data.len(), end - data.start));
    }
    Ok(())
}

/// Names and tensors in file order. A map would hide a name that occurs twice.
struct Header(Vec<(String, RawTensor)>);

#[derive(Deserialize)]
struct RawTensor {
    dtype: Box<str>,
    shape: Vec<usize>,
    data_offsets: [u64; 2],
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(HeaderVisitor)
    }
}

struct HeaderVisitor;

impl<'de> Visitor<'de> for HeaderVisitor {
    type Value = Header;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
        let mut tensors = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            if name == "__metadata__" {
                map.next_value::<IgnoredAny>()?;
            } else {
                tensors.push((name, map.next_value()?));
            }
        }
        Ok(Header(tensors))
    }
}
