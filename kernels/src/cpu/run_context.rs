//! What a compiled kernel runs with.
//!
//! In: everything that changes from call to call. Out: nothing. Invariants: scratch is as large as
//! [`Scratch`] says, on 64-byte boundaries. Imports: the pool, compiled holes.

use super::hole_jit::HoleCode;
use super::isa::Isa;
use super::pool::Pool;
use super::strip::DrawKey;

/// What a compiled kernel runs with.
#[derive(Clone, Copy)]
pub struct RunContext<'a> {
    /// Who does the work.
    pub pool: &'a Pool,
    /// One per buffer of the entry, valid for its extent.
    pub pointers: &'a [*mut u8],
    /// Compiled holes.
    pub code: &'a HoleCode,
    /// What draws depend on.
    pub draw: DrawKey,
    /// The instruction set of microkernels.
    pub isa: Isa,
    /// Scratch of worker 0; the others follow.
    pub scratch: *mut u8,
    /// Bytes per worker, a multiple of 64.
    pub scratch_bytes: usize,
    /// Scratch that all workers share.
    pub shared: *mut u8,
    /// Bytes of it.
    pub shared_bytes: usize,
}

// SAFETY: what the pointers reach is shared between tasks under the contract of the kernels: a task writes only what
// is its own.
unsafe impl Sync for RunContext<'_> {}

/// How much scratch a kernel needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scratch {
    /// Bytes used by all workers together.
    pub shared: usize,
    /// Bytes of each worker.
    pub worker: usize,
}

/// Rounded up to a cache line.
pub fn round(bytes: usize) -> usize {
    bytes.div_ceil(64) * 64
}
