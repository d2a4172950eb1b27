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

/// The tree without places: what printing must keep.
fn bare(file: &uad_grammar::ast::File) -> String {
    let mut file = file.clone();
    file.lines.clear();
    let shown = format!("{file:#?}");
    let place = |line: &&str| {
        let value = line.trim().trim_end_matches(',').trim_start_matches("span: ");
        !value.split_once("..").is_some_and(|(a, b)| a.parse::<u32>().is_ok() && b.parse::<u32>().is_ok())
    };
    shown.lines().filter(place).collect::<Vec<_>>().join("\n")
}

#[test]
fn cases_print_to_themselves() {
    for (name, text) in cases() {
        let (file, _) = uad_grammar::parse(&text);
        let printed = uad_grammar::print(&file);
        let (again, errors) = uad_grammar::parse(&printed);
        assert!(errors.is_empty(), "{name}: {errors:?}\n{printed}");
        assert!(bare(&file) == bare(&again), "{name} changes\n{printed}");
        assert_eq!(printed, uad_grammar::print(&again), "{name} is printed differently the second time");
        assert!(printed.lines().all(|l| l.split("//").next().unwrap_or("").len() <= 121), "{name}: long lines");
    }
}
