//! What the runtime's readers of bundles and tensors need of its `data`, without the image decoders.
//!
//! In: nothing. Out: [`ReadError`] as in the runtime. Invariants: it says the file's name first, as there. Imports: a file of the
//! runtime.

use std::fmt;
use std::path::{Path, PathBuf};

#[path = "../../../../runtime/src/data/foreign.rs"]
pub mod foreign;

/// A file that cannot be used.
#[derive(Debug)]
pub struct ReadError {
    /// Which.
    pub path: PathBuf,
    /// Why, in words.
    pub why: String,
}

impl ReadError {
    /// An error about one file.
    pub fn new(path: &Path, why: impl fmt::Display) -> ReadError {
        ReadError { path: path.to_owned(), why: why.to_string() }
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.why)
    }
}
