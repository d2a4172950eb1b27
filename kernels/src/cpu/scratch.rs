//! How much scratch a contraction needs.
//!
//! In: sizes found when compiling. Out: sizes that the program provides. Invariants: none. Imports: nothing.

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
    bytes.next_multiple_of(64)
}
