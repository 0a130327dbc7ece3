//! How a variant says which block formats its weights have.

use crate::gpu::Variant;
use crate::quant::BlockFormat;
use std::slice;

/// The two formats that one launch meets in the layers of V4 Flash.
pub(super) const MIXED: [BlockFormat; 2] = [BlockFormat::Q8_0x8, BlockFormat::F16];

/// Every format alone, and [`MIXED`], for lists of variants.
pub(super) fn format_sets() -> impl Iterator<Item = &'static [BlockFormat]> {
    BlockFormat::ALL.iter().map(slice::from_ref).chain([&MIXED[..]])
}

/// Number of low bits of a [`row_entry`] that hold the row. The format is above them.
const ROW_BITS: u32 = 24;

/// Makes `variant` read weights in `formats`: a constant holds the number of each format, and FORMAT the number if there is only one.
pub(super) fn with_formats(mut variant: Variant, formats: &[BlockFormat]) -> Variant {
    // The order is that of the enum, so that equal sets give equal variants.
    for format in BlockFormat::ALL.iter().filter(|format| formats.contains(format)) {
        variant = with_format(variant, *format);
    }
    match formats.first() {
        Some(&first) if formats.iter().all(|format| *format == first) => variant.constant("FORMAT", first as u32),
        _ => variant,
    }
}

/// Makes `variant` read weights in `format`, for kernels that never mix formats.
pub(super) fn with_format(variant: Variant, format: BlockFormat) -> Variant {
    variant.constant(format.shader_constant(), format as u32)
}

/// Like [`with_formats`], for kernels that read [`row_entry`] words.
pub(super) fn with_row_entries(variant: Variant, formats: &[BlockFormat]) -> Variant {
    with_formats(variant, formats).constant("ROW_BITS", ROW_BITS)
}

/// One word with the format of a matrix and the row at which its rows end. No model has 2^24 rows in a launch.
pub(super) fn row_entry(end: u32, format: BlockFormat) -> u32 {
    debug_assert!(end < 1 << ROW_BITS, "row {end} does not fit in {ROW_BITS} bits");
    end | (format as u32) << ROW_BITS
}
