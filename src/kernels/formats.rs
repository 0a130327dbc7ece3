//! Block formats of weights in a variant.

use crate::gpu::Variant;
use crate::quant::BlockFormat;
use std::slice;

/// Two formats in one launch, as in V4 Flash's layers.
pub(super) const MIXED: [BlockFormat; 2] = [BlockFormat::Q8_0x8, BlockFormat::F16];

/// Every format by itself, and [`MIXED`], for lists of variants.
pub(super) fn format_sets() -> impl Iterator<Item = &'static [BlockFormat]> {
    BlockFormat::ALL.iter().map(slice::from_ref).chain([&MIXED[..]])
}

/// Bits of a row's number in tables that name a format beside it.
const ROW_BITS: u32 = 24;

/// `variant` for weights in `formats`: the number of each as a constant, and FORMAT where there is just one.
pub(super) fn with_formats(mut variant: Variant, formats: &[BlockFormat]) -> Variant {
    // In the order of the enum, so that the same set is the same variant.
    for format in BlockFormat::ALL.iter().filter(|format| formats.contains(format)) {
        variant = with_format(variant, *format);
    }
    match formats.first() {
        Some(&first) if formats.iter().all(|format| *format == first) => variant.constant("FORMAT", first as u32),
        _ => variant,
    }
}

/// `variant` of a kernel that is made for weights in `format` alone.
pub(super) fn with_format(variant: Variant, format: BlockFormat) -> Variant {
    variant.constant(format.shader_constant(), format as u32)
}

/// As [`with_formats`], for kernels that read [`row_entry`]s.
pub(super) fn with_row_entries(variant: Variant, formats: &[BlockFormat]) -> Variant {
    with_formats(variant, formats).constant("ROW_BITS", ROW_BITS)
}

/// Where the rows of a matrix end that are in `format`, in one word. No model has nearly so many rows.
pub(super) fn row_entry(end: u32, format: BlockFormat) -> u32 {
    debug_assert!(end < 1 << ROW_BITS, "row {end} does not fit in {ROW_BITS} bits");
    end | (format as u32) << ROW_BITS
}
