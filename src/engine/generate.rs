//! A session by itself: brought to a prompt, and generating from there.

use super::scheduler::{Event, Scheduler};
use super::session::Session;
use super::step::TokenId;
use super::stream::{Generation, Report, Request};
use super::submit::Engine;
use super::watch::Watch;
use crate::Result;
use std::ops::ControlFlow;

impl Session {
    /// Makes the session hold exactly `tokens`, running as few of them as it can: what it holds already is reused, a few wrong tokens at its
    /// end are dropped, otherwise it starts anew. `watch` is told how many tokens it holds. Returns how many tokens were reused.
    ///
    /// # Errors
    /// The tokens do not fit in the context or the vocabulary; the device fails. Cancelled work is not an error: the session then holds
    /// a prefix.
    pub fn sync(&mut self, engine: &mut Engine, tokens: &[TokenId], watch: Watch<'_>) -> Result<usize> {
        let request = Request { prompt: tokens.to_vec(), generation: None };
        Ok(self.run(engine, request, watch, |_| ControlFlow::Continue(()))?.reused)
    }

    /// Brings the session to `prompt` and generates. `watch` is told how much of the prompt the session holds. Every new token goes to `sink`
    /// as soon as it is known; `sink` ends the generation with [`ControlFlow::Break`]. The session afterwards holds the prompt and what the
    /// sink got, without a stop id, and perhaps without the very last token, which then runs with the next prompt.
    ///
    /// # Errors
    /// An empty prompt, or one that leaves no room in the context; ids out of range; logits that are not finite; the device fails.
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
        // The scheduler owns the session until the stream is over, and always gives it back.
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
