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
    /// Constant operands in the form in which kernels read them: each at the offset that its kernel was given.
    pub packed: *mut u8,
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

/// Memory on 64-byte boundaries, zero at first. Where it is large, its pages are taken as they are touched, by the thread
/// that touches them.
pub struct Lines(Pages);

enum Pages {
    Few(Vec<Line>),
    Many(memmap2::MmapMut),
}

#[repr(C, align(64))]
#[derive(Clone, Copy)]
struct Line([u8; 64]);

/// From here on memory is mapped. Huge pages are not asked for: the system may stop to make room for them, which costs more
/// than they gain.
const MAPPED: usize = 256 << 10;

impl Lines {
    /// Room for `bytes`.
    pub fn new(bytes: usize) -> Result<Lines, String> {
        let none = || format!("no memory for {bytes} bytes");
        if bytes >= MAPPED {
            return memmap2::MmapMut::map_anon(bytes).map(|m| Lines(Pages::Many(m))).map_err(|_| none());
        }
        let count = bytes.div_ceil(64).max(1);
        let mut lines = Vec::new();
        lines.try_reserve_exact(count).map_err(|_| none())?;
        lines.resize(count, Line([0; 64]));
        Ok(Lines(Pages::Few(lines)))
    }

    /// The first byte. Who writes through it takes care that nobody else does.
    pub fn pointer(&self) -> *mut u8 {
        match &self.0 {
            Pages::Few(lines) => lines.as_ptr().cast_mut().cast(),
            Pages::Many(map) => map.as_ptr().cast_mut(),
        }
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

    /// In how many tasks operands that stay the same between runs are brought into the form in which [`Compiled::run`]
    /// reads them.
    fn pack_tasks(&self) -> usize {
        0
    }

    /// Does one of these tasks; again when the operands changed. Tasks write apart.
    ///
    /// # Safety
    /// As for [`Compiled::run`]; nobody else is this worker meanwhile.
    unsafe fn pack_task(&self, cx: &RunContext<'_>, worker: usize, task: usize) {
        let _ = (cx, worker, task);
    }
}

/// How many tasks to cut work of `points` into, each costing about `cost` times a load and a store: by shape alone.
pub fn tasks_of(points: usize, cost: usize, most: usize) -> usize {
    (points.saturating_mul(cost) / 24_576).clamp(1, most.clamp(1, 128))
}
