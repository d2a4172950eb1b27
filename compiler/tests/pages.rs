//! Every page of the catalogue, run: its example raises exactly its code, its fix compiles.
//!
//! In: the pages. Out: agreement. Invariants: no page is left out. Imports: the compiler.

use uad_compiler::check::check;
use uad_compiler::diag::CODES;
use uad_compiler::model::Choice;
use uad_compiler::source::{Files, LibraryOnly};

fn blocks(page: &str, tag: &str) -> Vec<String> {
    let mut out = Vec::new();
    let mut lines = page.lines();
    while let Some(l) = lines.next() {
        if l == format!("```{tag}") {
            out.push(lines.by_ref().take_while(|l| *l != "```").map(|l| format!("{l}\n")).collect());
        }
    }
    out
}

fn codes(text: &str) -> Vec<String> {
    let mut files = Files::one("main.uad", text);
    let (_, out) = check(&mut files, &LibraryOnly, "main.uad", &Choice::default());
    let mut codes: Vec<String> = out.iter().map(|d| format!("{} ({})", d.code, d.message)).collect();
    codes.sort();
    codes.dedup();
    codes
}

#[test]
fn examples_fail_and_fixes_compile() {
    let mut wrong = Vec::new();
    for c in CODES {
        let (fails, fixes) = (blocks(c.page, "uad fails"), blocks(c.page, "uad"));
        if fails.is_empty() || fixes.is_empty() {
            wrong.push(format!("{}: needs an example and a fix", c.code));
        }
        for text in fails {
            let found = codes(&text);
            if found.is_empty() || !found.iter().all(|f| f.starts_with(c.code)) {
                wrong.push(format!("{}: the example gives {found:?}", c.code));
            }
        }
        for text in fixes {
            let found = codes(&text);
            if !found.is_empty() {
                wrong.push(format!("{}: the fix gives {found:?}", c.code));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
