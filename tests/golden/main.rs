//! This implementation against golden data that other implementations computed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "helpers of tests")]

mod blocks;
mod corruption;
mod encoding;
mod engine;
mod hyper_parameters;
mod parse;
mod quantize;
mod recorder;
mod reference;
mod running;
mod scheduler;
mod snapshots;
mod stream;
mod support;
mod timeline;
mod tokenizer;
