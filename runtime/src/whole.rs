//! Files that are written whole or not at all.
//!
//! In: a path and what it is to hold. Out: the file. Invariants: until the new content is on disk the old file, if any, stays; a full
//! disk or a kill leaves nothing half written in its place. Imports: nothing of this project.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Writes through `fill` into a file beside `path`, then moves it there.
pub fn write_with(path: &Path, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    // A link stays a link; what it points to is replaced.
    let path = &std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    match std::fs::metadata(path) {
        Ok(meta) if meta.is_dir() => return Err(io::Error::new(io::ErrorKind::IsADirectory, "a folder")),
        Ok(meta) if !meta.is_file() => {
            // Pipes and devices are written to; a file moved there would take their place.
            let mut file = io::BufWriter::new(File::options().write(true).open(path)?);
            fill(&mut file)?;
            return file.flush();
        }
        _ => {}
    }
    let part = part_of(path);
    let result = (|| {
        let mut file = io::BufWriter::new(File::create(&part)?);
        fill(&mut file)?;
        file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        std::fs::rename(&part, path)
    })();
    result.inspect_err(|_| {
        // The error that is reported is the first one.
        let _ = std::fs::remove_file(&part);
    })
}

/// Writes these bytes.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write_with(path, |to| to.write_all(bytes))
}

/// A name in the same folder, of this process alone.
fn part_of(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.part", std::process::id()));
    path.with_file_name(name)
}
