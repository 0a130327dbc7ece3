//! A step: rows of one or more sessions that go through the model together, and what is wanted of them.

use crate::model::Sampling;

/// A token id.
pub type TokenId = u32;

/// Where the tokens of a step come from, which decides the kernels that run it: each kind has its own order of sums, so a step has one kind.
///
/// Within a kind the bits of a row depend on its own timeline alone, not on the rows beside it or on how a prompt was cut into steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowKind {
    /// Tokens of a prompt, any number of them.
    Prompt,
    /// Tokens that the model generated, at most [`DECODE_ROWS`](super::DECODE_ROWS) of all sessions together.
    Generated,
}

/// The token of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token {
    /// This one.
    Id(TokenId),
    /// The one that the step before sampled for the session. It may not be known on the host yet.
    Sampled,
}

/// One row of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepRow {
    /// The session.
    pub slot: u32,
    /// Position in it.
    pub position: u32,
    /// Its token. A given token lets a session that had stopped write its state again.
    pub token: Token,
    /// The token after it, where the draft block's logits are wanted.
    pub draft: Option<TokenId>,
}

/// How a row's next token is chosen and when its session stops.
#[derive(Clone, Debug, PartialEq)]
pub struct SampleRequest {
    /// The choice.
    pub sampling: Sampling,
    /// Ids that end the turn; at most two.
    pub stops: Vec<TokenId>,
    /// The session stops after this token.
    pub is_last: bool,
    /// Allowed tokens, a bit each; `None` allows all.
    pub mask: Option<Vec<u32>>,
}

/// What is wanted of a row.
#[derive(Clone, Debug, PartialEq)]
pub enum Want {
    /// All its logits.
    Logits,
    /// The next token.
    Sample(SampleRequest),
}

/// Rows that go through the model together. A session's rows are neighbours with ascending positions.
#[derive(Clone, Debug)]
pub struct Step {
    /// Which kernels run it.
    pub kind: RowKind,
    /// The rows.
    pub rows: Vec<StepRow>,
    /// Row number and what is wanted of it. Rows of which nothing is wanted skip the output head.
    pub wants: Vec<(u32, Want)>,
    /// How long it is expected to run, in seconds; 0 where nothing is known. A backend may cut long steps into several submissions.
    pub expected_seconds: f64,
}

/// Why a row has no next token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsampled {
    /// The session had stopped before.
    NotLive,
    /// A logit is not a finite number.
    NotFinite,
    /// The mask allows nothing.
    NothingAllowed,
}

/// What a step gives.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StepOutput {
    /// Logits of the rows that want them, in order: (n, vocabulary).
    pub logits: Vec<f32>,
    /// Next tokens of the rows that want one, in order.
    pub samples: Vec<Result<TokenId, Unsampled>>,
    /// The draft block's logits of the rows that want them, in order: (n, vocabulary).
    pub draft_logits: Vec<f32>,
}
