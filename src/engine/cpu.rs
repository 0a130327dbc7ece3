//! The device `cpu`: runs steps with the reference, one session after another.

use super::backend::{Backend, StateData, Ticket};
use super::gpu::Capacity;
use super::step::{SampleRequest, Step, StepOutput, StepRow, Token, TokenId, Unsampled, Want};
use crate::model::{Config, Model, Mtp, Taps};
use crate::reference::{self, Reference, State};
use crate::{Error, Result};

/// The reference as a backend.
pub struct CpuBackend {
    config: Config,
    reference: Reference,
    capacity: Capacity,
    slots: Vec<Option<Slot>>,
}

struct Slot {
    state: State,
    /// Whether the session has not stopped. Sampled rows of a stopped session do nothing.
    live: bool,
    /// The newest token that was sampled.
    sampled: TokenId,
}

impl CpuBackend {
    /// Loads `model`, and the draft block if there is one.
    pub fn new(model: &Model, mtp: Option<&Mtp>, capacity: Capacity) -> Self {
        let mut reference = Reference::new(model);
        if let Some(mtp) = mtp {
            reference.load_mtp(mtp);
        }
        let slots = (0..capacity.sessions).map(|_| None).collect();
        Self { config: model.config.clone(), reference, capacity, slots }
    }

    fn slot(&mut self, slot: u32) -> Result<&mut Slot> {
        self.slots[slot as usize].as_mut().ok_or_else(|| Error::Refused(format!("session {slot} is closed")))
    }
}

impl Backend for CpuBackend {
    fn open(&mut self) -> Result<u32> {
        let count = self.slots.len();
        let free = self.slots.iter().position(Option::is_none);
        let slot = free.ok_or_else(|| Error::Refused(format!("all {count} session(s) that the engine has room for are in use")))?;
        self.slots[slot] = Some(Slot { state: State::new(&self.config, self.capacity.kv), live: true, sampled: 0 });
        Ok(slot as u32)
    }

    fn close(&mut self, slot: u32) {
        self.slots[slot as usize] = None;
    }

    fn rewind(&mut self, slot: u32, position: u32) {
        let kv = self.capacity.kv;
        if let Some(session) = &mut self.slots[slot as usize] {
            if position == 0 {
                session.state = State::new(&self.config, kv);
            } else {
                session.state.drop_last(&self.config, session.state.position - position);
            }
        }
    }

    fn submit(&mut self, step: &Step, taps: &mut dyn Taps) -> Result<Ticket> {
        let mut output = StepOutput::default();
        let mut first = 0u32;
        for run in step.rows.chunk_by(|a, b| a.slot == b.slot) {
            let rows = first..first + run.len() as u32;
            first = rows.end;
            let wants: Vec<(u32, &Want)> =
                step.wants.iter().filter(|(row, _)| rows.contains(row)).map(|(row, want)| (row - rows.start, want)).collect();
            self.run(run, &wants, taps, &mut output)?;
        }
        Ok(Ticket::Done(output))
    }

    // `submit` has run the step.
    fn is_done(&self, _: &Ticket) -> Result<bool> {
        Ok(true)
    }

    fn wait(&mut self, ticket: Ticket) -> Result<StepOutput> {
        match ticket {
            Ticket::Done(output) => Ok(output),
            Ticket::Running(_) => Err(Error::Device("the step belongs to a GPU".into())),
        }
    }

    fn snapshot(&mut self, slot: u32, _: u32) -> Result<StateData> {
        Ok(StateData::Reference(Box::new(self.slot(slot)?.state.clone())))
    }

    fn restore(&mut self, slot: u32, _: u32, data: &StateData) -> Result<()> {
        let session = self.slot(slot)?;
        match data {
            StateData::Reference(state) => session.state = (**state).clone(),
            StateData::Pools(_) => return Err(Error::Refused("the snapshot was made on a GPU".into())),
        }
        Ok(())
    }

    fn fork(&mut self, slot: u32, position: u32) -> Result<u32> {
        let data = self.snapshot(slot, position)?;
        let copy = self.open()?;
        self.restore(copy, position, &data)?;
        Ok(copy)
    }

    // `submit` runs the step, so a step that is submitted early only delays the token of the one before.
    fn look_ahead(&self) -> usize {
        0
    }
}

impl CpuBackend {
    /// Runs the rows of one session. `wants` are numbered within these rows.
    fn run(&mut self, rows: &[StepRow], wants: &[(u32, &Want)], taps: &mut dyn Taps, output: &mut StepOutput) -> Result<()> {
        let session = self.slot(rows[0].slot)?;
        session.live |= rows[0].token != Token::Sampled;
        let (live, sampled) = (session.live, session.sampled);
        if !live {
            output.samples.extend(wants.iter().map(|_| Err(Unsampled::NotLive)));
            return Ok(());
        }
        let tokens: Vec<TokenId> = rows
            .iter()
            .map(|row| match row.token {
                Token::Id(id) => id,
                Token::Sampled => sampled,
            })
            .collect();
        // The reference runs the draft block for the first rows only, as many as have a draft token.
        let drafts: Vec<TokenId> = rows.iter().map_while(|row| row.draft).collect();
        let Some(Slot { state, .. }) = &mut self.slots[rows[0].slot as usize] else { return Ok(()) };
        let (streams, drafted) = self.reference.step(state, &tokens, &drafts, taps);
        output.draft_logits.extend(drafted);
        let width = 4 * self.config.dim as usize;
        for &(row, want) in wants {
            let logits = self.reference.logits(&streams[row as usize * width..][..width]);
            match want {
                Want::Logits => output.logits.extend(logits),
                Want::Sample(request) => {
                    let sample = choose(&logits, request, rows[row as usize].position);
                    let session = self.slot(rows[0].slot)?;
                    session.sampled = sample.unwrap_or(session.sampled);
                    session.live = !request.is_last && sample.is_ok_and(|id| !request.stops.contains(&id));
                    output.samples.push(sample);
                }
            }
        }
        Ok(())
    }
}

fn choose(logits: &[f32], request: &SampleRequest, position: u32) -> Result<TokenId, Unsampled> {
    if logits.iter().any(|l| !l.is_finite()) {
        return Err(Unsampled::NotFinite);
    }
    reference::sample(logits, &request.sampling, position, request.mask.as_deref()).ok_or(Unsampled::NothingAllowed)
}
