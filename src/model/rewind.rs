//! How far a session can be cut back without a saved state. Closed windows cannot be opened again, so what is needed to close them anew is
//! kept a little longer.

/// Tokens that can be dropped from the end of a session exactly.
pub const REWIND: u32 = 8;

/// Slots of a frontier of a compressor of `ratio`: enough to pool any open window after [`REWIND`] tokens were dropped. A ratio of 4
/// overlaps, so its windows reach back over two of them.
pub fn frontier_rows(ratio: u32) -> u32 {
    if ratio == 4 { 2 * ratio + REWIND } else { ratio + REWIND }
}
