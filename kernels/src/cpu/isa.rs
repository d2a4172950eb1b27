//! The instruction sets the kernels are compiled for, and the one place where they are told apart at run time.
//!
//! In: CPU features, the variable `UAD_ISA` (`portable`, `avx2`, `avx512`, `neon`). Out: an [`Isa`].
//! Invariants: an `Isa` value exists only for an instruction set that this machine has, so that calling a kernel with
//! it is sound. Imports: nothing of this project.

use std::sync::OnceLock;

/// What an [`Isa`] is, for matching.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Plain Rust over four lanes.
    Portable,
    /// 128-bit vectors of AArch64.
    Neon,
    /// 256-bit vectors with fused multiply-add.
    Avx2,
    /// 512-bit vectors (F, BW, DQ, VL).
    Avx512,
}

/// An instruction set that this machine has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Isa(Kind);

impl Isa {
    /// Available everywhere.
    pub const PORTABLE: Isa = Isa(Kind::Portable);

    /// The best instruction set of this machine, or the one named by `UAD_ISA` if the machine has it. Read once.
    pub fn detect() -> Isa {
        static BEST: OnceLock<Isa> = OnceLock::new();
        *BEST.get_or_init(|| {
            let all = Isa::all();
            let wished = std::env::var("UAD_ISA").ok();
            let named = wished.and_then(|w| all.iter().copied().find(|i| i.name() == w));
            named.or(all.last().copied()).unwrap_or(Isa::PORTABLE)
        })
    }

    /// Every instruction set of this machine that the kernels know, the best last.
    pub fn all() -> Vec<Isa> {
        let mut found = vec![Isa::PORTABLE];
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                found.push(Isa(Kind::Avx2));
                if is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
                {
                    found.push(Isa(Kind::Avx512));
                }
            }
        }
        #[cfg(target_arch = "aarch64")]
        found.push(Isa(Kind::Neon));
        found
    }

    /// Which one it is.
    pub fn kind(self) -> Kind {
        self.0
    }

    /// Its name as `UAD_ISA` spells it.
    pub fn name(self) -> &'static str {
        match self.0 {
            Kind::Portable => "portable",
            Kind::Neon => "neon",
            Kind::Avx2 => "avx2",
            Kind::Avx512 => "avx512",
        }
    }

    /// Lanes of f32 in one vector.
    pub fn lanes(self) -> usize {
        match self.0 {
            Kind::Portable | Kind::Neon => 4,
            Kind::Avx2 => 8,
            Kind::Avx512 => 16,
        }
    }
}

/// Instantiates one generic kernel `fn imp<S: Simd>(args)` for every instruction set and makes the function
/// `name(isa, args)` that chooses. The generic body must be `#[inline(always)]`, so that it is compiled with the
/// features of the wrapper it is inlined into.
#[allow(unused_macros)]
macro_rules! dispatch {
    ($(#[$meta:meta])* $vis:vis unsafe fn $name:ident($($arg:ident : $ty:ty),* $(,)?) $(-> $ret:ty)? => $imp:ident) => {
        $(#[$meta])*
        $vis unsafe fn $name(isa: $crate::cpu::Isa, $($arg: $ty),*) $(-> $ret)? {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
            unsafe fn avx512($($arg: $ty),*) $(-> $ret)? {
                unsafe { $imp::<$crate::cpu::simd::Avx512>($($arg),*) }
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            unsafe fn avx2($($arg: $ty),*) $(-> $ret)? {
                unsafe { $imp::<$crate::cpu::simd::Avx2>($($arg),*) }
            }
            #[cfg(target_arch = "aarch64")]
            #[target_feature(enable = "neon")]
            unsafe fn neon($($arg: $ty),*) $(-> $ret)? {
                unsafe { $imp::<$crate::cpu::simd::Neon>($($arg),*) }
            }
            // SAFETY: an `Isa` exists only where the machine has its features; the rest is the caller's contract.
            unsafe {
                match isa.kind() {
                    #[cfg(target_arch = "x86_64")]
                    $crate::cpu::isa::Kind::Avx512 => avx512($($arg),*),
                    #[cfg(target_arch = "x86_64")]
                    $crate::cpu::isa::Kind::Avx2 => avx2($($arg),*),
                    #[cfg(target_arch = "aarch64")]
                    $crate::cpu::isa::Kind::Neon => neon($($arg),*),
                    _ => $imp::<$crate::cpu::simd::Portable>($($arg),*),
                }
            }
        }
    };
}
#[allow(unused_imports)] // the microkernels use it
pub(crate) use dispatch;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn portable_is_always_there_and_the_best_is_last() {
        let all = Isa::all();
        assert_eq!(all[0], Isa::PORTABLE);
        assert!(all.windows(2).all(|w| w[0] < w[1]));
        assert!(all.contains(&Isa::detect()));
    }
}
