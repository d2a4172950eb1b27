//! The texts of one check: the spec, what it imports, and the library that comes with the compiler.
//!
//! In: texts from whoever calls (files, an editor's buffers, tests). Out: [`Files`], which places point into.
//! Invariants: no I/O here; a file keeps its position once it has one. Imports: nothing of this project.

/// Gives the texts of modules that are not of the library.
pub trait Loader {
    /// Text of a path relative to the root's folder (`parts/heads.uad`), or `None`.
    fn load(&self, path: &str) -> Option<String>;
}

/// A loader that has nothing: the library is all there is.
pub struct LibraryOnly;

impl Loader for LibraryOnly {
    fn load(&self, _: &str) -> Option<String> {
        None
    }
}

/// The display path of what `--set` gives: no file.
pub const COMMAND_LINE: &str = "command line";

/// All texts of one check, in the order they were met; a place's `file` is a position here.
#[derive(Clone, Debug, Default)]
pub struct Files {
    /// Display path and text.
    pub files: Vec<(String, String)>,
}

impl Files {
    /// One text under a display path.
    pub fn one(path: impl Into<String>, text: impl Into<String>) -> Files {
        Files { files: vec![(path.into(), text.into())] }
    }

    /// Position of a display path.
    pub fn position(&self, path: &str) -> Option<usize> {
        self.files.iter().position(|f| f.0 == path)
    }

    /// Adds a text and says where it stands.
    pub fn add(&mut self, path: impl Into<String>, text: impl Into<String>) -> usize {
        self.files.push((path.into(), text.into()));
        self.files.len() - 1
    }

    /// Line and column, both from 1, of a byte of a file. Columns count characters.
    pub fn line(&self, file: usize, byte: usize) -> (usize, usize) {
        let Some((_, text)) = self.files.get(file) else { return (1, 1) };
        let before = text.get(..byte.min(text.len())).unwrap_or(text);
        let start = before.rfind('\n').map_or(0, |n| n + 1);
        (before.matches('\n').count() + 1, before[start..].chars().count() + 1)
    }
}

macro_rules! modules {
    ($($name:literal)*) => {
        /// Modules of the library: name and text.
        pub const LIBRARY: &[(&str, &str)] =
            &[$(($name, include_str!(concat!("../../stdlib/", $name, ".uad")))),*];
    };
}

modules! {
    "attention"
    "data"
    "encoders"
    "init"
    "losses"
    "maps"
    "memory"
    "nn"
    "noise"
    "norms"
    "optim"
    "points"
    "students"
    "synth"
    "transport"
}

/// The text of a module of the library.
pub fn library(module: &str) -> Option<&'static str> {
    LIBRARY.iter().find(|m| m.0 == module).map(|m| m.1)
}
