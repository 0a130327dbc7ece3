//! Activations rounded to int8: a kernel rounds its result, and the next one multiplies it.

use super::context::KernelProfile;
use super::rows::Rows;
use crate::gpu::{Binding, Slice, Variant};

/// The columns of a row of int8 activations are rounded up to a multiple of this.
pub(super) const UNIT: u32 = 256;

/// Rows of activations rounded to int8, laid out as `lib/numbers/quantize` writes them.
#[derive(Clone, Debug)]
pub struct Quantized {
    /// All rows.
    pub slice: Slice,
    /// Values in a row.
    pub columns: u32,
}

impl Quantized {
    /// Size of a row of `columns` values in words, rounded up to whole units.
    pub const fn words(columns: u32) -> u32 {
        columns.div_ceil(UNIT) * (UNIT / 32 * 9)
    }

    /// Rows of `columns` values in `slice`, if kernels of `profile` multiply int8 activations for `rows`.
    pub fn new(profile: &KernelProfile, slice: &Slice, columns: u32, rows: Rows) -> Option<Self> {
        let usable = profile.int8() && rows.are_few() && columns.is_multiple_of(UNIT);
        usable.then(|| Self { slice: slice.clone(), columns })
    }
}

/// Makes `variant` also write its result rounded to int8 if `quantize`. The kernel has one more binding for it, after the others.
pub(super) fn with_int8_output(variant: Variant, quantize: bool) -> Variant {
    variant.flag_if(quantize, "QUANTIZE")
}

/// The additional binding of [`with_int8_output`].
pub(super) fn binding(quantized: Option<&Quantized>) -> Option<Binding> {
    quantized.map(|q| Binding::from(&q.slice))
}
