//! Passes, from text to text.
//!
//! In: graphs as text. Out: snapshots of what each pass, or all of them, make of it. Invariants: every result verifies.

use super::*;
use crate::graph::text::parse;

/// Some passes only, each result verified.
fn only(names: &[&str], text: &str) -> String {
    let off = PASSES.iter().map(|p| p.name.to_owned()).filter(|n| !names.contains(&n.as_str())).collect();
    let options = PassOptions { off, verify: VerifyLevel::Each, ..PassOptions::default() };
    match optimise(parse(text).unwrap(), &options) {
        Ok(g) => g.to_string(),
        Err(e) => panic!("{e}"),
    }
}

fn all(text: &str) -> String {
    only(&PASSES.iter().map(|p| p.name).collect::<Vec<_>>(), text)
}

#[test]
fn dead_keeps_what_results_need() {
    insta::assert_snapshot!(only(
        &["dead"],
        r#"graph g(b) {
          %0 = input "unused" : f32[b]
          %1 = input "x" : f32[b]
          %2 = exp %1
          %3 = neg %1
          output "y" = %3
          named "a" = %2
          named "b" = %3
        }"#
    ));
}

#[test]
fn equal_things_are_computed_once() {
    insta::assert_snapshot!(only(
        &["cse", "dead"],
        r#"graph g(b) {
          %0 = input "x" : f32[b]
          %1 = exp %0
          %2 = exp %0
          %3 = add %1, %2
          %4 = const 0 : f32
          %5 = const -0.0 : f32
          %6 = draw "s" lane=0 : f32
          %7 = draw "s" lane=1 : f32
          %8 = draw "s" lane=0 : f32
          output "y" = %3
          output "p" = %4
          output "n" = %5
          output "d" = %6
          output "e" = %7
          output "f" = %8
        }"#
    ));
}

#[test]
fn what_is_known_is_computed() {
    insta::assert_snapshot!(only(
        &["fold", "dead"],
        r#"graph g(b) {
          %0 = size [7] : i32
          %1 = const -2 : i32
          %2 = div %0, %1
          %3 = rem %0, %1
          %4 = f32 %2
          %5 = const 0.5 : f32
          %6 = add %4, %5
          %7 = iota axis=0 : i32[3]
          %8 = expand %2 axes=[] : i32[3]
          %9 = mul %7, %8
          %10 = reshape %9 : i32[1, 3]
          %11 = reduce.sum %10 axes=[1]
          %12 = size [b] : i32
          %13 = literal [2, 2] : i32[2]
          %14 = expand %5 axes=[] : f32[b, 2]
          %15 = permute %14 [1, 0]
          output "a" = %3
          output "b" = %6
          output "c" = %10
          output "d" = %11
          output "e" = %12
          output "f" = %13
          output "g" = %15
        }"#
    ));
}

#[test]
fn what_changes_nothing_goes() {
    insta::assert_snapshot!(only(
        &["algebra", "strength", "dead"],
        r#"graph g(b) {
          %0 = input "x" : f32[b]
          %1 = const 0 : f32
          %2 = const 1 : f32
          %3 = const 4 : f32
          %4 = const 3 : f32
          %5 = expand %1 axes=[] : f32[b]
          %6 = expand %2 axes=[] : f32[b]
          %7 = expand %3 axes=[] : f32[b]
          %8 = expand %4 axes=[] : f32[b]
          %9 = add %5, %0
          %10 = mul %9, %6
          %11 = neg %10
          %12 = neg %11
          %13 = div %12, %7
          %14 = div %13, %8
          %15 = f32 %14
          %16 = lt %15, %5
          %17 = not %16
          %18 = select %17, %15, %0
          %19 = f32 %17
          %20 = bool %19
          %21 = select %20, %18, %15
          %22 = stop %21
          %23 = add %0, %11
          %24 = mul %22, %8
          %25 = mul %24, %7
          output "y" = %25
          output "z" = %23
        }"#
    ));
}

#[test]
fn views_compose() {
    insta::assert_snapshot!(only(
        &["views", "dead"],
        r#"graph g(b) {
          %0 = input "x" : f32[b, 6, 4]
          %1 = permute %0 [2, 0, 1]
          %2 = permute %1 [1, 2, 0]
          %3 = reshape %2 : f32[b, 2, 3, 4]
          %4 = reshape %3 : f32[b, 24]
          %5 = slice %4 start=[0, 4] step=[1, 2] : f32[b, 8]
          %6 = slice %5 start=[0, 7] step=[1, -1] : f32[b, 8]
          %7 = pad %6 lo=[0, 1] hi=[0, 0]
          %8 = pad %7 lo=[0, 0] hi=[0, 1]
          %9 = weight "w" : f32[1, 5]
          %10 = expand %9 axes=[0, 2] : f32[4, b, 5]
          %11 = permute %10 [1, 2, 0]
          %12 = reshape %11 : f32[b, 5, 2, 2]
          %13 = expand %12 axes=[1, 2, 3, 4] : f32[7, b, 5, 2, 2]
          %14 = slice %13 start=[0, 0, 1, 0, 0] step=[1, 1, 2, 1, 1] : f32[7, b, 2, 2, 2]
          %15 = concat %4, %6 axis=1
          %16 = slice %15 start=[0, 25] step=[1, 2] : f32[b, 3]
          output "pads" = %8
          output "repeats" = %14
          output "piece" = %16
        }"#
    ));
}

#[test]
fn a_convolution_of_one_element_is_a_product() {
    insta::assert_snapshot!(only(
        &["views", "dead"],
        r#"graph g(b) {
          %0 = input "x" : f32[b, 3, 8, 8]
          %1 = weight "w" : f32[5, 3, 1, 1]
          %2 = window %0 axis=2 size=1 stride=2
          %3 = window %2 axis=3 size=1 stride=2
          %4 = dot %3, %1 contract=[(1, 1), (4, 2), (5, 3)]
          %5 = permute %4 [0, 3, 1, 2]
          output "y" = %5
        }"#
    ));
}

#[test]
fn what_is_repeated_is_computed_once() {
    insta::assert_snapshot!(only(
        &["views", "broadcast", "dead"],
        r#"graph g(b) {
          %0 = weight "query" : f32[9, 8]
          %1 = weight "w" : f32[8, 8]
          %2 = expand %0 axes=[1, 2] : f32[b, 9, 8]
          %3 = dot %2, %1 contract=[(2, 1)]
          %4 = reshape %3 : f32[b, 9, 2, 4]
          %5 = permute %4 [0, 2, 1, 3]
          %6 = reduce.max %5 axes=[3]
          %7 = expand %6 axes=[0, 1, 2] : f32[b, 2, 9, 4]
          %8 = sub %5, %7
          %9 = reduce.sum %8 axes=[0, 3]
          output "y" = %8
          output "z" = %9
        }"#
    ));
}

#[test]
fn reductions_merge() {
    insta::assert_snapshot!(only(
        &["reduce", "views", "dead"],
        r#"graph g(b) {
          %0 = input "x" : f32[b, 3, 4, 1, 5]
          %1 = reduce.sum %0 axes=[4]
          %2 = reduce.sum %1 axes=[1, 3]
          %3 = permute %0 [4, 3, 2, 1, 0]
          %4 = reduce.max %3 axes=[0, 3]
          %5 = reshape %0 : f32[b, 12, 5]
          %6 = reduce.sum %5 axes=[1]
          %7 = reduce.argmax %5 axes=[2]
          output "a" = %2
          output "b" = %4
          output "c" = %6
          output "d" = %7
        }"#
    ));
}

#[test]
fn batch_norm_goes_into_the_convolution() {
    insta::assert_snapshot!(all(r#"graph score(b) {
          scope @0 "net" instance
          scope @1 "conv" in @0 at "net.uad:3" instance
          scope @2 "norm" in @0 at "net.uad:4" instance
          %0 = input "x" : f32[b, 3, 8, 8]
          %1 = weight "conv.w" : f32[5, 3, 3, 3] @1
          %2 = window %0 axis=2 size=3 lo=1 hi=1 @1
          %3 = window %2 axis=3 size=3 lo=1 hi=1 @1
          %4 = dot %3, %1 contract=[(1, 1), (4, 2), (5, 3)] @1
          %5 = permute %4 [0, 3, 1, 2] @1
          %6 = weight "conv.b" : f32[5] @1
          %7 = expand %6 axes=[1] : f32[b, 5, 8, 8] @1
          %8 = add %5, %7 @1
          %9 = state "norm.mean" : f32[5] @2
          %10 = state "norm.var" : f32[5] @2
          %11 = weight "norm.gamma" : f32[5] @2
          %12 = weight "norm.beta" : f32[5] @2
          %13 = reshape %9 : f32[1, 5, 1, 1] @2
          %14 = expand %13 axes=[0, 1, 2, 3] : f32[b, 5, 8, 8] @2
          %15 = sub %8, %14 @2
          %16 = expand %10 axes=[1] : f32[b, 5, 8, 8] @2
          %17 = const 1e-5 : f32 @2
          %18 = expand %17 axes=[] : f32[b, 5, 8, 8] @2
          %19 = add %16, %18 @2
          %20 = sqrt %19 @2
          %21 = div %15, %20 @2
          %22 = expand %11 axes=[1] : f32[b, 5, 8, 8] @2
          %23 = mul %21, %22 @2
          %24 = expand %12 axes=[1] : f32[b, 5, 8, 8] @2
          %25 = add %23, %24 @2
          %26 = expand %17 axes=[] : f32[b, 5, 8, 8]
          %27 = max %25, %26
          output "y" = %27
        }"#));
}

#[test]
fn batch_norm_goes_into_a_depthwise_convolution() {
    insta::assert_snapshot!(all(r#"graph score(b) {
          %0 = input "x" : f32[b, 4, 8]
          %1 = weight "w" : f32[4, 3]
          %2 = weight "s" : f32[4]
          %3 = window %0 axis=2 size=3 lo=1 hi=1
          %4 = dot %3, %1 batch=[(1, 0)] contract=[(3, 1)]
          %5 = permute %4 [1, 0, 2]
          %6 = expand %2 axes=[1] : f32[b, 4, 8]
          %7 = mul %5, %6
          output "y" = %7
        }"#));
}

#[test]
fn weights_that_an_entry_writes_are_not_merged() {
    insta::assert_snapshot!(all(r#"graph train(b) {
          %0 = input "x" : f32[b, 4]
          %1 = weight "w" : f32[4, 4]
          %2 = weight "s" : f32[4]
          %3 = dot %0, %1 contract=[(1, 0)]
          %4 = expand %2 axes=[1] : f32[b, 4]
          %5 = mul %3, %4
          output "y" = %5
          write "w" = %1
        }"#));
}

#[test]
fn the_scale_of_attention_goes_into_the_projection() {
    insta::assert_snapshot!(all(r#"graph score(b) {
          %0 = input "x" : f32[b, 9, 8]
          %1 = weight "q.w" : f32[8, 8]
          %2 = weight "q.b" : f32[8]
          %3 = dot %0, %1 contract=[(2, 1)]
          %4 = expand %2 axes=[2] : f32[b, 9, 8]
          %5 = add %3, %4
          %6 = reshape %5 : f32[b, 9, 2, 4]
          %7 = permute %6 [0, 2, 1, 3]
          %8 = input "k" : f32[b, 2, 9, 4]
          %9 = dot %7, %8 batch=[(0, 0), (1, 1)] contract=[(3, 3)]
          %10 = const 2 : f32
          %11 = expand %10 axes=[] : f32[b, 2, 9, 9]
          %12 = div %9, %11
          output "scores" = %12
        }"#));
}

#[test]
fn bodies_of_loops_are_rewritten() {
    insta::assert_snapshot!(all(r#"graph fit {
          %0 = input "x" : f32
          %1 = loop %0 count=[4] carried=1 : f32 {
            %0 = input "0" : f32
            %1 = neg %0
            %2 = neg %1
            %3 = neg %2
            output "0" = %3
          }
          %2 = part %1 index=0 : f32
          output "y" = %2
        }"#));
}

#[test]
fn a_failure_names_the_pass_and_the_log_tells_of_each() {
    let wrong = parse("graph g { %0 = const 1 : f32\n %1 = neg %0 : f32[2]\n output \"y\" = %1 }").unwrap();
    let failure = optimise(wrong, &PassOptions::default()).unwrap_err();
    insta::assert_snapshot!(failure.to_string());
    let mut lines = Vec::new();
    let graph = parse("graph g { %0 = input \"x\" : f32\n %1 = neg %0\n %2 = neg %1\n output \"y\" = %2 }").unwrap();
    optimise_logged(graph, &PassOptions::default(), &mut |run, _| lines.push(run.to_string())).unwrap();
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn fuel_stops_the_runner() {
    let graph = parse("graph g { %0 = input \"x\" : f32\n %1 = neg %0\n output \"y\" = %0 }").unwrap();
    let options = PassOptions { fuel: Some(0), ..PassOptions::default() };
    assert_eq!(optimise(graph.clone(), &options).unwrap(), graph);
}

#[test]
fn what_depends_on_stored_tensors_only() {
    let graph = parse(
        r#"graph g(b) {
          %0 = weight "w" : f32[2]
          %1 = state "s" : f32[2]
          %2 = exp %0
          %3 = add %0, %1
          %4 = input "x" : f32[2]
          %5 = mul %2, %4
          %6 = draw "d" lane=0 : f32
          %7 = size [b] : i32
          write "s" = %5
        }"#,
    )
    .unwrap();
    assert_eq!(depends_only_on_stored(&graph), [true, false, true, false, false, false, false, true]);
}

#[test]
fn random_graphs_stay_right_and_settle() {
    for seed in 0..200 {
        let graph = crate::graph::random::random(seed, 5 + seed as usize % 30);
        let options = PassOptions { verify: VerifyLevel::Each, ..PassOptions::default() };
        let mut last = None;
        let result = optimise_logged(graph, &options, &mut |run, _| {
            if run.changed {
                last = Some(*run);
            }
        });
        if let Err(e) = result {
            panic!("seed {seed}: {e}");
        }
        assert!(last.is_none_or(|run| run.round < ROUNDS), "seed {seed}: {last:?}");
    }
}

#[test]
fn passes_tell_whether_they_changed_anything() {
    for seed in 0..60 {
        let mut graph = crate::graph::random::random(seed, 5 + seed as usize % 30);
        for round in 0..3 {
            for pass in PASSES {
                let before = graph.clone();
                let changed = everywhere(&mut graph, pass.run, 0);
                assert_eq!(changed, graph != before, "seed {seed}, round {round}, pass `{}`", pass.name);
            }
        }
    }
}

#[test]
fn windows_over_two_axes_are_reduced_one_at_a_time() {
    let pool = |size: &str, op: &str, value: &str| {
        format!(
            r#"graph g(b) {{
              %0 = input "x" : f32[b, 3, 64, 64]
              %1 = window %0 axis=2 size={size} lo=1 hi=1{value}
              %2 = window %1 axis=3 size={size} lo=1 hi=1{value}
              %3 = reduce.{op} %2 axes=[4, 5]
              output "y" = %3
            }}"#
        )
    };
    let apart = |size: &str, op: &str, value: &str| {
        let text = format!(
            r#"graph g(b) {{
              %0 = input "x" : f32[b, 3, 64, 64]
              %1 = window %0 axis=2 size={size} lo=1 hi=1{value}
              %2 = reduce.{op} %1 axes=[4]
              %3 = window %2 axis=3 size={size} lo=1 hi=1{value}
              %4 = reduce.{op} %3 axes=[4]
              output "y" = %4
            }}"#
        );
        parse(&text).unwrap().to_string()
    };
    let same = |text: &str| parse(text).unwrap().to_string();
    let pass = |text: &str| only(&["separate", "dead"], text);
    assert_eq!(pass(&pool("16", "sum", "")), apart("16", "sum", ""));
    assert_eq!(pass(&pool("16", "max", " value=-inf")), apart("16", "max", " value=-inf"));
    // Few elements gain nothing; padding that counts would count once only; products are left alone.
    let kept = [pool("3", "sum", ""), pool("16", "sum", " value=1"), pool("16", "prod", "")];
    kept.iter().for_each(|text| assert_eq!(pass(text), same(text)));
    // Nothing takes it back.
    assert!(all(&pool("16", "sum", "")).matches("reduce.sum").count() == 2);
}
