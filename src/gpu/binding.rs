//! The memory that a launch gets, described by what the kernel does with it. The executor decides how to bind it.

use super::buffer::Slice;
use std::fmt;
use std::slice;

/// One memory argument of a kernel. Several kinds exist only because WGSL has no pointers, and because devices bind few and small ranges.
/// An executor without these limits may bind less.
#[derive(Clone, Debug)]
pub enum Binding {
    /// A range that the kernel declares once.
    One(Slice),
    /// A range that the kernel declares twice in a row, as scalars and as vectors, since WGSL cannot cast a pointer.
    Twice(Slice),
    /// An array in equal segments, none larger than a binding may be. The kernel declares each and finds the segment of an index.
    Pool(Vec<Slice>),
    /// Several vectors in one range, since a kernel has few bindings. Its parameters say where each vector begins.
    Merged(Slice),
    /// A range that the kernel declares and never reads in this launch, so that launches with and without it share their code.
    Unused(Slice),
    /// Ranges that the kernel only touches, so that their addresses are translated before the next launch reads them.
    Prefetch {
        /// Ranges of weights.
        ranges: Vec<Slice>,
        /// Where the kernel writes what it touched, under a condition that never holds: compilers drop loads without a use. None: the
        /// kernel has an output that can serve.
        sink: Option<Slice>,
    },
}

impl Binding {
    /// The ranges that a shader declares for it, in order: one for each variable.
    pub fn slices(&self) -> impl Iterator<Item = &Slice> {
        let (first, rest) = match self {
            Self::One(slice) | Self::Merged(slice) | Self::Unused(slice) => (Some(slice), &[][..]),
            Self::Twice(slice) => (Some(slice), slice::from_ref(slice)),
            Self::Pool(segments) => (None, &segments[..]),
            Self::Prefetch { ranges, sink } => (sink.as_ref(), &ranges[..]),
        };
        first.into_iter().chain(rest)
    }

    /// The same kind of binding of other ranges: `of` replaces each.
    #[must_use]
    pub fn map(&self, of: impl Fn(&Slice) -> Slice) -> Self {
        match self {
            Self::One(slice) => Self::One(of(slice)),
            Self::Twice(slice) => Self::Twice(of(slice)),
            Self::Pool(segments) => Self::Pool(segments.iter().map(&of).collect()),
            Self::Merged(slice) => Self::Merged(of(slice)),
            Self::Unused(slice) => Self::Unused(of(slice)),
            Self::Prefetch { ranges, sink } => Self::Prefetch { ranges: ranges.iter().map(&of).collect(), sink: sink.as_ref().map(&of) },
        }
    }

    /// The name of its kind. One plain range has none.
    pub(super) fn kind(&self) -> Option<&'static str> {
        match self {
            Self::One(_) => None,
            Self::Twice(_) => Some("twice"),
            Self::Pool(_) => Some("pool"),
            Self::Merged(_) => Some("merged"),
            Self::Unused(_) => Some("unused"),
            Self::Prefetch { .. } => Some("prefetch"),
        }
    }
}

impl From<Slice> for Binding {
    fn from(slice: Slice) -> Self {
        Self::One(slice)
    }
}

impl From<&Slice> for Binding {
    fn from(slice: &Slice) -> Self {
        Self::One(slice.clone())
    }
}

/// `x[0..256]`, or the kind and its slices: `twice(w[0..1024])`, `pool(a[0..64] b[0..64])`.
impl fmt::Display for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(kind) = self.kind() else { return self.slices().try_for_each(|slice| slice.fmt(f)) };
        let shown = if matches!(self, Self::Twice(_)) { 1 } else { usize::MAX };
        write!(f, "{kind}(")?;
        for (i, slice) in self.slices().take(shown).enumerate() {
            write!(f, "{}{slice}", if i > 0 { " " } else { "" })?;
        }
        f.write_str(")")
    }
}
