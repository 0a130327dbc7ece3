//! Running a single session: bringing it to a prompt, and generating from there.

use super::scheduler::{Event, Scheduler};
use super::session::Session;
use super::step::TokenId;
use super::stream::{Generation, Report, Request};
use super::submit::Engine;
use super::watch::Watch;
use crate::Result;
use std::ops::ControlFlow;

impl Session {
    /// Makes the session hold exactly `tokens` and returns how many of them it held already. Those are not run again, if no more than
    /// [`REWIND`](crate::model::REWIND) other tokens follow them; otherwise the session starts from the beginning. `watch` gets the number
    /// of tokens that the session holds.
    ///
    /// # Errors
    /// Where the tokens do not fit in the context or the vocabulary, or the device fails. Cancelling is not an error; the session then
    /// holds the first of the tokens.
    pub fn sync(&mut self, engine: &mut Engine, tokens: &[TokenId], watch: Watch<'_>) -> Result<usize> {
        let request = Request { prompt: tokens.to_vec(), generation: None };
        Ok(self.run(engine, request, watch, |_| ControlFlow::Continue(()))?.reused)
    }

    /// Brings the session to `prompt` and generates. `watch` gets the number of prompt tokens that the session holds. `sink` gets every new
    /// token as soon as it is known, and ends the generation with [`ControlFlow::Break`]. Afterwards the session holds the prompt and the
    /// tokens that `sink` got, but no stop id. The row of the last token may not have run; it then runs with the next prompt.
    ///
    /// # Errors
    /// Where the prompt is empty or leaves no room in the context, ids are out of range, logits are not finite, or the device fails.
    pub fn generate(
        &mut self,
        engine: &mut Engine,
        prompt: &[TokenId],
        generation: &Generation,
        watch: Watch<'_>,
        sink: impl FnMut(TokenId) -> ControlFlow<()>,
    ) -> Result<Report> {
        self.run(engine, Request { prompt: prompt.to_vec(), generation: Some(generation.clone()) }, watch, sink)
    }

    fn run(
        &mut self,
        engine: &mut Engine,
        request: Request,
        watch: Watch<'_>,
        mut sink: impl FnMut(TokenId) -> ControlFlow<()>,
    ) -> Result<Report> {
        let total = request.prompt.len() as u64;
        let mut scheduler = Scheduler::default();
        // The scheduler owns the session until the stream is over, and gives it back in every case.
        if let Err((session, error)) = scheduler.start(engine, std::mem::take(self), request) {
            *self = session;
            return Err(error);
        }
        loop {
            if watch.is_cancelled() {
                scheduler.cancel_all();
            }
            for event in scheduler.turn(engine) {
                match event {
                    Event::Prompt { held, .. } => (watch.report)(held as u64, total),
                    Event::Token { stream, token } => {
                        if sink(token).is_break() {
                            scheduler.cancel(stream);
                        }
                    }
                    Event::Ended { session, result, .. } => {
                        *self = session;
                        return result;
                    }
                }
            }
        }
    }
}
