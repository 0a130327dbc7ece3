//! The indexer of layers of ratio 4: it scores the compressed rows and chooses those with the highest scores for attention.

pub(super) mod score;
pub(super) mod top_k;

pub(super) use score::pages_variant;
pub use score::{IndexQueries, IndexScore, Scores, record_index_score};
pub use top_k::record_top_k;
