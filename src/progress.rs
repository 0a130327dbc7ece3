//! Progress of long work: a bar where stderr is a terminal, nothing elsewhere. It never uses stdout, which is for results.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::borrow::Cow;

/// The unit that a [`Progress`] counts, which decides how its numbers are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Bytes, written as KiB, MiB, GiB, with a rate.
    Bytes,
    /// Anything else, written as plain numbers, with a rate.
    Items,
}

/// The progress of one long piece of work. Clones are cheap and share the bar; any thread may use them.
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

    /// A progress that counts and shows nothing.
    pub fn hidden() -> Self {
        Self(ProgressBar::hidden())
    }

    /// Counts `n` more units as done.
    pub fn add(&self, n: u64) {
        self.0.inc(n);
    }

    /// Sets the progress to `done` of `total` units.
    pub fn set(&self, done: u64, total: u64) {
        self.0.set_length(total);
        self.0.set_position(done);
    }

    /// Shows after the numbers what is worked on now. Only a bar of [`Unit::Bytes`] has room for it.
    pub fn say(&self, what: impl Into<Cow<'static, str>>) {
        self.0.set_message(what);
    }

    /// Removes the bar; later output starts on a clean line.
    pub fn finish(&self) {
        self.0.finish_and_clear();
    }
}
