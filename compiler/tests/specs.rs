//! What comes with the compiler checks without an error: the main detector of each spec, each module of the library.
//!
//! In: specs and modules. Out: no errors, and the entries that belong to a model. Invariants: files are found in the
//! tables of the library, never listed. Imports: the compiler.

use uad_compiler::check::{check, check_all};
use uad_compiler::library::SPECS;
use uad_compiler::model::Choice;
use uad_compiler::source::{Files, LIBRARY, LibraryOnly};

#[test]
fn specs_check() {
    for (name, text) in SPECS {
        let path = format!("{name}.uad");
        let mut files = Files::one(&path, *text);
        let t = std::time::Instant::now();
        let (model, out) = check(&mut files, &LibraryOnly, &path, &Choice::default());
        let found: Vec<String> =
            out.iter().filter(|d| d.code.starts_with('E')).map(|d| format!("{}: {}", d.code, d.message)).collect();
        assert!(found.is_empty(), "{name}: {found:#?}");
        let model = model.unwrap();
        assert!(model.entry("init").is_some() && model.entry("score").is_some());
        assert!(model.to_string().starts_with("detector "));
        println!("{name}: {:?}", t.elapsed());
    }
}

#[test]
fn library_checks_by_itself() {
    for (name, text) in LIBRARY {
        let mut files = Files::one("own.uad", *text);
        let (_, out) = check_all(&mut files, &LibraryOnly, "own.uad", &Choice::default());
        let found: Vec<String> =
            out.iter().filter(|d| d.code.starts_with('E')).map(|d| format!("{}: {}", d.code, d.message)).collect();
        assert!(found.is_empty(), "{name}: {found:#?}");
    }
}
