//! A stream: one request on its way through the scheduler. It counts submitted and known tokens, and decides when it ends.

use super::session::Session;
use super::step::{SampleRequest, TokenId, Unsampled, Want};
use super::submit::{Engine, Part, Tokens};
use crate::model::{REWIND, Sampling};
use crate::{Error, Result};
use std::time::Instant;

/// A request to bring a session to a prompt, and to generate from there.
#[derive(Clone, Debug)]
pub struct Request {
    /// All tokens of the session before the first generated one.
    pub prompt: Vec<TokenId>,
    /// How to generate. `None` runs the prompt only.
    pub generation: Option<Generation>,
}

/// How to generate.
#[derive(Clone, Debug)]
pub struct Generation {
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// The largest number of tokens to generate.
    pub limit: usize,
    /// Ids that end the turn, at most two.
    pub stops: Vec<TokenId>,
}

/// The reason why a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The model sampled a stop id, which is not part of the timeline.
    Stop,
    /// The stream reached its limit or the end of the context. Where nothing is generated, it reached the end of the prompt.
    Length,
    /// The caller ended the stream.
    Cancelled,
}

/// The counts and times of a stream.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    /// The reason why the stream ended.
    pub ending: Ending,
    /// Number of prompt tokens that the session held already.
    pub reused: usize,
    /// Number of prompt tokens that were run.
    pub prefilled: usize,
    /// Seconds from the start until the first token was known, or until the end where none was generated.
    pub prefill_seconds: f64,
    /// Number of tokens after the first one, including a stop id.
    pub decoded: usize,
    /// Seconds from the first token to the last one.
    pub decode_seconds: f64,
}

/// The number of a stream. A scheduler never uses a number twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(pub(super) u64);

/// A request, its session and its progress.
pub(super) struct Stream {
    pub id: StreamId,
    session: Session,
    prompt: Vec<TokenId>,
    generation: Option<Generation>,
    /// The largest number of tokens to generate that fit in the context.
    limit: usize,
    /// Number of prompt tokens that were reused or submitted.
    fed: usize,
    /// Number of prompt tokens that were reused or have landed.
    held: usize,
    /// Number of generated tokens whose sampling was submitted.
    asked: usize,
    /// Number of generated tokens that are known.
    known: usize,
    /// Number of steps in flight that have rows of this stream.
    in_flight: usize,
    /// How the stream ended, once it has.
    outcome: Option<Result<Ending>>,
    started: Instant,
    /// When the first token was known.
    first_at: Option<Instant>,
    report: Report,
}

impl Request {
    /// Refuses a request that `engine` cannot serve.
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

    /// Number of tokens of `session` that need not be run again.
    pub(super) fn reusable(&self, session: &Session) -> usize {
        reusable(session, &self.prompt)
    }
}

/// Length of the common beginning of `session` and `tokens`, or 0 where the session cannot be cut to it.
fn reusable(session: &Session, tokens: &[TokenId]) -> usize {
    let held = session.tokens();
    let common = held.iter().zip(tokens).take_while(|(a, b)| a == b).count();
    if held.len() - common <= REWIND as usize { common } else { 0 }
}

impl Stream {
    /// Cuts the session to its common beginning with the prompt. Where tokens are generated, the last token of the prompt always runs,
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

    /// Ends the stream, unless it has ended already.
    pub fn end(&mut self, ending: Result<Ending>) {
        self.outcome.get_or_insert(ending);
    }

    /// Whether the stream has ended and has no rows in flight.
    pub fn is_over(&self) -> bool {
        self.outcome.is_some() && self.in_flight == 0
    }

    /// Number of prompt tokens that were not submitted yet.
    pub fn waiting(&self) -> usize {
        if self.outcome.is_none() { self.prompt.len() - self.fed } else { 0 }
    }

    /// Number of generated tokens whose sampling was submitted.
    pub fn asked(&self) -> usize {
        self.asked
    }

    /// Whether the whole prompt was submitted and tokens remain to be generated.
    pub fn generates(&self) -> bool {
        self.outcome.is_none() && self.fed == self.prompt.len() && self.asked < self.limit
    }

    /// Whether another row can be submitted, so that no more than `look_ahead` tokens beside that of the running step are unknown.
    pub fn can_step(&self, look_ahead: usize) -> bool {
        self.generates() && self.asked - self.known <= look_ahead
    }

    /// The rows of the next `count` tokens of the prompt. The last token of the prompt samples the first new one.
    pub fn piece(&mut self, count: usize) -> Part<'_> {
        let samples = self.fed + count == self.prompt.len() && self.limit > 0;
        let wants = if samples { vec![(count as u32 - 1, self.sample())] } else { Vec::new() };
        Part::given(&mut self.session, &self.prompt[self.fed..][..count], wants)
    }

    /// Records that a piece of `count` tokens was submitted. Returns whether it samples.
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

    /// Records that the row of [`Stream::row`] was submitted.
    pub fn submitted_row(&mut self) {
        self.asked += 1;
        self.in_flight += 1;
    }

    /// The sampling that the next row wants.
    fn sample(&self) -> Want {
        let (sampling, stops) = self.generation.as_ref().map_or((Sampling::GREEDY, Vec::new()), |g| (g.sampling, g.stops.clone()));
        Want::Sample(SampleRequest { sampling, stops, is_last: self.asked + 1 == self.limit, mask: None })
    }

    /// Records that a piece of `count` tokens has landed. Returns the number of prompt tokens that the session holds now.
    pub fn landed_piece(&mut self, count: usize) -> usize {
        self.held += count;
        if self.held == self.prompt.len() && self.limit == 0 {
            self.end(Ok(Ending::Length));
        }
        self.held
    }

    /// Records that a step with rows of this stream has landed.
    pub fn landed(&mut self) {
        self.in_flight -= 1;
    }

    /// Takes the sample of a row that has landed. Returns the token, unless it is a stop id or the stream has ended.
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

    /// Cuts rows that were submitted beyond the end of the stream. Returns the session and the report.
    pub fn finish(mut self, engine: &mut Engine) -> (Session, Result<Report>) {
        let held = self.session.tokens().len();
        engine.cut(&mut self.session, held);
        let first_at = self.first_at.unwrap_or_else(Instant::now);
        self.report.prefill_seconds = (first_at - self.started).as_secs_f64();
        let report = self.report;
        (self.session, self.outcome.unwrap_or(Ok(Ending::Cancelled)).map(|ending| Report { ending, ..report }))
    }
}
