//! Kernels: every variant translates to the targets that can select it, and computes what the reference computes. Copies by many threads,
//! work that is polled, recordings that are saved.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "helpers of tests")]

mod adapters;
mod flights;
mod names;
mod own;
mod recordings;
mod sizes;
mod transfers;
mod translate;
mod unlaunched;
