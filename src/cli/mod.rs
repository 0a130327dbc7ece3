//! The commands: one file each, and what they share. Turns arguments into calls and results into lines; does no work of its own.

mod answer;
mod args;
mod batch;
mod bench;
mod chat;
mod common;
mod devices;
mod imatrix;
mod inspect;
mod logits;
mod perplexity;
mod pieces;
mod quantize;
mod render;
mod run;
mod screen;
mod source;
mod synth;
mod tokenize;
pub mod verify;

use args::{Arguments, Command};
use clap::Parser;
use std::process::ExitCode;

/// Runs the program. Exit codes: 0 done, 1 failed, 2 wrong usage (clap's own).
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(filter) = &crate::debug::environment().log {
        let level = filter.parse().unwrap_or(tracing_subscriber::filter::LevelFilter::WARN);
        tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr).init();
    }
    let done = match arguments.command {
        Command::Run(command) => command.run(),
        Command::Chat(command) => command.run(),
        Command::Bench(command) => command.run(),
        Command::Logits(command) => command.run(),
        Command::Tokenize(command) => command.run(),
        Command::Render(command) => command.run(),
        Command::Inspect(command) => command.run(),
        Command::Devices(command) => command.run(),
        Command::Verify(command) => command.run(),
        Command::Quantize(command) => command.run(),
        Command::Imatrix(command) => command.run(),
        Command::Perplexity(command) => command.run(),
        Command::Synth(command) => command.run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            screen::note(&format!("dwarfstar: {}", screen::explained(&error)));
            ExitCode::FAILURE
        }
    }
}
