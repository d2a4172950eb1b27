//! What this machine has that some tests need: reference material, a C++ compiler, NVRTC, a GPU.
//!
//! In: the folder `../shared` beside the workspace, the environment. Out: a `cfg` for each thing that is there, so that a
//! test that needs it stands as `#[cfg_attr(not(golden), ignore = "needs ../shared/golden")]` and libtest shows and counts
//! it as ignored; the C++ compiler as `UAD_CXX`. Invariants: only files that exist are watched, since Cargo builds again and
//! again for one that does not; what comes later is found after `touch tests/build.rs`, or when a variable that is looked
//! at changes. Imports: the places of NVRTC and of the C++ compiler.

use std::path::{Path, PathBuf};
use std::process::Command;

#[path = "../kernels/src/cuda/host_compiler.rs"]
mod host_compiler;
#[path = "../kernels/src/cuda/nvrtc_places.rs"]
mod nvrtc_places;

fn main() {
    let package = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let Some(root) = package.ancestors().find(|p| p.join("Cargo.lock").is_file()) else {
        panic!("{} is in no workspace", package.display());
    };
    watch(&root.join("tests/build.rs"));
    for name in nvrtc_places::VARIABLES.into_iter().chain([host_compiler::VARIABLE]) {
        println!("cargo::rerun-if-env-changed={name}");
    }
    for part in ["golden", "data"] {
        // A file, because a folder would be walked in every build.
        let readme = root.join("../shared").join(part).join("README.md");
        has(part, readme.is_file().then_some(readme.as_path()));
    }
    let compiler = host_compiler::find();
    has("cxx", compiler.as_deref().map(Path::new));
    if let Some(compiler) = compiler {
        println!("cargo::rustc-env=UAD_CXX={compiler}");
    }
    let nvrtc = nvrtc_places::candidates().iter().find_map(|p| file(p));
    has("nvrtc", nvrtc.as_deref());
    has("nvrtc_recorded", nvrtc.and_then(|n| recorded(&n, &root.join("tests/cases/cuda_resources.txt"))).as_deref());
    let gpus = Command::new("nvidia-smi").arg("-L").output().is_ok_and(|o| o.status.success() && !o.stdout.is_empty());
    has("gpu", gpus.then_some(Path::new("nvidia-smi")));
}

/// Declares a `cfg`, and sets it where the thing is there.
fn has(name: &str, found: Option<&Path>) {
    println!("cargo::rustc-check-cfg=cfg({name})");
    if let Some(path) = found {
        println!("cargo::rustc-cfg={name}");
        if path.is_file() {
            watch(path);
        }
    }
}

fn watch(path: &Path) {
    println!("cargo::rerun-if-changed={}", path.display());
}

/// Part of the NVRTC in this file, if it is of the version that these figures are of: `NVRTC 12.9` in the first line, and
/// `libnvrtc-builtins.so.12.9` beside the library.
fn recorded(nvrtc: &Path, figures: &Path) -> Option<PathBuf> {
    watch(figures);
    let text = std::fs::read_to_string(figures).ok()?;
    let part = format!("libnvrtc-builtins.so.{}", text.lines().next()?.strip_prefix("NVRTC ")?);
    Some(nvrtc.canonicalize().ok()?.with_file_name(part)).filter(|p| p.is_file())
}

/// The file that the system's loader takes for a path, or for a bare name.
fn file(library: &Path) -> Option<PathBuf> {
    if library.parent() != Some(Path::new("")) {
        return library.is_file().then(|| library.to_owned());
    }
    let told = std::env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
    let usual =
        ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib"].map(PathBuf::from);
    std::env::split_paths(&told).chain(usual).map(|folder| folder.join(library)).find(|p| p.is_file())
}
