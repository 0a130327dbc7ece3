//! Looking into a forward pass: what tests, steering and importance matrices see of each sub-layer.

/// A place in the forward pass. `T` rows of the step each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tap {
    /// Input of attention (T, D), normed.
    AttentionIn(usize),
    /// Query in its low rank (T, q_rank), normed.
    QueryLow(usize),
    /// Compressed rows that the indexer chose (T, top_k), unused places `u32::MAX`; ratio-4 layers only.
    Selected(usize),
    /// What the heads made (T, H * K).
    Heads(usize),
    /// Output projection in its low rank (T, G * o_rank).
    OutLow(usize),
    /// Result of attention (T, D).
    AttentionOut(usize),
    /// Input of the experts (T, D), normed.
    ExpertsIn(usize),
    /// Experts chosen (T, used).
    Chosen(usize),
    /// Their weights (T, used).
    ChosenWeights(usize),
    /// Inside the shared expert, after SwiGLU (T, F).
    SharedAct(usize),
    /// Inside the routed experts, after SwiGLU and before their weights (T * used, F), in the order of `Chosen`.
    RoutedAct(usize),
    /// Result of the experts (T, D).
    ExpertsOut(usize),
    /// The four streams after the layer (T, 4, D).
    Hidden(usize),
}

/// The values at a tap.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum TapData<'a> {
    /// Activations.
    Floats(&'a [f32]),
    /// Choices.
    Ids(&'a [u32]),
}

/// Something that looks.
pub trait Taps {
    /// Whether this tap is looked at: what nobody looks at is not fetched from a GPU.
    fn wants(&self, tap: Tap) -> bool;

    /// The values of the step's rows.
    fn see(&mut self, tap: Tap, data: TapData<'_>);
}

/// Looks at nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoTaps;

impl Taps for NoTaps {
    fn wants(&self, _: Tap) -> bool {
        false
    }

    fn see(&mut self, _: Tap, _: TapData<'_>) {}
}
