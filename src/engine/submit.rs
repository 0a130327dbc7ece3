//! A loaded model ([`Engine`]): checks steps, submits them and lands them.

use super::backend::{Backend, Ticket};
use super::gpu::{Capacity, MemoryPlan};
use super::pace::Pace;
use super::session::Session;
use super::step::{RowKind, Step, StepOutput, StepRow, Token, TokenId, Want};
use crate::gpu::Gpu;
use crate::kernels::DECODE_ROWS;
use crate::model::{Config, NoTaps, REWIND, Taps};
use crate::{Error, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A loaded model.
pub struct Engine {
    pub(super) backend: Box<dyn Backend>,
    /// Number of the engine in this process. Snapshots name it.
    pub(super) id: u64,
    gpu: Option<Arc<Gpu>>,
    pub(super) pace: Pace,
    config: Config,
    capacity: Capacity,
    device: String,
    plan: Option<MemoryPlan>,
    load_seconds: f64,
}

/// The results of loading a model.
pub(super) struct Loaded {
    pub backend: Box<dyn Backend>,
    pub gpu: Option<Arc<Gpu>>,
    pub config: Config,
    pub capacity: Capacity,
    pub device: String,
    pub plan: Option<MemoryPlan>,
    pub load_seconds: f64,
}

/// The tokens of a session's rows in a step.
#[derive(Clone, Copy, Debug)]
pub enum Tokens<'a> {
    /// Known tokens, one row for each.
    Given(&'a [TokenId]),
    /// One row, with the token that the previous step samples for the session.
    Sampled,
}

impl Tokens<'_> {
    fn count(&self) -> usize {
        match self {
            Self::Given(tokens) => tokens.len(),
            Self::Sampled => 1,
        }
    }
}

/// A session's rows in a step.
#[derive(Debug)]
pub struct Part<'a> {
    /// The session.
    pub session: &'a mut Session,
    /// The tokens of its rows.
    pub tokens: Tokens<'a>,
    /// Number of a row in this part, and the result that is wanted of it.
    pub wants: Vec<(u32, Want)>,
    /// For the first rows, the token after each of them. The draft block gives logits for these rows.
    pub drafts: &'a [TokenId],
}

impl<'a> Part<'a> {
    /// Rows of known `tokens`, without drafts.
    pub fn given(session: &'a mut Session, tokens: &'a [TokenId], wants: Vec<(u32, Want)>) -> Self {
        Self { session, tokens: Tokens::Given(tokens), wants, drafts: &[] }
    }
}

/// A step in flight.
#[must_use = "the results of a step come from landing it"]
pub struct Flight(Ticket);

impl Engine {
    pub(super) fn new(loaded: Loaded) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let Loaded { backend, gpu, config, capacity, device, plan, load_seconds } = loaded;
        Self { backend, id: NEXT.fetch_add(1, Ordering::Relaxed), gpu, pace: Pace::default(), config, capacity, device, plan, load_seconds }
    }

    /// Hyper-parameters of the model.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Description of the device.
    pub fn device(&self) -> &str {
        &self.device
    }

    /// The memory that the engine takes on a GPU, or `None` on the CPU.
    pub fn plan(&self) -> Option<&MemoryPlan> {
        self.plan.as_ref()
    }

    /// Seconds that loading took.
    pub fn load_seconds(&self) -> f64 {
        self.load_seconds
    }

    /// The largest number of tokens in a session.
    pub fn context(&self) -> usize {
        self.capacity.context as usize
    }

    /// The largest number of rows in a step.
    pub fn max_rows(&self) -> usize {
        self.capacity.rows as usize
    }

    /// The GPU that the engine runs on, for tracing, capturing and timing launches.
    ///
    /// # Errors
    /// Where the engine runs on the CPU.
    pub fn gpu(&self) -> Result<&Gpu> {
        self.gpu.as_deref().ok_or_else(|| Error::Refused("the device cpu has no launches to measure".into()))
    }

    /// Number of kernels compiled so far. The duration of a step during which it grew includes compilation.
    pub fn compiled(&self) -> usize {
        self.gpu.as_ref().map_or(0, |gpu| gpu.compiled())
    }

    /// Number of generated steps to keep queued behind the one that runs. Their rows can be dropped exactly.
    pub fn look_ahead(&self) -> usize {
        self.backend.look_ahead()
    }

    /// Opens an empty session.
    ///
    /// # Errors
    /// Where all sessions that the engine has room for are open.
    pub fn open(&mut self) -> Result<Session> {
        Ok(Session::new(self.backend.open()?))
    }

    /// Closes a session, whose memory another one can then use.
    pub fn close(&mut self, session: Session) {
        self.backend.close(session.slot);
    }

    /// Submits one step and does not wait for it. Each session has at most one part. Steps run in the order of their submission.
    ///
    /// # Errors
    /// Where a step or the context has no room for the rows, ids are out of range, or a session gets known tokens while it samples its own;
    /// nothing has changed then. Also where the device fails.
    pub fn submit(&mut self, kind: RowKind, parts: Vec<Part<'_>>) -> Result<Flight> {
        self.submit_tapped(kind, parts, 0.0, &mut NoTaps)
    }

    /// Like [`Engine::submit`], for a piece of prompts with an expected duration.
    pub(super) fn submit_long(&mut self, parts: Vec<Part<'_>>, expected_seconds: f64) -> Result<Flight> {
        self.submit_tapped(RowKind::Prompt, parts, expected_seconds, &mut NoTaps)
    }

    /// Runs one step, shows its activations to `taps`, and waits for its results.
    ///
    /// # Errors
    /// Those of [`Engine::submit`].
    pub fn step(&mut self, kind: RowKind, parts: Vec<Part<'_>>, taps: &mut dyn Taps) -> Result<StepOutput> {
        let flight = self.submit_tapped(kind, parts, 0.0, taps)?;
        self.land(flight)
    }

    /// Whether [`Engine::land`] would return at once. Never blocks.
    ///
    /// # Errors
    /// Where the device fails.
    pub fn has_landed(&self, flight: &Flight) -> Result<bool> {
        self.backend.is_done(&flight.0)
    }

    /// Waits for a step and returns its results. Land steps in the order of their submission.
    ///
    /// # Errors
    /// Where the device fails.
    pub fn land(&mut self, flight: Flight) -> Result<StepOutput> {
        self.backend.wait(flight.0)
    }

    fn submit_tapped(&mut self, kind: RowKind, parts: Vec<Part<'_>>, expected_seconds: f64, taps: &mut dyn Taps) -> Result<Flight> {
        self.check_rows(kind, parts.iter().map(|part| part.tokens.count()).sum())?;
        let mut step = Step { kind, rows: Vec::new(), wants: Vec::new(), expected_seconds };
        for part in &parts {
            self.check_part(part)?;
            let first = step.rows.len() as u32;
            step.wants.extend(part.wants.iter().map(|(row, want)| (first + row, want.clone())));
            let (slot, start) = (part.session.slot, part.session.position());
            step.rows.extend((0..part.tokens.count()).map(|i| StepRow {
                slot,
                position: (start + i) as u32,
                token: match part.tokens {
                    Tokens::Given(tokens) => Token::Id(tokens[i]),
                    Tokens::Sampled => Token::Sampled,
                },
                draft: part.drafts.get(i).copied(),
            }));
        }
        let ticket = self.backend.submit(&step, taps)?;
        for part in parts {
            match part.tokens {
                Tokens::Given(tokens) => part.session.push_given(tokens),
                Tokens::Sampled => part.session.push_sampled(),
            }
        }
        Ok(Flight(ticket))
    }

    /// Refuses steps that the buffers have no room for.
    fn check_rows(&self, kind: RowKind, rows: usize) -> Result<()> {
        let most = match kind {
            RowKind::Prompt => self.max_rows(),
            RowKind::Generated => self.max_rows().min(DECODE_ROWS as usize),
        };
        if rows == 0 || rows > most {
            return Err(Error::Refused(format!("a step of {rows} rows; this engine runs 1 to {most}")));
        }
        Ok(())
    }

    fn check_part(&self, part: &Part<'_>) -> Result<()> {
        let (held, count) = (part.session.position(), part.tokens.count());
        if let Tokens::Given(tokens) = part.tokens {
            self.check_ids(tokens)?;
            if part.session.is_ahead() {
                return Err(Error::Refused(format!("session {} is given tokens while it samples its own", part.session.slot)));
            }
        }
        self.check_ids(part.drafts)?;
        let context = self.context();
        if held + count > context {
            return Err(Error::Refused(format!("{} tokens do not fit in a context of {context}", held + count)));
        }
        match part.wants.iter().find(|(row, _)| *row as usize >= count) {
            Some((row, _)) => Err(Error::Refused(format!("something is wanted of row {row} of {count} rows"))),
            None => Ok(()),
        }
    }

    /// Refuses ids that the model does not have.
    pub(super) fn check_ids(&self, tokens: &[TokenId]) -> Result<()> {
        let vocabulary = self.config.vocabulary;
        match tokens.iter().enumerate().find(|(_, id)| **id >= vocabulary) {
            Some((i, id)) => Err(Error::Refused(format!("token {i} has id {id}, the vocabulary has {vocabulary} ids"))),
            None => Ok(()),
        }
    }

    /// Drops the last `count` tokens of a session without any trace in later results.
    ///
    /// # Errors
    /// Where `count` is more than [`REWIND`] or more than the session holds.
    pub fn drop_last(&mut self, session: &mut Session, count: usize) -> Result<()> {
        let held = session.tokens().len();
        if count > held || count > REWIND as usize {
            return Err(Error::Refused(format!("cannot drop {count} tokens of {held}: at most {REWIND} can be dropped exactly")));
        }
        self.cut(session, held - count);
        Ok(())
    }

    /// Cuts a session to its first `kept` tokens. The session has no rows in flight. `kept` is 0, or at most [`REWIND`] less than the
    /// number of rows.
    pub(super) fn cut(&mut self, session: &mut Session, kept: usize) {
        if kept < session.position() {
            self.backend.rewind(session.slot, kept as u32);
        }
        session.cut(kept);
    }
}
