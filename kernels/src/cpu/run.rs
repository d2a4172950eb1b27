//! What kernels get when they run.
//!
//! In: the pool, pointers to buffers, compiled holes, scratch memory. Out: slices of scratch per worker.
//! Invariants: scratch was allocated before the run; a worker uses its own piece only. Imports: [`super::hole_jit`],
//! [`super::pool`], [`super::strip`], [`super::isa`].

use super::hole_jit::HoleCode;
use super::isa::Isa;
use super::pool::Pool;
use super::strip::DrawKey;
use std::marker::PhantomData;

/// Everything a kernel needs beside its own compiled form.
pub struct RunContext<'a> {
    /// Threads.
    pub pool: &'a Pool,
    /// One per buffer of the entry, then those of the program itself.
    pub pointers: &'a [*mut u8],
    /// Compiled holes.
    pub code: &'a HoleCode,
    /// Seed, step, first sample.
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

// SAFETY: workers use disjoint scratch; what tasks write through the other pointers is disjoint by their contract.
unsafe impl Sync for RunContext<'_> {}

impl RunContext<'_> {
    /// The scratch of a worker. Each task may use all of it, from its beginning.
    pub fn bump(&self, worker: usize) -> Bump<'_> {
        // SAFETY: scratch was allocated for every worker of the pool.
        let at = unsafe { self.scratch.add(worker * self.scratch_bytes) };
        Bump { at, left: self.scratch_bytes, life: PhantomData }
    }

    /// The scratch that workers share.
    pub fn shared(&self) -> Bump<'_> {
        Bump { at: self.shared, left: self.shared_bytes, life: PhantomData }
    }
}

/// Memory handed out piece by piece, each on a 64-byte boundary.
pub struct Bump<'a> {
    at: *mut u8,
    left: usize,
    life: PhantomData<&'a mut u8>,
}

impl<'a> Bump<'a> {
    /// Raw bytes, not cleared.
    ///
    /// # Panics
    /// If the template asked for too little when it was compiled.
    pub fn raw(&mut self, bytes: usize) -> &'a mut [u8] {
        let padded = bytes.next_multiple_of(64);
        assert!(padded <= self.left, "scratch is too small: {padded} of {} left", self.left);
        // SAFETY: inside the worker's scratch, and handed out once.
        let piece = unsafe { std::slice::from_raw_parts_mut(self.at, bytes) };
        // SAFETY: as above.
        self.at = unsafe { self.at.add(padded) };
        self.left -= padded;
        piece
    }

    /// `n` copies of `value`.
    pub fn take<T: Copy>(&mut self, n: usize, value: T) -> &'a mut [T] {
        const { assert!(align_of::<T>() <= 64) };
        let raw = self.raw(n * size_of::<T>()).as_mut_ptr().cast::<T>();
        // SAFETY: the bytes are the worker's own and aligned.
        unsafe {
            (0..n).for_each(|i| raw.add(i).write(value));
            std::slice::from_raw_parts_mut(raw, n)
        }
    }

    /// `n` elements of memory that the caller fills before it reads them.
    pub fn space<T: Copy>(&mut self, n: usize) -> *mut T {
        const { assert!(align_of::<T>() <= 64) };
        self.raw(n * size_of::<T>()).as_mut_ptr().cast()
    }
}

/// Memory on 64-byte boundaries, zero at first.
pub struct Lines(Vec<Line>);

#[repr(C, align(64))]
#[derive(Clone, Copy)]
struct Line([u8; 64]);

impl Lines {
    /// Room for `bytes`.
    pub fn new(bytes: usize) -> Result<Lines, String> {
        let count = bytes.div_ceil(64).max(1);
        let mut lines = Vec::new();
        lines.try_reserve_exact(count).map_err(|_| format!("no memory for {bytes} bytes of scratch"))?;
        lines.resize(count, Line([0; 64]));
        Ok(Lines(lines))
    }

    /// The first byte. Who writes through it takes care that nobody else does.
    pub fn pointer(&self) -> *mut u8 {
        self.0.as_ptr().cast_mut().cast()
    }
}

/// A kernel that can run.
pub trait Compiled: Send + Sync {
    /// Does its work, on the pool.
    ///
    /// # Safety
    /// The context's pointers are valid for every buffer of the entry it was compiled from, and its scratch is as
    /// large as was asked for.
    unsafe fn run(&self, cx: &RunContext<'_>);

    /// Brings operands that stay the same between runs into the form in which [`Compiled::run`] reads them; again when
    /// they changed.
    ///
    /// # Safety
    /// As for [`Compiled::run`].
    unsafe fn pack(&self, cx: &RunContext<'_>) {
        let _ = cx;
    }
}

/// How many tasks to cut work of `points` into, each costing about `cost` times a load and a store: by shape alone.
pub fn tasks_of(points: usize, cost: usize, most: usize) -> usize {
    (points.saturating_mul(cost) / 24_576).clamp(1, most.clamp(1, 128))
}
