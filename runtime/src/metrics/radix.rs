//! Scores as integers that sort the other way round, and sorting them.
//!
//! In: f32 scores; lists of integers. Out: keys, sorted lists. Invariants: a smaller key is a larger score; 0 and -0 have one key; what is
//! not a number has none; a list is sorted in as many passes as it has digits that differ. Imports: nothing of this project.

/// The key of a score.
pub(super) fn key(score: f32) -> Option<u32> {
    if score.is_nan() {
        return None;
    }
    // -0 + 0 is 0.
    let bits = (score + 0.0).to_bits();
    // Rising with the score: negative numbers are turned round, positive ones put above them. Then all turned round.
    let rising = if bits >> 31 == 1 { !bits } else { bits | 1 << 31 };
    Some(!rising)
}

/// The score of a key.
pub(super) fn score(key: u32) -> f32 {
    let rising = !key;
    f32::from_bits(if rising >> 31 == 1 { rising & !(1 << 31) } else { !rising })
}

/// What can be sorted and rounded.
pub(super) trait Key: Copy + Ord + Default + Send + Sync {
    /// Digits to sort by.
    const DIGITS: u32;
    /// A digit of [`DIGIT`] bits.
    fn digit(self, n: u32) -> usize;
    /// The part that ranks.
    fn rank(self) -> u32;
    /// With the lowest `bits` bits of the rank cleared.
    fn rounded(self, bits: u32) -> Self;
}

/// Bits of a digit: its table of 2048 counts stays in the first cache.
const DIGIT: u32 = 11;
const BUCKETS: usize = 1 << DIGIT;

impl Key for u32 {
    const DIGITS: u32 = 3;
    fn digit(self, n: u32) -> usize {
        (self >> (DIGIT * n)) as usize % BUCKETS
    }
    fn rank(self) -> u32 {
        self
    }
    fn rounded(self, bits: u32) -> u32 {
        self >> bits << bits
    }
}

/// Rank above, a number that is carried along below.
impl Key for u64 {
    const DIGITS: u32 = 6;
    fn digit(self, n: u32) -> usize {
        (self >> (DIGIT * n)) as usize % BUCKETS
    }
    fn rank(self) -> u32 {
        (self >> 32) as u32
    }
    fn rounded(self, bits: u32) -> u64 {
        self >> (32 + bits) << (32 + bits) | self & u64::from(u32::MAX)
    }
}

/// Sorts a list.
pub(super) fn sort<K: Key>(list: &mut [K]) {
    if list.len() < 4 * BUCKETS || u32::try_from(list.len()).is_err() {
        list.sort_unstable();
        return;
    }
    let mut counts = vec![[0u32; BUCKETS]; K::DIGITS as usize];
    for v in list.iter() {
        for (n, table) in counts.iter_mut().enumerate() {
            table[v.digit(n as u32)] += 1;
        }
    }
    let mut other = vec![K::default(); list.len()];
    let mut swapped = false;
    for (n, table) in counts.iter_mut().enumerate() {
        if table.iter().any(|c| *c as usize == list.len()) {
            continue;
        }
        let mut sum = 0;
        for c in table.iter_mut() {
            sum += std::mem::replace(c, sum);
        }
        let (from, to) = if swapped { (&other[..], &mut *list) } else { (&*list, &mut other[..]) };
        scatter(from, to, n as u32, table);
        swapped = !swapped;
    }
    if swapped {
        list.copy_from_slice(&other);
    }
}

fn scatter<K: Key>(from: &[K], to: &mut [K], digit: u32, next: &mut [u32; BUCKETS]) {
    for v in from {
        let place = &mut next[v.digit(digit)];
        if let Some(slot) = to.get_mut(*place as usize) {
            *slot = *v;
        }
        *place += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_fall_as_scores_rise() {
        let rising = [f32::NEG_INFINITY, -2.0, -1e-40, 0.0, 1e-40, 0.5, 3.0, f32::INFINITY];
        for pair in rising.windows(2) {
            assert!(key(pair[0]) > key(pair[1]), "{pair:?}");
        }
        assert!(rising.iter().all(|v| score(key(*v).unwrap()) == *v));
        assert_eq!(key(-0.0), key(0.0));
        assert_eq!(key(f32::NAN), None);
    }

    #[test]
    fn sorts_as_the_library_does() {
        let mut seed = 1u64;
        let mut draw = move || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            seed
        };
        for n in [0, 1, 100, 20_000, 70_001] {
            let mut a: Vec<u64> = (0..n).map(|_| draw()).collect();
            let mut b: Vec<u32> = a.iter().map(|v| (v >> 40) as u32).collect();
            let (mut c, mut d) = (a.clone(), b.clone());
            sort(&mut a);
            sort(&mut b);
            c.sort_unstable();
            d.sort_unstable();
            assert!(a == c && b == d);
        }
        assert_eq!(0x1234_5678_9abc_def0u64.rounded(8), 0x1234_5600_9abc_def0);
    }
}
