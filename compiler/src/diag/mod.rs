//! What the compiler says to its user: facts, not text on a screen.
//!
//! In: made by the checker. Out: read by whoever renders them (terminal, JSON, editor). Invariants: every diagnostic's
//! code is a row of [`codes::CODES`]; its first label is the primary one; spans lie inside their file's text.
//! Imports: spans of the grammar.

pub mod codes;
pub mod nearest;

use uad_grammar::ast::Span;

pub use codes::{CODES, Code};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Nothing runs.
    Error,
    /// It runs, but is probably not what was meant.
    Warning,
}

/// A position in one of the files of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Position in the list of files.
    pub file: usize,
    /// Byte range of its text.
    pub span: Span,
}

/// A marked piece of text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// Where.
    pub place: Place,
    /// What about it; may be empty.
    pub text: String,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// `E0203`, `W0501`: a row of the catalogue.
    pub code: &'static str,
    /// Error or warning.
    pub severity: Severity,
    /// One line without a full stop.
    pub message: String,
    /// The first is the primary one.
    pub labels: Vec<Label>,
    /// What to do.
    pub help: Option<String>,
    /// Further facts.
    pub notes: Vec<String>,
}

impl Diagnostic {
    /// A finding at a place; codes that begin with `W` are warnings.
    pub fn new(code: &'static str, message: impl Into<String>, place: Place, label: impl Into<String>) -> Diagnostic {
        let severity = if code.starts_with('W') { Severity::Warning } else { Severity::Error };
        Diagnostic {
            code,
            severity,
            message: message.into(),
            labels: vec![Label { place, text: label.into() }],
            help: None,
            notes: Vec::new(),
        }
    }

    /// Marks another place.
    pub fn label(mut self, place: Place, text: impl Into<String>) -> Diagnostic {
        self.labels.push(Label { place, text: text.into() });
        self
    }

    /// Says what to do.
    pub fn help(mut self, text: impl Into<String>) -> Diagnostic {
        self.help = Some(text.into());
        self
    }

    /// Adds a fact.
    pub fn note(mut self, text: impl Into<String>) -> Diagnostic {
        self.notes.push(text.into());
        self
    }
}
