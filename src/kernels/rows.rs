//! The rows of a step: how many there are, which of the two numerics they get, and what shaders know of each.

/// The largest number of rows of a generated step. They may belong to as many sessions, or several of them to one.
pub const DECODE_ROWS: u32 = 16;

/// The number of rows that go through a kernel together, and which kernels they take: those of generated rows or those of prompts.
///
/// The two kinds of kernels add up in different orders, so a row's bits depend on its kind. Within a kind they depend on nothing but the
/// row itself: a piece of one row takes the kernels of a piece of thousands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rows {
    /// At most [`DECODE_ROWS`] generated rows: matrix-vector products, bound by the bytes of the weights.
    Few(u32),
    /// Rows of a prompt, however few there are: matrix products, whose tiles many rows fill.
    Many(u32),
}

impl Rows {
    /// Number of rows (T).
    pub const fn count(self) -> u32 {
        match self {
            Self::Few(count) | Self::Many(count) => count,
        }
    }

    /// `count` rows that take the same kernels.
    #[must_use]
    pub const fn with_count(self, count: u32) -> Self {
        match self {
            Self::Few(_) => Self::Few(count),
            Self::Many(_) => Self::Many(count),
        }
    }

    /// Whether they take the kernels of generated rows.
    pub const fn are_few(self) -> bool {
        matches!(self, Self::Few(_))
    }
}

/// One row of a step, laid out as shaders read it (`lib/rows/rows`).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct Row {
    /// Slot of the row's session.
    pub slot: u32,
    /// Position in the session.
    pub position: u32,
    /// Token id, or [`SAMPLED`].
    pub token: u32,
    /// The first row of the same session in this step.
    pub first_row: u32,
    /// Position of that first row.
    pub first_position: u32,
    /// The last row of the same session in this step.
    pub last_row: u32,
    /// Zero; rounds the size up to a power of two.
    pub padding: [u32; 2],
}

/// In [`Row::token`]: the id that the sampler drew last for the slot.
pub const SAMPLED: u32 = u32::MAX;
