//! The `uadc` command.
fn main() {}
