//! Activations that need an exponential, applied to finished tiles.
//!
//! In: rows of values in place. Out: the same rows. Invariants: the result of a value does not depend on its place.
//! Imports: [`super::math`], [`super::simd`], [`super::isa`].

use super::isa::dispatch;
use super::math::{erf, exp};
use super::simd::Simd;

/// What is applied to `x`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `x / (1 + exp(-x))`
    Silu,
    /// `1 / (1 + exp(-x))`
    Sigmoid,
    /// `0.5 * x * (1 + erf(x / sqrt(2)))`
    Gelu,
}

#[inline(always)]
unsafe fn one<S: Simd>(what: Activation, x: S::F) -> S::F {
    // SAFETY: as for `Simd`.
    unsafe {
        let unit = S::splat(1.0);
        match what {
            Activation::Silu => S::div(x, S::add(unit, exp::<S>(S::neg(x)))),
            Activation::Sigmoid => S::div(unit, S::add(unit, exp::<S>(S::neg(x)))),
            Activation::Gelu => {
                let e = erf::<S>(S::mul(x, S::splat(std::f32::consts::FRAC_1_SQRT_2)));
                S::mul(S::mul(S::splat(0.5), x), S::add(unit, e))
            }
        }
    }
}

#[inline(always)]
unsafe fn apply<S: Simd>(what: Activation, at: *mut f32, row: isize, rows: usize, columns: usize) {
    // SAFETY: the caller vouches for the rows.
    unsafe {
        macro_rules! each {
            ($what:expr) => {
                for i in 0..rows {
                    let p = at.offset(i as isize * row);
                    let mut c = 0;
                    while c + S::LANES <= columns {
                        S::store(p.add(c), one::<S>($what, S::load(p.add(c))));
                        c += S::LANES;
                    }
                    if c < columns {
                        let n = columns - c;
                        S::store_n(p.add(c), one::<S>($what, S::load_n(p.add(c), n)), n);
                    }
                }
            };
        }
        match what {
            Activation::Silu => each!(Activation::Silu),
            Activation::Sigmoid => each!(Activation::Sigmoid),
            Activation::Gelu => each!(Activation::Gelu),
        }
    }
}

dispatch! {
    /// Applies an activation to `rows` rows of `columns` values that start `row` elements apart.
    ///
    /// # Safety
    /// The values are there.
    pub unsafe fn activate(what: Activation, at: *mut f32, row: isize, rows: usize, columns: usize) => apply
}
