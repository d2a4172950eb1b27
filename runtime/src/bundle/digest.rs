//! The digest of a bundle.
//!
//! In: the bytes of a bundle, in one piece or several. Out: a SHA-256 in hexadecimal. Invariants: it is that over the bytes before the digits, zeros in their
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

/// The digest of what these parts are in a row, as if the digits, which stand in the first, were zeros.
pub(super) fn of(parts: &[&[u8]], digits: &Range<usize>) -> String {
    let (head, rest) = parts.split_first().map_or((&[][..], parts), |(h, r)| (*h, r));
    let blocks = blocks(std::iter::once(head.get(digits.end..).unwrap_or_default()).chain(rest.iter().copied()));
    let done: Vec<OnceLock<[u8; 32]>> = blocks.iter().map(|_| OnceLock::new()).collect();
    let next = AtomicUsize::new(0);
    let hash = |block: &[&[u8]]| {
        let mut hasher = Sha256::new();
        block.iter().for_each(|piece| hasher.update(piece));
        hasher.finalize().into()
    };
    let of = |n: usize| *done[n].get_or_init(|| hash(&blocks[n]));
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
    hasher.update(head.get(..digits.start).unwrap_or_default());
    hasher.update([b'0'; DIGITS]);
    (0..blocks.len()).for_each(|n| hasher.update(of(n)));
    hasher.finalize().iter().map(|b| format!("{b:02x}")).collect()
}

/// The parts cut into blocks, each in one or more pieces.
fn blocks<'b>(parts: impl Iterator<Item = &'b [u8]>) -> Vec<Vec<&'b [u8]>> {
    let mut blocks: Vec<Vec<&[u8]>> = Vec::new();
    let mut room = 0;
    for mut part in parts {
        while !part.is_empty() {
            if room == 0 {
                blocks.push(Vec::new());
                room = BLOCK;
            }
            let (piece, more) = part.split_at(room.min(part.len()));
            room -= piece.len();
            part = more;
            if let Some(block) = blocks.last_mut() {
                block.push(piece);
            }
        }
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_do_not_matter() {
        let bytes: Vec<u8> = (0..3 * BLOCK + 77).map(|n| (n % 251) as u8).collect();
        let whole = of(&[&bytes], &(10..74));
        for cut in [74, 100, BLOCK, 2 * BLOCK + 74, bytes.len()] {
            let (a, b) = bytes.split_at(cut);
            assert_eq!(of(&[a, &[], b], &(10..74)), whole, "{cut}");
        }
    }
}
