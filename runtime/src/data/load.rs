//! Loading ahead: samples are read and prepared on worker threads while the detector works on those before them.
//!
//! In: an order of samples, what the detector's inputs take of each. Out: prepared samples in that order. Invariants: the order does
//! not depend on the number of threads; no more than a given number waits to be taken; a broken file is an error in its
//! place, not the end; prepared samples are kept up to a bound, so that small sets are decoded once.
//! Imports: kinds, data sets, mapped files.

use std::collections::{BTreeMap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;

use sha2::{Digest, Sha256};

use super::ReadError;
use super::kind::{Kind, Pipeline, Raw, Value};
use super::peer::Peers;
use super::set::{Dataset, Sample};
use crate::device::memory::FileMap;

/// What an input takes of a sample.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// What its file holds, after this pipeline.
    File(Pipeline),
    /// The number of its class.
    Class,
    /// The picture of another sample after these steps, a normal one of the training samples.
    Peer {
        /// What happens to it.
        pipeline: Pipeline,
        /// Is it of the sample's class?
        same_class: bool,
    },
}

/// An input and what it takes.
#[derive(Clone, Debug, PartialEq)]
pub struct Take {
    /// The input's name.
    pub input: String,
    /// What.
    pub source: Source,
}

/// Samples of a data set as the inputs of a detector.
pub struct Samples {
    set: Arc<Dataset>,
    takes: Vec<Take>,
    kept: Mutex<Kept>,
    most: usize,
    peers: OnceLock<Peers>,
}

#[derive(Default)]
struct Kept {
    values: HashMap<usize, Arc<Vec<Value>>>,
    bytes: usize,
}

impl Samples {
    /// Samples for these inputs, of which prepared ones are kept up to `most` bytes.
    pub fn new(set: Arc<Dataset>, takes: Vec<Take>, most: usize) -> Samples {
        Samples { set, takes, kept: Mutex::default(), most, peers: OnceLock::new() }
    }

    /// The data set.
    pub fn set(&self) -> &Arc<Dataset> {
        &self.set
    }

    /// What the inputs take.
    pub fn takes(&self) -> &[Take] {
        &self.takes
    }

    /// A sample, one value per input in their order.
    pub fn get(&self, n: usize) -> Result<Arc<Vec<Value>>, ReadError> {
        if let Some(known) = lock(&self.kept).values.get(&n) {
            return Ok(known.clone());
        }
        let sample = self.set.samples.get(n);
        let sample = sample.ok_or_else(|| ReadError::new(&self.set.path, format!("has no sample {n}")))?;
        let made = Arc::new(self.make(sample)?);
        let bytes: usize = made.iter().map(Value::bytes).sum();
        let mut kept = lock(&self.kept);
        if kept.bytes + bytes <= self.most && kept.values.insert(n, made.clone()).is_none() {
            kept.bytes += bytes;
        }
        Ok(made)
    }

    /// Lets peers be drawn, from samples that can be used.
    pub fn draw_peers(&self, seed: u64, broken: &[usize]) {
        self.peers.get_or_init(|| Peers::new(&self.set, seed, broken));
    }

    /// Does an input take the picture of another sample?
    pub fn has_peers(&self) -> bool {
        self.takes.iter().any(|t| matches!(t.source, Source::Peer { .. }))
    }

    /// A sample as an epoch sees it, its peers drawn.
    pub fn drawn(&self, n: usize, epoch: u64) -> Result<Arc<Vec<Value>>, ReadError> {
        let own = self.get(n)?;
        if !self.has_peers() {
            return Ok(own);
        }
        let mut values = own.to_vec();
        for (take, value) in self.takes.iter().zip(&mut values) {
            let Source::Peer { pipeline, same_class } = &take.source else { continue };
            let none = || ReadError::new(&self.set.path, "has no normal training sample to be the peer of others");
            let peer = self.peers.get().and_then(|p| p.of(&self.set, n, epoch, *same_class)).ok_or_else(none)?;
            *value = self.picture(peer, pipeline)?;
        }
        Ok(Arc::new(values))
    }

    /// A sample's picture after a pipeline.
    fn picture(&self, n: usize, pipeline: &Pipeline) -> Result<Value, ReadError> {
        let same = |t: &Take| matches!(&t.source, Source::File(p) if p == pipeline);
        if let Some(k) = self.takes.iter().position(same)
            && let Some(known) = self.get(n)?.get(k)
        {
            return Ok(known.clone());
        }
        let none = || ReadError::new(&self.set.path, format!("has no sample {n}"));
        let path = &self.set.samples.get(n).ok_or_else(none)?.path;
        pipeline.prepare(&pipeline.read(path)?, path)
    }

    fn make(&self, sample: &Sample) -> Result<Vec<Value>, ReadError> {
        let mut held: Option<(Kind, Raw)> = None;
        let mut values = Vec::with_capacity(self.takes.len());
        for take in &self.takes {
            values.push(match &take.source {
                Source::Class => Value::Number(self.set.class_number(sample)),
                Source::Peer { .. } => Value::Later,
                Source::File(pipeline) => {
                    let kind = pipeline.kind();
                    let read = match held.take() {
                        Some(known) if known.0 == kind => known,
                        _ => (kind, pipeline.read(&sample.path)?),
                    };
                    pipeline.prepare(&held.insert(read).1, &sample.path)?
                }
            });
        }
        Ok(values)
    }
}

fn lock<T>(m: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic while it is held leaves whole values behind.
    m.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Results of a function over an order, made ahead of the one who takes them.
pub struct Loader<T> {
    shared: Arc<Shared<T>>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared<T> {
    state: Mutex<State<T>>,
    /// There is room, or a result.
    changed: Condvar,
    make: Box<dyn Fn(usize) -> T + Send + Sync>,
    ahead: usize,
}

struct State<T> {
    order: Box<dyn Iterator<Item = usize> + Send>,
    /// Number of the next one to be made, and of the next one to be taken.
    next: usize,
    taken: usize,
    ended: bool,
    quit: bool,
    broke: bool,
    ready: BTreeMap<usize, (usize, T)>,
}

impl<T: Send + 'static> Loader<T> {
    /// Makes `make(n)` for every `n` of the order, on `threads` threads, at most `ahead` before they are taken.
    pub fn new(
        order: impl Iterator<Item = usize> + Send + 'static,
        threads: usize,
        ahead: usize,
        make: impl Fn(usize) -> T + Send + Sync + 'static,
    ) -> Loader<T> {
        let order = Box::new(order);
        let (next, taken, ready) = (0, 0, BTreeMap::new());
        let state = State { order, next, taken, ended: false, quit: false, broke: false, ready };
        let (make, ahead) = (Box::new(make), ahead.max(1));
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new(), make, ahead });
        let spawn = |n: usize| {
            let shared = shared.clone();
            std::thread::Builder::new().name(format!("uad-load-{n}")).spawn(move || shared.work()).ok()
        };
        // Without a thread the one who takes makes them.
        let threads = (0..threads.min(ahead)).filter_map(spawn).collect();
        Loader { shared, threads }
    }
}

impl<T> Shared<T> {
    fn work(&self) {
        loop {
            let mut state = lock(&self.state);
            while !state.quit && !state.ended && state.next >= state.taken + self.ahead {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            if state.quit || !self.one(state) {
                return;
            }
        }
    }

    /// Makes the next one; false if there is none.
    fn one(&self, mut state: MutexGuard<'_, State<T>>) -> bool {
        let Some(n) = (if state.ended { None } else { state.order.next() }) else {
            state.ended = true;
            drop(state);
            self.changed.notify_all();
            return false;
        };
        let number = state.next;
        state.next += 1;
        drop(state);
        let made = catch_unwind(AssertUnwindSafe(|| (self.make)(n)));
        let mut state = lock(&self.state);
        match made {
            Ok(value) => {
                state.ready.insert(number, (n, value));
            }
            Err(_) => state.broke = true,
        }
        drop(state);
        self.changed.notify_all();
        true
    }
}

impl<T> Iterator for Loader<T> {
    type Item = (usize, T);

    fn next(&mut self) -> Option<(usize, T)> {
        let mut state = lock(&self.shared.state);
        loop {
            let wanted = state.taken;
            if let Some(found) = state.ready.remove(&wanted) {
                state.taken += 1;
                drop(state);
                self.shared.changed.notify_all();
                return Some(found);
            }
            if state.broke || (state.ended && state.taken >= state.next) {
                return None;
            }
            if self.threads.is_empty() {
                self.shared.one(state);
                state = lock(&self.shared.state);
            } else {
                state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }
}

impl<T> Drop for Loader<T> {
    fn drop(&mut self) {
        lock(&self.shared.state).quit = true;
        self.shared.changed.notify_all();
        for t in self.threads.drain(..) {
            // It ends after the sample that it works on.
            let _ = t.join();
        }
    }
}

/// Tries to read every sample, on `threads` threads. `told` hears of each one in order: a digest of its files, or what is wrong.
pub fn check(
    samples: &Arc<Samples>,
    order: &[usize],
    threads: usize,
    mut told: impl FnMut(usize, Result<String, ReadError>),
) {
    let from = samples.clone();
    let make = move |n: usize| -> Result<String, ReadError> {
        from.get(n)?;
        let path = from.set().samples.get(n).map(|s| s.path.as_path()).unwrap_or(Path::new(""));
        let mut digest = Sha256::new();
        for file in from.set().kind.files(path) {
            digest.update(FileMap::open(&file).map_err(|e| ReadError::new(&file, e))?.bytes());
        }
        Ok(digest.finalize().iter().take(16).map(|b| format!("{b:02x}")).collect())
    };
    for (n, result) in Loader::new(Vec::from(order).into_iter(), threads, 4 * threads.max(1), make) {
        told(n, result);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    #[test]
    fn order_is_kept_and_memory_bounded() {
        for threads in [0, 1, 3] {
            static WAITING: AtomicUsize = AtomicUsize::new(0);
            WAITING.store(0, Ordering::SeqCst);
            let order: Vec<usize> = (0..200).map(|n| (n * 7) % 200).collect();
            let loader = Loader::new(order.clone().into_iter(), threads, 5, |n| {
                let now = WAITING.fetch_add(1, Ordering::SeqCst) + 1;
                assert!(now <= 5 + 1, "{now} wait");
                std::thread::sleep(Duration::from_micros((n % 13) as u64 * 10));
                n * n
            });
            let mut found = Vec::new();
            for (n, square) in loader {
                assert_eq!(square, n * n);
                found.push(n);
                WAITING.fetch_sub(1, Ordering::SeqCst);
            }
            assert_eq!(found, order);
        }
    }

    #[test]
    fn left_early_and_broken() {
        let mut loader = Loader::new(0.., 2, 3, |n| n);
        assert_eq!(loader.next(), Some((0, 0)));
        drop(loader);
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| {}));
        let loader = Loader::new(0..10, 2, 3, |n| assert!(n < 4));
        assert!(loader.count() <= 4);
        std::panic::set_hook(hook);
    }
}
