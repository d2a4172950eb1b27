//! `uadc fmt`: specs in the one layout.
//!
//! In: files, or `-` for standard input. Out: the files rewritten, or with `--check` their names. Invariants: a file that does not
//! parse is left as it is; a rewritten file is replaced whole. Imports: render, source; the grammar.

use std::io::Read;
use std::path::Path;

use uad_compiler::diag::{Diagnostic, Place};

use crate::args::Fmt;
use crate::failure::{Done, Failure};
use crate::terminal::{Look, err, out};
use crate::{render, source};

/// Runs it.
pub fn run(args: &Fmt) -> Done {
    let mut bad = false;
    for path in &args.files {
        let piped = path.as_os_str() == "-";
        let text = if piped { piped_text()? } else { source::read(path)? };
        let Some(printed) = formatted(path, &text) else {
            bad = true;
            continue;
        };
        if args.check {
            if printed != text {
                bad = true;
                out(&format!("{}\n", path.display()));
            }
        } else if piped {
            out(&printed);
        } else if printed != text {
            uad_runtime::whole::write(path, printed.as_bytes()).map_err(|e| Failure::file("write", path, e))?;
        }
    }
    if bad { Err(Failure::Reported) } else { Ok(()) }
}

fn piped_text() -> Done<String> {
    let mut text = String::new();
    let read = std::io::stdin().lock().read_to_string(&mut text);
    read.map_err(|e| Failure::input(format!("cannot read standard input: {e}")))?;
    Ok(text)
}

/// The text in the one layout; says what is wrong where it does not parse.
fn formatted(path: &Path, text: &str) -> Option<String> {
    let (file, errors) = uad_grammar::parse(text);
    if errors.is_empty() {
        return Some(uad_grammar::print(&file));
    }
    let told = |e: &uad_grammar::SyntaxError| {
        let place = Place { file: 0, span: e.span };
        let d = Diagnostic::new("E0001", e.message.clone(), place, e.label.clone());
        e.help.iter().fold(d, |d, h| d.help(h.clone()))
    };
    let found: Vec<Diagnostic> = errors.iter().map(told).collect();
    err(&render::render(&found, &[(path.display().to_string(), text.to_owned())], Look::stderr()));
    None
}
