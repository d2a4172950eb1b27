//! What tests that concern several crates have in common: the project's files, reference material, executors.
//!
//! In: the place of this crate; graphs. Out: paths; results of the reference and of the CPU. Invariants: what a
//! machine may lack (reference material, compilers, a GPU) is looked for by `build.rs`, so that a test that needs it is
//! ignored and not passed. Imports: the compiler, `uad-plan`, `uad-kernels`, `uad-runtime`.

pub mod derived;
pub mod execute;
pub mod stages;

use std::path::{Path, PathBuf};

/// The root of the workspace.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// `part` of the reference material beside the workspace. Tests that need it are ignored where it was not there when they
/// were compiled (`tests/build.rs`).
pub fn shared(part: &str) -> PathBuf {
    let path = root().join("../shared").join(part);
    assert!(path.exists(), "../shared/{part} is absent");
    path
}

/// The C++ compiler that runs CUDA text on the host; tests that need it are ignored where none was found.
pub fn cxx() -> &'static str {
    option_env!("UAD_CXX").unwrap_or("c++")
}

/// All files of the project whose name ends so, sorted; build outputs and hidden folders are left out.
pub fn files(extension: &str) -> Vec<PathBuf> {
    fn walk(folder: &Path, extension: &str, found: &mut Vec<PathBuf>) {
        let Ok(entries) = std::fs::read_dir(folder) else { return };
        for entry in entries.flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            let name = name.to_string_lossy();
            if name.starts_with('.') || name == "target" {
                continue;
            }
            if path.is_dir() {
                walk(&path, extension, found);
            } else if path.extension().is_some_and(|e| e == extension) {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&root(), extension, &mut found);
    found.sort();
    found
}
