//! Placing weights in GPU memory: packs tensors into arenas that are no larger than one binding may be.
//!
//! Matrices that one launch reads together are in one arena. A matrix that is larger than an arena is split between rows, and takes a
//! launch for each part, so that tensors may have any size. Vectors are f32 and share one buffer.

use crate::gpu::{Buffer, Caps, Gpu, Slice};
use crate::kernels::{Experts, ExpertsSlice, Matrix, MatrixSlice};
use crate::model::{Table, Tensor};
use crate::{Error, Result};
use std::ops::Range;

/// Every slice starts at a multiple of this number of bytes, which satisfies the binding alignment of every device.
const ALIGNMENT: u64 = 256;

/// Unused bytes at the end of an arena, because kernels may read the word after the last block of a row.
const SLACK: u64 = 16;

/// The memory that weights are bound to.
pub struct Memory<'a> {
    /// The device.
    pub gpu: &'a Gpu,
    /// The arenas, which hold matrices.
    pub arenas: &'a [Buffer],
    /// The buffer of all vectors.
    pub vectors: Buffer,
}

type Binding<T> = dyn Fn(&Memory<'_>) -> Result<T>;

/// A weight whose place is known before its memory is allocated. Binding it to the memory makes the `T` that kernels take.
pub struct Placed<T>(Box<Binding<T>>);

impl<T> Placed<T> {
    /// A weight that `bind` binds.
    pub fn new(bind: impl Fn(&Memory<'_>) -> Result<T> + 'static) -> Self {
        Self(Box::new(bind))
    }

    /// Binds the weight to `memory`.
    ///
    /// # Errors
    /// Where no memory is left for a table.
    pub fn bind(&self, memory: &Memory<'_>) -> Result<T> {
        (self.0)(memory)
    }

    /// A weight that is made from this one with `convert` when it is bound.
    pub fn map<U>(self, convert: impl Fn(T) -> U + 'static) -> Placed<U>
    where
        T: 'static,
    {
        Placed::new(move |memory| self.bind(memory).map(&convert))
    }
}

impl<T: 'static> From<Option<Placed<T>>> for Placed<Option<T>> {
    fn from(placed: Option<Placed<T>>) -> Self {
        Self::new(move |memory| placed.as_ref().map(|weight| weight.bind(memory)).transpose())
    }
}

impl<T: 'static> From<Vec<Placed<T>>> for Placed<Vec<T>> {
    fn from(placed: Vec<Placed<T>>) -> Self {
        Self::new(move |memory| placed.iter().map(|weight| weight.bind(memory)).collect())
    }
}

/// One copy from a file into an arena.
#[derive(Clone, Debug)]
pub struct Copy {
    /// The tensor.
    pub tensor: Tensor,
    /// The rows of the tensor to copy.
    pub rows: Range<usize>,
    /// Index of the arena.
    pub arena: usize,
    /// Byte offset in the arena.
    pub offset: u64,
}

impl Copy {
    /// Number of bytes to copy.
    pub fn bytes(&self) -> u64 {
        self.rows.len() as u64 * self.tensor.row_bytes() as u64
    }

    /// Whether the device groups the blocks of a row, so that its bytes have another order than in the file.
    pub fn is_rearranged(&self) -> bool {
        self.tensor.format.on_device(self.tensor.columns) != self.tensor.format
    }
}

/// The place of a range of experts, or of a range of one expert's rows, in one arena. `bases` has the byte offset of each matrix.
struct ExpertsPlace {
    arena: usize,
    bases: Vec<u64>,
    experts: Range<usize>,
    rows: Range<usize>,
}

/// Packs tensors into arenas and vectors into one buffer.
pub struct Placer {
    /// Bytes of the largest possible arena without slack, a multiple of the alignment.
    cap: u64,
    /// Bytes used of each arena.
    pub arenas: Vec<u64>,
    /// The copies that fill the arenas.
    pub copies: Vec<Copy>,
    /// All vectors: norms, sinks, biases, ape, and bases and scales of hyper-connections.
    vectors: Vec<f32>,
    /// Number of words of the tables.
    table_words: usize,
}

impl Placer {
    /// A placer for a device with these caps.
    pub fn new(caps: &Caps) -> Self {
        let largest = caps.max_binding_bytes.min(caps.max_buffer_bytes);
        let cap = largest.saturating_sub(SLACK) / ALIGNMENT * ALIGNMENT;
        Self { cap, arenas: Vec::new(), copies: Vec::new(), vectors: Vec::new(), table_words: 0 }
    }

    /// Bytes of GPU memory for everything that was placed.
    pub fn bytes(&self) -> u64 {
        let arenas: u64 = self.arenas.iter().map(|bytes| bytes + SLACK).sum();
        arenas + 4 * (self.vectors.len() + self.table_words) as u64
    }

    /// Allocates the arenas.
    ///
    /// # Errors
    /// Where no memory is left.
    pub fn allocate(&self, gpu: &Gpu) -> Result<Vec<Buffer>> {
        self.arenas.iter().enumerate().map(|(i, bytes)| gpu.buffer(&format!("weights {i}"), bytes + SLACK)).collect()
    }

    /// The memory to bind weights to. Allocates and writes the vectors.
    ///
    /// # Errors
    /// Where no memory is left.
    pub fn memory<'a>(&self, gpu: &'a Gpu, arenas: &'a [Buffer]) -> Result<Memory<'a>> {
        Ok(Memory { gpu, arenas, vectors: gpu.buffer_with("vectors", &self.vectors)? })
    }

    /// Number of free bytes in the last arena.
    fn room(&self) -> u64 {
        self.arenas.last().map_or(0, |used| self.cap - used)
    }

    /// Reserves `bytes` bytes in the last arena, or in a new one. Returns arena and byte offset.
    fn reserve(&mut self, bytes: u64) -> (usize, u64) {
        if self.arenas.is_empty() || self.room() < bytes {
            self.arenas.push(0);
        }
        let arena = self.arenas.len() - 1;
        let offset = self.arenas[arena];
        self.arenas[arena] = (offset + bytes).next_multiple_of(ALIGNMENT);
        (arena, offset)
    }

    /// Places matrices that one launch reads: in one arena if they fit in one, otherwise each separately.
    ///
    /// # Errors
    /// Those of [`Placer::matrix`].
    pub fn matrices(&mut self, tensors: &[&Tensor]) -> Result<Placed<Vec<Matrix>>> {
        let total: u64 = tensors.iter().map(|t| t.bytes().next_multiple_of(ALIGNMENT)).sum();
        if total <= self.cap && self.room() < total {
            self.arenas.push(0);
        }
        Ok(tensors.iter().map(|tensor| self.matrix(tensor)).collect::<Result<Vec<_>>>()?.into())
    }

    /// Places a matrix.
    ///
    /// # Errors
    /// Where one row is larger than an arena.
    pub fn matrix(&mut self, tensor: &Tensor) -> Result<Placed<Matrix>> {
        let stride = tensor.row_bytes() as u64;
        let mut places: Vec<(usize, u64, Range<usize>)> = Vec::new();
        let mut row = 0;
        while row < tensor.rows {
            let remaining = tensor.rows - row;
            // Rows that fit in one arena are not split to fill the previous arena.
            let whole = remaining as u64 * stride <= self.cap;
            let room = if whole || self.room() < stride { self.cap } else { self.room() };
            let rows = remaining.min((room / stride.max(1)) as usize);
            if rows == 0 {
                return Err(too_large(tensor, stride, self.cap));
            }
            let (arena, offset) = self.reserve(rows as u64 * stride);
            self.copies.push(Copy { tensor: tensor.clone(), rows: row..row + rows, arena, offset });
            places.push((arena, offset, row..row + rows));
            row += rows;
        }
        let (format, rows, columns) = (tensor.format.on_device(tensor.columns), tensor.rows as u32, tensor.columns as u32);
        Ok(Placed::new(move |memory| {
            let slice = |(arena, base, rows): &(usize, u64, Range<usize>)| MatrixSlice {
                arena: memory.arenas[*arena].all(),
                base: *base as u32,
                first_row: rows.start as u32,
                rows: rows.len() as u32,
            };
            Ok(Matrix { format, rows, columns, slices: places.iter().map(slice).collect() })
        }))
    }

    /// Places matrices of `experts` experts. `members` are the tensors that one launch reads together: gate and up, or down. The members of
    /// an expert are always in one arena.
    ///
    /// # Errors
    /// Where one row of all members is larger than an arena.
    pub fn experts(&mut self, members: &[&Tensor], experts: usize) -> Result<Placed<Experts>> {
        let rows = members[0].rows / experts;
        let stride: u64 = members.iter().map(|m| m.row_bytes() as u64).sum();
        let margin = ALIGNMENT * members.len() as u64;
        let fits = |room: u64| (room.saturating_sub(margin) / (rows as u64 * stride).max(1)) as usize;
        // A stack that fits in one arena is not split to fill the previous arena, because every part takes a launch.
        if (fits(self.room()) + 1..=fits(self.cap)).contains(&experts) {
            self.arenas.push(0);
        }
        let mut places = Vec::new();
        let mut expert = 0;
        while expert < experts {
            let room = if fits(self.room()) > 0 { self.room() } else { self.cap };
            let count = fits(room).min(experts - expert);
            if count > 0 {
                places.push(self.experts_place(members, rows, expert..expert + count, 0..rows));
                expert += count;
                continue;
            }
            // One expert does not fit in an arena, so its rows are split.
            let each = (self.cap.saturating_sub(margin) / stride.max(1)) as usize;
            if each == 0 {
                return Err(too_large(members[0], stride, self.cap));
            }
            for first in (0..rows).step_by(each) {
                places.push(self.experts_place(members, rows, expert..expert + 1, first..rows.min(first + each)));
            }
            expert += 1;
        }
        let formats: Vec<_> = members.iter().map(|m| m.format.on_device(m.columns)).collect();
        let (experts, rows, columns) = (experts as u32, rows as u32, members[0].columns as u32);
        Ok(Placed::new(move |memory| {
            let slice = |place: &ExpertsPlace| ExpertsSlice {
                arena: memory.arenas[place.arena].all(),
                bases: place.bases.iter().map(|&base| base as u32).collect(),
                first_expert: place.experts.start as u32,
                experts: place.experts.len() as u32,
                first_row: place.rows.start as u32,
                rows: place.rows.len() as u32,
            };
            Ok(Experts { formats: formats.clone(), experts, rows, columns, slices: places.iter().map(slice).collect() })
        }))
    }

    /// Places `rows` of each of `experts`, in which an expert has `each` rows. Where `rows` are not all of them, there is only one expert.
    fn experts_place(&mut self, members: &[&Tensor], each: usize, experts: Range<usize>, rows: Range<usize>) -> ExpertsPlace {
        let bytes = |m: &Tensor| (experts.len() * rows.len() * m.row_bytes()) as u64;
        let total: u64 = members.iter().map(|m| bytes(m).next_multiple_of(ALIGNMENT)).sum();
        if self.room() < total {
            self.arenas.push(0);
        }
        let mut bases = Vec::new();
        let mut arena = 0;
        for &member in members {
            let (place, offset) = self.reserve(bytes(member));
            arena = place;
            let first = experts.start * each + rows.start;
            let copied = first..first + experts.len() * rows.len();
            self.copies.push(Copy { tensor: member.clone(), rows: copied, arena, offset });
            bases.push(offset);
        }
        ExpertsPlace { arena, bases, experts, rows }
    }

    /// Places `tensors`, one after the other, as one vector.
    pub fn vector(&mut self, tensors: &[&Tensor]) -> Placed<Slice> {
        // Vectors are aligned, because each is bound separately.
        self.vectors.resize(self.vectors.len().next_multiple_of(ALIGNMENT as usize / 4), 0.0);
        let start = self.vectors.len();
        tensors.iter().for_each(|t| self.vectors.extend(t.values()));
        let (offset, bytes) = (start as u64 * 4, (self.vectors.len() - start) as u64 * 4);
        Placed::new(move |memory| Ok(memory.vectors.slice(offset, bytes)))
    }

    /// Places the table of a hash-routed layer. Each table has a separate buffer.
    pub fn table(&mut self, table: &Table) -> Placed<Slice> {
        self.table_words += table.values.len();
        let words = table.values.clone();
        Placed::new(move |memory| Ok(memory.gpu.buffer_with("experts of tokens", &words)?.all()))
    }
}

fn too_large(tensor: &Tensor, stride: u64, cap: u64) -> Error {
    Error::Refused(format!("tensor {}: a row of {stride} bytes is larger than this device's largest binding, {cap} bytes", tensor.name))
}
