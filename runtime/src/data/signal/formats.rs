//! The formats of samples in WFDB's files.
//!
//! In: bytes of a file, the number of a format. Out: samples of the converter, in the order of the file. Invariants: a sample that WFDB reserves
//! for "not there" is `None`; bytes that do not fill a sample are left over, not guessed. Imports: nothing of this project.

/// A format of samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format(u32);

impl Format {
    /// The format of this number, or why there is none.
    pub fn new(number: u32) -> Result<Format, String> {
        match number {
            8 | 16 | 24 | 32 | 61 | 80 | 160 | 212 | 310 | 311 => Ok(Format(number)),
            508 | 516 | 524 => {
                Err(format!("format {number} (FLAC) is not read; `xform` of the WFDB tools makes format 16 of it"))
            }
            0 => Err("format 0 means that the channel was not recorded".to_owned()),
            _ => Err(format!("there is no format {number}")),
        }
    }

    /// Is a sample the difference to the one before it?
    pub fn differences(self) -> bool {
        self.0 == 8
    }

    /// Bytes of so many samples.
    pub fn bytes(self, samples: u64) -> u64 {
        match self.0 {
            8 | 80 => samples,
            16 | 61 | 160 => 2 * samples,
            24 => 3 * samples,
            32 => 4 * samples,
            212 => (3 * samples).div_ceil(2),
            // Three samples in four bytes; of a last group only the words that are needed.
            310 => samples / 3 * 4 + [0, 2, 4][(samples % 3) as usize],
            _ => samples / 3 * 4 + [0, 2, 3][(samples % 3) as usize],
        }
    }

    /// How many samples so many bytes hold.
    pub fn samples(self, bytes: u64) -> u64 {
        match self.0 {
            8 | 80 => bytes,
            16 | 61 | 160 => bytes / 2,
            24 => bytes / 3,
            32 => bytes / 4,
            212 => bytes / 3 * 2 + u64::from(bytes % 3 == 2),
            _ => bytes / 4 * 3 + [0, 0, 1, if self.0 == 311 { 2 } else { 1 }][(bytes % 4) as usize],
        }
    }

    /// The value that stands for "not there".
    fn missing(self) -> Option<i64> {
        match self.0 {
            16 | 61 | 160 => Some(-0x8000),
            24 => Some(-0x80_0000),
            32 => Some(-0x8000_0000),
            80 => Some(-0x80),
            212 => Some(-0x800),
            310 | 311 => Some(-0x200),
            _ => None,
        }
    }

    /// Sample `n`. Bytes beyond the end are 0.
    pub fn sample(self, bytes: &[u8], n: usize) -> Option<i64> {
        let value = self.value(bytes, n);
        (Some(value) != self.missing()).then_some(value)
    }

    fn value(self, bytes: &[u8], n: usize) -> i64 {
        let byte = |at: usize| i64::from(bytes.get(at).copied().unwrap_or(0));
        let word = |at: usize| byte(at) | byte(at + 1) << 8;
        let signed = |v: i64, bits: u32| if v >> (bits - 1) & 1 == 1 { v - (1 << bits) } else { v };
        match self.0 {
            8 => signed(byte(n), 8),
            80 => byte(n) - 0x80,
            16 => signed(word(2 * n), 16),
            61 => signed(byte(2 * n) << 8 | byte(2 * n + 1), 16),
            160 => word(2 * n) - 0x8000,
            24 => signed(word(3 * n) | byte(3 * n + 2) << 16, 24),
            32 => signed(word(4 * n) | word(4 * n + 2) << 16, 32),
            212 => {
                let at = n / 2 * 3;
                let high = byte(at + 1);
                let value =
                    if n.is_multiple_of(2) { byte(at) | (high & 0xf) << 8 } else { byte(at + 2) | (high & 0xf0) << 4 };
                signed(value, 12)
            }
            310 => {
                let at = n / 3 * 4;
                let (a, b) = (word(at), word(at + 2));
                let value = match n % 3 {
                    0 => a >> 1,
                    1 => b >> 1,
                    _ => (a >> 11 & 0x1f) | (b >> 11 & 0x1f) << 5,
                };
                signed(value & 0x3ff, 10)
            }
            _ => {
                let at = n / 3 * 4;
                let all = word(at) | word(at + 2) << 16;
                signed(all >> (10 * (n % 3)) & 0x3ff, 10)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_samples_agree() {
        for number in [8, 16, 24, 32, 61, 80, 160, 212, 310, 311] {
            let f = Format::new(number).unwrap();
            for n in 0..40 {
                let bytes = f.bytes(n);
                assert!(f.samples(bytes) >= n, "format {number}: {n} samples in {bytes} bytes");
                assert!(n == 0 || f.samples(bytes - 1) < n, "format {number}: {n} samples in {} bytes", bytes - 1);
            }
        }
        assert!(Format::new(17).is_err() && Format::new(516).unwrap_err().contains("FLAC"));
    }

    #[test]
    fn lowest_value_is_not_there() {
        assert_eq!(Format(16).sample(&[0, 0x80], 0), None);
        assert_eq!(Format(16).sample(&[1, 0x80], 0), Some(-32767));
        assert_eq!(Format(212).sample(&[0, 0x08, 0], 0), None);
        assert_eq!(Format(8).sample(&[0x80], 0), Some(-128));
    }
}
