//! Pictures of graphs, as DOT and as SVG with a layout of their own.
//!
//! In: a graph. Out: text of a picture that a person reads: blocks as boxes in boxes, repeated blocks once with their
//! number, function calls and runs of operations as one box each, shapes on the edges. Invariants: deterministic; as
//! large as the model's text, not as its graph. Imports: the graph.

mod dot;
mod layout;
mod svg;
mod units;

use super::Graph;

/// What a picture shows.
#[derive(Clone, Copy, Debug)]
pub struct PictureOptions {
    /// How many levels of blocks are told apart; blocks further inside are part of their box.
    pub depth: usize,
}

impl Default for PictureOptions {
    fn default() -> PictureOptions {
        PictureOptions { depth: 2 }
    }
}

/// The picture as an SVG file.
pub fn svg(graph: &Graph, options: &PictureOptions) -> String {
    svg::draw(graph, &units::collapse(graph, options.depth))
}

/// The picture in Graphviz' language.
pub fn dot(graph: &Graph, options: &PictureOptions) -> String {
    dot::write(graph, &units::collapse(graph, options.depth))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::random::random;
    use crate::graph::text::parse;

    /// A small detector: a frozen encoder, a projection, repeated layers and a score.
    pub(super) fn detector() -> Graph {
        let mut text = String::from(
            r#"graph score(b) {
              scope @0 "tiny" at "tiny.uad:1" instance
              scope @1 "encoder" in @0 at "tiny.uad:4" instance
              scope @2 "stem" in @1 at "enc.uad:2" instance
              scope @3 "norm" in @1 at "enc.uad:3" instance
              scope @4 "align" in @0 at "tiny.uad:5"
              scope @5 "embed" in @0 at "tiny.uad:7" instance
            "#,
        );
        let mut scope = 6;
        for n in 0..4 {
            text += &format!("scope @{scope} \"encode.{n}\" in @0 at \"tiny.uad:9\" instance\n");
            text += &format!("scope @{} \"attend\" in @{scope} at \"nn.uad:30\" instance\n", scope + 1);
            text += &format!("scope @{} \"ffn\" in @{scope} at \"nn.uad:31\" instance\n", scope + 2);
            text += &format!("scope @{} \"softmax\" in @{} at \"nn.uad:3\"\n", scope + 3, scope + 1);
            scope += 4;
        }
        text += &format!("scope @{scope} \"upsample\" in @0 at \"tiny.uad:20\"\n");
        text += r#"
          %0 = input "image" : f32[b, 3, 8, 8]
          %1 = weight "encoder.stem.w" : f32[16, 3] @2
          %2 = dot %0, %1 contract=[(1, 1)] @2
          %3 = weight "encoder.norm.s" : f32[16] @3
          %4 = expand %3 axes=[3] : f32[b, 8, 8, 16] @3
          %5 = mul %2, %4 @3
          %6 = reshape %5 : f32[b, 64, 16] @4
          %7 = exp %6 @4
          %8 = weight "embed.w" : f32[16, 16] @5
          %9 = dot %7, %8 contract=[(2, 0)] @5
        "#;
        let (mut id, mut x) = (10, 9);
        for n in 0..4 {
            let s = 6 + 4 * n;
            text += &format!("%{id} = weight \"encode.{n}.w\" : f32[16, 16] @{}\n", s + 1);
            text += &format!("%{} = dot %{x}, %{id} contract=[(2, 0)] @{}\n", id + 1, s + 1);
            text += &format!("%{} = exp %{} @{}\n", id + 2, id + 1, s + 3);
            text += &format!("%{} = add %{x}, %{} @{s}\n", id + 3, id + 2);
            text += &format!("%{} = weight \"encode.{n}.v\" : f32[16, 16] @{}\n", id + 4, s + 2);
            text += &format!("%{} = dot %{}, %{} contract=[(2, 0)] @{}\n", id + 5, id + 3, id + 4, s + 2);
            text += &format!("%{} = add %{}, %{} @{s}\n", id + 6, id + 3, id + 5);
            x = id + 6;
            id += 7;
        }
        text += &format!("%{id} = sub %{x}, %7\n%{} = mul %{id}, %{id}\n", id + 1);
        text += &format!("%{} = reduce.sum %{} axes=[2]\n", id + 2, id + 1);
        text += &format!("%{} = tanh %{} @{scope}\n", id + 3, id + 2);
        text += &format!("%{} = reduce.max %{} axes=[1]\n", id + 4, id + 3);
        text += &format!("output \"map\" = %{}\noutput \"sample\" = %{}\n}}", id + 3, id + 4);
        parse(&text).unwrap()
    }

    #[test]
    fn a_detector_is_seen() {
        let graph = detector();
        insta::assert_snapshot!(dot(&graph, &PictureOptions::default()));
        insta::assert_snapshot!(dot(&graph, &PictureOptions { depth: 1 }));
        let text = svg(&graph, &PictureOptions::default());
        assert!(text.starts_with("<svg") && text.trim_end().ends_with("</svg>"));
        assert!(text.contains("encode") && text.contains("×4") && !text.contains("encode.3"));
    }

    #[test]
    fn every_graph_has_a_picture() {
        for seed in 0..60 {
            for depth in 0..3 {
                let graph = random(seed, 40);
                let text = svg(&graph, &PictureOptions { depth });
                assert!(!text.contains("NaN") && !text.contains("inf"), "seed {seed}");
                assert_eq!(text, svg(&graph, &PictureOptions { depth }));
            }
        }
        let _ = svg(&Graph::default(), &PictureOptions::default());
    }
}
