//! One file per command.
//!
//! In: [`Command`]. Out: what the command prints and writes, or a [`Failure`]. Invariants: results go to standard output, all
//! else to standard error; with `--json` standard output holds JSON and nothing else. Imports: args, failure, render, source.

mod doctor;
mod explain;

use crate::args::Command;
use crate::failure::{Done, Failure};

/// Runs one command.
pub fn run(command: Command) -> Done {
    match command {
        Command::New(_) => Err(later("new")),
        Command::Check(_) => Err(later("check")),
        Command::Fmt(_) => Err(later("fmt")),
        Command::Build(_) => Err(later("build")),
        Command::Emit(_) => Err(later("emit")),
        Command::Run(_) => Err(later("run")),
        Command::Train(_) => Err(later("train")),
        Command::Eval(_) => Err(later("eval")),
        Command::Compare(_) => Err(later("compare")),
        Command::Verify(_) => Err(later("verify")),
        Command::Bench(_) => Err(later("bench")),
        Command::Explain(a) => explain::run(&a),
        Command::Doctor(a) => doctor::run(&a),
    }
}

/// A command that the language needs and this version lacks.
fn later(name: &str) -> Failure {
    Failure::input(format!("`uadc {name}` is not in this version")).help("`uadc --help` lists what is")
}
