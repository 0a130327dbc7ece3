//! The words of a step: its rows, the results that are wanted of them, and its output.

use crate::model::Sampling;

/// A token id.
pub type TokenId = u32;

/// The origin of a step's tokens, which decides the kernels that run it. The kernels of each kind sum in their own order, so all rows of a
/// step are of one kind.
///
/// Within a kind the bits of a row depend on its session alone, not on the other rows of the step or on how a prompt was cut into steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowKind {
    /// Tokens of a prompt, any number of them.
    Prompt,
    /// Tokens that the model generated, at most [`DECODE_ROWS`](super::DECODE_ROWS) in a step.
    Generated,
}

/// The token of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token {
    /// A token that the host knows.
    Id(TokenId),
    /// The token that the previous step samples for the session. The host may not know it yet.
    Sampled,
}

/// One row of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepRow {
    /// Slot of the session.
    pub slot: u32,
    /// Position in the session.
    pub position: u32,
    /// The token. A known token makes a session that has stopped live again.
    pub token: Token,
    /// The token after this one, where the draft block's logits are wanted.
    pub draft: Option<TokenId>,
}

/// How a row's next token is chosen, and when its session stops.
#[derive(Clone, Debug, PartialEq)]
pub struct SampleRequest {
    /// Parameters of the choice.
    pub sampling: Sampling,
    /// Ids that end the turn, at most two.
    pub stops: Vec<TokenId>,
    /// Whether the session stops after this token in any case.
    pub is_last: bool,
    /// Allowed tokens, one bit for each. `None` allows all.
    pub mask: Option<Vec<u32>>,
}

/// The result that is wanted of a row.
#[derive(Clone, Debug, PartialEq)]
pub enum Want {
    /// All logits.
    Logits,
    /// The next token.
    Sample(SampleRequest),
}

/// Rows that go through the model together. The rows of a session are neighbours with ascending positions.
#[derive(Clone, Debug)]
pub struct Step {
    /// Kind of all rows, which decides the kernels.
    pub kind: RowKind,
    /// The rows.
    pub rows: Vec<StepRow>,
    /// Number of a row and the result that is wanted of it. Rows of which nothing is wanted skip the output head.
    pub wants: Vec<(u32, Want)>,
    /// Expected duration in seconds, or 0 where nothing is known. A backend may cut long steps into several submissions.
    pub expected_seconds: f64,
}

/// The reason why a row has no next token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsampled {
    /// The session has stopped before this row.
    NotLive,
    /// A logit is not a finite number.
    NotFinite,
    /// The mask allows no token.
    NothingAllowed,
}

/// The results of a step.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StepOutput {
    /// Logits (n, vocabulary) of the n rows that want them, in order.
    pub logits: Vec<f32>,
    /// Next tokens of the rows that want one, in order.
    pub samples: Vec<Result<TokenId, Unsampled>>,
    /// Logits (n, vocabulary) of the draft block for the n rows that want them, in order.
    pub draft_logits: Vec<f32>,
}
