//! One timeline of tokens: which of them are known, and how many rows of them were submitted.

use super::step::TokenId;

/// One timeline of tokens on an engine. Close it with [`Engine::close`](super::Engine::close); its slot is taken until then.
///
/// A row may be submitted before it is known which token it has (the step before samples it), and the newest token may be known before its
/// row is submitted. So the two are counted apart.
#[derive(Debug, Default)]
pub struct Session {
    pub(super) slot: u32,
    known: Vec<TokenId>,
    rows: usize,
}

impl Session {
    pub(super) fn new(slot: u32) -> Self {
        Self { slot, ..Self::default() }
    }

    /// The tokens that the session holds: those that are known and whose rows were submitted.
    pub fn tokens(&self) -> &[TokenId] {
        &self.known[..self.rows.min(self.known.len())]
    }

    /// Position of the next row to submit.
    pub(super) fn position(&self) -> usize {
        self.rows
    }

    /// Whether rows were submitted whose tokens are not known yet.
    pub(super) fn is_ahead(&self) -> bool {
        self.rows > self.known.len()
    }

    /// Rows of given tokens were submitted.
    pub(super) fn push_given(&mut self, tokens: &[TokenId]) {
        self.known.truncate(self.rows);
        self.known.extend_from_slice(tokens);
        self.rows += tokens.len();
    }

    /// A row of the token that the step before samples was submitted.
    pub(super) fn push_sampled(&mut self) {
        self.rows += 1;
    }

    /// It is known now that the token behind the known ones is `id`.
    pub(super) fn learn(&mut self, id: TokenId) {
        self.known.push(id);
    }

    /// Forgets everything from token `kept` on.
    pub(super) fn cut(&mut self, kept: usize) {
        self.known.truncate(kept);
        self.rows = kept;
    }
}
