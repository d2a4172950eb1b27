//! Whatever the text: no panic, errors lie in it, and what is accepted prints to itself.
//!
//! In: token soup and the cases, mutated. Out: nothing. Invariants: deterministic per seed of proptest's own file.
//! Imports: the public API.

use proptest::prelude::*;
use std::path::Path;
use uad_grammar::{ast, parse, parse_expr, print};

const TOKENS: [&str; 79] = [
    "use ",
    "type ",
    "unit ",
    "source ",
    "fn ",
    "block ",
    "detector ",
    "param ",
    "slot ",
    "input ",
    "weight ",
    "state ",
    "let ",
    "stage ",
    "minimise ",
    " over ",
    " with ",
    "score ",
    "iterate ",
    " until ",
    " in ",
    "if ",
    " else ",
    " for ",
    "new",
    "frozen ",
    " as ",
    "require ",
    "training",
    "all",
    "true",
    " and ",
    " or ",
    "not ",
    "repeat",
    "each ",
    "x",
    "y.z",
    "f32",
    "list ",
    "like x",
    "_",
    "...",
    "...r",
    "..",
    "1",
    "2.5",
    "1e9",
    "99999999999999999999",
    "\"t\"",
    "\"",
    "\\",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ",",
    ":",
    "=",
    "==",
    "<-",
    "->",
    "|>",
    "|> @train ",
    "@",
    "@w(\"t\") ",
    "+",
    "-",
    "*",
    "/",
    "\n",
    ";",
    "// c\n",
    "/// d\n",
    "//! e\n",
    "é→",
    "\u{1}",
];

/// The tree without places and comments: what printing must keep.
fn bare(file: &ast::File) -> String {
    let mut file = file.clone();
    file.lines.clear();
    let comments = file.comments.drain(..).map(|c| c.text.trim_end().to_string());
    let mut comments: Vec<String> = comments.collect();
    comments.sort();
    let shown = format!("{file:#?}{comments:#?}");
    let place = |line: &&str| {
        let value = line.trim().trim_end_matches(',').trim_start_matches("span: ");
        !value.split_once("..").is_some_and(|(a, b)| a.parse::<u32>().is_ok() && b.parse::<u32>().is_ok())
    };
    shown.lines().filter(place).collect::<Vec<_>>().join("\n")
}

fn check(text: &str) -> Result<(), TestCaseError> {
    let (file, errors) = parse(text);
    for error in &errors {
        let (start, end) = (error.span.start as usize, error.span.end as usize);
        prop_assert!(text.get(start..end).is_some(), "{error:?} is not in the text");
    }
    let printed = print(&file);
    if errors.is_empty() {
        let (again, errors) = parse(&printed);
        prop_assert!(errors.is_empty(), "{errors:?}\n{printed}");
        let (first, second) = (bare(&file), bare(&again));
        let change = first.lines().zip(second.lines()).find(|(a, b)| a != b);
        prop_assert!(first == second, "{change:?} {text}\n=>\n{printed}");
        let twice = print(&again);
        prop_assert!(printed == twice, "{text}\n=>\n{printed}\n=>\n{twice}");
    }
    if let Err(error) = parse_expr(text) {
        prop_assert!(text.get(error.span.start as usize..error.span.end as usize).is_some());
    }
    Ok(())
}

fn cases() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|p| p.extension().is_some_and(|e| e == "uad"));
    paths.sort();
    paths.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect()
}

/// A place in the text at about the given share of it, on a character boundary.
fn place(text: &str, share: f64) -> usize {
    let mut at = ((text.len() as f64) * share) as usize;
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn token_soup(picks in prop::collection::vec(0..TOKENS.len(), 0..60)) {
        let text: String = picks.into_iter().map(|n| TOKENS[n]).collect();
        check(&text)?;
    }

    #[test]
    fn statement_soup(picks in prop::collection::vec(36..TOKENS.len(), 0..24)) {
        let text: String = picks.into_iter().map(|n| TOKENS[n]).collect();
        check(&format!("fn f() {{ {text} }}\ndetector d {{\n  let x = {text}\n  score {{ map = {text} }}\n}}\n"))?;
    }

    #[test]
    fn any_text(text in "\\PC{0,80}") {
        check(&text)?;
    }

    #[test]
    fn mutated_cases(
        which in 0..9usize,
        from in 0.0..1.0f64,
        length in 0..12usize,
        token in 0..TOKENS.len(),
        keep in 200..1500usize,
    ) {
        let text = &cases()[which];
        let at = place(text, from);
        let mut end = (at + length).min(text.len());
        while !text.is_char_boundary(end) {
            end += 1;
        }
        let mutated = format!("{}{}{}", &text[..at], TOKENS[token], &text[end..]);
        let last = place(&mutated, ((at + keep) as f64 / mutated.len() as f64).min(1.0));
        check(&mutated[..last])?;
        check(&mutated)?;
    }
}

#[test]
fn deep_nesting_is_an_error() {
    let many = 10_000;
    for (open, close) in
        [("(", ")"), ("[", "]"), ("f(", ")"), ("x[", "]"), ("fn (x) {", "}"), ("{", "}"), ("(a, [", "])")]
    {
        let text = format!("fn f() {{ let x = {}1{} }}\n", open.repeat(many), close.repeat(many));
        let (_, errors) = parse(&text);
        assert!(errors.iter().any(|e| e.message.contains("nested")), "{open}: {:?}", errors.first());
        assert!(errors.len() < 5, "{open}");
        let (_, errors) = parse(&format!("fn f() {{ let x = {}", open.repeat(many)));
        assert!(!errors.is_empty());
    }
    for prefix in ["-", "not ", "frozen ", "each ", "repeat(1) ", "x + ", "x |> ", "x.", "a.."] {
        let text = format!("fn f() {{ {}x }}\n", prefix.repeat(many));
        let (file, errors) = parse(&text);
        assert!(!errors.is_empty(), "{prefix}");
        print(&file);
    }
    for ty in ["list ", "(int) -> "] {
        let (file, errors) = parse(&format!("type t = {}int\n", ty.repeat(many)));
        assert!(!errors.is_empty(), "{ty}");
        print(&file);
    }
    for suffix in ["(1)", "[1]", ".x", " as x", "[a -> a]", " { }"] {
        let (_, errors) = parse(&format!("fn f() {{ x{} }}\n", suffix.repeat(many)));
        assert!(!errors.is_empty(), "{suffix}");
    }
}

#[test]
fn nesting_below_the_bound_parses() {
    for (open, close) in
        [("(", ")"), ("[", "]"), ("f(", ")"), ("x[", "]"), ("fn (x) { ", "}"), ("if a { ", "} else { 1 }")]
    {
        let text = format!("fn f() {{ let x = {}1{} }}\n", open.repeat(98), close.repeat(98));
        let (file, errors) = parse(&text);
        assert!(errors.is_empty(), "{open}: {errors:?}");
        print(&file);
    }
}

#[test]
fn a_megabyte_is_read_in_time() {
    let mut text = String::new();
    while text.len() < 1 << 20 {
        for case in cases() {
            text.push_str(&case.replace("//!", "//"));
            text.push('\n');
        }
    }
    let start = std::time::Instant::now();
    let (file, errors) = parse(&text);
    let parsed = start.elapsed();
    assert!(errors.is_empty());
    let start = std::time::Instant::now();
    let printed = print(&file);
    let printing = start.elapsed();
    assert!(printed.len() > 1 << 19);
    eprintln!("parse {parsed:?}, print {printing:?}, {} bytes", text.len());
    let broken = text.replace("let ", "let let ").replace("|> ", "|> ) ");
    let start = std::time::Instant::now();
    let (_, errors) = parse(&broken);
    let mended = start.elapsed();
    assert_eq!(errors.len(), 1000, "the most that are told");
    eprintln!("mended in {mended:?}");
    let start = std::time::Instant::now();
    for (open, close) in [("(", ")"), ("(", "]"), ("[", "}"), ("{", ")"), ("{(", ")]")] {
        let text = format!("fn f() {{ {}{} }}", open.repeat(1 << 19), close.repeat(1 << 19));
        assert!(!parse(&text).1.is_empty());
    }
    let nested = start.elapsed();
    // What grows with the square of the text takes hours. Less says little: machines differ and are busy.
    for (what, took) in [("parse", parsed), ("print", printing), ("recover", mended), ("nest", nested)] {
        assert!(took.as_secs() < 200, "{what} took {took:?}");
    }
}
