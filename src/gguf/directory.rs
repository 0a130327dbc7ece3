//! The tensor directory: names, shapes, types and offsets, checked against each other and against the size of the file.

use super::cursor::{Cursor, quoted};
use super::kind::GgmlType;
use std::collections::HashMap;

/// A tensor in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// Name, unique in the file.
    pub name: String,
    /// One to four dimensions, fastest first: a matrix [R, C] is listed as C, R.
    pub shape: Vec<u64>,
    /// Element type.
    pub kind: GgmlType,
    /// Offset of the first byte from the start of the file.
    pub offset: u64,
    /// Size in bytes.
    pub bytes: u64,
}

/// The largest number of dimensions of a tensor.
const MAX_DIMS: u32 = 4;

/// The fewest bytes that a tensor's entry takes: name of one character, number of dimensions, one dimension, type, offset.
const MIN_ENTRY_BYTES: usize = 8 + 1 + 4 + 8 + 4 + 8;

/// Size in bytes of a tensor of this type and shape. `Err` says what is wrong with them; the caller adds the tensor's name.
pub(super) fn tensor_bytes(kind: GgmlType, shape: &[u64]) -> Result<u64, String> {
    if shape.is_empty() || shape.len() > MAX_DIMS as usize {
        return Err(format!("has {} dimensions, expected 1 to {MAX_DIMS}", shape.len()));
    }
    let Some((values, bytes)) = kind.block() else {
        return Err(format!("is of {kind}, the size of which is not known"));
    };
    if let Some(dim) = shape.iter().position(|&size| size == 0) {
        return Err(format!("has shape {shape:?}, in which dimension {dim} is empty"));
    }
    if !shape[0].is_multiple_of(values) {
        return Err(format!("has rows of {} values, expected a multiple of {values}, the block of {kind}", shape[0]));
    }
    let blocks = shape[1..].iter().try_fold(shape[0] / values, |blocks, &size| blocks.checked_mul(size));
    blocks.and_then(|blocks| blocks.checked_mul(bytes)).ok_or_else(|| format!("has shape {shape:?}, more than 2^64 bytes of {kind}"))
}

/// `at` rounded up to a multiple of `alignment`.
pub(super) fn align(at: u64, alignment: u32) -> Option<u64> {
    at.checked_next_multiple_of(u64::from(alignment))
}

/// All tensors of a file, in the file's order.
#[derive(Debug)]
pub(super) struct Directory {
    pub(super) tensors: Vec<TensorInfo>,
    index: HashMap<String, usize>,
}

impl Directory {
    /// Reads `count` entries and checks that their data lies inside the file, which has `file_bytes` bytes. The data starts at the first
    /// multiple of `alignment` after the header.
    pub(super) fn parse(cursor: &mut Cursor<'_>, count: u64, alignment: u32, file_bytes: u64) -> Result<Self, String> {
        cursor.check_count(count, MIN_ENTRY_BYTES, "the number of tensors")?;
        // Nothing is reserved for `count` entries: a sparse file that is large enough for any count costs its maker nothing.
        let (mut tensors, mut index) = (Vec::new(), HashMap::new());
        for i in 0..count {
            let tensor = read_entry(cursor)?;
            if index.insert(tensor.name.clone(), tensors.len()).is_some() {
                return Err(format!("tensor {} occurs twice, the second time as number {i} of {count}", quoted(&tensor.name)));
            }
            tensors.push(tensor);
        }
        let data = align(cursor.position() as u64, alignment).ok_or("the header is too long")?;
        for tensor in &mut tensors {
            locate(tensor, data, alignment, file_bytes).map_err(|what| format!("tensor {} {what}", quoted(&tensor.name)))?;
        }
        check_overlap(&tensors)?;
        Ok(Self { tensors, index })
    }

    pub(super) fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        self.index.get(name).and_then(|&i| self.tensors.get(i))
    }
}

/// Reads one entry. Its offset counts from the start of the data, as in the file.
fn read_entry(cursor: &mut Cursor<'_>) -> Result<TensorInfo, String> {
    let name = cursor.name("a tensor")?.to_owned();
    let what = format!("tensor {}", quoted(&name));
    let dims = cursor.u32(&what)?;
    if dims == 0 || dims > MAX_DIMS {
        return Err(format!("{what} has {dims} dimensions, expected 1 to {MAX_DIMS}"));
    }
    let shape = (0..dims).map(|_| cursor.u64(&what)).collect::<Result<Vec<_>, _>>()?;
    let kind = GgmlType(cursor.u32(&what)?);
    let offset = cursor.u64(&what)?;
    let bytes = tensor_bytes(kind, &shape).map_err(|wrong| format!("{what} {wrong}"))?;
    Ok(TensorInfo { name, shape, kind, offset, bytes })
}

/// Checks that a tensor's data lies inside the file, and changes its offset to one from the start of the file.
fn locate(tensor: &mut TensorInfo, data: u64, alignment: u32, file_bytes: u64) -> Result<(), String> {
    let TensorInfo { offset, bytes, .. } = *tensor;
    if !offset.is_multiple_of(u64::from(alignment)) {
        return Err(format!("starts at data offset {offset}, which is not a multiple of the alignment {alignment}"));
    }
    let start = data.checked_add(offset);
    match start.and_then(|start| start.checked_add(bytes)) {
        Some(end) if end <= file_bytes => {
            tensor.offset = end - bytes;
            Ok(())
        }
        _ => {
            Err(format!("takes {bytes} bytes at data offset {offset}, but the file has {} bytes of data", file_bytes.saturating_sub(data)))
        }
    }
}

/// Two tensors may share exactly the same bytes (synthetic files store the experts of several layers once); any other overlap is an error.
fn check_overlap(tensors: &[TensorInfo]) -> Result<(), String> {
    let mut order: Vec<&TensorInfo> = tensors.iter().collect();
    order.sort_unstable_by_key(|tensor| (tensor.offset, tensor.bytes));
    for pair in order.windows(2) {
        let (a, b) = (pair[0], pair[1]);
        let same = (a.offset, a.bytes) == (b.offset, b.bytes);
        // The sum does not overflow, because the end of every tensor lies inside the file.
        if !same && b.offset < a.offset + a.bytes {
            return Err(format!(
                "tensors {} ({} bytes at {}) and {} ({} bytes at {}) overlap",
                quoted(&a.name),
                a.bytes,
                a.offset,
                quoted(&b.name),
                b.bytes,
                b.offset
            ));
        }
    }
    Ok(())
}
