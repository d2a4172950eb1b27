//! One file per command.
//!
//! In: [`Command`]. Out: what the command prints and writes, or a failure. Invariants: results go to standard output, all
//! else to standard error; with `--json` standard output holds JSON and nothing else. Imports: args, failure, render, source.

mod bench;
mod build;
mod calibrate;
mod check;
mod compare;
mod demo;
mod doctor;
mod emit;
mod eval;
mod explain;
mod fmt;
mod gradients;
mod inspect;
mod learned;
mod new;
mod run;
mod synth;
mod train;
mod verify;

use crate::args::Command;
use crate::failure::{Done, Failure};

/// Runs one command.
pub fn run(command: Command) -> Done {
    if let Some(engine) = command.engine() {
        engine.check().map_err(Failure::Usage)?;
    }
    match command {
        Command::Demo(a) => demo::run(&a),
        Command::New(a) => new::run(&a),
        Command::Check(a) => check::run(&a),
        Command::Fmt(a) => fmt::run(&a),
        Command::Build(a) => build::run(&a),
        Command::Emit(a) => emit::run(&a),
        Command::Run(a) => run::run(&a),
        Command::Synth(a) => synth::run(&a),
        Command::Train(a) => train::run(&a),
        Command::Calibrate(a) => calibrate::run(&a),
        Command::Eval(a) => eval::run(&a),
        Command::Inspect(a) => inspect::run(&a),
        Command::Compare(a) => compare::run(&a),
        Command::Verify(a) => verify::run(&a),
        Command::Bench(a) => bench::run(&a),
        Command::Explain(a) => explain::run(&a),
        Command::Doctor(a) => doctor::run(&a),
    }
}
