//! Dims that an entry uses and nothing that it reads has.
//!
//! In: graphs. Out: E0211. Invariants: what passes has a value for every dim once its inputs and stored tensors are there.
//! Imports: graphs.

use crate::diag::Diagnostic;
use crate::graph::{Graph, Op};
use crate::hash::FxHashSet;
use crate::model::{Facts, Model};

/// Looks at every entry.
pub(crate) fn check(model: &Model, facts: &Facts, out: &mut Vec<Diagnostic>) {
    for g in &model.entries {
        let leaf = |op: &Op| matches!(op, Op::Input(_) | Op::Weight(_) | Op::State(_));
        let read = g.nodes.iter().filter(|n| leaf(&n.op)).flat_map(|n| &n.ty.shape);
        let known: FxHashSet<String> = read.flat_map(|d| d.names()).collect();
        for name in g.dims.iter().filter(|d| !known.contains(*d)) {
            out.extend(unknown(model, facts, g, name));
        }
    }
}

fn unknown(model: &Model, facts: &Facts, g: &Graph, name: &str) -> Option<Diagnostic> {
    let has = |d: &uad_plan::Dim| d.names().iter().any(|n| n == name);
    let at = g.nodes.iter().position(|n| n.ty.shape.iter().any(has) || matches!(&n.op, Op::Size(d) if has(d)))?;
    let place = super::place_of(facts, &g.name, at);
    let text = format!("`{name}` has no value in `{}`", g.name);
    let d = Diagnostic::new("E0211", text, place, format!("is {}", g.nodes[at].ty));
    let of = model.stored.iter().find(|s| s.ty.shape.iter().any(has));
    let d = match of {
        Some(s) => {
            d.help(format!("it is an extent of `{}`, which `{}` does not read: use another name", s.path, g.name))
        }
        None => d,
    };
    Some(super::with_call(d, facts, g, at))
}
