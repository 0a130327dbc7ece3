//! States of sessions that leave their session: snapshots in memory, copies, and the place where they are kept between turns.

use super::backend::StateData;
use super::session::Session;
use super::step::TokenId;
use super::submit::Engine;
use crate::{Error, Result};

/// What a session holds at its end: restored, it goes on with the same bits as the session itself would. It belongs to the engine that made it.
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

    /// Bytes of host memory that the state takes on a GPU's account; the reference does not count its own.
    pub fn bytes(&self) -> usize {
        match &self.data {
            StateData::Pools(parts) => parts.iter().map(Vec::len).sum(),
            StateData::Reference(_) => 0,
        }
    }
}

/// Where snapshots are kept, so that a prompt need not be run twice. The scheduler asks it before it runs a prompt and offers it what a stream
/// leaves.
pub trait CheckpointStore {
    /// The snapshot of the most tokens that `prompt` begins with, if there are more than `more_than` of them.
    fn find(&mut self, prompt: &[TokenId], more_than: usize) -> Option<Snapshot>;

    /// Whether a snapshot of a session that holds `tokens` is worth its cost.
    fn wants(&self, tokens: &[TokenId]) -> bool;

    /// Takes a snapshot.
    fn keep(&mut self, snapshot: Snapshot);
}

impl Engine {
    /// Copies what `session` holds into host memory.
    ///
    /// # Errors
    /// The session is ahead of its known tokens; the device fails.
    pub fn snapshot(&mut self, session: &Session) -> Result<Snapshot> {
        let position = self.at_rest(session)?;
        let data = self.backend.snapshot(session.slot, position)?;
        Ok(Snapshot { tokens: session.tokens().to_vec(), engine: self.id, data })
    }

    /// Makes `session` hold what `snapshot` holds, whatever it held before.
    ///
    /// # Errors
    /// The snapshot is of another engine; the session is ahead of its known tokens; the device fails.
    pub fn restore(&mut self, session: &mut Session, snapshot: &Snapshot) -> Result<()> {
        self.at_rest(session)?;
        if snapshot.engine != self.id {
            return Err(Error::Refused("the snapshot is of another engine".into()));
        }
        self.cut(session, 0);
        self.backend.restore(session.slot, snapshot.tokens.len() as u32, &snapshot.data)?;
        session.push_given(&snapshot.tokens);
        Ok(())
    }

    /// A new session that holds what `session` holds. They share the pages of compressed rows until one of them writes to them.
    ///
    /// # Errors
    /// No free session; `session` is ahead of its known tokens; the device fails.
    pub fn fork(&mut self, session: &Session) -> Result<Session> {
        let position = self.at_rest(session)?;
        let mut copy = Session::new(self.backend.fork(session.slot, position)?);
        copy.push_given(session.tokens());
        Ok(copy)
    }

    /// The session's position, where the tokens of all its rows are known. What copies its state is queued behind these rows.
    fn at_rest(&self, session: &Session) -> Result<u32> {
        if session.is_ahead() {
            return Err(Error::Refused(format!("session {} samples tokens that are not known yet", session.slot)));
        }
        Ok(session.position() as u32)
    }
}
