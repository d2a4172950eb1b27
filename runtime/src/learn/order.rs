//! In which order samples are taken.
//!
//! In: a seed, the number of an epoch, a number of samples. Out: a permutation. Invariants: a pure function of these three, so that a
//! resumed run needs no state; stages of one run take their n-th epoch in the same order, so that `skip` can leave out what a
//! stage before has seen. Imports: counter-based random numbers.

use uad_plan::philox;

/// The site of these draws.
const SITE: u64 = 0x0072_6564_726f_6461;

/// A permutation of `0..n`.
pub(super) fn shuffled(seed: u64, epoch: u64, n: usize) -> Vec<usize> {
    let key = philox::key(seed, SITE);
    let mut order: Vec<usize> = (0..n).collect();
    for i in (1..n).rev() {
        let block = philox::philox4x32_10(key, [i as u32, (i as u64 >> 32) as u32, epoch as u32, (epoch >> 32) as u32]);
        let draw = u64::from(block[0]) << 32 | u64::from(block[1]);
        // The upper half of the product is uniform below `i + 1`, to one part in 2^64 / n.
        order.swap(i, ((u128::from(draw) * (i as u128 + 1)) >> 64) as usize);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::shuffled;

    #[test]
    fn permutations_that_differ() {
        for n in [0, 1, 2, 7, 100] {
            let mut order = shuffled(3, 1, n);
            assert_eq!(order, shuffled(3, 1, n));
            order.sort_unstable();
            assert_eq!(order, (0..n).collect::<Vec<_>>());
        }
        assert_ne!(shuffled(3, 1, 50), shuffled(3, 2, 50));
        assert_ne!(shuffled(3, 1, 50), shuffled(4, 1, 50));
        // Every place is taken by every sample about equally often.
        let mut at = [0; 5];
        (0..5000).for_each(|e| at[shuffled(1, e, 5)[0]] += 1);
        assert!(at.iter().all(|n| (900..1100).contains(n)), "{at:?}");
    }
}
