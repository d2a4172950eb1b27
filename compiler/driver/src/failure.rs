//! Why a command ends without having done its work.
//!
//! In: raised by commands. Out: text on standard error (or JSON on standard output) and the exit code. Invariants: 0 done,
//! 1 the user's input is wrong, 2 wrong usage, 3 a fault of ours; every message names the thing it is about.
//! Imports: the terminal.

use std::fmt;
use std::path::Path;

use serde_json::json;

use crate::terminal::{self, Look};

/// The result of a command.
pub type Done<T = ()> = Result<T, Failure>;

/// Why a command stops.
#[derive(Debug)]
pub enum Failure {
    /// The input is wrong and everything about it has been said.
    Reported,
    /// The input is wrong.
    Input {
        /// One sentence without a full stop.
        message: String,
        /// What to do.
        help: Option<String>,
    },
    /// The arguments do not fit together.
    Usage(String),
    /// A fault of this program.
    Fault(String),
}

impl Failure {
    /// Wrong input.
    pub fn input(message: impl fmt::Display) -> Failure {
        Failure::Input { message: message.to_string(), help: None }
    }

    /// Adds what to do.
    pub fn help(self, text: impl Into<String>) -> Failure {
        match self {
            Failure::Input { message, .. } => Failure::Input { message, help: Some(text.into()) },
            Failure::Reported | Failure::Usage(_) | Failure::Fault(_) => self,
        }
    }

    /// A file that cannot be read or written.
    pub fn file(doing: &str, path: &Path, why: impl fmt::Display) -> Failure {
        Failure::input(format!("cannot {doing} {}: {why}", path.display()))
    }

    /// The exit code.
    pub fn code(&self) -> u8 {
        match self {
            Failure::Reported | Failure::Input { .. } => 1,
            Failure::Usage(_) => 2,
            Failure::Fault(_) => 3,
        }
    }

    /// Says it: text on standard error, or with `json` an object on standard output.
    pub fn say(&self, json: bool) {
        let (kind, message, help) = match self {
            Failure::Reported => return,
            Failure::Input { message, help } => ("input", message, help.as_deref()),
            Failure::Usage(message) => ("usage", message, Some("see `uadc --help`")),
            Failure::Fault(message) => ("fault", message, Some(REPORT)),
        };
        if json {
            terminal::out(&format!("{}\n", json!({ "error": { "kind": kind, "message": message, "help": help } })));
            return;
        }
        let look = Look::stderr();
        let title = if kind == "fault" { "internal fault" } else { "error" };
        terminal::err(&format!("{}: {message}\n", look.paint("1;31", title)));
        if let Some(help) = help {
            terminal::err(&format!("  {}: {}\n", look.paint("36", "help"), help.replace('\n', "\n        ")));
        }
    }
}

/// What to do about a fault of ours.
pub const REPORT: &str =
    "this is a fault of uadc, not of your input; please report the command, the spec and this message";
