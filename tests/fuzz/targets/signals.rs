//! Signals from any bytes (WFDB headers and samples, tables, NumPy arrays): refused with the file's name, or read and prepared.
//!
//! In: bytes; the first says what they are. Out: nothing. Invariants: none of its own. Imports: the runtime.

#![no_main]

use libfuzzer_sys::fuzz_target;
use uad_runtime::data::signal::{self, steps};

fuzz_target!(|bytes: &[u8]| {
    let Some((first, rest)) = bytes.split_first() else { return };
    let ending = ["hea", "csv", "npy", "dat"][usize::from(first % 4)];
    let folder = std::env::temp_dir();
    let path = folder.join(format!("uad-fuzz-{}.{ending}", std::process::id()));
    if ending == "dat" {
        // The first line of the rest is the format, and the header is sound.
        let at = rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len());
        let format = String::from_utf8_lossy(&rest[..at]).into_owned();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        std::fs::write(path.with_extension("hea"), format!("r 2 500\n{name} {format}\n{name} {format}\n")).unwrap();
    }
    std::fs::write(&path, rest).unwrap();
    match signal::read(&path) {
        Ok(read) => {
            assert!(!read.is_empty());
            let steps = steps::Step::new("band_pass", &[1.0, 25.0, 2.0]).unwrap();
            let _ = steps::prepare(&read, &steps);
        }
        Err(e) => assert!(e.to_string().contains("uad-fuzz-")),
    }
});
