//! Checks of dense matrices.

pub mod int8;
pub mod plain;
