//! Random draws: Philox4x32-10.
//!
//! In: counters and keys. Out: f32 in [0, 1) with 24 bits. Invariants: the bits are those of the definition in the plan
//! format, on every machine. Imports: [`super::strip`], [`super::isa`],
//! `uad-plan`.

use super::isa::{Isa, Kind};
use super::strip::DrawKey;
use uad_plan::philox;

/// Counters worked on at a time: the compiler turns the loops over them into vectors.
const WIDE: usize = 16;

/// Word `lane` of ten rounds over each counter `(element, sample, step, 0)`.
#[inline(always)]
fn words(elements: [u32; WIDE], samples: [u32; WIDE], step: u32, mut key: [u32; 2], lane: usize) -> [u32; WIDE] {
    let mut c = [elements, samples, [step; WIDE], [0; WIDE]];
    for _ in 0..philox::ROUNDS {
        let mut next = [[0u32; WIDE]; 4];
        for i in 0..WIDE {
            let a = u64::from(c[0][i]) * u64::from(philox::MULTIPLIERS[0]);
            let b = u64::from(c[2][i]) * u64::from(philox::MULTIPLIERS[1]);
            next[0][i] = (b >> 32) as u32 ^ c[1][i] ^ key[0];
            next[1][i] = b as u32;
            next[2][i] = (a >> 32) as u32 ^ c[3][i] ^ key[1];
            next[3][i] = a as u32;
        }
        c = next;
        key = [key[0].wrapping_add(philox::WEYL[0]), key[1].wrapping_add(philox::WEYL[1])];
    }
    c[lane & 3]
}

/// One uniform draw per point: `(to, elements, samples, points, key, site, lane)`.
pub type DrawFn = unsafe extern "C" fn(*mut f32, *const i32, *const i32, usize, *const DrawKey, u64, u64);

#[inline(always)]
unsafe fn draw_run(
    to: *mut f32,
    elements: *const i32,
    samples: *const i32,
    n: usize,
    key: *const DrawKey,
    site: u64,
    lane: u64,
) {
    // SAFETY: the caller vouches for `n` values and the key.
    unsafe {
        let key = *key;
        let keys = philox::key(key.seed, site);
        let mut i = 0;
        while i < n {
            let k = (n - i).min(WIDE);
            let (mut e, mut s) = ([0u32; WIDE], [0u32; WIDE]);
            for j in 0..k {
                e[j] = *elements.add(i + j) as u32;
                s[j] = (key.first_sample as u32).wrapping_add(*samples.add(i + j) as u32);
            }
            let w = words(e, s, key.step as u32, keys, lane as usize);
            for (j, w) in w.iter().enumerate().take(k) {
                *to.add(i + j) = (*w >> 8) as f32 * (1.0 / 16_777_216.0);
            }
            i += k;
        }
    }
}

/// The microkernel of an instruction set.
pub fn draw(isa: Isa) -> DrawFn {
    macro_rules! with {
        ($features:literal) => {{
            #[target_feature(enable = $features)]
            unsafe extern "C" fn with(
                to: *mut f32,
                elements: *const i32,
                samples: *const i32,
                n: usize,
                key: *const DrawKey,
                site: u64,
                lane: u64,
            ) {
                // SAFETY: the caller vouches for the pointers, and an `Isa` for the features.
                unsafe { draw_run(to, elements, samples, n, key, site, lane) }
            }
            with
        }};
    }
    match isa.kind() {
        #[cfg(target_arch = "x86_64")]
        Kind::Avx512 => with!("avx512f,avx512bw,avx512dq,avx512vl,avx2"),
        #[cfg(target_arch = "x86_64")]
        Kind::Avx2 => with!("avx2"),
        #[cfg(target_arch = "x86_64")]
        _ => with!("sse2"),
        #[cfg(not(target_arch = "x86_64"))]
        _ => with!("neon"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bits_are_those_of_the_definition() {
        let n = 37;
        let elements: Vec<i32> = (0..n).map(|i| i * 977 - 5).collect();
        let samples: Vec<i32> = (0..n).map(|i| i / 3).collect();
        let key = DrawKey { seed: 0x1234_5678_9abc_def0, step: 1 << 33 | 7, first_sample: 40 };
        for isa in Isa::all() {
            for lane in 0..4u8 {
                let mut got = vec![0f32; n as usize];
                let (site, n) = (0xfeed_0000_beef, n as usize);
                // SAFETY: as many values as said.
                unsafe {
                    let (e, s) = (elements.as_ptr(), samples.as_ptr());
                    draw(isa)(got.as_mut_ptr(), e, s, n, &key, site, u64::from(lane));
                }
                for i in 0..n {
                    let sample = samples[i] as u32 + 40;
                    let want = philox::uniform(philox::key(key.seed, site), lane, elements[i] as u32, sample, key.step);
                    assert_eq!(got[i].to_bits(), want.to_bits());
                }
            }
        }
    }
}
