//! Random draws: Philox4x32-10.
//!
//! In: counters and keys. Out: f32 in [0, 1) with 24 bits. Invariants: the bits are those of the definition in the plan
//! format, on every machine. Imports: [`super::strip`], [`super::isa`],
//! `uad-plan`.

use super::isa::Isa;
use super::strip::DrawKey;
use uad_plan::philox;

/// Blocks worked on at a time: the compiler turns the loops over them into vectors.
const WIDE: usize = 16;

/// Ten rounds over each counter `(block, sample, step, lane)`: word by word.
#[inline(always)]
fn blocks(blocks: [u32; WIDE], samples: [u32; WIDE], step: u32, mut key: [u32; 2], lane: u32) -> [[u32; WIDE]; 4] {
    let mut c = [blocks, samples, [step; WIDE], [lane; WIDE]];
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
    c
}

/// A word as a number in [0, 1).
#[inline(always)]
fn unit(word: u32) -> f32 {
    (word >> 8) as f32 * (1.0 / 16_777_216.0)
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
        let keys = philox::key(key.seed, site ^ key.site);
        let (step, lane) = (key.step as u32, lane as u32);
        let sample = |i: usize| (key.first_sample as u32).wrapping_add(*samples.add(i) as u32);
        let mut i = 0;
        while i < n {
            let (first, of) = (*elements.add(i) as u32, *samples.add(i));
            // Points of the blocks that begin with this one's, if they are neighbours of one sample.
            let skip = first as usize % 4;
            let most = (n - i).min(4 * WIDE - skip);
            let mut other = 0;
            for j in 0..most {
                other |= *elements.add(i + j) as u32 ^ first.wrapping_add(j as u32);
                other |= (*samples.add(i + j) ^ of) as u32;
            }
            if other == 0 && most > WIDE / 2 {
                let numbers = std::array::from_fn(|b| (first / 4 + b as u32) & (u32::MAX / 4));
                let w = blocks(numbers, [sample(i); WIDE], step, keys, lane);
                let mut all = [0f32; 4 * WIDE];
                for b in 0..WIDE {
                    for (l, words) in w.iter().enumerate() {
                        all[4 * b + l] = unit(words[b]);
                    }
                }
                if most == 4 * WIDE {
                    to.add(i).cast::<[f32; 4 * WIDE]>().write_unaligned(all);
                } else {
                    std::ptr::copy_nonoverlapping(all.as_ptr().add(skip), to.add(i), most);
                }
                i += most;
                continue;
            }
            let k = (n - i).min(WIDE);
            let (mut e, mut s) = ([0u32; WIDE], [0u32; WIDE]);
            for j in 0..k {
                e[j] = *elements.add(i + j) as u32;
                s[j] = sample(i + j);
            }
            let w = blocks(e.map(|e| e / 4), s, step, keys, lane);
            for (j, e) in e.iter().enumerate().take(k) {
                *to.add(i + j) = unit(w[*e as usize % 4][j]);
            }
            i += k;
        }
    }
}

/// The microkernel of an instruction set.
pub fn draw(isa: Isa) -> DrawFn {
    macro_rules! with {
        ($($features:literal)?) => {{
            $(#[target_feature(enable = $features)])?
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
        super::isa::Kind::Avx512 => with!("avx512f,avx512bw,avx512dq,avx512vl,avx2"),
        #[cfg(target_arch = "x86_64")]
        super::isa::Kind::Avx2 => with!("avx2"),
        // What every machine of the target has: SSE2, NEON.
        _ => with!(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bits_are_those_of_the_definition() {
        // Scattered points; rows of neighbours; one long row that begins inside a block and passes zero.
        type Point = fn(i32) -> (i32, i32);
        let points: [(usize, Point); 3] =
            [(37, |i| (i * 977 - 5, i / 3)), (150, |i| (i % 25, i / 25)), (300, |i| (i - 7, 2))];
        let key = DrawKey { seed: 0x1234_5678_9abc_def0, step: 1 << 33 | 7, first_sample: 40, site: 1 << 40 | 3 };
        for (isa, (n, point)) in Isa::all().into_iter().flat_map(|isa| points.map(|p| (isa, p))) {
            let (elements, samples): (Vec<i32>, Vec<i32>) = (0..n as i32).map(point).unzip();
            for lane in 0..4u8 {
                let mut got = vec![0f32; n];
                let (meant, site) = (0xfeed_0000_beef, 0xfeed_0000_beef ^ key.site);
                // SAFETY: as many values as said.
                unsafe {
                    let (e, s) = (elements.as_ptr(), samples.as_ptr());
                    draw(isa)(got.as_mut_ptr(), e, s, n, &key, site, u64::from(lane));
                }
                for i in 0..n {
                    let sample = samples[i] as u32 + 40;
                    let want =
                        philox::uniform(philox::key(key.seed, meant), lane, elements[i] as u32, sample, key.step);
                    assert_eq!(got[i].to_bits(), want.to_bits());
                }
            }
        }
    }
}
