//! Checks of the experts.

pub mod int8;
pub mod plain;
