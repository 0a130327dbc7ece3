//! Long work is watched by its caller, who is told how far it has come and may end it.

use std::sync::atomic::{AtomicBool, Ordering};

/// Who watches a piece of long work.
#[derive(Clone, Copy)]
pub struct Watch<'a> {
    /// Called with how much is done and how much there is to do, in bytes or tokens. It is called often, and from any thread.
    pub report: &'a (dyn Fn(u64, u64) + Sync),
    /// Set from anywhere to end the work early, which is no error.
    pub cancel: &'a AtomicBool,
}

impl<'a> Watch<'a> {
    /// Only the flag: nobody wants to know how far the work has come.
    pub fn quiet(cancel: &'a AtomicBool) -> Self {
        Self { report: &|_, _| (), cancel }
    }

    /// Whether the work shall end.
    pub fn is_cancelled(&self) -> bool {
        self.cancel.load(Ordering::Relaxed)
    }
}
