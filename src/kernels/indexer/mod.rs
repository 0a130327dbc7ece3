//! The indexer of ratio-4 layers: scores of compressed rows, and the best of them.

pub(super) mod score;
pub(super) mod top_k;

pub(super) use score::pages_variant;
pub use score::{IndexQueries, IndexScore, Scores, record_index_score};
pub use top_k::record_top_k;
