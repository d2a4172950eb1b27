//! The text form of graphs, `.uadg`: what a person reads, what tests of passes start from.
//!
//! In: a graph, or text. Out: text, or a graph. Invariants: what [`print`](Graph) writes parses back to an equal graph;
//! the parser never panics and says line and column of what it does not understand; a parsed graph has valid ids, but
//! only [`super::verify`] says whether its types are right. Imports: the graph, `uad-plan`.
//!
//! ```text
//! graph score(b) {
//!   require b <= 16 : "one batch fits (uniad.uad:4)"
//!   scope @0 "uniad" at "uniad.uad:1" instance
//!   scope @1 "softmax" in @0 at "uniad.uad:9" kernel "softmax"
//!   %0 = input "x" : f32[b, 4] @0
//!   %1 = reduce.max %0 axes=[1] : f32[b] @1
//!   output "y" = %1
//! }
//! ```
//!
//! A node is `%id = operation arguments attributes : type @scope`. Scalar operations are named as they are,
//! reductions and scans with their kind (`reduce.sum`, `scan.max`). Attributes that have their usual value may be left
//! out, and so may the type where the arguments give it and the scope where it is `@0`. `//` starts a comment.

mod parse;
mod print;

pub use parse::{TextError, parse};

#[cfg(test)]
mod tests {
    use super::parse;
    use crate::graph::Graph;

    const ALL: &str = r#"
// A comment.
graph score(b, n) {
  require 4*b == n : "the \"grid\" must divide (uniad.uad:12)"
  require floor(b + 1, 2) <= 8 : ""
  scope @0 "uniad" at "uniad.uad:1" instance
  scope @1 "attend" in @0 at "uniad.uad:21" instance
  scope @2 "softmax" in @1 at "nn.uad:3" kernel "softmax"
  %0 = input "image" : f32[b, 3, 8, 8] @0
  %1 = weight "attend.w" : f32[5, 3, 3, 3] @1
  %2 = state "mean" : f32[5] @1
  %3 = const -inf : f32 @1
  %4 = literal [1, 2.5, -3, 0.1] : f32[2, 2] @0
  %5 = size [4*b + 1] : i32 @0
  %6 = iota axis=1 : i32[b, 4] @0
  %7 = draw "noise" lane=2 sample=0 : f32[b, 4] @0
  %8 = window %0 axis=2 size=3 lo=1 hi=1 : f32[b, 3, 8, 8, 3] @1
  %9 = window %8 axis=3 size=3 stride=2 lo=1 hi=1 value=-inf : f32[b, 3, 8, 4, 3, 3] @1
  %10 = dot %9, %1 contract=[(1, 1), (4, 2), (5, 3)] : f32[b, 8, 4, 5] @1
  %11 = permute %10 [0, 3, 1, 2] : f32[b, 5, 8, 4] @1
  %12 = expand %2 axes=[1] : f32[b, 5, 8, 4] @1
  %13 = add %11, %12 : f32[b, 5, 8, 4] @1
  %14 = reshape %13 : f32[b, 160] @1
  %15 = reduce.max %14 axes=[1] : f32[b] @2
  %16 = expand %15 axes=[0] : f32[b, 160] @2
  %17 = lt %14, %16 : bool[b, 160] @2
  %18 = select %17, %14, %16 : f32[b, 160] @2
  %19 = slice %18 start=[0, 159] step=[1, -1] : f32[b, 80] @2
  %20 = pad %19 lo=[0, 1] hi=[b, 0] interior=[0, 2] value=1.5 : f32[2*b, 239] @2
  %21 = concat %19, %19 axis=1 : f32[b, 160] @2
  %22 = argsort %21 falling=true : i32[b, 160] @2
  %23 = gather %21, %22 axis=1 batch=1 : f32[b, 160] @2
  %24 = scatter_add %21, %22, %23 axis=1 batch=1 : f32[b, 160] @2
  %25 = scan.sum %24 : f32[b, 160] @2
  %26 = stop %25 : f32[b, 160] @2
  %27 = const 1 : f32 @0
  %28 = loop %27, %3 count=[n] carried=1 every=[2] : f32 @0 {
    scope @0 "round" instance
    %0 = input "0" : f32 @0
    %1 = input "1" : f32 @0
    %2 = input "round" : i32 @0
    %3 = add %0, %1 : f32 @0
    %4 = lt %0, %3 : bool @0
    output "0" = %3
    output "until" = %4
  }
  %29 = part %28 index=0 : f32 @0
  %30 = eigh %4 : f32[2] @0
  %31 = part %30 index=1 : f32[2, 2] @0
  %32 = cholesky %4 : f32[2, 2] @0
  output "map" = %26
  output "sample" = %29
  write "mean" = %2
  named "attend.scores" = %15
}
"#;

    #[test]
    fn every_operation_prints_and_parses_back() {
        let graph = parse(ALL).unwrap();
        let text = graph.to_string();
        insta::assert_snapshot!(text);
        assert_eq!(parse(&text).unwrap(), graph);
        for row in crate::graph::op::OPS {
            assert!(row.name == "map" || ALL.contains(&format!("= {}", row.name)), "`{}` is not in the text", row.name);
        }
    }

    #[test]
    fn types_and_scopes_may_be_left_out() {
        let short = parse("graph g { %0 = input \"x\" : f32[2, 3]\n %1 = permute %0 [1, 0] %2 = neg %1 }").unwrap();
        insta::assert_snapshot!(short.to_string());
    }

    #[test]
    fn the_empty_graph() {
        let graph = Graph::default();
        assert_eq!(parse(&graph.to_string()).unwrap(), graph);
    }

    #[test]
    fn errors_have_places() {
        let of = |text: &str| parse(text).unwrap_err().to_string();
        insta::assert_snapshot!(
            [
                "",
                "graph g",
                "graph g {\n  %1 = const 1 : f32\n}",
                "graph g {\n  %0 = neg %0 : f32\n}",
                "graph g {\n  %0 = nag : f32\n}",
                "graph g {\n  %0 = const 1 : f64\n}",
                "graph g {\n  %0 = const 1 : f32[b, ]\n}",
                "graph g {\n  %0 = const 1 : f32[99999999999999999999]\n}",
                "graph g {\n  %0 = const 1 : f32 @1\n}",
                "graph g {\n  %0 = const 1 : f32\n  output \"y\" = %1\n}",
                "graph g {\n  %0 = const 1 : f32\n  %1 = expand %0 axis=[0] : f32[2]\n}",
                "graph g {\n  %0 = const 1 : f32\n  %1 = add %0\n}",
                "graph g {\n  %0 = input \"x\n}",
                "graph g {\n  %0 = const 1 : f32\n}\nx",
                "graph g {\n  scope @0 \"g\" in @0\n}",
                "graph g {\n  %0 = draw \"s\" lane=900 : f32\n}",
            ]
            .map(of)
            .join("\n")
        );
    }

    #[test]
    fn depth_is_bounded() {
        let text = format!("graph g {{ {}", "%0 = loop count=[1] carried=1 : f32 { ".repeat(10_000));
        assert!(parse(&text).unwrap_err().message.contains("deep"));
    }

    #[test]
    fn no_prefix_and_no_flipped_byte_makes_it_panic() {
        for n in 0..ALL.len() {
            if ALL.is_char_boundary(n) {
                let _ = parse(&ALL[..n]);
            }
            let mut bytes = ALL.as_bytes().to_vec();
            bytes[n] = bytes[n].wrapping_mul(31).wrapping_add(7) & 0x7f;
            if let Ok(text) = std::str::from_utf8(&bytes) {
                let _ = parse(text);
            }
        }
    }
}
