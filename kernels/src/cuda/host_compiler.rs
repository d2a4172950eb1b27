//! The C++ compiler that runs CUDA text on the host.
//!
//! In: the environment ([`VARIABLE`]). Out: its command. Invariants: nothing of this project imported: the build script of
//! the tests, which looks for the compiler too, is compiled with this file.

use std::process::Command;

/// Names the compiler, before the usual ones.
pub const VARIABLE: &str = "CXX";

/// The first that answers. The emulation needs Linux.
pub fn find() -> Option<String> {
    let named = std::env::var(VARIABLE).ok().into_iter().chain(["c++", "g++", "clang++"].map(str::to_owned));
    let mut works = named.filter(|c| Command::new(c).arg("--version").output().is_ok_and(|o| o.status.success()));
    works.next().filter(|_| cfg!(target_os = "linux"))
}
