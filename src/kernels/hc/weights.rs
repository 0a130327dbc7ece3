//! The weights of hyper-connections.

use crate::gpu::Slice;
use crate::kernels::matrix::Matrix;

/// One hyper-connection set: of a sub-layer (24 outputs) or of the head (4).
#[derive(Clone, Debug)]
pub struct HcWeights {
    /// fn [24 or 4, 4D].
    pub mix: Matrix,
    /// base, then scale: 24 + 3 or 4 + 1 floats.
    pub base_scale: Slice,
    /// The norm weight that follows, D floats.
    pub norm: Slice,
}
