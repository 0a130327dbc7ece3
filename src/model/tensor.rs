//! A bound tensor: name, format, shape, and where its rows are.

use super::files::Files;
use crate::quant::{BlockFormat, fp8, mxfp4};
use std::ops::Range;
use std::path::Path;

/// A matrix [rows, columns] (a vector has one row), or the same matrix of all experts stacked: rows then count through the experts.
#[derive(Clone, Debug)]
pub struct Tensor {
    /// The name in the file; of a stack that a checkpoint keeps apart, the first expert's.
    pub name: String,
    /// The name that the tensor has in GGUF files, whatever file it is in.
    pub gguf_name: String,
    /// How rows read with [`Tensor::read_rows`] are stored. A checkpoint's FP8 and FP4 are repacked on the way.
    pub format: BlockFormat,
    /// R.
    pub rows: usize,
    /// C.
    pub columns: usize,
    pub(super) files: Files,
    /// Each holds the same number of rows.
    pub(super) parts: Vec<Part>,
}

/// Where some of a tensor's rows are.
#[derive(Clone, Debug)]
pub(super) enum Part {
    /// Stored as they are read.
    Plain { name: String },
    /// FP8 codes and the scales of their tiles.
    Fp8 { codes: String, scales: String },
    /// Packed FP4 codes and the scales of their blocks.
    Fp4 { codes: String, scales: String },
}

/// The bytes of a tensor, mapped or repacked.
#[derive(Clone, Debug)]
pub enum Bytes {
    /// In the file.
    Mapped {
        /// The file.
        files: Files,
        /// The tensor's name in it.
        name: String,
    },
    /// In memory.
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

/// Rows repacked at a time: keeps the scratch small and the calls few.
const REPACK_BYTES: usize = 1 << 20;

impl Tensor {
    /// The file or folder that it is in.
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

    /// Where row `row` is in the file: the name of the tensor there, and the row's number in it.
    pub fn locate(&self, row: usize) -> (&str, usize) {
        let each = (self.rows / self.parts.len().max(1)).max(1);
        let (Part::Plain { name } | Part::Fp8 { codes: name, .. } | Part::Fp4 { codes: name, .. }) = &self.parts[row / each];
        (name, row % each)
    }

    /// Hands the bytes of `rows` to `sink` in pieces, each with its offset from the first of them.
    pub fn read_rows(&self, rows: Range<usize>, mut sink: impl FnMut(usize, &[u8])) {
        let stride = self.row_bytes();
        let each = self.rows / self.parts.len().max(1);
        let mut row = rows.start;
        while row < rows.end {
            let part = row / each;
            let end = rows.end.min((part + 1) * each);
            let own = row - part * each..end - part * each;
            self.read_part(&self.parts[part], own, |offset, bytes| sink((row - rows.start) * stride + offset, bytes));
            row = end;
        }
    }

    fn read_part(&self, part: &Part, rows: Range<usize>, mut sink: impl FnMut(usize, &[u8])) {
        let stride = self.row_bytes();
        if let Part::Plain { name } = part {
            sink(0, &self.files.bytes(name)[rows.start * stride..rows.end * stride]);
            return;
        }
        let step = (REPACK_BYTES / stride.max(1)).max(1);
        let mut scratch = vec![0u8; step.min(rows.len()) * stride];
        for first in rows.clone().step_by(step) {
            let some = first..rows.end.min(first + step);
            let out = &mut scratch[..some.len() * stride];
            let repacked = match part {
                Part::Fp8 { codes, scales } => {
                    fp8::repack_rows(self.files.bytes(codes), self.files.bytes(scales), self.columns, some.clone(), out)
                }
                Part::Fp4 { codes, scales } => {
                    let (code_row, scale_row) = (self.columns / 2, self.columns / 32);
                    let codes = &self.files.bytes(codes)[some.start * code_row..some.end * code_row];
                    let scales = &self.files.bytes(scales)[some.start * scale_row..some.end * scale_row];
                    mxfp4::repack(codes, scales, out)
                }
                Part::Plain { .. } => Some(()),
            };
            debug_assert!(repacked.is_some(), "{}: shapes were checked when the tensor was bound", self.name);
            sink((first - rows.start) * stride, out);
        }
    }

    /// All bytes: mapped where the file stores them as they are read.
    pub fn load(&self) -> Bytes {
        if let [Part::Plain { name }] = &self.parts[..] {
            return Bytes::Mapped { files: self.files.clone(), name: name.clone() };
        }
        let mut out = vec![0u8; self.rows * self.row_bytes()];
        self.read_rows(0..self.rows, |offset, bytes| out[offset..offset + bytes.len()].copy_from_slice(bytes));
        Bytes::Owned(out)
    }

    /// All values as f32: for vectors and other small tensors.
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

/// A table of small numbers, read and checked in whole: the experts of each token id in hash-routed layers.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// Rows: token ids.
    pub rows: usize,
    /// Columns: experts a token.
    pub columns: usize,
    /// Row by row; every value is below the number of experts.
    pub values: Vec<u32>,
}
