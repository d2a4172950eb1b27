//! The log of a run: one JSON object a line.
//!
//! In: objects. Out: lines at the end of a file. Invariants: a resumed run's log reads as if it had never been stopped, as
//! checkpoints know how long it was; a full disk ends the log, not the run. Imports: nothing of this project.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use serde_json::Value;

/// The log.
pub(super) struct Journal {
    file: Option<File>,
    bytes: u64,
}

impl Journal {
    /// Opens the log and cuts it to `bytes`; what cannot be opened is said and done without.
    pub(super) fn open(path: &Path, bytes: u64) -> (Journal, Option<String>) {
        let open = || {
            let mut file = File::options().create(true).truncate(false).write(true).read(true).open(path)?;
            let bytes = bytes.min(file.metadata()?.len());
            file.set_len(bytes)?;
            file.seek(SeekFrom::End(0))?;
            Ok((file, bytes))
        };
        match open() {
            Ok((file, bytes)) => (Journal { file: Some(file), bytes }, None),
            Err(e) => (Journal { file: None, bytes }, Some(told(path, &e))),
        }
    }

    /// Adds a line; the first failure is said, and ends the log.
    pub(super) fn line(&mut self, value: &Value, path: &Path) -> Option<String> {
        let file = self.file.as_mut()?;
        let line = format!("{value}\n");
        match file.write_all(line.as_bytes()) {
            Ok(()) => {
                self.bytes += line.len() as u64;
                None
            }
            Err(e) => {
                // Half a line is worth nothing.
                let _ = file.set_len(self.bytes);
                self.file = None;
                Some(told(path, &e))
            }
        }
    }

    /// How long it is.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }
}

fn told(path: &Path, e: &std::io::Error) -> String {
    format!("{}: {e}; the log ends here", path.display())
}
