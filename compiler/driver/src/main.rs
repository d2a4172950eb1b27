//! The `uadc` command.
//!
//! In: arguments, files, standard streams. Out: diagnostics on standard error, results on standard output, files, and the
//! exit code: 0 done, 1 the user's input is wrong, 2 wrong usage, 3 a fault of ours. Invariants: no input makes it panic;
//! should it, a short report is printed and 3 returned. Imports: every crate; nothing imports this one.

mod args;
mod cmd;
mod compiled;
mod device;
mod emulated;
mod engine;
mod failure;
mod peers;
mod progress;
mod render;
mod scorer;
mod source;
mod terminal;
mod testing;
mod training;
mod weights;

use std::ffi::OsString;
use std::panic::PanicHookInfo;
use std::process::ExitCode;

use clap::Parser;
use uad_runtime::bundle::exe;

use crate::failure::{Failure, REPORT};

/// Deeply nested programs are walked by recursion: the checker gets more than the usual 8 MiB (virtual, not resident).
const STACK: usize = 256 << 20;

fn main() -> ExitCode {
    std::panic::set_hook(Box::new(report_fault));
    let args = match args::Args::try_parse_from(words()) {
        Ok(args) => args,
        Err(e) => {
            let _ = e.print();
            return ExitCode::from(if e.use_stderr() { 2 } else { 0 });
        }
    };
    terminal::choose_color(args.color);
    let json = args.command.json();
    let work = std::thread::Builder::new().name("uadc".to_owned()).stack_size(STACK);
    let result = match work.spawn(move || cmd::run(args.command)).map(|t| t.join()) {
        Ok(Ok(result)) => result,
        // The hook has said what happened.
        Ok(Err(_)) => return ExitCode::from(3),
        Err(e) => Err(Failure::Fault(format!("cannot start a thread: {e}"))),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.say(json);
            ExitCode::from(failure.code())
        }
    }
}

/// The command line. An executable that carries a bundle runs that: its first word may be `bench` or `verify`, else it is `run`.
fn words() -> Vec<OsString> {
    let mut words: Vec<OsString> = std::env::args_os().collect();
    let Some(own) = std::env::current_exe().ok().filter(|own| exe::carries_bundle(own)) else { return words };
    let command = words.get(1).filter(|w| ["bench", "verify", "run", "inspect"].iter().any(|c| w == c)).cloned();
    if command.is_some() {
        words.remove(1);
    }
    words.splice(1..1, [command.unwrap_or_else(|| "run".into()), own.into_os_string()]);
    words
}

/// Says what broke and where, in three lines.
fn report_fault(info: &PanicHookInfo<'_>) {
    // Whoever called a foreign reader gets an error instead.
    if std::thread::current().name() == Some(uad_runtime::data::foreign::THREAD) {
        return;
    }
    let payload = info.payload();
    let message = payload
        .downcast_ref::<&str>()
        .map(|s| (*s).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "unknown".to_owned());
    let place = info.location().map_or_else(String::new, |l| format!(" ({}:{})", l.file(), l.line()));
    terminal::err(&format!("internal fault: {message}{place}\n"));
    terminal::err(&format!("  version: uadc {} on {}\n", env!("CARGO_PKG_VERSION"), std::env::consts::ARCH));
    terminal::err(&format!("  help: {REPORT}\n"));
}
