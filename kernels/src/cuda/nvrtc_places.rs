//! Where NVRTC may be.
//!
//! In: the environment ([`VARIABLES`]). Out: paths, the most particular first. Invariants: nothing is loaded and nothing of
//! this project imported: the build script of the tests, which looks for the library too, is compiled with this file.

use std::path::{Path, PathBuf};

/// The variables that are looked at.
pub const VARIABLES: [&str; 4] = ["UAD_NVRTC", "CUDA_PATH", "CUDA_HOME", "VIRTUAL_ENV"];

/// Files in a folder whose names begin so.
fn within(folder: &Path, begin: &str) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let named = |p: &PathBuf| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with(begin));
    let mut found: Vec<PathBuf> = entries.flatten().map(|e| e.path()).filter(named).collect();
    found.sort();
    found
}

/// Files that may be the library: what `UAD_NVRTC` names, CUDA's folders, the wheel of an active virtual environment,
/// what the system's loader finds.
pub fn candidates() -> Vec<PathBuf> {
    let [named, path, home, environment] = VARIABLES.map(|name| std::env::var_os(name).map(PathBuf::from));
    let mut all: Vec<PathBuf> = named.into_iter().collect();
    for root in path.into_iter().chain(home).chain([PathBuf::from("/usr/local/cuda")]) {
        for (folder, begin) in [("lib64", "libnvrtc.so"), ("lib", "libnvrtc.so"), ("bin", "nvrtc64_")] {
            all.extend(within(&root.join(folder), begin));
        }
    }
    if let Some(env) = environment {
        let pythons = within(&env.join("lib"), "python").into_iter().chain([env.join("Lib")]);
        for packages in pythons.map(|p| p.join("site-packages")) {
            for (part, begin) in
                [("cuda_nvrtc/lib", "libnvrtc.so"), ("cu13/lib", "libnvrtc.so"), ("cuda_nvrtc/bin", "nvrtc64_")]
            {
                all.extend(within(&packages.join("nvidia").join(part), begin));
            }
        }
    }
    all.extend(["libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"].map(PathBuf::from));
    if cfg!(windows) {
        all.extend(["nvrtc64_130_0.dll", "nvrtc64_120_0.dll"].map(PathBuf::from));
    }
    all
}
