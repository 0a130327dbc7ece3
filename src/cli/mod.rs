//! The commands: one file each, and what they share. They turn arguments into calls and results into lines, and do no other work.

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

/// Runs DeepSeek V4 models on your own GPU.
#[derive(Debug, Parser)]
#[command(name = "dwarfstar", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Answer one prompt, or a file of conversations
    Run(Run),
    /// Talk with the model in the terminal
    Chat(ChatCommand),
    /// Measure the speed of prompts and of generation at growing contexts, or of single kernels
    Bench(Bench),
    /// Write the logits of given tokens to a safetensors file
    Logits(Logits),
    /// Turn text into token ids and back, from JSON lines on stdin
    Tokenize(Tokenize),
    /// Turn conversations into prompts and completions into messages, from JSON lines on stdin
    Render(Render),
    /// Show what a model file holds and how much memory it needs
    Inspect(Inspect),
    /// List the devices of this machine
    Devices(Devices),
    /// Compare every kernel with the reference, on the devices of this machine
    Verify(Verify),
    /// Convert a checkpoint folder or GGUF file into a GGUF file with smaller formats
    Quantize(Quantize),
    /// Measure how much a text uses each input channel, and write the importance matrix that `quantize` takes
    Imatrix(Imatrix),
    /// Measure the perplexity on a text, and the divergence from a base model
    Perplexity(Perplexity),
    /// Write a model with random weights, for benchmarks and tests
    Synth(Synth),
}

/// Runs the program.
pub fn main() -> ExitCode {
    run(std::env::args_os())
}

/// Runs the program with `arguments`, of which the first is its name. The exit code is 0 on success, 1 on failure, and 2 on wrong usage.
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
