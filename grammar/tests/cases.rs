//! The eight methods and their library parse, and print to themselves.
//!
//! In: `tests/cases/*.uad`. Out: nothing. Invariants: cases are found, never listed. Imports: the public API.

use std::path::Path;

fn cases() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut cases: Vec<(String, String)> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "uad"))
        .map(|path| (path.file_name().unwrap().to_string_lossy().into(), std::fs::read_to_string(&path).unwrap()))
        .collect();
    cases.sort();
    assert!(cases.len() >= 9);
    cases
}

#[test]
fn cases_parse() {
    for (name, text) in cases() {
        let (_, errors) = uad_grammar::parse(&text);
        let shown: Vec<String> = errors
            .iter()
            .map(|e| {
                format!(
                    "{name}:{}: {} `{}`",
                    text[..e.span.start as usize].matches('\n').count() + 1,
                    e.message,
                    &text[e.span.start as usize..e.span.end as usize]
                )
            })
            .collect();
        assert!(errors.is_empty(), "{}", shown.join("\n"));
    }
}
