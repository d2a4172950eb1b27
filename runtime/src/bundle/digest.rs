//! The digest of a bundle.
//!
//! In: the card, names, types and bytes. Out: a SHA-256 in hexadecimal. Invariants: it is that over the card and, for each item,
//! its name, type and the SHA-256 of every block of its bytes, so blocks are hashed on several threads and the result is the same
//! for any number of them. Imports: v1.

use std::fmt::Write;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use safetensors::Dtype;
use sha2::{Digest, Sha256};

use super::v1::Card;

/// Bytes that are hashed in one piece.
const BLOCK: usize = 1 << 18;
/// The most threads.
const THREADS: usize = 8;

/// What a digest is made of.
pub(super) struct Digested<'a> {
    card: Vec<u8>,
    items: Vec<(String, &'a [u8])>,
}

impl<'a> Digested<'a> {
    /// Of a card, so far.
    pub(super) fn new(card: &Card) -> Result<Digested<'a>, String> {
        Ok(Digested { card: serde_json::to_vec(card).map_err(|e| e.to_string())?, items: Vec::new() })
    }

    /// One more item.
    pub(super) fn add(&mut self, name: &str, dtype: Dtype, shape: &[usize], data: &'a [u8]) {
        self.items.push((format!("{name}\0{dtype:?}{shape:?}\0"), data));
    }

    /// The digest.
    pub(super) fn hex(&self) -> String {
        let blocks: Vec<&[u8]> = self.items.iter().flat_map(|i| i.1.chunks(BLOCK)).collect();
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
        hasher.update((self.card.len() as u64).to_le_bytes());
        hasher.update(&self.card);
        let mut n = 0;
        for (head, data) in &self.items {
            hasher.update(head);
            for _ in data.chunks(BLOCK) {
                hasher.update(of(n));
                n += 1;
            }
        }
        let mut text = String::new();
        for byte in hasher.finalize() {
            // cannot fail: a string takes all that is written
            let _ = write!(text, "{byte:02x}");
        }
        text
    }
}
