//! [`Simd`] in plain Rust.
//!
//! In: four lanes. Out: four lanes. Invariants: `fma` rounds twice (a fused one without hardware is a call a lane).
//! Imports: [`Simd`].

use super::Simd;

/// Arrays of four; the compiler turns them into whatever the target has.
#[derive(Clone, Copy)]
pub struct Portable;

type F = [f32; 4];
type I = [i32; 4];

#[inline(always)]
fn zip<A: Copy, B: Copy, C>(a: [A; 4], b: [B; 4], f: impl Fn(A, B) -> C) -> [C; 4] {
    [f(a[0], b[0]), f(a[1], b[1]), f(a[2], b[2]), f(a[3], b[3])]
}

impl Simd for Portable {
    type F = F;
    type I = I;
    type M = [bool; 4];
    const LANES: usize = 4;

    #[inline(always)]
    unsafe fn splat(x: f32) -> F {
        [x; 4]
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> F {
        // SAFETY: the caller vouches for four readable values.
        unsafe { p.cast::<F>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store(p: *mut f32, v: F) {
        // SAFETY: the caller vouches for four writable values.
        unsafe { p.cast::<F>().write_unaligned(v) }
    }
    #[inline(always)]
    unsafe fn load_n(p: *const f32, n: usize) -> F {
        let mut t = [0f32; 4];
        // SAFETY: the caller vouches for `n <= 4` readable values.
        unsafe { std::ptr::copy_nonoverlapping(p, t.as_mut_ptr(), n) };
        t
    }
    #[inline(always)]
    unsafe fn store_n(p: *mut f32, v: F, n: usize) {
        // SAFETY: the caller vouches for `n <= 4` writable values.
        unsafe { std::ptr::copy_nonoverlapping(v.as_ptr(), p, n) }
    }
    #[inline(always)]
    unsafe fn add(a: F, b: F) -> F {
        zip(a, b, |x, y| x + y)
    }
    #[inline(always)]
    unsafe fn sub(a: F, b: F) -> F {
        zip(a, b, |x, y| x - y)
    }
    #[inline(always)]
    unsafe fn mul(a: F, b: F) -> F {
        zip(a, b, |x, y| x * y)
    }
    #[inline(always)]
    unsafe fn div(a: F, b: F) -> F {
        zip(a, b, |x, y| x / y)
    }
    #[inline(always)]
    unsafe fn fma(a: F, b: F, c: F) -> F {
        zip(zip(a, b, |x, y| x * y), c, |x, y| x + y)
    }
    #[inline(always)]
    unsafe fn fnma(a: F, b: F, c: F) -> F {
        zip(c, zip(a, b, |x, y| x * y), |x, y| x - y)
    }
    #[inline(always)]
    unsafe fn min(a: F, b: F) -> F {
        zip(a, b, |x, y| if x < y { x } else { y })
    }
    #[inline(always)]
    unsafe fn max(a: F, b: F) -> F {
        zip(a, b, |x, y| if x > y { x } else { y })
    }
    #[inline(always)]
    unsafe fn sqrt(a: F) -> F {
        a.map(f32::sqrt)
    }
    #[inline(always)]
    unsafe fn floor(a: F) -> F {
        a.map(f32::floor)
    }
    #[inline(always)]
    unsafe fn round(a: F) -> F {
        a.map(f32::round_ties_even)
    }
    #[inline(always)]
    unsafe fn lt(a: F, b: F) -> [bool; 4] {
        zip(a, b, |x, y| x < y)
    }
    #[inline(always)]
    unsafe fn le(a: F, b: F) -> [bool; 4] {
        zip(a, b, |x, y| x <= y)
    }
    #[inline(always)]
    unsafe fn eq(a: F, b: F) -> [bool; 4] {
        zip(a, b, |x, y| x == y)
    }
    #[inline(always)]
    unsafe fn select(m: [bool; 4], a: F, b: F) -> F {
        let pick = |i: usize| if m[i] { a[i] } else { b[i] };
        [pick(0), pick(1), pick(2), pick(3)]
    }
    #[inline(always)]
    unsafe fn any(m: [bool; 4]) -> bool {
        m[0] | m[1] | m[2] | m[3]
    }
    #[inline(always)]
    unsafe fn bits(a: F) -> I {
        a.map(|x| x.to_bits() as i32)
    }
    #[inline(always)]
    unsafe fn from_bits(a: I) -> F {
        a.map(|x| f32::from_bits(x as u32))
    }
    #[inline(always)]
    unsafe fn isplat(x: i32) -> I {
        [x; 4]
    }
    #[inline(always)]
    unsafe fn iadd(a: I, b: I) -> I {
        zip(a, b, i32::wrapping_add)
    }
    #[inline(always)]
    unsafe fn isub(a: I, b: I) -> I {
        zip(a, b, i32::wrapping_sub)
    }
    #[inline(always)]
    unsafe fn iand(a: I, b: I) -> I {
        zip(a, b, |x, y| x & y)
    }
    #[inline(always)]
    unsafe fn ior(a: I, b: I) -> I {
        zip(a, b, |x, y| x | y)
    }
    #[inline(always)]
    unsafe fn ixor(a: I, b: I) -> I {
        zip(a, b, |x, y| x ^ y)
    }
    #[inline(always)]
    unsafe fn shl<const N: i32>(a: I) -> I {
        a.map(|x| x << N)
    }
    #[inline(always)]
    unsafe fn sar<const N: i32>(a: I) -> I {
        a.map(|x| x >> N)
    }
    #[inline(always)]
    unsafe fn to_f(a: I) -> F {
        a.map(|x| x as f32)
    }
    #[inline(always)]
    unsafe fn to_i(a: F) -> I {
        a.map(|x| x.round_ties_even() as i32)
    }
    #[inline(always)]
    unsafe fn reduce_add(a: F) -> f32 {
        (a[0] + a[2]) + (a[1] + a[3])
    }
    #[inline(always)]
    unsafe fn reduce_max(a: F) -> f32 {
        let m = |x: f32, y: f32| if x > y { x } else { y };
        m(m(a[0], a[2]), m(a[1], a[3]))
    }
    #[inline(always)]
    unsafe fn reduce_min(a: F) -> f32 {
        let m = |x: f32, y: f32| if x < y { x } else { y };
        m(m(a[0], a[2]), m(a[1], a[3]))
    }
    #[inline(always)]
    unsafe fn prefetch(_: *const f32) {}
}
