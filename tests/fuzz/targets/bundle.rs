//! Bundles from any bytes: refused with the file's name, or a program that was verified.
//!
//! In: bytes; read as a file, as a file whose digest is made right again, and as the plan and spec of a bundle that is whole.
//! Out: nothing. Invariants: nothing is run. Imports: the runtime.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sha2::{Digest, Sha256};
use uad_runtime::bundle::{Bundle, Content};

/// These bytes with the digest that belongs to them, where they have one: what is read behind it is then read.
fn sealed(bytes: &[u8]) -> Option<Vec<u8>> {
    let before = br#"\"digest\":\""#;
    let from = bytes.windows(before.len()).position(|w| w == before)? + before.len();
    let rest = bytes.get(from + 64..)?;
    let mut hasher = Sha256::new();
    hasher.update(&bytes[..from]);
    hasher.update([b'0'; 64]);
    rest.chunks(1 << 18).for_each(|block| hasher.update(Sha256::digest(block)));
    let digits: String = hasher.finalize().iter().map(|b| format!("{b:02x}")).collect();
    Some([&bytes[..from], digits.as_bytes(), rest].concat())
}

fuzz_target!(|bytes: &[u8]| {
    let path = std::env::temp_dir().join(format!("uad-fuzz-{}.uadx", std::process::id()));
    let open = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        match Bundle::open(&path) {
            Ok(b) => {
                let _ = (b.all_stored(), b.probe());
            }
            Err(e) => assert!(e.to_string().contains("uad-fuzz-")),
        }
    };
    open(bytes);
    if let Some(bytes) = sealed(bytes) {
        open(&bytes);
    }
    let text = String::from_utf8_lossy(bytes).into_owned();
    let whole = Content { plan: text.clone(), spec: text, ..Content::default() };
    open(&whole.to_bytes().unwrap());
});
