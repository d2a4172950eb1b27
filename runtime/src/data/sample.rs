//! One sample of a data set.
//!
//! In: nothing. Out: [`Sample`], [`Split`]. Invariants: a split has one name everywhere. Imports: nothing of this project.

use std::fmt;
use std::path::PathBuf;

/// What a sample is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Split {
    /// Stages learn from it.
    Train,
    /// Chooses when to stop and what to keep.
    Validation,
    /// Normal; sets thresholds.
    Calibration,
    /// Labelled; measures.
    Test,
}

impl Split {
    /// All of them.
    pub const ALL: [Split; 4] = [Split::Train, Split::Validation, Split::Calibration, Split::Test];

    /// Its name in specs and manifests.
    pub fn name(self) -> &'static str {
        match self {
            Split::Train => "train",
            Split::Validation => "validation",
            Split::Calibration => "calibration",
            Split::Test => "test",
        }
    }

    /// The split of this name.
    pub fn of(name: &str) -> Option<Split> {
        Split::ALL.into_iter().find(|s| s.name() == name)
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One file with what is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The file.
    pub path: PathBuf,
    /// The file from the data set's folder on, with `/`.
    pub name: String,
    /// Its category; one name for all where there is one.
    pub class: String,
    /// What it is for.
    pub split: Split,
    /// Is it anomalous? `None` where nobody said.
    pub label: Option<bool>,
    /// `good`, or the kind of defect.
    pub kind: String,
    /// An image of its size that is not 0 where it is anomalous.
    pub mask: Option<PathBuf>,
}
