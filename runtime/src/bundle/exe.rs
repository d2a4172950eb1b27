//! A runner and a bundle in one executable file.
//!
//! In: the bytes of a runner and of a bundle. Out: a file that begins with the runner and ends with the bundle and a footer; and
//! where in such a file the bundle stands. Invariants: the bundle begins on a 64-byte boundary of the file, so that mapped
//! tensors are aligned as in a bundle of its own. Imports: whole.

use std::io::{self, Read, Seek};
use std::ops::Range;
use std::path::Path;

/// Ends the file, after the bundle's start as u64.
const MAGIC: &[u8; 8] = b"UADXEXE1";

/// Where the bundle stands in an executable made by [`write`].
pub fn bundle_in(file: &[u8]) -> Option<Range<usize>> {
    let (rest, magic) = file.split_last_chunk::<8>()?;
    let (bundle, start) = rest.split_last_chunk::<8>()?;
    let start = usize::try_from(u64::from_le_bytes(*start)).ok()?;
    (magic == MAGIC && start < bundle.len()).then_some(start..bundle.len())
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

/// Writes runner and bundle as one executable.
pub fn write(path: &Path, runner: &[u8], bundle: &[u8]) -> io::Result<()> {
    // A runner that carries a bundle already is cut back to itself.
    let runner = bundle_in(runner).map_or(runner, |r| runner.get(..r.start).unwrap_or(runner));
    let start = runner.len().next_multiple_of(64);
    crate::whole::write_with(path, |to| {
        to.write_all(runner)?;
        to.write_all(&vec![0; start - runner.len()])?;
        to.write_all(bundle)?;
        to.write_all(&(start as u64).to_le_bytes())?;
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
        write(&path, b"runner", b"bundle").unwrap();
        let file = std::fs::read(&path).unwrap();
        let range = bundle_in(&file).unwrap();
        assert_eq!((range.start, &file[range]), (64, &b"bundle"[..]));
        write(&path, &file, b"second").unwrap();
        let again = std::fs::read(&path).unwrap();
        assert_eq!(&again[bundle_in(&again).unwrap()], b"second");
        assert!(bundle_in(b"short").is_none() && bundle_in(&file[..file.len() - 1]).is_none());
        std::fs::remove_file(path).unwrap();
    }
}
