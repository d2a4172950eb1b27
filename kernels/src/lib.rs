//! Code for plan kernels: what makes a bound plan run fast on a device.
//!
//! In: kernels of a verified, bound plan; pointers into the arena. Out: values written to the arena.
//! Invariants: a kernel allocates nothing; its result depends on its inputs and shape alone, never on the number of
//! threads. Imports: `uad-plan`.

#![allow(unsafe_code)]
// Loops over arrays of registers are written by index, as the hardware sees them.
#![allow(clippy::needless_range_loop)]

pub mod cpu;
pub mod cuda;
