//! Random numbers by counter: Philox4x32-10 (Salmon et al., SC 2011).
//!
//! In: key and counter. Out: four words of 32 bits; the uniform draws of holes. Invariants: a pure function, equal on
//! every back end; checked against the published known answers. Imports: nothing of this project.

/// Multipliers of a round.
pub const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
/// What is added to the key after a round.
pub const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];
/// Number of rounds.
pub const ROUNDS: u32 = 10;

/// Four words for a counter under a key.
pub fn philox4x32_10(key: [u32; 2], counter: [u32; 4]) -> [u32; 4] {
    let ([mut k0, mut k1], [mut c0, mut c1, mut c2, mut c3]) = (key, counter);
    for _ in 0..ROUNDS {
        let p0 = u64::from(MULTIPLIERS[0]) * u64::from(c0);
        let p1 = u64::from(MULTIPLIERS[1]) * u64::from(c2);
        (c0, c1, c2, c3) = ((p1 >> 32) as u32 ^ c1 ^ k0, p1 as u32, (p0 >> 32) as u32 ^ c3 ^ k1, p0 as u32);
        k0 = k0.wrapping_add(WEYL[0]);
        k1 = k1.wrapping_add(WEYL[1]);
    }
    [c0, c1, c2, c3]
}

/// The key of a draw: the halves of the seed and those of the site, each pair joined by exclusive or.
pub fn key(seed: u64, site: u64) -> [u32; 2] {
    let fold = |x: u64| (x ^ (x >> 32)) as u32;
    [fold(seed), fold(site)]
}

/// The draw's number in [0, 1) with 24 bits: the upper bits of word `element % 4` of the block with counter
/// `(element / 4, sample, step, lane)`, so that four neighbours share a block; `element` counts as unsigned, `sample`
/// from the first sample of the run, `step` is taken modulo 2^32.
pub fn uniform(key: [u32; 2], lane: u8, element: u32, sample: u32, step: u64) -> f32 {
    let block = philox4x32_10(key, [element / 4, sample, step as u32, u32::from(lane)]);
    // 24 bits are exact in f32.
    (block[element as usize % 4] >> 8) as f32 * (1.0 / 16_777_216.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `kat_vectors` of Random123, the authors' library.
    #[test]
    fn known_answers() {
        let all = u32::MAX;
        assert_eq!(philox4x32_10([0, 0], [0; 4]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(philox4x32_10([all, all], [all; 4]), [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
        assert_eq!(
            philox4x32_10([0xa409_3822, 0x299f_31d0], [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344]),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }

    #[test]
    fn draws_are_uniform() {
        let n = 4096;
        let draw = |e| f64::from(uniform(key(7, 1 << 40), 1, e, 3, 9));
        let mean = (0..n).map(draw).sum::<f64>() / f64::from(n);
        assert!((mean - 0.5).abs() < 0.02);
        assert!((0..n).map(draw).all(|v| (0.0..1.0).contains(&v)));
        assert_ne!(key(1, 2), key(1 << 32, 2 << 33));
    }
}
