//! Activations rounded to int8: how a kernel leaves its result so, for the next one to multiply.

use super::context::KernelProfile;
use super::rows::Rows;
use crate::gpu::{Binding, Slice, Variant};

/// Columns of a row of int8 activations come in this many.
pub(super) const UNIT: u32 = 256;

/// Rows of activations rounded to int8, as `lib/numbers/quantize` leaves them.
#[derive(Clone, Debug)]
pub struct Quantized {
    /// All rows.
    pub slice: Slice,
    /// Values in a row.
    pub columns: u32,
}

impl Quantized {
    /// Words of a row of `columns` values, rounded up to whole units.
    pub const fn words(columns: u32) -> u32 {
        columns.div_ceil(UNIT) * (UNIT / 32 * 9)
    }

    /// Rows of `columns` values in `slice`, where `profile` has a use for them in a step of `rows`.
    pub fn new(profile: &KernelProfile, slice: &Slice, columns: u32, rows: Rows) -> Option<Self> {
        let usable = profile.int8() && rows.are_few() && columns.is_multiple_of(UNIT);
        usable.then(|| Self { slice: slice.clone(), columns })
    }
}

/// `variant` of a kernel that also leaves its result rounded, in one more binding after its others.
pub(super) fn with_int8_output(variant: Variant, quantize: bool) -> Variant {
    variant.flag_if(quantize, "QUANTIZE")
}

/// What [`with_int8_output`] variants bind.
pub(super) fn binding(quantized: Option<&Quantized>) -> Option<Binding> {
    quantized.map(|q| Binding::from(&q.slice))
}
