//! How many rows a launch has, and which of the two numerics they get.

/// Most rows of a step that generates: one of each of so many sessions, or several of one.
pub const DECODE_ROWS: u32 = 16;

/// Rows that go through a kernel together, and by which kernels: those of a step that generates, or those of a piece of a prompt.
///
/// The two kinds of kernels add up in different orders, so a row's bits depend on its kind. Within a kind they depend on nothing but the row
/// itself: a piece of one row takes the kernels of a piece of thousands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rows {
    /// At most [`DECODE_ROWS`] generated rows: matrix-vector products, bound by the bytes of the weights.
    Few(u32),
    /// Rows of a prompt, however few: matrix products, whose tiles many rows fill.
    Many(u32),
}

impl Rows {
    /// How many (T).
    pub const fn count(self) -> u32 {
        match self {
            Self::Few(count) | Self::Many(count) => count,
        }
    }

    /// `count` rows by the same kernels.
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
