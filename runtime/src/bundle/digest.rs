//! The digest of a bundle.
//!
//! In: the bytes of a bundle. Out: a SHA-256 in hexadecimal. Invariants: it is that over the bytes before the digits, zeros in their
//! place, and the SHA-256 of every block after them: a change anywhere shows, blocks are hashed on several threads, and the
//! result is the same for any number of them. Imports: nothing of this project.

use std::ops::Range;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use sha2::{Digest, Sha256};

/// Hexadecimal digits of a digest.
pub(super) const DIGITS: usize = 64;
/// Bytes that are hashed in one piece.
const BLOCK: usize = 1 << 18;
/// The most threads.
const THREADS: usize = 8;

/// Where the digits stand: the metadata is JSON in a string of the header's JSON, and the header begins with it.
pub(super) fn digits(bytes: &[u8]) -> Option<Range<usize>> {
    let before = br#"\"digest\":\""#;
    let from = bytes.windows(before.len()).position(|w| w == before)? + before.len();
    (from + DIGITS <= bytes.len()).then_some(from..from + DIGITS)
}

/// The digest of these bytes, as if the digits were zeros.
pub(super) fn of(bytes: &[u8], digits: &Range<usize>) -> String {
    let blocks: Vec<&[u8]> = bytes.get(digits.end..).unwrap_or_default().chunks(BLOCK).collect();
    let done: Vec<OnceLock<[u8; 32]>> = blocks.iter().map(|_| OnceLock::new()).collect();
    let next = AtomicUsize::new(0);
    let of = |n: usize| *done[n].get_or_init(|| Sha256::digest(blocks[n]).into());
    let work = || {
        loop {
            let n = next.fetch_add(1, Ordering::Relaxed);
            if n >= blocks.len() {
                return;
            }
            of(n);
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|s| {
        for _ in 1..cores.min(THREADS).min(blocks.len() / 4) {
            // Without a thread the others do its part.
            let _ = std::thread::Builder::new().spawn_scoped(s, work);
        }
        work();
    });
    let mut hasher = Sha256::new();
    hasher.update(bytes.get(..digits.start).unwrap_or_default());
    hasher.update([b'0'; DIGITS]);
    (0..blocks.len()).for_each(|n| hasher.update(of(n)));
    hasher.finalize().iter().map(|b| format!("{b:02x}")).collect()
}
