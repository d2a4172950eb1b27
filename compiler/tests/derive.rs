//! `grad` in the language: values under the reference interpreter, and what is refused.
//!
//! In: small detectors. Out: scores, or the codes of what is wrong. Invariants: derivatives are compared with formulas.
//! Imports: the compiler, `uad-plan`.

use std::collections::BTreeMap;

use uad_compiler::check::check;
use uad_compiler::compile::{CompileOptions, compile};
use uad_compiler::diag::Severity;
use uad_compiler::model::Choice;
use uad_compiler::source::{Files, LibraryOnly};
use uad_plan::interp::{Draw, run};
use uad_plan::{Binding, Tensor, bind};

fn detector(body: &str) -> String {
    format!("use data.tensor\n\ndetector d {{\n  input x: f32[b, 3] from tensor\n{body}\n}}\n")
}

fn codes(body: &str) -> Vec<&'static str> {
    let mut files = Files::one("main.uad", detector(body));
    let (_, found) = check(&mut files, &LibraryOnly, "main.uad", &Choice::default());
    found.iter().filter(|d| d.severity == Severity::Error).map(|d| d.code).collect()
}

/// The output `y` of two samples.
fn score(body: &str) -> Vec<f64> {
    let mut files = Files::one("main.uad", detector(body));
    let (model, found) = check(&mut files, &LibraryOnly, "main.uad", &Choice::default());
    assert!(found.iter().all(|d| d.severity != Severity::Error), "{found:?}");
    let model = model.unwrap();
    let graph = model.entries.iter().find(|g| g.name == "score").unwrap().clone();
    let plan = compile("d", &[], &[graph], &CompileOptions::default()).unwrap();
    let bound = bind(&plan, "score", &Binding::from([("b".to_owned(), 2)])).unwrap();
    let x = Tensor::f32(&[2, 3], vec![1.0, -2.0, 0.5, 3.0, 4.0, -1.0]).unwrap();
    let out = run(&bound, &BTreeMap::from([("x".to_owned(), x)]), &mut BTreeMap::new(), Draw::default()).unwrap();
    out["y"].iter().collect()
}

fn near(got: &[f64], want: &[f64]) {
    let same = got.len() == want.len() && got.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-5);
    assert!(same, "{got:?}, not {want:?}");
}

#[test]
fn derives_by_a_let() {
    let y = score("  let z = x + 1\n  score { y = grad(sum(z * z * z), wrt: z) }");
    near(&y, &[12.0, 3.0, 6.75, 48.0, 75.0, 0.0]);
}

#[test]
fn derives_a_derivative() {
    let y = score("  let g = grad(sum(x * x * x), wrt: x)\n  score { y = grad(sum(g * g), wrt: x) }");
    // (3 x^2)^2 derived: 36 x^3
    near(&y, &[36.0, -288.0, 4.5, 972.0, 2304.0, -36.0]);
}

#[test]
fn descends_inside_a_loop() {
    let y = score(
        "  iterate 60 with z = x {\n    z <- z - 0.2 * grad(sum((z - 3) * (z - 3)), wrt: z)\n  }\n  score { y = z }",
    );
    near(&y, &[3.0; 6]);
}

#[test]
fn derives_through_a_loop() {
    // z <- z * z, twice: x^4
    let y = score("  iterate 2 with z = x { z <- z * z }\n  score { y = grad(sum(z), wrt: x) }");
    near(&y, &[4.0, -32.0, 0.5, 108.0, 256.0, -4.0]);
}

#[test]
fn straight_through() {
    let y = score("  let q = x + stop(round(x) - x)\n  score { y = grad(sum(q * q), wrt: x) }");
    near(&y, &[2.0, -4.0, 0.0, 6.0, 8.0, -2.0]);
}

#[test]
fn says_what_has_no_gradient() {
    assert_eq!(codes("  let z = 2 * x\n  score { y = grad(sum(x), wrt: z) }"), ["E0414"]);
    assert_eq!(codes("  score { y = grad(sum(stop(x)), wrt: x) }"), ["E0414"]);
    assert_eq!(codes("  score { y = grad(sum(floor(x)), wrt: x) }"), ["E0414"]);
    assert_eq!(codes("  score { y = grad(x * x, wrt: x) }"), ["E0204"]);
    assert_eq!(codes("  let i = cast(x, i32)\n  score { y = grad(sum(x), wrt: i) }"), ["E0202"]);
    let until = "  iterate 9 with z = x until max(z) > 9 { z <- z * 2 }\n  score { y = grad(sum(z), wrt: x) }";
    assert_eq!(codes(until), ["E0409"]);
    let outside = "  let l = sum(x * x)\n  iterate 3 with z = x { z <- z + grad(l, wrt: x) }\n  score { y = z }";
    assert_eq!(codes(outside), [] as [&str; 0]);
    let around = "  let h = x * x\n  iterate 3 with z = x { z <- z + grad(sum(h * z), wrt: x) }\n  score { y = z }";
    assert_eq!(codes(around), ["E0414"]);
}
