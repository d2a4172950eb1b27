//! Which files a command line means.
//!
//! In: files and folders. Out: image files. Invariants: sorted by path within each folder, so that results do not depend on the file
//! system; what was named by the user is kept even where its name does not look like an image. Imports: [`super::ReadError`].

use std::path::{Path, PathBuf};

use super::ReadError;

/// Endings that are looked for in folders.
pub const IMAGES: [&str; 8] = ["png", "jpg", "jpeg", "bmp", "tif", "tiff", "webp", "jpe"];

/// Files as they are, folders with all images below them.
pub fn images(named: &[PathBuf]) -> Result<Vec<PathBuf>, ReadError> {
    let mut found = Vec::new();
    for path in named {
        if path.is_dir() {
            let before = found.len();
            walk(path, 0, &mut found)?;
            found[before..].sort();
            if found.len() == before {
                return Err(ReadError::new(path, "no images in this folder"));
            }
        } else {
            std::fs::metadata(path).map_err(|e| ReadError::new(path, e))?;
            found.push(path.clone());
        }
    }
    Ok(found)
}

fn walk(folder: &Path, depth: u32, found: &mut Vec<PathBuf>) -> Result<(), ReadError> {
    if depth > 32 {
        return Err(ReadError::new(folder, "folders are nested too deeply (a link to a parent?)"));
    }
    for entry in std::fs::read_dir(folder).map_err(|e| ReadError::new(folder, e))? {
        let path = entry.map_err(|e| ReadError::new(folder, e))?.path();
        if path.is_dir() {
            walk(&path, depth + 1, found)?;
        } else if looks_like_image(&path) {
            found.push(path);
        }
    }
    Ok(())
}

/// Does the name end as those of images do?
pub fn looks_like_image(path: &Path) -> bool {
    path.extension().and_then(|e| e.to_str()).is_some_and(|e| IMAGES.contains(&&*e.to_lowercase()))
}
