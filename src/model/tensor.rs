//! A bound tensor: its name, format and shape, and where its rows are stored.

use super::files::Files;
use crate::quant::{BlockFormat, fp8, mxfp4};
use std::ops::Range;
use std::path::Path;

/// A matrix [rows, columns]. A vector has one row. The matrices of all experts are one tensor, in which the rows of an expert follow those
/// of the expert before it.
#[derive(Clone, Debug)]
pub struct Tensor {
    /// The name in the file. Where a checkpoint has one tensor an expert, the name of the first.
    pub name: String,
    /// The name that the tensor has in GGUF files, even where it comes from a checkpoint.
    pub gguf_name: String,
    /// The format of the rows that [`Tensor::read_rows`] gives. FP8 and FP4 of a checkpoint are repacked into it.
    pub format: BlockFormat,
    /// Number of rows.
    pub rows: usize,
    /// Values in a row.
    pub columns: usize,
    pub(super) files: Files,
    /// Where the rows are stored: in one place, or an equal number of rows in each of several.
    pub(super) parts: Vec<Stored>,
}

/// Rows of a tensor as a file stores them.
#[derive(Clone, Debug)]
pub(super) enum Stored {
    /// Rows in the format in which they are read.
    Plain { name: String },
    /// FP8 codes and the scales of their tiles.
    Fp8 { codes: String, scales: String },
    /// Packed FP4 codes and the scales of their blocks.
    Fp4 { codes: String, scales: String },
}

/// The bytes of a tensor.
#[derive(Clone, Debug)]
pub enum Bytes {
    /// Bytes in the mapped file.
    Mapped {
        /// The file.
        files: Files,
        /// The tensor's name in it.
        name: String,
    },
    /// Repacked bytes in memory.
    Owned(Vec<u8>),
}

impl Bytes {
    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        match self {
            Self::Mapped { files, name } => files.bytes(name),
            Self::Owned(bytes) => bytes,
        }
    }
}

/// Bytes that are repacked at a time: few enough for a small scratch buffer, and enough for few calls.
const REPACK_BYTES: usize = 1 << 20;

impl Tensor {
    /// The file or folder that the tensor is in.
    pub fn path(&self) -> &Path {
        self.files.path()
    }

    /// Bytes of one row.
    pub fn row_bytes(&self) -> usize {
        // The shape was checked against the format when the tensor was bound.
        self.format.row_bytes(self.columns).unwrap_or(0)
    }

    /// Bytes of all rows.
    pub fn bytes(&self) -> u64 {
        self.rows as u64 * self.row_bytes() as u64
    }

    /// The place of row `row` in the file: the name of the stored tensor, and the row's number in it.
    pub fn locate(&self, row: usize) -> (&str, usize) {
        let each = (self.rows / self.parts.len().max(1)).max(1);
        let (Stored::Plain { name } | Stored::Fp8 { codes: name, .. } | Stored::Fp4 { codes: name, .. }) = &self.parts[row / each];
        (name, row % each)
    }

    /// Hands the bytes of `rows` to `sink` in chunks. The first argument of `sink` is the chunk's byte offset from the start of `rows`.
    pub fn read_rows(&self, rows: Range<usize>, mut sink: impl FnMut(usize, &[u8])) {
        let stride = self.row_bytes();
        let each = self.rows / self.parts.len().max(1);
        let mut row = rows.start;
        while row < rows.end {
            let part = row / each;
            let end = rows.end.min((part + 1) * each);
            let within_part = row - part * each..end - part * each;
            self.read_part(&self.parts[part], within_part, |offset, bytes| sink((row - rows.start) * stride + offset, bytes));
            row = end;
        }
    }

    fn read_part(&self, part: &Stored, rows: Range<usize>, mut sink: impl FnMut(usize, &[u8])) {
        let stride = self.row_bytes();
        if let Stored::Plain { name } = part {
            sink(0, &self.files.bytes(name)[rows.start * stride..rows.end * stride]);
            return;
        }
        let step = (REPACK_BYTES / stride.max(1)).max(1);
        let mut scratch = vec![0u8; step.min(rows.len()) * stride];
        for first in rows.clone().step_by(step) {
            let chunk = first..rows.end.min(first + step);
            let out = &mut scratch[..chunk.len() * stride];
            let repacked = match part {
                Stored::Fp8 { codes, scales } => {
                    fp8::repack_rows(self.files.bytes(codes), self.files.bytes(scales), self.columns, chunk.clone(), out)
                }
                Stored::Fp4 { codes, scales } => {
                    let (code_row, scale_row) = (self.columns / 2, self.columns / 32);
                    let codes = &self.files.bytes(codes)[chunk.start * code_row..chunk.end * code_row];
                    let scales = &self.files.bytes(scales)[chunk.start * scale_row..chunk.end * scale_row];
                    mxfp4::repack(codes, scales, out)
                }
                Stored::Plain { .. } => Some(()),
            };
            debug_assert!(repacked.is_some(), "{}: shapes were checked when the tensor was bound", self.name);
            sink((first - rows.start) * stride, out);
        }
    }

    /// All bytes. They stay in the mapped file where the file has one plain tensor, and are copied or repacked into memory otherwise.
    pub fn load(&self) -> Bytes {
        if let [Stored::Plain { name }] = &self.parts[..] {
            return Bytes::Mapped { files: self.files.clone(), name: name.clone() };
        }
        let mut out = vec![0u8; self.rows * self.row_bytes()];
        self.read_rows(0..self.rows, |offset, bytes| out[offset..offset + bytes.len()].copy_from_slice(bytes));
        Bytes::Owned(out)
    }

    /// All values as f32, meant for vectors and other small tensors.
    pub fn values(&self) -> Vec<f32> {
        let bytes = self.load();
        let mut out = vec![0f32; self.rows * self.columns];
        let stride = self.row_bytes();
        for (out, row) in out.chunks_exact_mut(self.columns.max(1)).zip(bytes.as_slice().chunks_exact(stride.max(1))) {
            self.format.dequantize(row, out);
        }
        out
    }
}

/// The table of a hash-routed layer: the experts of each token id.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// Number of token ids.
    pub rows: usize,
    /// Number of experts that a token uses.
    pub columns: usize,
    /// Numbers of experts, row by row. Every one is below the number of experts.
    pub values: Vec<u32>,
}
