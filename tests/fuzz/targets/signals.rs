//! Signals from any bytes (WFDB headers and samples, tables, NumPy arrays): refused with the file's name, or read and prepared.
//!
//! In: bytes; the first says what they are. Out: nothing. Invariants: none of its own. Imports: files of the runtime.

#![no_main]
#![allow(dead_code)]

use libfuzzer_sys::fuzz_target;
use crate::data::signal::{self, steps};

/// Of the runtime's data, what the reader of signals needs.
mod data {
    #[path = "mod.rs"]
    mod base;
    #[path = "../../../../runtime/src/data/signal/mod.rs"]
    pub mod signal;

    use std::path::Path;

    pub use base::ReadError;

    /// Is this a file with an end?
    pub fn is_plain(path: &Path) -> Result<(), ReadError> {
        let found = std::fs::metadata(path).map_err(|e| ReadError::new(path, e))?;
        if found.is_file() { Ok(()) } else { Err(ReadError::new(path, "not a file")) }
    }

    pub mod mask {
        #[derive(Clone, Debug)]
        pub struct Mask {
            pub height: usize,
            pub width: usize,
            pub values: Vec<u8>,
        }

        impl Mask {
            pub fn nearest(&self, _: usize, _: usize) -> Mask {
                self.clone()
            }
        }
    }
}
/// Of the runtime's memory: files are read instead of mapped.
mod device {
    pub mod memory {
        pub struct FileMap(Vec<u8>);

        impl FileMap {
            pub fn open(path: &std::path::Path) -> std::io::Result<FileMap> {
                std::fs::read(path).map(FileMap)
            }

            pub fn bytes(&self) -> &[u8] {
                &self.0
            }
        }

        /// As much as a signal may take.
        pub fn fits(bytes: usize) -> bool {
            bytes <= 1 << 29
        }
    }
}

/// Of the runtime's heat maps, what the reader of signals needs.
mod heatmap {
    #[derive(Clone, Copy, Debug, PartialEq)]
    pub struct Over {
        pub top: f32,
        pub left: f32,
        pub height: f32,
        pub width: f32,
    }
    pub const WHOLE: Over = Over { top: 0.0, left: 0.0, height: 1.0, width: 1.0 };
}

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
