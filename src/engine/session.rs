//! A session: one timeline of tokens. It counts which tokens are known and how many of their rows were submitted.

use super::step::TokenId;

/// One timeline of tokens on an engine. It occupies a slot of the device until [`Engine::close`](super::Engine::close).
///
/// A row may be submitted before its token is known, because the previous step samples that token. The newest token may also be known
/// before its row is submitted. So known tokens and submitted rows are counted separately.
#[derive(Debug, Default)]
pub struct Session {
    pub(super) slot: u32,
    /// The tokens that are known.
    known: Vec<TokenId>,
    /// Number of rows that were submitted.
    rows: usize,
}

impl Session {
    pub(super) fn new(slot: u32) -> Self {
        Self { slot, ..Self::default() }
    }

    /// The tokens that the session holds: those that are known and whose rows were submitted too.
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

    /// Records that rows of these tokens were submitted.
    pub(super) fn push_given(&mut self, tokens: &[TokenId]) {
        self.known.truncate(self.rows);
        self.known.extend_from_slice(tokens);
        self.rows += tokens.len();
    }

    /// Records that a row was submitted whose token the previous step samples.
    pub(super) fn push_sampled(&mut self) {
        self.rows += 1;
    }

    /// Records that the token after the known ones is `id`.
    pub(super) fn learn(&mut self, id: TokenId) {
        self.known.push(id);
    }

    /// Forgets all tokens and rows but the first `kept`.
    pub(super) fn cut(&mut self, kept: usize) {
        self.known.truncate(kept);
        self.rows = kept;
    }
}
