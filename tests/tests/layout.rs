//! Every `.uad` file of the project stands in the one layout.
//!
//! In: specs, library, test cases. Out: files that do not parse, that printing changes, or that printing changes twice.
//! `uadc fmt FILES` repairs the second. Invariants: files are found, never listed. Imports: the grammar.

use uad_tests::{files, root};

#[test]
fn specs_library_and_cases_stand_in_the_one_layout() {
    let root = root();
    let mut broken = Vec::new();
    let mut count = 0;
    for path in files("uad") {
        let name = path.strip_prefix(&root).unwrap_or(&path).display().to_string();
        if !["specs/", "stdlib/", "tests/cases/"].iter().any(|f| name.starts_with(f)) {
            continue;
        }
        count += 1;
        let text = std::fs::read_to_string(&path).unwrap();
        let (file, errors) = uad_grammar::parse(&text);
        if let Some(e) = errors.first() {
            broken.push(format!("{name} does not parse: {}", e.message));
            continue;
        }
        let once = uad_grammar::print(&file);
        if once != text {
            broken.push(format!("{name} is not laid out: uadc fmt {name}"));
        }
        let (again, errors) = uad_grammar::parse(&once);
        if !errors.is_empty() || uad_grammar::print(&again) != once {
            broken.push(format!("{name} changes when it is printed twice"));
        }
    }
    assert!(count > 30, "the specs are not where they were");
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}
