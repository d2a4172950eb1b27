//! What a detector looks at: samples from files, made into the tensors that its inputs declare.
//!
//! In: paths and the steps of an input's pipeline. Out: samples as files hold them and as inputs read them; a broken file is a [`ReadError`] that
//! names it. Invariants: no file makes it panic or take memory beyond [`image::MOST_PIXELS`]; results equal what PIL and
//! torchvision give for the same pixels. Imports: memory.

pub mod cloud;
pub mod cloud_file;
pub mod covered;
pub mod defect;
pub mod files;
pub mod foreign;
pub mod image;
pub mod kind;
pub mod load;
pub mod manifest;
pub mod mask;
pub mod peer;
pub mod pipeline;
pub mod procedural;
pub mod resize;
pub mod sample;
pub mod set;
pub mod signal;
pub mod solid;
pub mod texture;

use std::fmt;
use std::path::{Path, PathBuf};

/// A file that cannot be used.
#[derive(Clone, Debug)]
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

impl std::error::Error for ReadError {}

/// Is this a file with an end? Pipes and devices would be waited for, or never end.
pub fn is_plain(path: &Path) -> Result<(), ReadError> {
    let meta = std::fs::metadata(path).map_err(|e| ReadError::new(path, e))?;
    let what = if meta.is_dir() { "a folder" } else { "a pipe or device" };
    if meta.is_file() { Ok(()) } else { Err(ReadError::new(path, format!("{what}, not a file"))) }
}
