//! A pool of threads that kernels share.
//!
//! In: a number of tasks and a function of (worker, task). Out: every task done once. Invariants: nothing is allocated
//! per call; a worker begins with its own run of neighbouring tasks, the same in every call of as many, so that what it
//! wrote is read from its own cache, and then helps the others; so which worker takes which task is left to chance, and
//! a task must write only what no other task writes and may use `worker` for nothing but its own scratch; then results
//! do not depend on the number of threads. A call from inside a task, or while another thread uses the pool, runs its
//! tasks in place. Imports: nothing of this project.

use std::cell::UnsafeCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::*};
use std::sync::{Arc, Mutex};
use std::thread::{JoinHandle, Thread};
use std::time::{Duration, Instant};

/// How long a worker looks for the next call before it sleeps: longer than the gaps between the kernels of one run.
const SPIN: Duration = Duration::from_micros(60);

type Task = dyn Fn(usize, usize) + Sync;

/// Threads that wait for tasks; the calling thread is worker 0.
pub struct Pool {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    handles: Vec<Thread>,
    /// Held while tasks of a call are under way.
    busy: Mutex<()>,
}

struct Shared {
    /// Tasks not yet taken, of each worker's run. Taking one by compare-exchange both claims it and keeps `job` alive
    /// until it is done.
    runs: Vec<Run>,
    /// Calls so far: a worker that has seen this one has nothing to look for.
    calls: AtomicU64,
    /// Tasks finished in this call.
    done: AtomicUsize,
    job: UnsafeCell<Job>,
    asleep: Vec<AtomicBool>,
    panicked: AtomicBool,
    quit: AtomicBool,
}

#[derive(Clone, Copy)]
struct Job {
    run: Option<*const Task>,
}

/// A worker's tasks: the next in the upper half, the end in the lower. On a line of its own, which others touch only to help.
#[repr(align(128))]
struct Run(AtomicU64);

impl Run {
    fn set(&self, from: usize, to: usize) {
        self.0.store((from as u64) << 32 | to as u64, SeqCst);
    }

    /// The first of them, for the worker itself.
    fn first(&self) -> Option<usize> {
        self.take(|from, to| (from, (from + 1, to)))
    }

    /// The last, for who helps.
    fn last(&self) -> Option<usize> {
        self.take(|from, to| (to - 1, (from, to - 1)))
    }

    fn take(&self, which: impl Fn(u64, u64) -> (u64, (u64, u64))) -> Option<usize> {
        let mut now = self.0.load(Acquire);
        loop {
            let (from, to) = (now >> 32, now & u64::from(u32::MAX));
            if from >= to {
                return None;
            }
            let (task, (from, to)) = which(from, to);
            match self.0.compare_exchange_weak(now, from << 32 | to, AcqRel, Acquire) {
                Ok(_) => return Some(task as usize),
                Err(other) => now = other,
            }
        }
    }
}

// SAFETY: `job` is written only while no task is left and none is running, and read only by the holder of a task.
unsafe impl Sync for Shared {}
// SAFETY: the pointer in `job` is to a `Sync` function that outlives the call.
unsafe impl Send for Shared {}

impl Pool {
    /// A pool of `threads` workers, the caller among them; 0 counts as 1.
    pub fn new(threads: usize) -> Pool {
        let extra = threads.max(1) - 1;
        let shared = Arc::new(Shared {
            runs: (0..=extra).map(|_| Run(AtomicU64::new(0))).collect(),
            calls: AtomicU64::new(0),
            done: AtomicUsize::new(0),
            job: UnsafeCell::new(Job { run: None }),
            asleep: (0..extra).map(|_| AtomicBool::new(false)).collect(),
            panicked: AtomicBool::new(false),
            quit: AtomicBool::new(false),
        });
        // A thread that cannot be had is done without: the others take its tasks.
        let threads: Vec<_> = (1..=extra)
            .filter_map(|worker| {
                let shared = shared.clone();
                std::thread::Builder::new().name(format!("uad-{worker}")).spawn(move || shared.serve(worker)).ok()
            })
            .collect();
        let handles = threads.iter().map(|t| t.thread().clone()).collect();
        Pool { shared, threads, handles, busy: Mutex::new(()) }
    }

    /// Workers, the caller among them. A task sees `worker` below this.
    pub fn threads(&self) -> usize {
        self.threads.len() + 1
    }

    /// Calls `run(worker, task)` for every task in `0..tasks`, each once, in any order, and returns when all are done.
    ///
    /// # Panics
    /// If a task panicked.
    pub fn run(&self, tasks: usize, run: &(dyn Fn(usize, usize) + Sync)) {
        let shareable = tasks > 1 && u32::try_from(tasks).is_ok() && !self.threads.is_empty();
        let lock = if shareable { self.busy.try_lock().ok() } else { None };
        let Some(_lock) = lock else {
            (0..tasks).for_each(|t| run(0, t));
            return;
        };
        let s = &*self.shared;
        // SAFETY: the lock is held and no task of an earlier call is left or running, so nobody reads `job`; the
        // reference outlives every use because this function returns only when all tasks are done.
        unsafe {
            let run: *const Task = std::mem::transmute::<&(dyn Fn(usize, usize) + Sync), &'static Task>(run);
            *s.job.get() = Job { run: Some(run) };
        }
        s.done.store(0, Relaxed);
        let workers = self.threads();
        for (n, run) in s.runs.iter().take(workers).enumerate() {
            run.set(tasks * n / workers, tasks * (n + 1) / workers);
        }
        s.calls.fetch_add(1, SeqCst);
        for (flag, handle) in s.asleep.iter().zip(&self.handles) {
            if flag.swap(false, SeqCst) {
                handle.unpark();
            }
        }
        s.work(0);
        let mut spins = 0u32;
        while s.done.load(Acquire) != tasks {
            spins += 1;
            if spins < 10_000 { std::hint::spin_loop() } else { std::thread::yield_now() }
        }
        if s.panicked.swap(false, Relaxed) {
            panic!("a task of the pool panicked");
        }
    }
}

impl Shared {
    /// Takes and runs tasks until none is left: its own from the first on, then those of others from their last.
    fn work(&self, worker: usize) {
        let others = (1..self.runs.len()).map(|n| (worker + n) % self.runs.len());
        while let Some(task) = self.runs[worker].first() {
            self.run(worker, task);
        }
        for other in others {
            while let Some(task) = self.runs[other].last() {
                self.run(worker, task);
            }
        }
    }

    /// Runs a task that was just taken.
    fn run(&self, worker: usize, task: usize) {
        // SAFETY: the task is not done, so the call that published `job` has not returned.
        let job = unsafe { *self.job.get() };
        if let Some(run) = job.run {
            // SAFETY: as above, the function is alive.
            let run = unsafe { &*run };
            if catch_unwind(AssertUnwindSafe(|| run(worker, task))).is_err() {
                self.panicked.store(true, Relaxed);
            }
        }
        self.done.fetch_add(1, Release);
    }

    fn serve(&self, worker: usize) {
        let asleep = &self.asleep[worker - 1];
        let mut seen = 0;
        while !self.quit.load(Relaxed) {
            let start = Instant::now();
            while self.calls.load(Acquire) == seen && start.elapsed() < SPIN {
                (0..32).for_each(|_| std::hint::spin_loop());
            }
            if self.calls.load(Acquire) == seen {
                asleep.store(true, SeqCst);
                // A call that came between the look and the flag has either seen the flag or is seen here.
                while asleep.load(SeqCst) && self.calls.load(SeqCst) == seen && !self.quit.load(SeqCst) {
                    std::thread::park();
                }
                asleep.store(false, SeqCst);
            }
            seen = self.calls.load(Acquire);
            self.work(worker);
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.quit.store(true, SeqCst);
        for (handle, thread) in self.handles.iter().zip(self.threads.drain(..)) {
            handle.unpark();
            // A worker catches what its tasks panic with, so joining cannot fail.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_runs_once() {
        for threads in 0..4 {
            let pool = Pool::new(threads);
            for tasks in [0, 1, 2, 7, 100] {
                for _ in 0..200 {
                    let hits: Vec<AtomicUsize> = (0..tasks).map(|_| AtomicUsize::new(0)).collect();
                    pool.run(tasks, &|worker, t| {
                        assert!(worker < pool.threads());
                        hits[t].fetch_add(1, Relaxed);
                    });
                    assert!(hits.iter().all(|h| h.load(Relaxed) == 1), "{threads} threads, {tasks} tasks");
                }
            }
        }
    }

    #[test]
    fn sleepers_wake() {
        let pool = Pool::new(3);
        for _ in 0..20 {
            std::thread::sleep(Duration::from_millis(1));
            let n = AtomicUsize::new(0);
            pool.run(64, &|_, _| {
                n.fetch_add(1, Relaxed);
            });
            assert_eq!(n.load(Relaxed), 64);
        }
    }

    #[test]
    fn a_call_inside_a_task_and_a_second_caller_run_in_place() {
        let pool = Pool::new(2);
        let n = AtomicUsize::new(0);
        let count = |_: usize, _: usize| {
            n.fetch_add(1, Relaxed);
        };
        pool.run(4, &|_, _| pool.run(5, &count));
        assert_eq!(n.load(Relaxed), 20);
        std::thread::scope(|s| {
            for _ in 0..3 {
                s.spawn(|| (0..100).for_each(|_| pool.run(3, &count)));
            }
        });
        assert_eq!(n.load(Relaxed), 920);
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_lives_on() {
        let pool = Pool::new(2);
        let caught = catch_unwind(AssertUnwindSafe(|| {
            pool.run(8, &|_, t| assert_ne!(t, 3, "planted"));
        }));
        assert!(caught.is_err());
        pool.run(8, &|_, _| {});
    }
}
