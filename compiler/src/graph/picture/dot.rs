//! Units as Graphviz text.
//!
//! In: units. Out: DOT. Invariants: deterministic. Imports: units.

use std::fmt::Write;

use super::units::{Kind, Units};
use crate::graph::Graph;

/// The text.
pub fn write(graph: &Graph, units: &Units) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "digraph {:?} {{", graph.name);
    out += "  node [fontname=\"Helvetica\", fontsize=11, shape=box, style=\"rounded,filled\", fillcolor=white]\n";
    out += "  edge [fontname=\"Helvetica\", fontsize=9, color=\"#64748b\"]\n  compound=true\n";
    body(&mut out, units, 0, 1);
    for e in &units.edges {
        let more = if e.values > 1 { format!(" +{}", e.values - 1) } else { String::new() };
        let _ = writeln!(out, "  u{} -> u{} [label=\"{}{more}\"]", e.from, e.to, e.label);
    }
    out += "}\n";
    out
}

fn body(out: &mut String, units: &Units, at: usize, depth: usize) {
    let pad = "  ".repeat(depth);
    for k in &units.all[at].children {
        let unit = &units.all[*k];
        let times = if unit.times > 1 { format!(" ×{}", unit.times) } else { String::new() };
        let label = format!("{}{times}", unit.label);
        if unit.children.is_empty() {
            let fill = match unit.kind {
                Kind::Input => "#dbeafe",
                Kind::Output | Kind::Writes => "#dcfce7",
                Kind::Function => "#f1f5f9",
                Kind::Operations | Kind::Root | Kind::Block => "white",
            };
            let _ = writeln!(out, "{pad}u{k} [label={label:?}, fillcolor=\"{fill}\"]");
        } else {
            let _ = writeln!(out, "{pad}subgraph cluster_{k} {{\n{pad}  label={label:?}; style=rounded");
            body(out, units, *k, depth + 1);
            let _ = writeln!(out, "{pad}}}");
        }
    }
}
