//! Where weights go in GPU memory: tensors packed into arenas, each no larger than one binding may be.
//!
//! Matrices that one launch reads together lie in one arena. A matrix that is larger than an arena is cut at row borders and its launches
//! with it, so nothing here or in the kernels depends on how large a tensor is.

use crate::gpu::{Buffer, Caps};
use crate::kernels::{Experts, ExpertsSlice, Matrix, MatrixSlice};
use crate::model::Tensor;
use crate::{Error, Result};
use std::ops::Range;

/// Every slice starts at a multiple of this, which suits any device's binding alignment.
const ALIGNMENT: u64 = 256;

/// Bytes behind what an arena holds: kernels may read the word after a row's last block.
pub const SLACK: u64 = 16;

/// One copy from a file into an arena.
#[derive(Clone, Debug)]
pub struct Copy {
    /// What to copy.
    pub tensor: Tensor,
    /// Which of its rows.
    pub rows: Range<usize>,
    /// Into which arena.
    pub arena: usize,
    /// At which byte.
    pub offset: u64,
}

impl Copy {
    /// Bytes to copy.
    pub fn bytes(&self) -> u64 {
        self.rows.len() as u64 * self.tensor.row_bytes() as u64
    }

    /// Whether rows are kept in another order of bytes than stored.
    pub fn is_rearranged(&self) -> bool {
        self.tensor.format.on_device(self.tensor.columns) != self.tensor.format
    }
}

/// A matrix whose arenas are known by number only.
#[derive(Clone, Debug)]
pub struct PlacedMatrix {
    tensor: Tensor,
    /// Arena, byte offset, rows.
    slices: Vec<(usize, u64, Range<usize>)>,
}

/// Stacked experts whose arenas are known by number only.
#[derive(Clone, Debug)]
pub struct PlacedExperts {
    members: Vec<Tensor>,
    experts: usize,
    slices: Vec<PlacedExpertsSlice>,
}

#[derive(Clone, Debug)]
struct PlacedExpertsSlice {
    arena: usize,
    bases: Vec<u64>,
    experts: Range<usize>,
    rows: Range<usize>,
}

/// Packs tensors into arenas.
#[derive(Debug)]
pub struct Placer {
    /// Largest arena, without slack; a multiple of the alignment.
    cap: u64,
    /// Bytes used of each arena.
    pub arenas: Vec<u64>,
    /// What goes where.
    pub copies: Vec<Copy>,
}

impl Placer {
    /// For a device of these caps.
    pub fn new(caps: &Caps) -> Self {
        let largest = caps.max_binding_bytes.min(caps.max_buffer_bytes);
        Self { cap: largest.saturating_sub(SLACK) / ALIGNMENT * ALIGNMENT, arenas: Vec::new(), copies: Vec::new() }
    }

    /// Room left in the last arena.
    fn room(&self) -> u64 {
        self.arenas.last().map_or(0, |used| self.cap - used)
    }

    /// `bytes` bytes in the last arena, or in a new one.
    fn reserve(&mut self, bytes: u64) -> (usize, u64) {
        if self.arenas.is_empty() || self.room() < bytes {
            self.arenas.push(0);
        }
        let arena = self.arenas.len() - 1;
        let offset = self.arenas[arena];
        self.arenas[arena] = (offset + bytes).next_multiple_of(ALIGNMENT);
        (arena, offset)
    }

    /// Places matrices that are read together: in one arena if they fit in one, else each by itself.
    ///
    /// # Errors
    /// One row is larger than an arena.
    pub fn group<const N: usize>(&mut self, tensors: [&Tensor; N]) -> Result<[PlacedMatrix; N]> {
        let placed: Vec<PlacedMatrix> = self.list(&tensors)?;
        placed.try_into().map_err(|_| Error::Device("a group of matrices lost a member".into()))
    }

    /// As [`Placer::group`], for any number.
    ///
    /// # Errors
    /// As there.
    pub fn list(&mut self, tensors: &[&Tensor]) -> Result<Vec<PlacedMatrix>> {
        let total: u64 = tensors.iter().map(|t| t.bytes().next_multiple_of(ALIGNMENT)).sum();
        if total <= self.cap && self.room() < total {
            self.arenas.push(0);
        }
        tensors.iter().map(|tensor| self.matrix(tensor)).collect()
    }

    fn matrix(&mut self, tensor: &Tensor) -> Result<PlacedMatrix> {
        let stride = tensor.row_bytes() as u64;
        let mut slices = Vec::new();
        let mut row = 0;
        while row < tensor.rows {
            let left = tensor.rows - row;
            // A matrix that fits in an arena is not cut to fill the one before.
            let whole = left as u64 * stride <= self.cap;
            let room = if whole || self.room() < stride { self.cap } else { self.room() };
            let rows = left.min((room / stride.max(1)) as usize);
            if rows == 0 {
                return Err(too_large(tensor, stride, self.cap));
            }
            let (arena, offset) = self.reserve(rows as u64 * stride);
            self.copies.push(Copy { tensor: tensor.clone(), rows: row..row + rows, arena, offset });
            slices.push((arena, offset, row..row + rows));
            row += rows;
        }
        Ok(PlacedMatrix { tensor: tensor.clone(), slices })
    }

    /// Places the same matrices (gate and up, or down) of `experts` experts, the members of an expert always in one arena.
    ///
    /// # Errors
    /// One row of all members is larger than an arena.
    pub fn experts(&mut self, members: &[&Tensor], experts: usize) -> Result<PlacedExperts> {
        let rows = members[0].rows / experts;
        let stride: u64 = members.iter().map(|m| m.row_bytes() as u64).sum();
        let margin = ALIGNMENT * members.len() as u64;
        let fits = |room: u64| (room.saturating_sub(margin) / (rows as u64 * stride).max(1)) as usize;
        // A stack that fits in an arena is not cut to fill the one before: every piece is a launch of its own.
        if (fits(self.room()) + 1..=fits(self.cap)).contains(&experts) {
            self.arenas.push(0);
        }
        let mut slices = Vec::new();
        let mut expert = 0;
        while expert < experts {
            let room = if fits(self.room()) > 0 { self.room() } else { self.cap };
            let count = fits(room).min(experts - expert);
            if count > 0 {
                slices.push(self.experts_slice(members, rows, expert..expert + count, 0..rows));
                expert += count;
                continue;
            }
            // Not even one expert fits: cut its rows.
            let each = (self.cap.saturating_sub(margin) / stride.max(1)) as usize;
            if each == 0 {
                return Err(too_large(members[0], stride, self.cap));
            }
            for first in (0..rows).step_by(each) {
                slices.push(self.experts_slice(members, rows, expert..expert + 1, first..rows.min(first + each)));
            }
            expert += 1;
        }
        Ok(PlacedExperts { members: members.iter().map(|&m| m.clone()).collect(), experts, slices })
    }

    /// `rows` of each of `experts`; unless all rows are taken there is just one expert.
    fn experts_slice(&mut self, members: &[&Tensor], each: usize, experts: Range<usize>, rows: Range<usize>) -> PlacedExpertsSlice {
        let of = |m: &Tensor| (experts.len() * rows.len() * m.row_bytes()) as u64;
        let total: u64 = members.iter().map(|m| of(m).next_multiple_of(ALIGNMENT)).sum();
        if self.room() < total {
            self.arenas.push(0);
        }
        let mut bases = Vec::new();
        let mut arena = 0;
        for &member in members {
            let (place, offset) = self.reserve(of(member));
            arena = place;
            let first = experts.start * each + rows.start;
            let copied = first..first + experts.len() * rows.len();
            self.copies.push(Copy { tensor: member.clone(), rows: copied, arena, offset });
            bases.push(offset);
        }
        PlacedExpertsSlice { arena, bases, experts, rows }
    }
}

fn too_large(tensor: &Tensor, stride: u64, cap: u64) -> Error {
    Error::Refused(format!("tensor {}: a row of {stride} bytes is larger than this device's largest binding, {cap} bytes", tensor.name))
}

impl PlacedMatrix {
    /// The matrix in the arenas that were made.
    pub fn bind(&self, arenas: &[Buffer]) -> Matrix {
        let slice = |(arena, base, rows): &(usize, u64, Range<usize>)| MatrixSlice {
            arena: arenas[*arena].all(),
            base: *base as u32,
            first_row: rows.start as u32,
            rows: rows.len() as u32,
        };
        Matrix {
            format: self.tensor.format.on_device(self.tensor.columns),
            rows: self.tensor.rows as u32,
            columns: self.tensor.columns as u32,
            slices: self.slices.iter().map(slice).collect(),
        }
    }
}

impl PlacedExperts {
    /// The experts in the arenas that were made.
    pub fn bind(&self, arenas: &[Buffer]) -> Experts {
        let slice = |s: &PlacedExpertsSlice| ExpertsSlice {
            arena: arenas[s.arena].all(),
            bases: s.bases.iter().map(|&b| b as u32).collect(),
            first_expert: s.experts.start as u32,
            experts: s.experts.len() as u32,
            first_row: s.rows.start as u32,
            rows: s.rows.len() as u32,
        };
        Experts {
            formats: self.members.iter().map(|m| m.format.on_device(m.columns)).collect(),
            experts: self.experts as u32,
            rows: (self.members[0].rows / self.experts) as u32,
            columns: self.members[0].columns as u32,
            slices: self.slices.iter().map(slice).collect(),
        }
    }
}
