//! The `dwarfstar` command.
fn main() {}
