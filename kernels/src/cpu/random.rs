//! Random draws: Philox4x32-10.
//!
//! In: counters and keys. Out: f32 in [0, 1) with 24 bits. Invariants: the bits are those of the definition in the plan
//! format, on every machine. Imports: [`super::strip`].

use super::strip::DrawKey;

/// Ten rounds over `counter` with `key`.
#[inline(always)]
fn philox(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for _ in 0..10 {
        let a = u64::from(counter[0]) * 0xD251_1F53;
        let b = u64::from(counter[2]) * 0xCD9E_8D57;
        counter = [(b >> 32) as u32 ^ counter[1] ^ key[0], b as u32, (a >> 32) as u32 ^ counter[3] ^ key[1], a as u32];
        key = [key[0].wrapping_add(0x9E37_79B9), key[1].wrapping_add(0xBB67_AE85)];
    }
    counter
}

/// One uniform draw per point.
///
/// # Safety
/// `to`, `elements` and `samples` hold `n` values; `key` is valid.
pub unsafe extern "C" fn draw(
    to: *mut f32,
    elements: *const i32,
    samples: *const i32,
    n: usize,
    key: *const DrawKey,
    site: u64,
    lane: u64,
) {
    // SAFETY: the caller's contract.
    unsafe {
        let key = *key;
        let halves = |x: u64| (x ^ (x >> 32)) as u32;
        let keys = [halves(key.seed), halves(site)];
        for i in 0..n {
            let sample = (key.first_sample as u32).wrapping_add(*samples.add(i) as u32);
            let words = philox([*elements.add(i) as u32, sample, key.step as u32, 0], keys);
            *to.add(i) = (words[(lane & 3) as usize] >> 8) as f32 * (1.0 / 16_777_216.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::philox;

    #[test]
    fn the_published_vectors() {
        // From the authors' kat_vectors file.
        assert_eq!(philox([0; 4], [0; 2]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(philox([u32::MAX; 4], [u32::MAX; 2]), [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
    }
}
