//! Nothing that a user can type makes the compiler panic: the pages' examples, with tokens dropped, doubled, exchanged
//! and replaced, are checked to the end.
//!
//! In: the pages of the catalogue. Out: no panic, and places inside their texts. Invariants: deterministic unless
//! proptest is given another seed. Imports: the compiler.

use proptest::prelude::*;
use uad_compiler::check::check;
use uad_compiler::diag::CODES;
use uad_compiler::model::Choice;
use uad_compiler::source::{Files, LibraryOnly};

fn seeds() -> Vec<String> {
    let mut out = Vec::new();
    for c in CODES {
        let mut lines = c.page.lines();
        while let Some(l) = lines.next() {
            if l.starts_with("```uad") {
                out.push(lines.by_ref().take_while(|l| *l != "```").map(|l| format!("{l}\n")).collect());
            }
        }
    }
    out
}

fn tokens(text: &str) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    for c in text.chars() {
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        match out.last_mut() {
            Some(t) if word(c) && t.chars().next_back().is_some_and(word) => t.push(c),
            _ => out.push(c.to_string()),
        }
    }
    out
}

const SPARE: [&str; 40] = [
    "x",
    "b",
    "0",
    "1",
    "-1",
    "9223372036854775807",
    "1e300",
    "0.5",
    "[",
    "]",
    "(",
    ")",
    "{",
    "}",
    "->",
    "|>",
    "@",
    "as",
    "frozen",
    "each",
    "repeat(3)",
    "repeat(1000000000000)",
    "new",
    "...",
    ":",
    "..",
    "inf",
    "true",
    "training",
    "all",
    "random.normal[b]",
    "linear(4)",
    "let",
    "state",
    "weight",
    "iterate 3",
    "for",
    "in",
    "\"t\"",
    "%",
];

fn run(text: &str) {
    let mut files = Files::one("main.uad", text);
    let t = std::time::Instant::now();
    let (_, out) = check(&mut files, &LibraryOnly, "main.uad", &Choice::default());
    assert!(t.elapsed().as_secs() < 20, "too slow:\n{text}");
    for d in &out {
        assert!(CODES.iter().any(|c| c.code == d.code), "{}", d.code);
        for l in &d.labels {
            let (_, text) = &files.files[l.place.file];
            let (a, z) = (l.place.span.start as usize, l.place.span.end as usize);
            assert!(a <= z && z <= text.len() && text.is_char_boundary(a) && text.is_char_boundary(z), "{d:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]
    #[test]
    fn mutated_sources_end_in_diagnostics(
        seed in 0usize..1000,
        edits in prop::collection::vec((0usize..10_000, 0usize..5, 0usize..SPARE.len()), 1..4),
    ) {
        let seeds = seeds();
        let mut t = tokens(&seeds[seed % seeds.len()]);
        for (at, kind, spare) in edits {
            if t.is_empty() {
                break;
            }
            let n = at % t.len();
            match kind {
                0 => { t.remove(n); }
                1 => { let x = t[n].clone(); t.insert(n, x); }
                2 => { let m = (n + spare) % t.len(); t.swap(n, m); }
                3 => t[n] = SPARE[spare].to_string(),
                _ => t.insert(n, format!(" {} ", SPARE[spare])),
            }
        }
        run(&t.concat());
    }
}

#[test]
fn endless_and_huge_things_end_quickly() {
    for body in [
        "let a = [i for i in 0..9000000000]",
        "let a = repeat(1000000000000) half",
        "let a = zeros[1000000000, 1000000000, 1000000000]",
        "let a = 9223372036854775807 * 2 * x",
        "let a = 9223372036854775807 + 1",
        "let a = x[b (c d) -> b c d e]",
        "let a = f(40)",
        "let a = fib(60, x)",
        "let a = a + 1",
        "let a = [[[i for i in 0..1000] for j in 0..1000] for k in 0..1000]",
        "let a = x[:, 0 / 0]",
        "let a = x % 0 + len(x) % 0",
        "let a = random.int[0](1, 0)",
        "iterate 1000000000000 with a = x { a <- a + 1 }",
    ] {
        let text = format!(
            "use data.tensor\nfn half(x: f32[...]) -> f32[...] {{ x / 2 }}\nfn f(n: int) -> f32 {{ f(n + 1) }}\n\
             fn fib(n: int, x: f32[...]) -> f32[...] {{ if n < 2 {{ x }} else {{ fib(n - 1, x) + fib(n - 2, x) }} }}\n\
             detector d {{\n  input x: f32[b, 4] from tensor\n  {body}\n  score {{ map = x + a }}\n}}\n"
        );
        run(&text);
    }
}
