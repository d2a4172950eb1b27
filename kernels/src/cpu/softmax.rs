//! Rows of attention scores: exponentials and their sum.
//!
//! In: a row in place. Out: `exp(scale * (x - max))` in place, and the sum of these. Invariants: the order of sums
//! depends on the length alone; a row that is all minus infinity becomes NaN, and so does one that holds a NaN.
//! Imports: [`super::math`], [`super::simd`], [`super::isa`].

use super::isa::dispatch;
use super::math::exp;
use super::simd::Simd;

#[inline(always)]
unsafe fn softmax<S: Simd>(row: *mut f32, n: usize, scale: f32) -> f32 {
    // SAFETY: the row has room for whole vectors.
    unsafe {
        let whole = n.next_multiple_of(S::LANES);
        (n..whole).for_each(|i| *row.add(i) = f32::NEG_INFINITY);
        let mut most = [S::splat(f32::NEG_INFINITY); 4];
        let step = 4 * S::LANES;
        let mut i = 0;
        while i + step <= whole {
            for (j, m) in most.iter_mut().enumerate() {
                *m = S::max(*m, S::load(row.add(i + j * S::LANES)));
            }
            i += step;
        }
        while i < whole {
            most[0] = S::max(most[0], S::load(row.add(i)));
            i += S::LANES;
        }
        let most = S::reduce_max(S::max(S::max(most[0], most[1]), S::max(most[2], most[3])));
        let (factor, shift) = (S::splat(scale), S::splat(most));
        let mut sum = [S::zero(); 2];
        let mut i = 0;
        while i + 2 * S::LANES <= whole {
            for (j, s) in sum.iter_mut().enumerate() {
                let p = row.add(i + j * S::LANES);
                let v = exp::<S>(S::mul(factor, S::sub(S::load(p), shift)));
                S::store(p, v);
                *s = S::add(*s, v);
            }
            i += 2 * S::LANES;
        }
        while i < whole {
            let p = row.add(i);
            let v = exp::<S>(S::mul(factor, S::sub(S::load(p), shift)));
            S::store(p, v);
            sum[0] = S::add(sum[0], v);
            i += S::LANES;
        }
        S::reduce_add(S::add(sum[0], sum[1]))
    }
}

#[inline(always)]
unsafe fn scale<S: Simd>(from: *const f32, to: *mut f32, n: usize, factor: f32) {
    // SAFETY: the caller vouches for `n` elements.
    unsafe {
        let f = S::splat(factor);
        let mut i = 0;
        while i + S::LANES <= n {
            S::store(to.add(i), S::mul(S::load(from.add(i)), f));
            i += S::LANES;
        }
        if i < n {
            S::store_n(to.add(i), S::mul(S::load_n(from.add(i), n - i), f), n - i);
        }
    }
}

dispatch! {
    /// Turns a row of `n` scores into `exp(scale * (x - max))` and gives their sum.
    ///
    /// # Safety
    /// The row has room for whole vectors.
    pub unsafe fn run_softmax(row: *mut f32, n: usize, factor: f32) -> f32 => softmax
}

dispatch! {
    /// `to = from * factor`.
    ///
    /// # Safety
    /// Both have `n` elements.
    pub unsafe fn run_scale(from: *const f32, to: *mut f32, n: usize, factor: f32) => scale
}
