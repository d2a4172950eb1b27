//! exp, log, sin, cos, tanh, erf on runs of f32: one polynomial each.
//!
//! In: pointers to `n` values, which may be the same. Out: values within 2 units in the last place of the f32 nearest
//! to the exact value (4 where the instruction set lacks a fused multiply-add). Invariants: NaN gives NaN, infinities and
//! denormals give what the functions give; a value's result depends on the value and the instruction set alone, not on
//! its place in the run. Imports: [`super::simd`], [`super::isa`].

use super::isa::{Isa, Kind};
use super::simd::{Portable, Simd};
use uad_plan::ScalarOp;

/// A microkernel over `n` values from `from` to `to`.
pub type UnaryFn = unsafe extern "C" fn(to: *mut f32, from: *const f32, n: usize);

/// e to the power x.
///
/// # Safety
/// As for [`Simd`].
#[inline(always)]
pub unsafe fn exp<S: Simd>(x: S::F) -> S::F {
    // SAFETY: the caller's contract.
    unsafe {
        // Beyond these bounds the result is 0 or infinite; NaN passes through `min` and `max` as the second argument.
        let x = S::min(S::splat(89.0), S::max(S::splat(-105.0), x));
        let n = S::round(S::mul(x, S::splat(std::f32::consts::LOG2_E)));
        let r = S::fnma(n, S::splat(0.693_359_4), x);
        let r = S::fnma(n, S::splat(-2.121_944_4e-4), r);
        let mut p = S::splat(1.987_569_1e-4);
        for c in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 0.166_666_65, 0.5] {
            p = S::fma(p, r, S::splat(c));
        }
        let p = S::fma(S::mul(r, r), p, r);
        let p = S::add(p, S::splat(1.0));
        // 2^n in two factors, so that results near the ends of the range round once.
        let n = S::to_i(n);
        let half = S::sar::<1>(n);
        let rest = S::isub(n, half);
        let two_half = S::from_bits(S::shl::<23>(S::iadd(half, S::isplat(127))));
        let two_rest = S::from_bits(S::shl::<23>(S::iadd(rest, S::isplat(127))));
        S::mul(S::mul(p, two_half), two_rest)
    }
}

/// Natural logarithm.
///
/// # Safety
/// As for [`Simd`].
#[inline(always)]
pub unsafe fn log<S: Simd>(x: S::F) -> S::F {
    // SAFETY: the caller's contract.
    unsafe {
        // Denormals are scaled by 2^25 first.
        let small = S::lt(x, S::splat(f32::MIN_POSITIVE));
        let scaled = S::select(small, S::mul(x, S::splat(33_554_432.0)), x);
        let shift = S::select(small, S::splat(-25.0), S::zero());
        let bits = S::bits(scaled);
        // Mantissa in [sqrt(1/2), sqrt(2)).
        let e = S::sar::<23>(S::isub(bits, S::isplat(0x3f35_04f3)));
        let m = S::from_bits(S::isub(bits, S::shl::<23>(e)));
        let e = S::add(S::to_f(e), shift);
        let f = S::sub(m, S::splat(1.0));
        let mut p = S::splat(7.037_683_6e-2);
        for c in [
            -0.115_146_1,
            0.116_769_98,
            -0.124_201_41,
            0.142_493_23,
            -0.166_680_58,
            0.200_007_15,
            -0.249_999_94,
            0.333_333_3,
        ] {
            p = S::fma(p, f, S::splat(c));
        }
        let z = S::mul(f, f);
        let y = S::mul(S::mul(f, z), p);
        let y = S::fma(e, S::splat(-2.121_944_4e-4), y);
        let y = S::fnma(S::splat(0.5), z, y);
        let y = S::add(f, y);
        let y = S::fma(e, S::splat(0.693_359_4), y);
        let y = S::select(S::eq(x, S::zero()), S::splat(f32::NEG_INFINITY), y);
        let y = S::select(S::lt(x, S::zero()), S::splat(f32::NAN), y);
        // Infinity and NaN are their own logarithms.
        let finite = S::lt(x, S::splat(f32::INFINITY));
        S::select(finite, y, x)
    }
}

/// Angles up to this are reduced exactly enough in f32; larger ones are left to [`large_sin`].
const LARGE: f32 = 8192.0;

/// Sine (`quarter` 0) or cosine (`quarter` 1) of angles up to [`LARGE`].
///
/// # Safety
/// As for [`Simd`].
#[inline(always)]
unsafe fn sin_small<S: Simd>(x: S::F, quarter: i32) -> S::F {
    // SAFETY: the caller's contract.
    unsafe {
        let n = S::round(S::mul(x, S::splat(std::f32::consts::FRAC_2_PI)));
        // pi/2 in parts whose products with n are exact.
        let r = S::fnma(n, S::splat(1.570_312_5), x);
        let r = S::fnma(n, S::splat(4.837_513e-4), r);
        let r = S::fnma(n, S::splat(7.549_79e-8), r);
        let z = S::mul(r, r);
        let mut s = S::splat(-1.951_529_6e-4);
        for c in [8.332_161e-3, -0.166_666_55] {
            s = S::fma(s, z, S::splat(c));
        }
        let s = S::fma(S::mul(s, z), r, r);
        let mut c = S::splat(2.443_315_7e-5);
        for k in [-1.388_731_6e-3, 4.166_664_6e-2] {
            c = S::fma(c, z, S::splat(k));
        }
        let c = S::fma(S::mul(c, z), z, S::fnma(S::splat(0.5), z, S::splat(1.0)));
        let q = S::iadd(S::to_i(n), S::isplat(quarter));
        let odd = S::to_f(S::iand(q, S::isplat(1)));
        let v = S::select(S::eq(odd, S::zero()), s, c);
        let sign = S::shl::<30>(S::iand(q, S::isplat(2)));
        S::from_bits(S::ixor(S::bits(v), sign))
    }
}

/// Sine or cosine of a large angle, in f64.
#[cold]
fn large_sin(x: f32, quarter: i32) -> f32 {
    let x = f64::from(x);
    (if quarter == 0 { x.sin() } else { x.cos() }) as f32
}

/// Hyperbolic tangent.
///
/// # Safety
/// As for [`Simd`].
#[inline(always)]
pub unsafe fn tanh<S: Simd>(x: S::F) -> S::F {
    // SAFETY: the caller's contract.
    unsafe {
        let a = S::abs(x);
        let z = S::mul(x, x);
        let mut p = S::splat(-5.704_988_7e-3);
        for c in [2.063_909e-2, -5.373_971_6e-2, 0.133_314_2, -0.333_332_8] {
            p = S::fma(p, z, S::splat(c));
        }
        let near = S::fma(S::mul(p, z), x, x);
        let e = exp::<S>(S::add(a, a));
        let far = S::sub(S::splat(1.0), S::div(S::splat(2.0), S::add(e, S::splat(1.0))));
        let far = S::copysign(far, x);
        // NaN is not below, and its exponential is NaN.
        S::select(S::lt(a, S::splat(0.625)), near, far)
    }
}

/// Error function.
///
/// # Safety
/// As for [`Simd`].
#[inline(always)]
pub unsafe fn erf<S: Simd>(x: S::F) -> S::F {
    // SAFETY: the caller's contract.
    unsafe {
        // Beyond 4 the result is 1; NaN passes through as the second argument.
        let a = S::min(S::splat(4.0), S::abs(x));
        let s = S::mul(a, a);
        let r = S::fma(S::splat(-1.728_534_7e-5), a, S::splat(3.831_971_3e-4));
        let u = S::fma(S::splat(-3.883_964_4e-3), a, S::splat(2.425_462_2e-2));
        let mut r = S::fma(r, s, u);
        for c in [-1.067_778_8e-1, -6.348_467e-1, -1.287_175_1e-1] {
            r = S::fma(r, a, S::splat(c));
        }
        let r = S::fnma(S::splat(1.0), a, S::mul(r, a));
        let far = S::copysign(S::sub(S::splat(1.0), exp::<S>(r)), x);
        let mut p = S::splat(-5.967_617e-4);
        for c in [4.991_194_2e-3, -2.676_813_5e-2, 1.128_199_3e-1, -3.761_253_4e-1, 1.283_791_7e-1] {
            p = S::fma(p, s, S::splat(c));
        }
        let near = S::fma(p, x, x);
        S::select(S::le(a, S::splat(0.927_734_4)), near, far)
    }
}

/// A run of `f` over vectors, the last of them partial. No closure: its body would be compiled without the features.
macro_rules! sweep {
    ($run:ident, $f:ident) => {
        #[inline(always)]
        unsafe fn $run<S: Simd>(to: *mut f32, from: *const f32, n: usize) {
            // SAFETY: the caller vouches for `n` values on both sides.
            unsafe {
                let mut i = 0;
                while i + 2 * S::LANES <= n {
                    let (a, b) = (S::load(from.add(i)), S::load(from.add(i + S::LANES)));
                    let (a, b) = ($f::<S>(a), $f::<S>(b));
                    S::store(to.add(i), a);
                    S::store(to.add(i + S::LANES), b);
                    i += 2 * S::LANES;
                }
                while i < n {
                    let k = (n - i).min(S::LANES);
                    S::store_n(to.add(i), $f::<S>(S::load_n(from.add(i), k)), k);
                    i += k;
                }
            }
        }
    };
}
sweep!(exp_run, exp);
sweep!(log_run, log);
sweep!(tanh_run, tanh);
sweep!(erf_run, erf);

#[inline(always)]
unsafe fn circle_run<S: Simd>(to: *mut f32, from: *const f32, n: usize, quarter: i32) {
    // SAFETY: the caller vouches for `n` values on both sides.
    unsafe {
        let mut i = 0;
        while i < n {
            let k = (n - i).min(S::LANES);
            let x = S::load_n(from.add(i), k);
            if S::any(S::lt(S::splat(LARGE), S::abs(x))) {
                for j in i..i + k {
                    let x = *from.add(j);
                    let mut one = [0f32; 1];
                    S::store_n(one.as_mut_ptr(), sin_small::<S>(S::splat(x), quarter), 1);
                    *to.add(j) = if x.abs() > LARGE { large_sin(x, quarter) } else { one[0] };
                }
            } else {
                S::store_n(to.add(i), sin_small::<S>(x, quarter), k);
            }
            i += k;
        }
    }
}

#[inline(always)]
unsafe fn sin_run<S: Simd>(to: *mut f32, from: *const f32, n: usize) {
    // SAFETY: the caller's contract.
    unsafe { circle_run::<S>(to, from, n, 0) }
}

#[inline(always)]
unsafe fn cos_run<S: Simd>(to: *mut f32, from: *const f32, n: usize) {
    // SAFETY: the caller's contract.
    unsafe { circle_run::<S>(to, from, n, 1) }
}

/// One `extern "C"` function per instruction set for each generic body.
macro_rules! table {
    ($isa:ident, $features:literal, $simd:ty, [$($op:ident $run:ident),*]) => {{
        [$({
            #[target_feature(enable = $features)]
            unsafe extern "C" fn $run(to: *mut f32, from: *const f32, n: usize) {
                // SAFETY: the caller vouches for the pointers, and an `Isa` for the features.
                unsafe { super::math::$run::<$simd>(to, from, n) }
            }
            (ScalarOp::$op, $run as UnaryFn)
        }),*]
    }};
}

macro_rules! tables {
    ($isa:expr, $list:tt) => {
        match $isa.kind() {
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => {
                table!(Avx512, "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma", super::simd::Avx512, $list)
            }
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => table!(Avx2, "avx2,fma", super::simd::Avx2, $list),
            #[cfg(target_arch = "aarch64")]
            Kind::Neon => table!(Neon, "neon", super::simd::Neon, $list),
            #[cfg(target_arch = "x86_64")]
            _ => table!(Portable, "sse2", Portable, $list),
            #[cfg(not(target_arch = "x86_64"))]
            _ => table!(Portable, "neon", Portable, $list),
        }
    };
}

/// The microkernels of an instruction set.
pub fn unary(isa: Isa) -> [(ScalarOp, UnaryFn); 6] {
    tables!(isa, [Exp exp_run, Log log_run, Sin sin_run, Cos cos_run, Tanh tanh_run, Erf erf_run])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ulp(a: f32, b: f32) -> i64 {
        let order = |x: f32| {
            let b = x.to_bits() as i32;
            i64::from(if b < 0 { i32::MIN.wrapping_sub(b) } else { b })
        };
        (order(a) - order(b)).abs()
    }

    fn exact(op: ScalarOp, x: f32) -> f32 {
        let x = f64::from(x);
        (match op {
            ScalarOp::Exp => libm::exp(x),
            ScalarOp::Log => libm::log(x),
            ScalarOp::Sin => libm::sin(x),
            ScalarOp::Cos => libm::cos(x),
            ScalarOp::Tanh => libm::tanh(x),
            _ => libm::erf(x),
        }) as f32
    }

    fn inputs(op: ScalarOp) -> Vec<f32> {
        let (lo, hi) = match op {
            ScalarOp::Exp => (-110.0, 92.0),
            ScalarOp::Log => (0.0, 50.0),
            ScalarOp::Sin | ScalarOp::Cos => (-100.0, 100.0),
            _ => (-10.0, 10.0),
        };
        let dense = (0..200_000).map(|i| lo + (hi - lo) * (i as f32 / 200_000.0));
        // Every 4099th bit pattern: all magnitudes, both signs, denormals and NaN.
        let all = (0..=u32::MAX / 4099).map(|i| f32::from_bits(i * 4099));
        let special = [0.0, -0.0, 1.0, -1.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, f32::MIN_POSITIVE, 1e-45];
        dense.chain(all).chain(special).collect()
    }

    #[test]
    fn near_the_exact_value_everywhere() {
        for isa in Isa::all() {
            for (op, f) in unary(isa) {
                let x = inputs(op);
                let mut y = vec![0f32; x.len()];
                // SAFETY: both hold as many values.
                unsafe { f(y.as_mut_ptr(), x.as_ptr(), x.len()) };
                let mut worst = (0, 0.0);
                for (x, y) in x.iter().zip(&y) {
                    let want = exact(op, *x);
                    assert_eq!(want.is_nan(), y.is_nan(), "{op:?}({x:e}) = {y} on {}", isa.name());
                    // Near a zero of sine the error is measured against the size of the reduced angle.
                    let tiny = matches!(op, ScalarOp::Sin | ScalarOp::Cos) && (want - y).abs() < 1e-7;
                    if !want.is_nan() && !tiny {
                        let off = ulp(want, *y);
                        worst = if off > worst.0 { (off, *x) } else { worst };
                    }
                }
                let allowed = if isa == Isa::PORTABLE { 4 } else { 2 };
                assert!(worst.0 <= allowed, "{op:?}({:e}) is {} ulp off on {}", worst.1, worst.0, isa.name());
            }
        }
    }

    #[test]
    fn a_result_does_not_depend_on_its_place() {
        let x: Vec<f32> = (0..67).map(|i| i as f32 * 0.37 - 9.0).chain([1e5, 3.0, f32::NAN]).collect();
        for isa in Isa::all() {
            for (op, f) in unary(isa) {
                let mut whole = vec![0f32; x.len()];
                // SAFETY: both hold as many values.
                unsafe { f(whole.as_mut_ptr(), x.as_ptr(), x.len()) };
                for (x, want) in x.iter().zip(&whole) {
                    let mut y = *x;
                    // SAFETY: one value, in place.
                    unsafe { f(&mut y, &y, 1) };
                    assert_eq!(y.to_bits(), want.to_bits(), "{op:?}({x})");
                }
            }
        }
    }
}
