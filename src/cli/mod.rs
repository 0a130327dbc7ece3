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
mod verify;

use bench::Bench;
use chat::ChatCommand;
use clap::{Parser, Subcommand};
use devices::Devices;
use imatrix::Imatrix;
use inspect::Inspect;
use logits::Logits;
use perplexity::Perplexity;
use quantize::Quantize;
use render::Render;
use run::Run;
use std::ffi::OsString;
use std::process::ExitCode;
use synth::Synth;
use tokenize::Tokenize;
use verify::Verify;

/// DeepSeek V4 on the GPU you own.
#[derive(Debug, Parser)]
#[command(name = "dwarfstar", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Answer one prompt
    Run(Run),
    /// Talk with the model
    Chat(ChatCommand),
    /// Prefill and decode speed at growing contexts, as CSV
    Bench(Bench),
    /// Logits of given tokens, into a safetensors file
    Logits(Logits),
    /// Text to token ids and back, JSON lines on stdin
    Tokenize(Tokenize),
    /// Conversations to prompts and completions to messages, JSON lines on stdin
    Render(Render),
    /// What a model file holds, and the memory it needs
    Inspect(Inspect),
    /// The devices of this machine
    Devices(Devices),
    /// Compare every kernel with the reference on this machine's devices
    Verify(Verify),
    /// A checkpoint folder or GGUF file into a GGUF file in smaller formats
    Quantize(Quantize),
    /// How much each input channel is used on a text: the importance matrix for `quantize`
    Imatrix(Imatrix),
    /// Perplexity on a text, and the divergence from a base model
    Perplexity(Perplexity),
    /// Write a model with random weights, for benchmarks and tests
    Synth(Synth),
}

/// Runs the program.
pub fn main() -> ExitCode {
    run(std::env::args_os())
}

/// Runs the program with `arguments`, of which the first is its name. Exit codes: 0 done, 1 failed, 2 wrong usage (clap's own).
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments = Arguments::parse_from(arguments);
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
