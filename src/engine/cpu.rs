//! The device `cpu`: the reference, one session's rows at a time.

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
    live: bool,
    sampled: TokenId,
}

impl CpuBackend {
    /// Takes the weights where they are.
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
        if let Some(own) = &mut self.slots[slot as usize] {
            if position == 0 {
                own.state = State::new(&self.config, kv);
            } else {
                own.state.drop_last(&self.config, own.state.position - position);
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

    // Submitting is running.
    fn is_done(&self, _: &Ticket) -> Result<bool> {
        Ok(true)
    }

    fn wait(&mut self, ticket: Ticket) -> Result<StepOutput> {
        match ticket {
            Ticket::Done(output) => Ok(output),
            Ticket::Running(_) => Err(Error::Device("a step of another device".into())),
        }
    }

    fn snapshot(&mut self, slot: u32, _: u32) -> Result<StateData> {
        Ok(StateData::Reference(Box::new(self.slot(slot)?.state.clone())))
    }

    fn restore(&mut self, slot: u32, _: u32, data: &StateData) -> Result<()> {
        let own = self.slot(slot)?;
        match data {
            StateData::Reference(state) => own.state = (**state).clone(),
            StateData::Pools(_) => return Err(Error::Refused("the snapshot is of a GPU".into())),
        }
        Ok(())
    }

    fn fork(&mut self, slot: u32, position: u32) -> Result<u32> {
        let data = self.snapshot(slot, position)?;
        let copy = self.open()?;
        self.restore(copy, position, &data)?;
        Ok(copy)
    }

    // A step ahead would only delay the token before it.
    fn look_ahead(&self) -> usize {
        0
    }
}

impl CpuBackend {
    fn run(&mut self, rows: &[StepRow], wants: &[(u32, &Want)], taps: &mut dyn Taps, output: &mut StepOutput) -> Result<()> {
        let own = self.slot(rows[0].slot)?;
        own.live |= rows[0].token != Token::Sampled;
        let (live, sampled) = (own.live, own.sampled);
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
        // The reference drafts for the first rows of a run.
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
                    let own = self.slot(rows[0].slot)?;
                    own.sampled = sample.unwrap_or(own.sampled);
                    own.live = !request.is_last && sample.is_ok_and(|id| !request.stops.contains(&id));
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
