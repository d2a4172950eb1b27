//! Reductions of runs of elements: the inner loops of `rows`.
//!
//! In: elements, accumulators. Out: accumulators. Invariants: a run folds into 64 partial results, element `i` into
//! number `i mod 64`, on every instruction set, so that the order of a sum depends on shapes alone; of extremes a NaN wins.
//! Imports: [`super::simd`], [`super::isa`], `uad-plan`.

use super::isa::dispatch;
use super::simd::Simd;
use uad_plan::ReduceOp;

/// Partial results of a run.
pub const PARTS: usize = 64;

/// Numbers of lanes.
const NUMBERS: [f32; 16] = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0, 13.0, 14.0, 15.0];

/// Which fold, as the microkernels take it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fold {
    /// Sum.
    Sum,
    /// Product.
    Prod,
    /// Largest.
    Max,
    /// Smallest.
    Min,
}

impl Fold {
    /// The fold of a reduction that is not a position.
    pub fn of(op: ReduceOp) -> Option<Fold> {
        match op {
            ReduceOp::Sum => Some(Fold::Sum),
            ReduceOp::Prod => Some(Fold::Prod),
            ReduceOp::Max => Some(Fold::Max),
            ReduceOp::Min => Some(Fold::Min),
            ReduceOp::ArgMax | ReduceOp::ArgMin => None,
        }
    }

    /// The result of nothing.
    pub fn nothing(self) -> f32 {
        match self {
            Fold::Sum => 0.0,
            Fold::Prod => 1.0,
            Fold::Max => f32::NEG_INFINITY,
            Fold::Min => f32::INFINITY,
        }
    }

    /// Two results made one.
    pub fn join(self, a: f32, b: f32) -> f32 {
        match self {
            Fold::Sum => a + b,
            Fold::Prod => a * b,
            Fold::Max => {
                if b > a || b.is_nan() {
                    b
                } else {
                    a
                }
            }
            Fold::Min => {
                if b < a || b.is_nan() {
                    b
                } else {
                    a
                }
            }
        }
    }

    /// The result of nothing, for i32 and for bool (0 or 1).
    pub fn nothing_i32(self, bool: bool) -> i32 {
        match self {
            Fold::Sum => 0,
            Fold::Prod => 1,
            Fold::Max => {
                if bool {
                    0
                } else {
                    i32::MIN
                }
            }
            Fold::Min => {
                if bool {
                    1
                } else {
                    i32::MAX
                }
            }
        }
    }

    /// Two i32 made one; sums and products wrap, of bool they are `or` and `and`.
    pub fn join_i32(self, a: i32, b: i32, bool: bool) -> i32 {
        match self {
            Fold::Sum if bool => a | b,
            Fold::Sum => a.wrapping_add(b),
            Fold::Prod => a.wrapping_mul(b),
            Fold::Max => a.max(b),
            Fold::Min => a.min(b),
        }
    }
}

/// `acc` joined with `v`, lane by lane.
#[inline(always)]
unsafe fn join<S: Simd>(fold: Fold, acc: S::F, v: S::F) -> S::F {
    // SAFETY: the caller's contract.
    unsafe {
        match fold {
            Fold::Sum => S::add(acc, v),
            Fold::Prod => S::mul(acc, v),
            // Both give their second argument where either is NaN: a NaN of `v` is put in by hand.
            Fold::Max => S::select(S::eq(v, v), S::max(v, acc), v),
            Fold::Min => S::select(S::eq(v, v), S::min(v, acc), v),
        }
    }
}

#[inline(always)]
unsafe fn along_with<S: Simd>(acc: *mut f32, from: *const f32, n: usize, fold: Fold) {
    // SAFETY: the caller vouches for 64 partial results and `n` elements.
    unsafe {
        let vectors = PARTS / S::LANES;
        let mut a = [S::zero(); 16];
        for k in 0..vectors {
            a[k] = S::load(acc.add(k * S::LANES));
        }
        let mut i = 0;
        while i + PARTS <= n {
            for k in 0..vectors {
                a[k] = join::<S>(fold, a[k], S::load(from.add(i + k * S::LANES)));
            }
            i += PARTS;
        }
        for k in 0..vectors {
            let left = n.saturating_sub(i + k * S::LANES);
            if left >= S::LANES {
                a[k] = join::<S>(fold, a[k], S::load(from.add(i + k * S::LANES)));
            } else if left > 0 {
                let v = S::load_n(from.add(i + k * S::LANES), left);
                let there = S::lt(S::load(NUMBERS.as_ptr()), S::splat(left as f32));
                a[k] = join::<S>(fold, a[k], S::select(there, v, S::splat(fold.nothing())));
            }
        }
        for k in 0..vectors {
            S::store(acc.add(k * S::LANES), a[k]);
        }
    }
}

#[inline(always)]
unsafe fn along_body<S: Simd>(acc: *mut f32, from: *const f32, n: usize, fold: Fold) {
    // One loop for each fold.
    // SAFETY: the caller's contract.
    unsafe {
        match fold {
            Fold::Sum => along_with::<S>(acc, from, n, Fold::Sum),
            Fold::Prod => along_with::<S>(acc, from, n, Fold::Prod),
            Fold::Max => along_with::<S>(acc, from, n, Fold::Max),
            Fold::Min => along_with::<S>(acc, from, n, Fold::Min),
        }
    }
}

dispatch! {
    /// Folds `n` elements into 64 partial results.
    ///
    /// # Safety
    /// `acc` holds 64 values, `from` holds `n`.
    pub unsafe fn along(acc: *mut f32, from: *const f32, n: usize, fold: Fold) => along_body
}

#[inline(always)]
unsafe fn across_with<S: Simd>(acc: *mut f32, from: *const f32, n: usize, fold: Fold) {
    // SAFETY: the caller vouches for `n` values on both sides.
    unsafe {
        let mut i = 0;
        while i + S::LANES <= n {
            S::store(acc.add(i), join::<S>(fold, S::load(acc.add(i)), S::load(from.add(i))));
            i += S::LANES;
        }
        if i < n {
            let k = n - i;
            let v = join::<S>(fold, S::load_n(acc.add(i), k), S::load_n(from.add(i), k));
            S::store_n(acc.add(i), v, k);
        }
    }
}

#[inline(always)]
unsafe fn across_body<S: Simd>(acc: *mut f32, from: *const f32, n: usize, fold: Fold) {
    // SAFETY: the caller's contract.
    unsafe {
        match fold {
            Fold::Sum => across_with::<S>(acc, from, n, Fold::Sum),
            Fold::Prod => across_with::<S>(acc, from, n, Fold::Prod),
            Fold::Max => across_with::<S>(acc, from, n, Fold::Max),
            Fold::Min => across_with::<S>(acc, from, n, Fold::Min),
        }
    }
}

dispatch! {
    /// Joins `n` elements with `n` results, one with one.
    ///
    /// # Safety
    /// Both hold `n` values.
    pub unsafe fn across(acc: *mut f32, from: *const f32, n: usize, fold: Fold) => across_body
}

#[inline(always)]
unsafe fn whole_with<S: Simd>(from: *const f32, n: usize, fold: Fold) -> f32 {
    // SAFETY: the caller vouches for `n` elements.
    unsafe {
        let vectors = PARTS / S::LANES;
        let mut a = [S::splat(fold.nothing()); 16];
        let mut i = 0;
        while i + PARTS <= n {
            for k in 0..vectors {
                a[k] = join::<S>(fold, a[k], S::load(from.add(i + k * S::LANES)));
            }
            i += PARTS;
        }
        for k in 0..vectors {
            let left = n.saturating_sub(i + k * S::LANES);
            if left >= S::LANES {
                a[k] = join::<S>(fold, a[k], S::load(from.add(i + k * S::LANES)));
            } else if left > 0 {
                let v = S::load_n(from.add(i + k * S::LANES), left);
                let there = S::lt(S::load(NUMBERS.as_ptr()), S::splat(left as f32));
                a[k] = join::<S>(fold, a[k], S::select(there, v, S::splat(fold.nothing())));
            }
        }
        let mut half = vectors / 2;
        while half > 0 {
            for k in 0..half {
                a[k] = join::<S>(fold, a[k], a[k + half]);
            }
            half /= 2;
        }
        // The lanes of a vector are joined as the parts are: halves, then halves of halves.
        match fold {
            Fold::Sum => return S::reduce_add(a[0]),
            Fold::Max | Fold::Min => {
                let odd = S::select(S::eq(a[0], a[0]), S::zero(), S::splat(1.0));
                if S::any(S::lt(S::zero(), odd)) {
                    return f32::NAN;
                }
                return if fold == Fold::Max { S::reduce_max(a[0]) } else { S::reduce_min(a[0]) };
            }
            Fold::Prod => {}
        }
        let mut lanes = [0f32; 16];
        S::store(lanes.as_mut_ptr(), a[0]);
        let mut half = S::LANES / 2;
        while half > 0 {
            for k in 0..half {
                lanes[k] = fold.join(lanes[k], lanes[k + half]);
            }
            half /= 2;
        }
        lanes[0]
    }
}

#[inline(always)]
unsafe fn whole_body<S: Simd>(from: *const f32, n: usize, fold: Fold) -> f32 {
    // SAFETY: the caller's contract.
    unsafe {
        match fold {
            Fold::Sum => whole_with::<S>(from, n, Fold::Sum),
            Fold::Prod => whole_with::<S>(from, n, Fold::Prod),
            Fold::Max => whole_with::<S>(from, n, Fold::Max),
            Fold::Min => whole_with::<S>(from, n, Fold::Min),
        }
    }
}

dispatch! {
    /// Folds `n` elements to one: the same bits as [`along`] and [`finish`].
    ///
    /// # Safety
    /// `from` holds `n` values.
    pub unsafe fn whole(from: *const f32, n: usize, fold: Fold) -> f32 => whole_body
}

#[inline(always)]
unsafe fn gather_with<S: Simd>(acc: *mut f32, list: *const *const f32, count: usize, n: usize, fold: Fold) {
    // SAFETY: the caller vouches for `n` values everywhere.
    unsafe {
        let mut i = 0;
        while i + 4 * S::LANES <= n {
            let mut a = [S::splat(fold.nothing()); 4];
            for p in 0..count {
                let from = *list.add(p);
                for k in 0..4 {
                    a[k] = join::<S>(fold, a[k], S::load(from.add(i + k * S::LANES)));
                }
            }
            // The spell is folded by itself, then joined: the error of long sums stays small.
            for k in 0..4 {
                let to = acc.add(i + k * S::LANES);
                S::store(to, join::<S>(fold, S::load(to), a[k]));
            }
            i += 4 * S::LANES;
        }
        while i < n {
            let k = (n - i).min(S::LANES);
            let mut a = S::splat(fold.nothing());
            for p in 0..count {
                a = join::<S>(fold, a, S::load_n((*list.add(p)).add(i), k));
            }
            S::store_n(acc.add(i), join::<S>(fold, S::load_n(acc.add(i), k), a), k);
            i += k;
        }
    }
}

#[inline(always)]
unsafe fn gather_body<S: Simd>(acc: *mut f32, list: *const *const f32, count: usize, n: usize, fold: Fold) {
    // SAFETY: the caller's contract.
    unsafe {
        match fold {
            Fold::Sum => gather_with::<S>(acc, list, count, n, Fold::Sum),
            Fold::Prod => gather_with::<S>(acc, list, count, n, Fold::Prod),
            Fold::Max => gather_with::<S>(acc, list, count, n, Fold::Max),
            Fold::Min => gather_with::<S>(acc, list, count, n, Fold::Min),
        }
    }
}

dispatch! {
    /// Joins `count` runs of `n` elements with `n` results, one run after another.
    ///
    /// # Safety
    /// `acc` and every run hold `n` values.
    pub unsafe fn gather(acc: *mut f32, list: *const *const f32, count: usize, n: usize, fold: Fold) => gather_body
}

/// The 64 partial results made one: halves joined, then halves of halves.
pub fn finish(acc: &mut [f32], fold: Fold) -> f32 {
    let mut n = PARTS;
    while n > 1 {
        n /= 2;
        for i in 0..n {
            acc[i] = fold.join(acc[i], acc[i + n]);
        }
    }
    acc[0]
}

/// Does `v` come before `best` as an extreme: NaN first, then the larger (or smaller)?
pub fn beats(v: f32, best: f32, largest: bool) -> bool {
    if best.is_nan() {
        return false;
    }
    v.is_nan() || if largest { v > best } else { v < best }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::Isa;

    #[test]
    fn every_instruction_set_gives_the_same_bits() {
        for n in [0, 1, 5, 63, 64, 65, 200, 1000] {
            let x: Vec<f32> = (0..n).map(|i| ((i * 37 % 101) as f32 - 50.0) * 0.37).collect();
            for fold in [Fold::Sum, Fold::Prod, Fold::Max, Fold::Min] {
                let results: Vec<u32> = Isa::all()
                    .into_iter()
                    .map(|isa| {
                        let mut acc = vec![fold.nothing(); PARTS];
                        // SAFETY: as long as said.
                        let all = unsafe {
                            along(isa, acc.as_mut_ptr(), x.as_ptr(), n, fold);
                            whole(isa, x.as_ptr(), n, fold)
                        };
                        let parts = finish(&mut acc, fold);
                        assert_eq!(all.to_bits(), parts.to_bits());
                        parts.to_bits()
                    })
                    .collect();
                assert!(results.windows(2).all(|w| w[0] == w[1]), "{fold:?} of {n}");
                let plain = x.iter().fold(fold.nothing(), |a, b| fold.join(a, *b));
                let got = f32::from_bits(results[0]);
                assert!(got == plain || n >= 63 || (got - plain).abs() <= 1e-3 * plain.abs().max(1.0));
            }
        }
    }

    #[test]
    fn a_nan_wins() {
        for place in [0, 3, 64, 99] {
            for isa in Isa::all() {
                let mut x = vec![1.0f32; 100];
                x[place] = f32::NAN;
                for fold in [Fold::Max, Fold::Min] {
                    let mut acc = vec![fold.nothing(); PARTS];
                    // SAFETY: as long as said.
                    unsafe { along(isa, acc.as_mut_ptr(), x.as_ptr(), 100, fold) };
                    assert!(finish(&mut acc, fold).is_nan());
                    let mut acc = vec![1.0f32; 100];
                    // SAFETY: as long as said.
                    unsafe { across(isa, acc.as_mut_ptr(), x.as_ptr(), 100, fold) };
                    assert!(acc[place].is_nan());
                }
            }
        }
    }
}
