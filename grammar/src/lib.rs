//! Text of one `.uad` file in, syntax tree and errors out; and back: the canonical printer (`uadc fmt`).
//!
//! In: source text. Out: [`ast::File`] with every syntax error of the file, or text. Invariants: never panics, never
//! stops at the first error, knows no meaning (names are not resolved), does no I/O. Imports: nothing of this project.

// For the code that pest makes without `std`.
extern crate alloc;

pub mod ast;
mod build;
mod error;
mod explain;
mod layout;
mod parse;
mod print;
mod reserved;
mod rules;

pub use error::SyntaxError;
pub use parse::{parse, parse_expr};
pub use print::print;
