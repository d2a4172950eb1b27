//! What does not change while a stage runs, computed once and kept on disk.
//!
//! In: outputs of a stage's features entry, sample by sample. Out: one mapped file, and rows of it. Invariants: the file's name is made
//! of all that its content depends on: the entry, the tensors that it reads, what the inputs take, the samples' files; it is
//! written whole or not at all; memory stays bounded, as rows go to disk batch by batch. Imports: memory, whole files.

use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::device::memory::FileMap;

const MAGIC: &[u8; 8] = b"UADFEAT1";

/// One output of the entry, for one sample.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Column {
    /// Its name, `@0`.
    pub name: String,
    /// Bytes of a row.
    pub bytes: usize,
}

#[derive(Serialize, Deserialize)]
struct Head {
    columns: Vec<Column>,
    rows: usize,
}

/// Rows on disk.
pub(super) struct Features {
    map: FileMap,
    columns: Vec<Column>,
    rows: usize,
    start: usize,
}

/// Makes the key of a file.
#[derive(Default)]
pub(super) struct Key(Sha256);

impl Key {
    /// Adds a part, apart from those before and after it.
    pub(super) fn add(&mut self, part: &[u8]) {
        self.0.update((part.len() as u64).to_le_bytes());
        self.0.update(part);
    }

    /// The file of this key.
    pub(super) fn path(self, folder: &Path) -> PathBuf {
        let digest = self.0.finalize();
        let name: String = digest.iter().take(12).map(|b| format!("{b:02x}")).collect();
        folder.join(format!("features-{name}"))
    }
}

impl Features {
    /// Opens a file if it is there and whole.
    pub(super) fn open(path: &Path) -> Option<Features> {
        let map = FileMap::open(path).ok()?;
        let bytes = map.bytes();
        let (magic, rest) = bytes.split_first_chunk::<8>()?;
        let (length, rest) = rest.split_first_chunk::<8>()?;
        let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
        let head: Head = serde_json::from_slice(rest.get(..length)?).ok()?;
        let start = (16 + length).next_multiple_of(64);
        let row: usize = head.columns.iter().map(|c| c.bytes).sum();
        let whole = magic == MAGIC && bytes.len() == start.checked_add(row.checked_mul(head.rows)?)?;
        whole.then_some(Features { map, columns: head.columns, rows: head.rows, start })
    }

    /// Writes a file: `fill` hands over rows one after another, each with all its columns.
    pub(super) fn write(
        path: &Path,
        columns: &[Column],
        rows: usize,
        fill: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
    ) -> std::io::Result<()> {
        let head = serde_json::to_vec(&Head { columns: columns.to_vec(), rows }).map_err(std::io::Error::other)?;
        crate::whole::write_with(path, |to| {
            to.write_all(MAGIC)?;
            to.write_all(&(head.len() as u64).to_le_bytes())?;
            to.write_all(&head)?;
            let pad = (16 + head.len()).next_multiple_of(64) - 16 - head.len();
            to.write_all(&vec![0; pad])?;
            fill(to)
        })
    }

    /// A column of a row.
    pub(super) fn row(&self, row: usize, name: &str) -> Option<&[u8]> {
        let all: usize = self.columns.iter().map(|c| c.bytes).sum();
        let n = self.columns.iter().position(|c| c.name == name)?;
        let before: usize = self.columns.iter().take(n).map(|c| c.bytes).sum();
        let from = self.start + row * all + before;
        if row < self.rows { self.map.bytes().get(from..from + self.columns[n].bytes) } else { None }
    }

    /// Size of the file.
    pub(super) fn bytes(&self) -> u64 {
        self.map.bytes().len() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_back() {
        let path = std::env::temp_dir().join(format!("uad-features-{}", std::process::id()));
        let columns = [Column { name: "@0".into(), bytes: 4 }, Column { name: "@1".into(), bytes: 8 }];
        let fill = |to: &mut dyn Write| (0..3u8).try_for_each(|n| to.write_all(&[n; 12]));
        Features::write(&path, &columns, 3, fill).unwrap();
        let f = Features::open(&path).unwrap();
        assert_eq!((f.row(2, "@1"), f.row(0, "@0")), (Some(&[2; 8][..]), Some(&[0; 4][..])));
        assert!(f.row(3, "@0").is_none() && f.row(0, "@2").is_none());
        drop(f);
        let bytes = std::fs::read(&path).unwrap();
        for n in 0..bytes.len() {
            std::fs::write(&path, &bytes[..n]).unwrap();
            assert!(Features::open(&path).is_none());
        }
        std::fs::remove_file(&path).unwrap();
        let full = Features::write(&path, &columns, 3, |_| Err(std::io::ErrorKind::StorageFull.into()));
        assert!(full.is_err() && !path.exists());
    }
}
