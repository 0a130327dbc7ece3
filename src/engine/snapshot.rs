//! Snapshots and copies of sessions, and the interface of a store that keeps snapshots between turns.

use super::backend::StateData;
use super::session::Session;
use super::step::TokenId;
use super::submit::Engine;
use crate::{Error, Result};

/// The state of a session in host memory. A restored session continues with the same bits as the session itself would. A snapshot can be
/// restored only on the engine that made it.
#[derive(Clone, Debug)]
pub struct Snapshot {
    tokens: Vec<TokenId>,
    engine: u64,
    data: StateData,
}

impl Snapshot {
    /// The tokens of the session.
    pub fn tokens(&self) -> &[TokenId] {
        &self.tokens
    }

    /// Bytes of host memory that the state of a GPU session takes. It is 0 for the CPU, whose state is not counted.
    pub fn bytes(&self) -> usize {
        match &self.data {
            StateData::Pools(parts) => parts.iter().map(Vec::len).sum(),
            StateData::Reference(_) => 0,
        }
    }
}

/// A store of snapshots, so that a prompt need not be run twice. The scheduler asks it before it runs a prompt, and offers it the session
/// of each stream that ends.
pub trait CheckpointStore {
    /// The longest snapshot whose tokens are the beginning of `prompt`, if it has more than `more_than` tokens.
    fn find(&mut self, prompt: &[TokenId], more_than: usize) -> Option<Snapshot>;

    /// Whether the store wants a snapshot of a session that holds `tokens`.
    fn wants(&self, tokens: &[TokenId]) -> bool;

    /// Takes a snapshot into the store.
    fn keep(&mut self, snapshot: Snapshot);
}

impl Engine {
    /// Copies the state of `session` into host memory.
    ///
    /// # Errors
    /// Where the session has rows whose tokens are not known yet, or the device fails.
    pub fn snapshot(&mut self, session: &Session) -> Result<Snapshot> {
        let position = self.settled_position(session)?;
        let data = self.backend.snapshot(session.slot, position)?;
        Ok(Snapshot { tokens: session.tokens().to_vec(), engine: self.id, data })
    }

    /// Replaces the state of `session` by that of `snapshot`.
    ///
    /// # Errors
    /// Where the snapshot is of another engine, the session has rows whose tokens are not known yet, or the device fails.
    pub fn restore(&mut self, session: &mut Session, snapshot: &Snapshot) -> Result<()> {
        self.settled_position(session)?;
        if snapshot.engine != self.id {
            return Err(Error::Refused("the snapshot was made by another engine".into()));
        }
        self.cut(session, 0);
        self.backend.restore(session.slot, snapshot.tokens.len() as u32, &snapshot.data)?;
        session.push_given(&snapshot.tokens);
        Ok(())
    }

    /// Opens a session that is a copy of `session`. On a GPU the two share pages of compressed rows; a page is copied before one of them
    /// writes to it.
    ///
    /// # Errors
    /// Where no session is free, `session` has rows whose tokens are not known yet, or the device fails.
    pub fn fork(&mut self, session: &Session) -> Result<Session> {
        let position = self.settled_position(session)?;
        let mut copy = Session::new(self.backend.fork(session.slot, position)?);
        copy.push_given(session.tokens());
        Ok(copy)
    }

    /// The session's position, or an error where tokens of its rows are not known yet. The rows themselves may be in flight, because copies
    /// of the state are queued behind them.
    fn settled_position(&self, session: &Session) -> Result<u32> {
        if session.is_ahead() {
            return Err(Error::Refused(format!("session {} samples tokens that are not known yet", session.slot)));
        }
        Ok(session.position() as u32)
    }
}
