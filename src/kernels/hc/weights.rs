//! The weights of hyper-connections.

use crate::gpu::Slice;
use crate::kernels::matrix::Matrix;

/// The hyper-connection weights of a sub-layer (24 outputs) or of the head (4 outputs).
#[derive(Clone, Debug)]
pub struct HcWeights {
    /// fn [24 or 4, 4D].
    pub mix: Matrix,
    /// base, followed by scale: 24 + 3 or 4 + 1 floats.
    pub base_scale: Slice,
    /// Weight of the norm of the sub-layer's or head's input, D floats.
    pub norm: Slice,
}
