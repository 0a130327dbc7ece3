//! One request on its way through the scheduler: which tokens of it were submitted, which are known, and how it ends.

use super::session::Session;
use super::step::{SampleRequest, TokenId, Unsampled, Want};
use super::submit::{Engine, Part, Tokens};
use crate::model::{REWIND, Sampling};
use crate::{Error, Result};
use std::time::Instant;

/// What a session is brought to, and what is generated from there.
#[derive(Clone, Debug)]
pub struct Request {
    /// All tokens of the session before the first generated one.
    pub prompt: Vec<TokenId>,
    /// How to generate; `None` runs the prompt alone.
    pub generation: Option<Generation>,
}

/// How to generate.
#[derive(Clone, Debug)]
pub struct Generation {
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// Most tokens.
    pub limit: usize,
    /// Ids that end the turn; at most two.
    pub stops: Vec<TokenId>,
}

/// Why a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// A stop id, which is not part of the timeline.
    Stop,
    /// The limit, the end of the context, or, where nothing is generated, the end of the prompt.
    Length,
    /// The caller ended it.
    Cancelled,
}

/// What a stream did.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    /// Why it ended.
    pub ending: Ending,
    /// Prompt tokens that were in the session already.
    pub reused: usize,
    /// Prompt tokens that were run.
    pub prefilled: usize,
    /// Seconds from the start until the first token was known, or until the end where none was generated.
    pub prefill_seconds: f64,
    /// Tokens after the first; a stop id counts.
    pub decoded: usize,
    /// Seconds that those took.
    pub decode_seconds: f64,
}

/// A stream's number, never used again by the same scheduler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(pub(super) u64);

/// A request and how far it has come.
pub(super) struct Stream {
    pub id: StreamId,
    session: Session,
    prompt: Vec<TokenId>,
    generation: Option<Generation>,
    /// Tokens to generate at most.
    limit: usize,
    /// Tokens of the prompt that were reused or submitted.
    fed: usize,
    /// Tokens of the prompt that the session holds for good.
    held: usize,
    /// Generated tokens that were asked for, and those that are known.
    asked: usize,
    known: usize,
    /// Steps in flight that have rows of this stream.
    in_flight: usize,
    outcome: Option<Result<Ending>>,
    started: Instant,
    first_at: Option<Instant>,
    report: Report,
}

impl Request {
    /// Whether `engine` can serve it.
    pub(super) fn check(&self, engine: &Engine) -> Result<()> {
        let (tokens, context) = (self.prompt.len(), engine.context());
        let room = usize::from(self.generation.is_some());
        if tokens + room > context {
            return Err(Error::ContextFull { tokens, context });
        }
        engine.check_ids(&self.prompt)?;
        let Some(generation) = &self.generation else { return Ok(()) };
        if tokens == 0 {
            return Err(Error::Refused("the prompt is empty".into()));
        }
        generation.sampling.check()?;
        if generation.stops.len() > 2 {
            return Err(Error::Refused(format!("{} stop tokens, at most 2 are possible", generation.stops.len())));
        }
        engine.check_ids(&generation.stops)
    }

    /// Tokens of `session` that need not be run again.
    pub(super) fn reusable(&self, session: &Session) -> usize {
        reusable(session, &self.prompt)
    }
}

/// Tokens of `session` that `tokens` begins with, where the session can be cut to them.
fn reusable(session: &Session, tokens: &[TokenId]) -> usize {
    let held = session.tokens();
    let common = held.iter().zip(tokens).take_while(|(a, b)| a == b).count();
    if held.len() - common <= REWIND as usize { common } else { 0 }
}

impl Stream {
    /// Drops what the session holds beyond the common start with the prompt. The last token is run again even if the session holds it,
    /// because its logits are needed.
    pub fn new(id: StreamId, engine: &mut Engine, mut session: Session, request: Request) -> Self {
        let Request { prompt, generation } = request;
        let limit = generation.as_ref().map_or(0, |generation| generation.limit.min(engine.context() - prompt.len()));
        let usable = if limit > 0 { prompt.len() - 1 } else { prompt.len() };
        let reused = reusable(&session, &prompt[..usable]);
        engine.cut(&mut session, reused);
        let report = Report {
            ending: Ending::Cancelled,
            reused,
            prefilled: prompt.len() - reused,
            prefill_seconds: 0.0,
            decoded: 0,
            decode_seconds: 0.0,
        };
        let outcome = (reused == prompt.len()).then_some(Ok(Ending::Length));
        Self {
            id,
            session,
            prompt,
            generation,
            limit,
            fed: reused,
            held: reused,
            asked: 0,
            known: 0,
            in_flight: 0,
            outcome,
            started: Instant::now(),
            first_at: None,
            report,
        }
    }

    /// Ends the stream, unless it has ended.
    pub fn end(&mut self, ending: Result<Ending>) {
        self.outcome.get_or_insert(ending);
    }

    /// Whether it has ended and nothing of it is in flight.
    pub fn is_over(&self) -> bool {
        self.outcome.is_some() && self.in_flight == 0
    }

    /// Tokens of the prompt that were not submitted yet.
    pub fn waiting(&self) -> usize {
        if self.outcome.is_none() { self.prompt.len() - self.fed } else { 0 }
    }

    /// Generated tokens that were asked for so far.
    pub fn asked(&self) -> usize {
        self.asked
    }

    /// Whether its prompt was submitted and tokens remain to be generated.
    pub fn generates(&self) -> bool {
        self.outcome.is_none() && self.fed == self.prompt.len() && self.asked < self.limit
    }

    /// Whether a row can be submitted without running further ahead of the known tokens than `look_ahead`.
    pub fn can_step(&self, look_ahead: usize) -> bool {
        self.generates() && self.asked - self.known <= look_ahead
    }

    /// The next `count` tokens of the prompt; the last of all samples the first new token.
    pub fn piece(&mut self, count: usize) -> Part<'_> {
        let samples = self.fed + count == self.prompt.len() && self.limit > 0;
        let wants = if samples { vec![(count as u32 - 1, self.sample())] } else { Vec::new() };
        Part::given(&mut self.session, &self.prompt[self.fed..][..count], wants)
    }

    /// A piece of `count` tokens was submitted. Says whether it samples.
    pub fn submitted_piece(&mut self, count: usize) -> bool {
        self.fed += count;
        self.in_flight += 1;
        let samples = self.fed == self.prompt.len() && self.limit > 0;
        self.asked += usize::from(samples);
        samples
    }

    /// The row of the newest sampled token, which samples the next one.
    pub fn row(&mut self) -> Part<'_> {
        let wants = vec![(0, self.sample())];
        Part { session: &mut self.session, tokens: Tokens::Sampled, wants, drafts: &[] }
    }

    /// Its row was submitted.
    pub fn submitted_row(&mut self) {
        self.asked += 1;
        self.in_flight += 1;
    }

    /// What the next sampling row wants.
    fn sample(&self) -> Want {
        let (sampling, stops) = self.generation.as_ref().map_or((Sampling::GREEDY, Vec::new()), |g| (g.sampling, g.stops.clone()));
        Want::Sample(SampleRequest { sampling, stops, is_last: self.asked + 1 == self.limit, mask: None })
    }

    /// A piece of `count` tokens landed. Returns how many tokens of the prompt the session holds now.
    pub fn landed_piece(&mut self, count: usize) -> usize {
        self.held += count;
        if self.held == self.prompt.len() && self.limit == 0 {
            self.end(Ok(Ending::Length));
        }
        self.held
    }

    /// A step landed in which the stream had rows.
    pub fn landed(&mut self) {
        self.in_flight -= 1;
    }

    /// What a landed row sampled. Returns the token, unless it is a stop id or comes after the end.
    pub fn sampled(&mut self, sample: Option<Result<TokenId, Unsampled>>) -> Option<TokenId> {
        if self.outcome.is_some() {
            return None;
        }
        let id = match self.token(sample) {
            Ok(id) => id,
            Err(error) => {
                self.end(Err(error));
                return None;
            }
        };
        let first_at = *self.first_at.get_or_insert_with(Instant::now);
        self.report.decoded = self.known;
        self.report.decode_seconds = first_at.elapsed().as_secs_f64();
        if self.generation.as_ref().is_some_and(|generation| generation.stops.contains(&id)) {
            self.end(Ok(Ending::Stop));
            return None;
        }
        self.session.learn(id);
        self.known += 1;
        if self.known == self.limit {
            self.end(Ok(Ending::Length));
        }
        Some(id)
    }

    fn token(&self, sample: Option<Result<TokenId, Unsampled>>) -> Result<TokenId> {
        let (slot, position) = (self.session.slot, self.prompt.len() + self.known);
        match sample {
            Some(Ok(id)) => Ok(id),
            Some(Err(Unsampled::NotFinite)) => {
                Err(Error::NotFinite(format!("session {slot}: the logits after position {} are not finite numbers", position - 1)))
            }
            Some(Err(Unsampled::NothingAllowed)) => {
                Err(Error::Refused(format!("session {slot}: the mask allows no token at position {position}")))
            }
            Some(Err(Unsampled::NotLive)) | None => Err(Error::Device(format!("session {slot}: no token at position {position}"))),
        }
    }

    /// The session without what ran ahead of its end, and what the stream did.
    pub fn finish(mut self, engine: &mut Engine) -> (Session, Result<Report>) {
        let held = self.session.tokens().len();
        engine.cut(&mut self.session, held);
        let first_at = self.first_at.unwrap_or_else(Instant::now);
        self.report.prefill_seconds = (first_at - self.started).as_secs_f64();
        let report = self.report;
        (self.session, self.outcome.unwrap_or(Ok(Ending::Cancelled)).map(|ending| Report { ending, ..report }))
    }
}
