//! `uadc demo`: the whole way with nothing but this program.
//!
//! In: nothing. Out: a folder with a generated picture, UniAD built from the spec that comes with the compiler, the picture's
//! heat map and score. Invariants: goes through the same commands that a user would type, and prints them.
//! Imports: args, new, build, run.

use std::path::Path;

use clap::Parser;
use uad_runtime::data::defect::{Defect, picture};
use uad_runtime::data::texture::Surface;
use uad_runtime::heatmap::write_png;

use crate::args::{Args, Demo};
use crate::failure::{Done, Failure};
use crate::terminal::{Look, err};

/// Runs it.
pub fn run(args: &Demo) -> Done {
    let folder = &args.out;
    std::fs::create_dir_all(folder).map_err(|e| Failure::file("create", folder, e))?;
    let wood = Surface::of(2).sample(7);
    for (name, defect) in [("whole.png", None), ("scratched.png", Some((Defect::Scratch, 7)))] {
        let path = folder.join(name);
        write_png(&picture(&wood, 320, defect).0, &path).map_err(|e| Failure::file("write", &path, e))?;
    }
    let at = |name: &str| folder.join(name).display().to_string();
    let spec = uad_compiler::library::SPECS.iter().find(|s| s.0 == "uniad");
    let (_, text) = spec.ok_or_else(|| Failure::Fault("the spec of UniAD is missing".to_owned()))?;
    let path = folder.join("uniad.uad");
    uad_runtime::whole::write(&path, text.as_bytes()).map_err(|e| Failure::file("write", &path, e))?;
    typed(&["check", &at("uniad.uad")])?;
    typed(&["build", &at("uniad.uad"), "--detector", "uniad", "-o", &at("uniad.uadx")])?;
    typed(&["verify", &at("uniad.uadx")])?;
    typed(&["run", &at("uniad.uadx"), &at("whole.png"), &at("scratched.png"), "--out", &at("maps")])?;
    let look = Look::stderr();
    let maps = Path::new(folder).join("maps");
    err(&format!(
        "{}: look at {}; with trained weights the map is bright where the picture is not normal\n",
        look.paint("36", "next"),
        maps.display()
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
