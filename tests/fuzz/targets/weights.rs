//! Files of tensors from any bytes (safetensors, PyTorch): refused with the file's name, or read.
//!
//! In: bytes. Out: nothing. Invariants: none of its own. Imports: the runtime.

#![no_main]

mod hook;

use libfuzzer_sys::fuzz_target;
use uad_runtime::tensors::TensorFile;

fuzz_target!(
    init: hook::contain(),
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
