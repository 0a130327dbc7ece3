//! Checks of what fills a session's memory.

pub mod latents;
