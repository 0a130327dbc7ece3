//! The commands.

pub mod verify;
