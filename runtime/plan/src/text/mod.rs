//! The text form `.uadp` of plans; also the form in which a bundle keeps them.
//!
//! In: plans, text. Out: text, plans. Invariants: what is printed parses back to an equal plan (of two NaN the bits
//! are equal); the parser never panics, never recurses without bound and never allocates beyond a bound.
//! Imports: [`crate::plan`].
//!
//! ```text
//! uadp 1
//! plan "tiny"
//! stored {
//!   weight linear.w f32[4, 3]
//! }
//! entry score(b) {
//!   samples b
//!   require b <= 64 "batches are small (tiny.uad:3)"
//!   input %x f32[b, 3]
//!   stored %linear.w f32[4, 3]
//!   const %bias f32[4] = 0.5, 0*3
//!   output %y f32[b, 4]
//!   kernels {
//!     dot [b, 4, 3] as [m, n, k] "linear (tiny.uad:5)" {
//!       $0 = %x[3*i0 + i2]
//!       $1 = %linear.w[3*i1 + i2]
//!       $2 = %bias[i1]
//!       a { r0 = $0; yield r0 }
//!       b { r0 = $1; yield r0 }
//!       out { r0 = slot 0; r1 = $2; r2 = add r0 r1; yield r2 }
//!       write %y[4*i0 + i1]
//!     }
//!   }
//! }
//! ```
//!
//! `samples b` says that the samples along `b` do not depend on each other. `$n` is a read operand, `iN` the coordinate on axis N, `rN` a value in a hole. A guarded operand is written
//! `$0 = %x[i0 - 1] if 0 <= i0 - 1 < 8 else 0`; an operand reached through an index `%x[clamp($1, 50)*256 + i1]`,
//! which is element `min(max($1, 0), 49)*256 + i1`. `0*3` in a constant is three zeros; a number in an f32 constant is
//! the nearest f32 unless a `d` follows. Comments go from `//` to the end of the line.

mod dims;
mod kernels;
mod lex;
mod parse;
mod print;
mod reader;
#[cfg(test)]
pub(crate) mod tests;

pub use parse::{TextError, parse};

use crate::dim::Dim;
use crate::plan::Plan;

/// The plan as a bundle keeps it: its text.
pub fn to_bytes(plan: &Plan<Dim>) -> Vec<u8> {
    plan.to_string().into_bytes()
}

/// The plan in the bytes of a bundle, not yet verified.
pub fn from_bytes(bytes: &[u8]) -> Result<Plan<Dim>, TextError> {
    match std::str::from_utf8(bytes) {
        Ok(text) => parse(text),
        Err(e) => {
            let message = format!("byte {} is not UTF-8", e.valid_up_to());
            Err(TextError { line: 1, column: 1, message })
        }
    }
}
