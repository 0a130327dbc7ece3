//! The interface by which a caller follows long work and may end it early.

use std::sync::atomic::{AtomicBool, Ordering};

/// A caller that follows long work.
#[derive(Clone, Copy)]
pub struct Watch<'a> {
    /// Called with the work that is done and the whole work, in bytes or tokens. It is called often, and from any thread.
    pub report: &'a (dyn Fn(u64, u64) + Sync),
    /// Any thread may set it to end the work early, which is not an error.
    pub cancel: &'a AtomicBool,
}

impl<'a> Watch<'a> {
    /// A caller that may end the work and does not follow it.
    pub fn quiet(cancel: &'a AtomicBool) -> Self {
        Self { report: &|_, _| (), cancel }
    }

    /// Whether the work should end early.
    pub fn is_cancelled(&self) -> bool {
        self.cancel.load(Ordering::Relaxed)
    }
}
