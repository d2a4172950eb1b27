//! Specs from the file system.
//!
//! In: a path. Out: its text, and the texts of what it imports. Invariants: modules are looked for below the spec's folder and
//! nowhere else; what is not UTF-8 is refused by name. Imports: failure.

use std::path::{Component, Path, PathBuf};

use uad_compiler::source::Loader;

use crate::failure::{Done, Failure};

/// Longer specs are refused: 4 MiB.
const LONGEST: u64 = 4 << 20;

/// Modules below one folder.
pub struct Folder(pub PathBuf);

impl Loader for Folder {
    fn load(&self, path: &str) -> Option<String> {
        let path = Path::new(path);
        let inside = path.strip_prefix(&self.0).ok()?;
        if !inside.components().all(|c| matches!(c, Component::Normal(_))) {
            return None;
        }
        read(path).ok()
    }
}

/// The text of a spec.
pub fn read(path: &Path) -> Done<String> {
    let fail = |e: std::io::Error| Failure::file("read", path, e);
    let meta = std::fs::metadata(path).map_err(fail)?;
    if meta.is_dir() {
        return Err(Failure::input(format!("{} is a folder, not a spec", path.display())));
    }
    if !meta.is_file() {
        return Err(Failure::input(format!("{} is a pipe or device, not a spec", path.display())));
    }
    if meta.len() > LONGEST {
        return Err(Failure::input(format!(
            "{} has {} bytes; specs have at most {LONGEST}",
            path.display(),
            meta.len()
        )));
    }
    let bytes = std::fs::read(path).map_err(fail)?;
    String::from_utf8(bytes).map_err(|e| {
        let at = e.utf8_error().valid_up_to();
        Failure::input(format!("{} is not UTF-8 text (byte {at})", path.display()))
    })
}

/// The folder that a spec's modules are looked for in.
pub fn folder(spec: &Path) -> Folder {
    Folder(spec.parent().unwrap_or(Path::new("")).to_owned())
}
