//! One file per command.
//!
//! In: [`Command`]. Out: what the command prints and writes, or a [`Failure`]. Invariants: results go to standard output, all
//! else to standard error; with `--json` standard output holds JSON and nothing else. Imports: args, failure, render, source.

mod bench;
mod build;
mod check;
mod compare;
mod demo;
mod doctor;
mod emit;
mod explain;
mod fmt;
mod gradients;
mod learned;
mod new;
mod run;
mod verify;

use crate::args::Command;
use crate::failure::{Done, Failure};

/// Runs one command.
pub fn run(command: Command) -> Done {
    match command {
        Command::Demo(a) => demo::run(&a),
        Command::New(a) => new::run(&a),
        Command::Check(a) => check::run(&a),
        Command::Fmt(a) => fmt::run(&a),
        Command::Build(a) => build::run(&a),
        Command::Emit(a) => emit::run(&a),
        Command::Run(a) => run::run(&a),
        Command::Train(_) => Err(later("train")),
        Command::Eval(_) => Err(later("eval")),
        Command::Compare(a) => compare::run(&a),
        Command::Verify(a) => verify::run(&a),
        Command::Bench(a) => bench::run(&a),
        Command::Explain(a) => explain::run(&a),
        Command::Doctor(a) => doctor::run(&a),
    }
}

/// A command that the language needs and this version lacks.
fn later(name: &str) -> Failure {
    Failure::input(format!("`uadc {name}` is not in this version")).help("`uadc --help` lists what is")
}
