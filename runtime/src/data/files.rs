//! Which files a command line means.
//!
//! In: files and folders. Out: files of one kind of sample. Invariants: sorted by path within each folder, so that results do not depend on the file
//! system; what was named by the user is kept even where its name does not look like that. Imports: kinds, [`super::ReadError`].

use std::path::{Path, PathBuf};

use super::ReadError;
use super::kind::Kind;

/// Files as they are, folders with all samples below them.
pub fn of(kind: Kind, named: &[PathBuf]) -> Result<Vec<PathBuf>, ReadError> {
    let mut found = Vec::new();
    for path in named {
        if path.is_dir() {
            let before = found.len();
            walk(kind, path, 0, &mut found)?;
            found[before..].sort();
            if found.len() == before {
                return Err(ReadError::new(path, format!("no {}s in this folder", kind.noun())));
            }
        } else {
            if let Some(file) = kind.files(path).first() {
                std::fs::metadata(file).map_err(|e| ReadError::new(path, e))?;
            }
            found.push(path.clone());
        }
    }
    Ok(found)
}

fn walk(kind: Kind, folder: &Path, depth: u32, found: &mut Vec<PathBuf>) -> Result<(), ReadError> {
    if depth > 32 {
        return Err(ReadError::new(folder, "folders are nested too deeply (a link to a parent?)"));
    }
    for entry in std::fs::read_dir(folder).map_err(|e| ReadError::new(folder, e))? {
        let path = entry.map_err(|e| ReadError::new(folder, e))?.path();
        if path.is_dir() {
            walk(kind, &path, depth + 1, found)?;
        } else if kind.looks_so(&path) {
            found.push(path);
        }
    }
    Ok(())
}
