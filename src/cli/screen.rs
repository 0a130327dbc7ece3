//! The terminal: results on stdout, messages on stderr, and Ctrl-C.

use crate::Error;
use anyhow::{Context, Result};
use std::io::{IsTerminal, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// An error as one line. It names the option that helps, if there is one.
pub fn explained(error: &anyhow::Error) -> String {
    let hint = if matches!(error.downcast_ref(), Some(Error::ContextFull { .. })) { "; raise --ctx" } else { "" };
    format!("{error:#}{hint}")
}

/// Prints a message to stderr.
#[expect(clippy::print_stderr, reason = "this is where lines for people go")]
pub fn note(line: &str) {
    eprintln!("{line}");
}

/// Writes results to stdout. If the reader of a pipe has closed it, the program ends without a message, as other tools do.
pub fn put(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        done => done.context("stdout"),
    }
}

/// Prints reasoning to stderr, dimmed on a terminal.
#[expect(clippy::print_stderr, reason = "this is where asides go")]
pub fn aside(text: &str) {
    if std::io::stderr().is_terminal() {
        eprint!("\x1b[2m{text}\x1b[0m");
    } else {
        eprint!("{text}");
    }
}

/// The flag that Ctrl-C sets. A second Ctrl-C ends the program at once.
pub fn interrupted() -> &'static AtomicBool {
    static FLAG: AtomicBool = AtomicBool::new(false);
    static WATCH: OnceLock<()> = OnceLock::new();
    WATCH.get_or_init(|| {
        let watch = ctrlc::set_handler(|| {
            if FLAG.swap(true, Ordering::Relaxed) {
                std::process::exit(130);
            }
        });
        if let Err(error) = watch {
            note(&format!("Ctrl-C will not stop cleanly: {error}"));
        }
    });
    &FLAG
}
