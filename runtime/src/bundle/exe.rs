//! A runner, a bundle and its code for GPUs in one executable file.
//!
//! In: the bytes of a runner, of a bundle and of its sidecar, which may be none. Out: a file that begins with the runner and ends with
//! the bundle, the sidecar and a footer; and where in such a file they stand. Invariants: the bundle begins on a 64-byte boundary of the file, so that mapped
//! tensors are aligned as in a bundle of its own. Imports: whole.

use std::io::{self, Read, Seek};
use std::ops::Range;
use std::path::Path;

/// Ends the file, after the starts of the bundle and of the sidecar as u64.
const MAGIC: &[u8; 8] = b"UADXEXE2";

/// Where things stand in an executable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Carried {
    /// The bundle.
    pub bundle: Range<usize>,
    /// Code for GPUs, empty where there is none.
    pub code: Range<usize>,
}

/// What an executable made by [`write`] carries.
pub fn carried(file: &[u8]) -> Option<Carried> {
    let (rest, magic) = file.split_last_chunk::<8>()?;
    let (rest, code) = rest.split_last_chunk::<8>()?;
    let (rest, bundle) = rest.split_last_chunk::<8>()?;
    let at = |bytes: &[u8; 8]| usize::try_from(u64::from_le_bytes(*bytes)).ok();
    let (bundle, code, end) = (at(bundle)?, at(code)?, rest.len());
    (magic == MAGIC && bundle < code && code <= end).then_some(Carried { bundle: bundle..code, code: code..end })
}

/// Does this file end as one made by [`write`]? Reads eight bytes.
pub fn carries_bundle(path: &Path) -> bool {
    let end = || -> io::Result<[u8; 8]> {
        let mut file = std::fs::File::open(path)?;
        file.seek(io::SeekFrom::End(-8))?;
        let mut magic = [0; 8];
        file.read_exact(&mut magic)?;
        Ok(magic)
    };
    end().is_ok_and(|m| m == *MAGIC)
}

/// Writes runner, bundle and code for GPUs as one executable.
pub fn write(path: &Path, runner: &[u8], bundle: &[u8], code: &[u8]) -> io::Result<()> {
    // A runner that carries a bundle already is cut back to itself.
    let runner = carried(runner).map_or(runner, |c| runner.get(..c.bundle.start).unwrap_or(runner));
    let start = runner.len().next_multiple_of(64);
    crate::whole::write_with(path, |to| {
        to.write_all(runner)?;
        to.write_all(&vec![0; start - runner.len()])?;
        to.write_all(bundle)?;
        to.write_all(code)?;
        to.write_all(&(start as u64).to_le_bytes())?;
        to.write_all(&((start + bundle.len()) as u64).to_le_bytes())?;
        to.write_all(MAGIC)
    })?;
    executable(path)
}

#[cfg(unix)]
fn executable(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))
}

#[cfg(not(unix))]
fn executable(_: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn found_again() {
        let path = std::env::temp_dir().join(format!("uad-exe-{}", std::process::id()));
        write(&path, b"runner", b"bundle", b"").unwrap();
        let file = std::fs::read(&path).unwrap();
        let found = carried(&file).unwrap();
        assert_eq!((found.bundle.start, &file[found.bundle], found.code.len()), (64, &b"bundle"[..], 0));
        write(&path, &file, b"second", b"code").unwrap();
        let again = std::fs::read(&path).unwrap();
        let found = carried(&again).unwrap();
        assert_eq!((&again[found.bundle], &again[found.code]), (&b"second"[..], &b"code"[..]));
        assert!(carried(b"short").is_none() && carried(&file[..file.len() - 1]).is_none());
        std::fs::remove_file(path).unwrap();
    }
}
