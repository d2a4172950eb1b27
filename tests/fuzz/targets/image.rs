//! Images and manifests of data sets from any bytes: refused with the file's name, or read.
//!
//! In: bytes. Out: nothing. Invariants: the decoders' own panics are contained. Imports: the runtime.

#![no_main]

mod hook;

use libfuzzer_sys::fuzz_target;
use uad_runtime::data::{image, manifest};

fuzz_target!(
    init: hook::contain(),
    |bytes: &[u8]| {
        let path = std::env::temp_dir().join(format!("uad-fuzz-{}.png", std::process::id()));
        std::fs::write(&path, bytes).unwrap();
        match image::read(&path) {
            Ok(read) => assert!(read.width() > 0 && read.height() > 0),
            Err(e) => assert!(e.to_string().contains("uad-fuzz-")),
        }
        if let Err(e) = manifest::read(&path) {
            assert!(e.to_string().contains("uad-fuzz-"));
        }
    }
);
