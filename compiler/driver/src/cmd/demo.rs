//! `uadc demo`: the main job with nothing but this program.
//!
//! In: nothing. Out: a folder with drawn surfaces, the spec of a small detector, the trained detector, a report, heat maps.
//! Invariants: goes through the same commands that a user would type, and prints them; learns on the spot, from normal pictures alone.
//! Imports: args, new, check, train, calibrate, eval, run.

use clap::Parser;

use crate::args::{Args, Demo};
use crate::failure::{Done, Failure};
use crate::terminal::{Look, err};

/// Runs it.
pub fn run(args: &Demo) -> Done {
    let folder = &args.out;
    std::fs::create_dir_all(folder).map_err(|e| Failure::file("create", folder, e))?;
    let at = |name: &str| folder.join(name).display().to_string();
    let spec = uad_compiler::library::SPECS.iter().find(|s| s.0 == "first");
    let (_, text) = spec.ok_or_else(|| Failure::Fault("the spec of the demo is missing".to_owned()))?;
    let path = folder.join("first.uad");
    uad_runtime::whole::write(&path, text.as_bytes()).map_err(|e| Failure::file("write", &path, e))?;
    let (data, spec, bundle) = (at("surfaces"), at("first.uad"), at("first.uadx"));
    if folder.join("surfaces").exists() {
        err(&format!("{} {data} is there already\n", Look::stderr().dim("#")));
    } else {
        typed(&["new", "--data", &data])?;
    }
    typed(&["check", &spec])?;
    typed(&["train", &spec, "--data", &data, "-o", &bundle, "--restart"])?;
    typed(&["calibrate", &bundle, "--data", &data])?;
    typed(&["eval", &bundle, "--data", &data, "--report", &at("report.html")])?;
    let shown = [at("surfaces/cloth/test/scratch"), at("surfaces/stone/test/hole")];
    typed(&["run", &bundle, &shown[0], &shown[1], "--out", &at("maps")])?;
    let look = Look::stderr();
    err(&format!(
        "{}: open {} in a browser; the heat maps are in {}\n",
        look.paint("36", "next"),
        at("report.html"),
        at("maps")
    ));
    Ok(())
}

/// Prints a command line and does what it says.
fn typed(words: &[&str]) -> Done {
    let look = Look::stderr();
    err(&format!("{} uadc {}\n", look.dim("$"), words.join(" ")));
    let parsed = Args::try_parse_from(std::iter::once("uadc").chain(words.iter().copied()));
    let parsed = parsed.map_err(|e| Failure::Fault(e.to_string()))?;
    super::run(parsed.command)
}
