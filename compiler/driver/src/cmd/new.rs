//! `uadc new NAME`: a spec to start from.
//!
//! In: a name, a spec that comes with the compiler. Out: NAME.uad. Invariants: an existing file is never overwritten; what is
//! written checks. Imports: the specs that the compiler embeds.

use std::path::Path;

use uad_compiler::diag::nearest::did_you_mean;
use uad_compiler::library::SPECS;

use crate::args::New;
use crate::failure::{Done, Failure};
use crate::terminal::{Look, err};

/// Runs it.
pub fn run(args: &New) -> Done {
    let known = SPECS.iter().map(|s| s.0);
    let Some((from, text)) = SPECS.iter().find(|s| s.0 == args.from) else {
        let all: Vec<&str> = known.clone().collect();
        let help = did_you_mean(&args.from, known).unwrap_or_else(|| format!("there are {}", all.join(", ")));
        return Err(Failure::input(format!("no spec `{}` comes with uadc", args.from)).help(help));
    };
    let name = args.name.strip_suffix(".uad").unwrap_or(&args.name);
    let valid = |n: &str| {
        n.starts_with(|c: char| c.is_ascii_lowercase())
            && n.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    };
    if !valid(name) {
        return Err(Failure::input(format!("`{name}` is not a name for a detector"))
            .help("lower-case letters, digits and `_`, a letter first: my_detector"));
    }
    let path = Path::new(name).with_extension("uad");
    if path.exists() {
        return Err(Failure::input(format!("{} exists already", path.display())));
    }
    // The detector gets the new name; the other names of the file stay.
    let text = text.replacen(&format!("detector {from} "), &format!("detector {name} "), 1);
    let text = text.replace(&format!("= {from} {{"), &format!("= {name} {{"));
    uad_runtime::whole::write(&path, text.as_bytes()).map_err(|e| Failure::file("write", &path, e))?;
    let look = Look::stderr();
    err(&format!("{} {}\n", look.bold("wrote"), path.display()));
    err(&format!(
        "  {}: uadc build {} && uadc run {name}.uadx IMAGE --out maps\n",
        look.paint("36", "next"),
        path.display()
    ));
    Ok(())
}
