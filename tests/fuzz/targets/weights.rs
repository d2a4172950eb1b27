//! Files of tensors from any bytes (safetensors, PyTorch): refused with the file's name, or read.
//!
//! In: bytes. Out: nothing. Invariants: none of its own. Imports: files of the runtime.

#![no_main]
#![allow(dead_code)]

use libfuzzer_sys::fuzz_target;
use crate::tensors::TensorFile;

#[path = "../../../runtime/src/bundle/mod.rs"]
mod bundle;
mod data;
#[path = "../../../runtime/src/device/memory.rs"]
mod memory;
#[path = "../../../runtime/src/tensors.rs"]
mod tensors;
#[path = "../../../runtime/src/whole.rs"]
mod whole;

mod device {
    pub(crate) use crate::memory;
}

fuzz_target!(
    init: std::panic::set_hook(Box::new(|info| {
        // Readers that are not ours may panic where they are contained.
        if std::thread::current().name() != Some(data::foreign::THREAD) {
            eprintln!("{info}");
            std::process::abort();
        }
    })),
    |bytes: &[u8]| {
    let path = std::env::temp_dir().join(format!("uad-fuzz-{}.weights", std::process::id()));
    std::fs::write(&path, bytes).unwrap();
    match TensorFile::open(&path) {
        Ok(file) => {
            for (name, shape) in file.shapes() {
                if shape.iter().try_fold(1usize, |p, d| p.checked_mul(*d)).is_some_and(|n| n < 1 << 20) {
                    let _ = file.get(name);
                }
            }
        }
        Err(e) => assert!(e.to_string().contains("uad-fuzz-")),
    }
}
);
