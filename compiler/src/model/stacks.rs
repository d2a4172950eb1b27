//! Work on several threads with deep stacks.
//!
//! In: jobs by number. Out: their results in order. Invariants: results do not depend on the number of cores; the stacks are virtual
//! memory, touched as needed. Imports: nothing of this project.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Evaluation recurses with the program, bounded by the evaluator's depth: virtual memory, touched as needed.
const STACK: usize = 1 << 29;

/// Does jobs on threads with deep stacks, as many at once as the machine has cores; results in order. A job that the machine
/// had no room for has none.
pub(crate) fn on_deep_stacks<T: Send>(jobs: usize, job: impl Fn(usize) -> T + Sync) -> Vec<Option<T>> {
    let next = AtomicUsize::new(0);
    let results: Mutex<Vec<Option<T>>> = Mutex::new((0..jobs).map(|_| None).collect());
    let work = || {
        loop {
            let n = next.fetch_add(1, Ordering::Relaxed);
            if n >= jobs {
                return;
            }
            let r = job(n);
            results.lock().unwrap_or_else(PoisonError::into_inner)[n] = Some(r);
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|s| {
        let thread = || std::thread::Builder::new().name("elaborate".into()).stack_size(STACK);
        let threads: Vec<_> = (0..jobs.min(cores)).filter_map(|_| thread().spawn_scoped(s, work).ok()).collect();
        // A panic has been reported by its hook; its job has no result.
        threads.into_iter().for_each(|t| drop(t.join()));
    });
    results.into_inner().unwrap_or_else(PoisonError::into_inner)
}
