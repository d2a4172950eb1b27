//! Names files that are altered or hostile end in an error or are read; none panics, none takes memory without bound.
//!
//! In: the names files of the library, with pieces exchanged; formulas from tokens. Out: nothing. Invariants: none of its own.
//! Imports: names files, the library, the host tensor.

use std::collections::BTreeMap;

use proptest::prelude::*;
use uad_compiler::library::NAMES;
use uad_compiler::names::formula::{Scope, Source};
use uad_compiler::names::view::View;
use uad_compiler::names::{Names, cover};
use uad_plan::DType;
use uad_plan::tensor::Tensor;

const PIECES: [&str; 24] = [
    "\"",
    "=",
    "[",
    "]",
    "{i}",
    "{",
    "}",
    "*",
    ".T",
    ".view(-1, 9223372036854775807)",
    ".permute(1, 0)",
    "[0:2]",
    "[-1]",
    "[:, i]",
    "-9223372036854775807",
    "- 1",
    "/ 0",
    "(",
    ")",
    "\n",
    "weights",
    "->",
    "a",
    "é",
];

/// Everything that can be done with a names file without the files it speaks of.
fn run(text: &str) {
    let Ok(names) = Names::parse(text) else { return };
    let foreign: BTreeMap<String, Vec<usize>> =
        [("conv1.weight".to_owned(), vec![6, 2]), ("a".to_owned(), vec![6, 2])].into_iter().collect();
    let params = |n: &str| Some(if n.len() == 1 { i64::MIN } else { i64::MAX });
    let read = |_: &str| Tensor::zeros(DType::F32, &[6, 2]).map_err(|e| e.to_string());
    for path in ["a", "first.conv.w", "encode.0.w"] {
        let ours = [(path.to_owned(), DType::F32, vec![6, 2])];
        for a in cover::assign(&names, &ours, &foreign, &params).unwrap_or_default() {
            let _ = a.value(&params, &read);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn altered_names_files(
        which in 0usize..1000,
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0usize..4, 0usize..PIECES.len()), 1..5),
    ) {
        let mut text: Vec<char> = NAMES[which % NAMES.len()].1.chars().collect();
        for (at, remove, piece) in edits {
            let at = at.index(text.len());
            let end = (at + remove).min(text.len());
            text.splice(at..end, PIECES[piece].chars());
        }
        run(&text.into_iter().collect::<String>());
    }

    #[test]
    fn formulas_of_any_pieces(pieces in prop::collection::vec(0usize..PIECES.len(), 0..12)) {
        let text: String = pieces.iter().map(|p| PIECES[*p]).collect();
        let t = Tensor::zeros(DType::F32, &[6, 2]).unwrap();
        let captures = [("i".to_owned(), "1".to_owned())].into_iter().collect();
        let scope = Scope { captures: &captures, params: &|_| Some(i64::MIN) };
        let _ = (scope.fill(&text), scope.int(&text));
        for text in [text.clone(), format!("a{text}"), format!("a[{text}]")] {
            if let Ok(Source::Tensor(f)) = Source::parse(&text) {
                let _ = f.apply(t.clone(), &scope);
            }
        }
    }

    #[test]
    fn views_of_any_words(from in "[abc1() ]{0,8}", to in "[abc1() ]{0,8}", shape in prop::collection::vec(0usize..5, 0..4)) {
        if let Ok(view) = View::parse(&format!("{from}->{to}")) {
            let t = Tensor::zeros(DType::I32, &shape).unwrap();
            let _ = (view.apply(&t, &shape), view.shape(&shape).map(|own| view.apply(&t, &own)));
        }
    }
}

#[test]
fn hostile_names_files() {
    let deep = format!("[weights]\n\"a\" = \"b[{}1{}]\"", "(".repeat(100_000), ")".repeat(100_000));
    let long = format!("ignore = [\"{}\"]\n[weights]\na = \"conv1.weight\"", "*a".repeat(20_000));
    let tables = format!("x = {}", "[".repeat(100_000));
    let stars = format!("[weights]\n\"{}b\" = \"a\"", "{a}".repeat(60));
    for text in [&deep, &long, &tables, &stars, "[weights]\n\"a\" = \"a[-(0-9223372036854775807-1)]\""] {
        let start = std::time::Instant::now();
        run(text);
        assert!(start.elapsed().as_secs() < 10, "{}", &text[..60.min(text.len())]);
    }
}
