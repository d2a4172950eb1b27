//! Any text: the checker ends, with places inside its texts; what it accepts is compiled.
//!
//! In: bytes. Out: nothing. Invariants: nothing is run. Imports: the compiler.

#![no_main]

use libfuzzer_sys::fuzz_target;
use uad_compiler::check::check;
use uad_compiler::compile::{CompileOptions, compile};
use uad_compiler::diag::CODES;
use uad_compiler::model::Choice;
use uad_compiler::source::{Files, LibraryOnly};

fn run(text: &str) {
    let mut files = Files::one("main.uad", text);
    let (model, found) = check(&mut files, &LibraryOnly, "main.uad", &Choice::default());
    for d in &found {
        assert!(CODES.iter().any(|c| c.code == d.code), "{}", d.code);
        for l in &d.labels {
            let (_, text) = &files.files[l.place.file];
            assert!(text.get(l.place.span.start as usize..l.place.span.end as usize).is_some(), "{d:?}");
        }
    }
    if let Some(model) = model.filter(|m| m.entries.iter().map(|g| g.nodes.len()).sum::<usize>() < 2000) {
        let stored = model.stored.iter();
        let stored = stored.map(|s| uad_plan::Stored {
            path: s.path.clone(),
            kind: s.kind,
            dtype: s.ty.dtype,
            shape: s.ty.shape.to_vec(),
        });
        let stored: Vec<_> = stored.collect();
        if let Err(e) = compile(&model.name, &stored, &model.entries, &CompileOptions::default()) {
            panic!("{e}");
        }
    }
}

fuzz_target!(|text: &str| {
    let text = text.to_owned();
    // The stack that `uadc` gives its checker.
    let thread = std::thread::Builder::new().stack_size(256 << 20).spawn(move || run(&text));
    if thread.map(|t| t.join()).is_ok_and(|r| r.is_err()) {
        std::process::abort();
    }
});
