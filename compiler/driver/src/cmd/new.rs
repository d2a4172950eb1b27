//! `uadc new`: a spec to start from, or data to try one on.
//!
//! In: a name, a spec that comes with the compiler; or a folder and how many pictures. Out: NAME.uad; or a data set. Invariants:
//! an existing file is never overwritten; what is written checks. Imports: progress; the specs that the compiler embeds, data.

use std::path::Path;

use uad_compiler::diag::nearest::did_you_mean;
use uad_compiler::library::SPECS;

use uad_runtime::data::procedural::{self, Recipe};

use crate::args::{Drawn, New};
use crate::failure::{Done, Failure};
use crate::progress::Progress;
use crate::terminal::{Look, count, err};

/// Runs it.
pub fn run(args: &New) -> Done {
    match (&args.data, &args.name) {
        (Some(folder), _) => data(args, folder),
        (None, Some(name)) => spec(args, name),
        (None, None) => Err(Failure::Usage("name the new detector, or --data DIR".to_owned())),
    }
}

fn data(args: &New, folder: &Path) -> Done {
    let recipe = Recipe { classes: args.classes, size: args.size, train: args.train, test: args.test, seed: args.seed };
    let progress = Progress::new(recipe.pictures() as usize, "drawing");
    let written = match args.of {
        Drawn::Surfaces => procedural::write(folder, &recipe, || progress.advance(1)),
        Drawn::Clouds => procedural::write_clouds(folder, &recipe, || progress.advance(1)),
    };
    progress.finish();
    written.map_err(Failure::input)?;
    let look = Look::stderr();
    let (all, classes) =
        (count(recipe.pictures() as usize, if args.of == Drawn::Clouds { "cloud" } else { "picture" }), recipe.classes);
    let of = if classes == 1 { "class" } else { "classes" };
    err(&format!("{} {all} of {classes} {of} in {}\n", look.bold("wrote"), folder.display()));
    Ok(())
}

fn spec(args: &New, name: &str) -> Done {
    let known = SPECS.iter().map(|s| s.0);
    let Some((from, text)) = SPECS.iter().find(|s| s.0 == args.from) else {
        let all: Vec<&str> = known.clone().collect();
        let help = did_you_mean(&args.from, known).unwrap_or_else(|| format!("there are {}", all.join(", ")));
        return Err(Failure::input(format!("no spec `{}` comes with uadc", args.from)).help(help));
    };
    let name = name.strip_suffix(".uad").unwrap_or(name);
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
