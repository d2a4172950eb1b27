//! What a compiled kernel runs with.
//!
//! In: everything that changes from call to call. Out: nothing. Invariants: scratch is `Scratch::shared` bytes, then
//! `Scratch::worker` bytes for every worker of the pool, all 64-byte aligned. Imports: the pool, compiled holes.

use super::hole_jit::HoleCode;
use super::pool::Pool;
use super::strip::DrawKey;

/// What a compiled kernel runs with.
#[derive(Clone, Copy)]
pub struct RunContext<'a> {
    /// Who does the work.
    pub pool: &'a Pool,
    /// Compiled holes.
    pub code: &'a HoleCode,
    /// One per buffer of the entry, valid for its extent.
    pub pointers: &'a [*mut u8],
    /// At least [`Scratch::total`] bytes, 64-byte aligned, used by nobody else during the call.
    pub scratch: *mut u8,
    /// What draws depend on.
    pub draw: DrawKey,
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

impl Scratch {
    /// Bytes for a pool of this many threads.
    pub fn total(self, threads: usize) -> usize {
        round(self.shared) + threads * round(self.worker)
    }

    /// Where the scratch of a worker starts.
    pub fn of_worker(self, worker: usize) -> usize {
        round(self.shared) + worker * round(self.worker)
    }
}

/// Rounded up to a cache line.
pub fn round(bytes: usize) -> usize {
    bytes.div_ceil(64) * 64
}
