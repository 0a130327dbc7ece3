//! Progress of long work: a bar on a terminal, nothing elsewhere. Always on stderr; stdout is for results.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::borrow::Cow;

/// What a [`Progress`] counts; decides how the numbers are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Bytes, written as KiB, MiB, GiB, with a rate.
    Bytes,
    /// Anything else, written as plain numbers, with a rate.
    Items,
}

/// One piece of long work. Cheap to clone; clones share the bar, from any thread.
#[derive(Clone)]
pub struct Progress(ProgressBar);

impl Progress {
    /// A bar on stderr where stderr is a terminal; silent otherwise.
    pub fn bar(label: impl Into<Cow<'static, str>>, total: u64, unit: Unit) -> Self {
        let template = match unit {
            Unit::Bytes => "{prefix} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec} {eta} left {msg}",
            Unit::Items => "{prefix} [{bar:30}] {pos}/{len} {per_sec} {eta} left",
        };
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr_with_hz(10));
        Self(bar.with_style(style.progress_chars("=> ")).with_prefix(label))
    }

    /// Counts without showing anything.
    pub fn hidden() -> Self {
        Self(ProgressBar::hidden())
    }

    /// `n` more are done.
    pub fn add(&self, n: u64) {
        self.0.inc(n);
    }

    /// `done` of `total` are done.
    pub fn set(&self, done: u64, total: u64) {
        self.0.set_length(total);
        self.0.set_position(done);
    }

    /// What is worked on now, behind the numbers.
    pub fn say(&self, what: impl Into<Cow<'static, str>>) {
        self.0.set_message(what);
    }

    /// Removes the bar; later output starts on a clean line.
    pub fn finish(&self) {
        self.0.finish_and_clear();
    }
}
