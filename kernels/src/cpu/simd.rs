//! Vectors of f32 lanes behind one trait, so that every kernel is written once.
//!
//! In: lanes. Out: lanes. Invariants: each method is one instruction or a few; horizontal reductions combine lanes in
//! one fixed order (halves, then halves of halves); `fma` is fused everywhere but on [`Portable`].
//! Imports: nothing of this project.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;

#[cfg(target_arch = "x86_64")]
pub use avx2::Avx2;
#[cfg(target_arch = "x86_64")]
pub use avx512::Avx512;
#[cfg(target_arch = "aarch64")]
pub use neon::Neon;
pub use portable::Portable;

/// An instruction set's vector operations.
///
/// # Safety
/// Every method may be called only inside a function compiled for the instruction set (see `dispatch!`), on a machine
/// that has it. Loads and stores need valid pointers for the lanes they touch; none needs alignment.
#[allow(missing_docs, clippy::missing_safety_doc)]
pub trait Simd: Copy + Send + Sync + 'static {
    /// Lanes of f32.
    type F: Copy;
    /// Lanes of i32.
    type I: Copy;
    /// One truth value a lane.
    type M: Copy;
    /// How many lanes.
    const LANES: usize;

    unsafe fn splat(x: f32) -> Self::F;
    unsafe fn load(p: *const f32) -> Self::F;
    unsafe fn store(p: *mut f32, v: Self::F);
    /// The first `n <= LANES` lanes from memory, the others 0; touches no memory beyond them.
    unsafe fn load_n(p: *const f32, n: usize) -> Self::F;
    /// Writes the first `n <= LANES` lanes.
    unsafe fn store_n(p: *mut f32, v: Self::F, n: usize);

    unsafe fn add(a: Self::F, b: Self::F) -> Self::F;
    unsafe fn sub(a: Self::F, b: Self::F) -> Self::F;
    unsafe fn mul(a: Self::F, b: Self::F) -> Self::F;
    unsafe fn div(a: Self::F, b: Self::F) -> Self::F;
    /// `a * b + c`, rounded once.
    unsafe fn fma(a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    /// `c - a * b`, rounded once.
    unsafe fn fnma(a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    /// The smaller; the second where either is not a number.
    unsafe fn min(a: Self::F, b: Self::F) -> Self::F;
    /// The larger; the second where either is not a number.
    unsafe fn max(a: Self::F, b: Self::F) -> Self::F;
    unsafe fn sqrt(a: Self::F) -> Self::F;
    unsafe fn floor(a: Self::F) -> Self::F;
    /// To the nearest integer, ties to even.
    unsafe fn round(a: Self::F) -> Self::F;

    unsafe fn lt(a: Self::F, b: Self::F) -> Self::M;
    unsafe fn le(a: Self::F, b: Self::F) -> Self::M;
    unsafe fn eq(a: Self::F, b: Self::F) -> Self::M;
    /// `a` where `m`, else `b`.
    unsafe fn select(m: Self::M, a: Self::F, b: Self::F) -> Self::F;
    /// Is any lane true?
    unsafe fn any(m: Self::M) -> bool;

    unsafe fn bits(a: Self::F) -> Self::I;
    unsafe fn from_bits(a: Self::I) -> Self::F;
    unsafe fn isplat(x: i32) -> Self::I;
    unsafe fn iadd(a: Self::I, b: Self::I) -> Self::I;
    unsafe fn isub(a: Self::I, b: Self::I) -> Self::I;
    unsafe fn iand(a: Self::I, b: Self::I) -> Self::I;
    unsafe fn ior(a: Self::I, b: Self::I) -> Self::I;
    unsafe fn ixor(a: Self::I, b: Self::I) -> Self::I;
    unsafe fn shl<const N: i32>(a: Self::I) -> Self::I;
    /// Arithmetic shift to the right.
    unsafe fn sar<const N: i32>(a: Self::I) -> Self::I;
    /// Integers to floats.
    unsafe fn to_f(a: Self::I) -> Self::F;
    /// Floats that hold integers of 32 bits to integers.
    unsafe fn to_i(a: Self::F) -> Self::I;

    /// Sum of all lanes: halves added, then halves of halves.
    unsafe fn reduce_add(a: Self::F) -> f32;
    unsafe fn reduce_max(a: Self::F) -> f32;
    unsafe fn reduce_min(a: Self::F) -> f32;

    /// Asks for the cache line at `p`; any address is allowed.
    unsafe fn prefetch(p: *const f32);

    #[inline(always)]
    unsafe fn zero() -> Self::F {
        unsafe { Self::splat(0.0) }
    }
    #[inline(always)]
    unsafe fn abs(a: Self::F) -> Self::F {
        unsafe { Self::from_bits(Self::iand(Self::bits(a), Self::isplat(0x7fff_ffff))) }
    }
    #[inline(always)]
    unsafe fn neg(a: Self::F) -> Self::F {
        unsafe { Self::from_bits(Self::ixor(Self::bits(a), Self::isplat(i32::MIN))) }
    }
    /// The magnitude of `a` with the sign of `b`.
    #[inline(always)]
    unsafe fn copysign(a: Self::F, b: Self::F) -> Self::F {
        unsafe {
            let sign = Self::iand(Self::bits(b), Self::isplat(i32::MIN));
            Self::from_bits(Self::ior(Self::bits(Self::abs(a)), sign))
        }
    }
}
