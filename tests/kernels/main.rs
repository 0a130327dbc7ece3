//! Kernels: every variant translates to the languages of the devices that can select it, and computes the same as the reference. Also
//! copies by several threads, work in flight, and saved recordings.

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
