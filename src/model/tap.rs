//! Taps: places in the forward pass whose activations a caller can see. Tests and importance matrices use them.

/// A place in the forward pass of the layer with this number. T is the number of rows in the step; other letters are those of SPEC 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tap {
    /// Normed input of attention (T, D).
    AttentionIn(usize),
    /// Normed low-rank query (T, q_rank).
    QueryLow(usize),
    /// Numbers of the compressed rows that the indexer chose (T, top_k), `u32::MAX` where it chose fewer. Only layers of ratio 4 have it.
    Selected(usize),
    /// Outputs of the attention heads (T, H * K).
    Heads(usize),
    /// Result of the first output projection, which has low rank (T, G * o_rank).
    OutLow(usize),
    /// Result of attention (T, D).
    AttentionOut(usize),
    /// Normed input of the experts (T, D).
    ExpertsIn(usize),
    /// Numbers of the chosen experts (T, used).
    Chosen(usize),
    /// Weights of the chosen experts (T, used).
    ChosenWeights(usize),
    /// Activation of the shared expert after SwiGLU (T, F).
    SharedAct(usize),
    /// Activations of the routed experts after SwiGLU, without the experts' weights (T * used, F), in the order of `Chosen`.
    RoutedAct(usize),
    /// Result of the experts (T, D).
    ExpertsOut(usize),
    /// The four residual streams after the layer (T, 4, D).
    Hidden(usize),
}

/// The values at a tap.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum TapData<'a> {
    /// Activations.
    Floats(&'a [f32]),
    /// Numbers of experts or of compressed rows.
    Ids(&'a [u32]),
}

/// A receiver of activations.
pub trait Taps {
    /// Whether the receiver wants this tap. Other taps are not downloaded from the GPU.
    fn wants(&self, tap: Tap) -> bool;

    /// Receives the values of all rows of the step at a tap.
    fn see(&mut self, tap: Tap, data: TapData<'_>);
}

/// A receiver that wants no tap.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoTaps;

impl Taps for NoTaps {
    fn wants(&self, _: Tap) -> bool {
        false
    }

    fn see(&mut self, _: Tap, _: TapData<'_>) {}
}
