//! Kernels: every variant translates to the targets that can select it, and computes what the reference computes.

mod adapters;
mod translate;
