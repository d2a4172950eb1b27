//! Many keys in bounded memory.
//!
//! In: keys one after another. Out: how often each occurs, in sorted order. Invariants: exact while no more than `most` keys differ; beyond
//! that the lowest bits of all ranks are dropped until they fit, and how many is said; the number of pieces that are sorted on
//! their own does not depend on the number of threads. Imports: keys.

use std::sync::Mutex;

use super::radix::{self, Key};

/// Pieces that are sorted one by one, on as many threads as there are.
const PIECES: usize = 8;
/// Fewer keys than this are one piece.
const SMALL: usize = 1 << 16;

/// The keys so far.
pub(super) struct Pile<K> {
    raw: Vec<K>,
    /// Sorted and different, with how often each occurs.
    tally: Vec<K>,
    counts: Vec<u64>,
    most: usize,
    /// Bits of each rank that were dropped.
    dropped: u32,
    len: u64,
}

impl<K: Key> Pile<K> {
    /// A pile that holds at most `most` keys in each of its two lists.
    pub fn new(most: usize) -> Pile<K> {
        Pile { raw: Vec::new(), tally: Vec::new(), counts: Vec::new(), most: most.max(2), dropped: 0, len: 0 }
    }

    /// Keys that were put on it.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// One more.
    pub fn push(&mut self, key: K) {
        if self.raw.len() >= self.most {
            self.compact();
        }
        self.raw.push(key);
        self.len += 1;
    }

    /// Moves the raw keys into the tally.
    fn compact(&mut self) {
        let dropped = self.dropped;
        self.raw.iter_mut().for_each(|k| *k = k.rounded(dropped));
        radix::sort(&mut self.raw);
        let heads = Heads { runs: vec![(&self.raw, None), (&self.tally, Some(&self.counts))], at: vec![0, 0] };
        (self.tally, self.counts) = collect(heads);
        self.raw.clear();
        while self.tally.len() > self.most {
            self.drop_bits(self.dropped + 1);
        }
    }

    /// Drops bits of the tally's ranks.
    fn drop_bits(&mut self, bits: u32) {
        self.dropped = bits;
        // Keys of one rank may change places when ranks become equal, so they are sorted again.
        let rounded = self.tally.iter().map(|k| k.rounded(bits));
        let mut pairs: Vec<(K, u64)> = rounded.zip(self.counts.iter().copied()).collect();
        pairs.sort_unstable();
        pairs.dedup_by(|next, kept| {
            let same = next.0 == kept.0;
            kept.1 += if same { next.1 } else { 0 };
            same
        });
        (self.tally, self.counts) = pairs.into_iter().unzip();
    }

    /// Bits of each rank that were dropped.
    pub fn dropped(&self) -> u32 {
        self.dropped
    }

    /// Drops as many bits as another pile has dropped.
    pub fn round(&mut self, bits: u32) {
        if bits > self.dropped {
            self.compact();
            self.drop_bits(bits.max(self.dropped));
        }
    }

    /// The keys in sorted order.
    pub fn sorted(&mut self, threads: usize) -> Heads<'_, K> {
        if self.dropped > 0 {
            self.compact();
        }
        let size = if self.raw.len() <= SMALL { SMALL } else { self.raw.len().div_ceil(PIECES) };
        let pieces = Mutex::new(self.raw.chunks_mut(size));
        let work = || {
            loop {
                // Whole whatever happened to the thread that held it: an iterator is changed in one step.
                let next = pieces.lock().unwrap_or_else(std::sync::PoisonError::into_inner).next();
                match next {
                    Some(piece) => radix::sort(piece),
                    None => return,
                }
            }
        };
        std::thread::scope(|s| {
            for _ in 1..threads.min(PIECES) {
                // Without a thread the others do its part.
                let _ = std::thread::Builder::new().spawn_scoped(s, work);
            }
            work();
        });
        let mut runs: Vec<(&[K], Option<&[u64]>)> = self.raw.chunks(size).map(|c| (c, None)).collect();
        if !self.tally.is_empty() {
            runs.push((&self.tally, Some(&self.counts)));
        }
        let at = vec![0; runs.len()];
        Heads { runs, at }
    }
}

/// Sorted lists that are read together.
pub(super) struct Heads<'a, K> {
    runs: Vec<(&'a [K], Option<&'a [u64]>)>,
    at: Vec<usize>,
}

impl<K: Key> Heads<'_, K> {
    /// The smallest key that is left.
    pub fn first(&self) -> Option<K> {
        self.runs.iter().zip(&self.at).filter_map(|(run, at)| run.0.get(*at)).min().copied()
    }

    /// How many keys are left for which `below` holds; it must hold for a beginning of each list. They are passed.
    pub fn pass(&mut self, below: impl Fn(K) -> bool) -> u64 {
        let mut passed = 0;
        for ((keys, counts), at) in self.runs.iter().zip(&mut self.at) {
            let from = *at;
            *at += keys.get(from..).unwrap_or_default().iter().take_while(|k| below(**k)).count();
            passed += match counts {
                None => (*at - from) as u64,
                Some(counts) => counts.get(from..*at).unwrap_or_default().iter().sum(),
            };
        }
        passed
    }
}

/// The keys, each once, with how often each occurs.
fn collect<K: Key>(mut heads: Heads<'_, K>) -> (Vec<K>, Vec<u64>) {
    let (mut tally, mut counts) = (Vec::new(), Vec::new());
    while let Some(first) = heads.first() {
        tally.push(first);
        counts.push(heads.pass(|k| k == first));
    }
    (tally, counts)
}
