//! Peers: the normal training sample that goes with another sample as its second input.
//!
//! In: a data set, a seed, the number of a sample and of an epoch. Out: the position of its peer. Invariants: a pure function of
//! these, so that a resumed run draws the same; only training samples that are not known to be anomalous are drawn; the peer
//! may be the sample itself. Imports: data sets, counter-based random numbers.

use std::collections::BTreeMap;

use uad_plan::philox;

use super::set::{Dataset, Split};

/// The site of these draws.
const SITE: u64 = 0x0000_7065_6572_7321;

/// Samples that can be peers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peers {
    seed: u64,
    all: Vec<usize>,
    by_class: BTreeMap<String, Vec<usize>>,
}

impl Peers {
    /// Of a data set, without what cannot be used (sorted).
    pub fn new(set: &Dataset, seed: u64, broken: &[usize]) -> Peers {
        let mut peers = Peers { seed, ..Peers::default() };
        for n in set.of(Split::Train) {
            let sample = &set.samples[n];
            if sample.label != Some(true) && broken.binary_search(&n).is_err() {
                peers.all.push(n);
                peers.by_class.entry(sample.class.clone()).or_default().push(n);
            }
        }
        peers
    }

    /// The peer of a sample in an epoch.
    pub fn of(&self, set: &Dataset, n: usize, epoch: u64, same_class: bool) -> Option<usize> {
        let pool = if same_class { self.by_class.get(&set.samples.get(n)?.class)? } else { &self.all };
        let at = n as u64;
        let counter = [at as u32, (at >> 32) as u32, epoch as u32, (epoch >> 32) as u32];
        let block = philox::philox4x32_10(philox::key(self.seed, SITE), counter);
        let draw = u64::from(block[0]) << 32 | u64::from(block[1]);
        // The upper half of the product is uniform below the number of peers.
        pool.get(((u128::from(draw) * pool.len() as u128) >> 64) as usize).copied()
    }

    /// The peers that a detector keeps for scoring: the first of every class, or the first of all.
    pub fn kept(&self, set: &Dataset, same_class: bool) -> Vec<usize> {
        if same_class {
            let first = |c: &String| self.by_class.get(c).and_then(|p| p.first()).copied();
            set.classes.iter().filter_map(first).collect()
        } else {
            self.all.first().copied().into_iter().collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::set::Sample;

    fn set() -> Dataset {
        let sample = |n: usize| Sample {
            path: format!("{n}.png").into(),
            name: format!("{n}"),
            class: if n < 20 { "a" } else { "b" }.to_owned(),
            split: if n.is_multiple_of(5) { Split::Test } else { Split::Train },
            label: Some(n.is_multiple_of(7)),
            kind: String::new(),
            mask: None,
        };
        let classes = vec!["a".to_owned(), "b".to_owned()];
        Dataset { samples: (0..40).map(sample).collect(), classes, ..Dataset::default() }
    }

    #[test]
    fn peers_are_normal_training_samples_of_the_class() {
        let (set, broken) = (set(), [1, 2]);
        let peers = Peers::new(&set, 3, &broken);
        let mut met = std::collections::BTreeSet::new();
        for n in 0..40 {
            for epoch in 0..50 {
                let p = peers.of(&set, n, epoch, true).unwrap();
                assert_eq!(Some(p), peers.of(&set, n, epoch, true));
                assert!(
                    set.samples[p].class == set.samples[n].class
                        && !p.is_multiple_of(5)
                        && !p.is_multiple_of(7)
                        && p > 2
                );
                met.insert(p);
            }
        }
        assert_eq!(met.len(), peers.all.len(), "every peer is drawn");
        assert_eq!((peers.kept(&set, true).len(), peers.kept(&set, false)), (2, vec![3]));
        assert_ne!(
            (0..40).map(|n| peers.of(&set, n, 0, false)).collect::<Vec<_>>(),
            (0..40).map(|n| Peers::new(&set, 4, &broken).of(&set, n, 0, false)).collect::<Vec<_>>()
        );
    }
}
