//! The number of tokens by which a session can be cut back without a saved state. A compressed row cannot be split into its tokens again,
//! so the inputs of the newest compressed rows are kept a little longer than the model needs them.

/// Number of tokens that can be dropped from the end of a session without any trace in later results.
pub const REWIND: u32 = 8;

/// Rows of the frontier of a compressor of `ratio`: enough to pool any open window again after [`REWIND`] tokens were dropped. Windows of
/// ratio 4 overlap: each pools the values of two windows.
pub fn frontier_rows(ratio: u32) -> u32 {
    if ratio == 4 { 2 * ratio + REWIND } else { ratio + REWIND }
}
