//! What must not reach what: draws a score, labels a stage.
//!
//! In: graphs, from which dead nodes are gone, so that what is there is reached. Out: E0401, E0403.
//! Invariants: one message per draw site and label. Imports: graphs.

use crate::diag::{Diagnostic, Place};
use crate::graph::{Graph, Op};
use crate::hash::FxHashSet;
use crate::model::{Facts, Model};

/// All nodes of a graph and of the bodies of its loops.
fn walk(g: &Graph, f: &mut impl FnMut(&Op)) {
    for n in &g.nodes {
        f(&n.op);
        if let Op::Loop { body, .. } = &n.op {
            walk(body, f);
        }
    }
}

/// A random draw reaches a score.
pub(crate) fn draws(model: &Model, facts: &Facts, out: &mut Vec<Diagnostic>) {
    let Some(score) = model.entry("score") else { return };
    let mut sites = Vec::new();
    for (i, n) in score.nodes.iter().enumerate() {
        let mut note = |op: &Op| {
            if let Op::Draw { site, .. } = op
                && !sites.iter().any(|s: &(String, usize)| s.0 == *site)
            {
                sites.push((site.clone(), i));
            }
        };
        note(&n.op);
        if let Op::Loop { body, .. } = &n.op {
            walk(body, &mut note);
        }
    }
    let mut seen: FxHashSet<Place> = FxHashSet::default();
    for (s, node) in sites {
        let place = facts.draws.get(&s).copied().unwrap_or(Place { file: 0, span: Default::default() });
        if !seen.insert(place) {
            continue;
        }
        let mut d = Diagnostic::new("E0401", "a random draw reaches the score", place, "drawn here");
        if let Some((name, p)) = facts.outputs.first() {
            d = d.label(*p, format!("`{name}` and what it reads"));
        }
        let d = d.help(
            "a score is the same for the same sample: draw in training only, `x |> @train f`, or use `fixed.permutation`",
        );
        out.push(super::with_call(d, facts, score, node));
    }
}

/// A label or mask reaches a stage.
pub(crate) fn labels(model: &Model, out: &mut Vec<Diagnostic>) {
    for i in model.inputs.iter().filter(|i| i.source == "label" || i.source == "mask") {
        for s in &model.stages {
            let reaches = model
                .entries
                .iter()
                .filter(|g| g.name == s.name || Some(&g.name) == s.finish.as_ref())
                .any(|g| g.nodes.iter().any(|n| matches!(&n.op, Op::Input(name) if *name == i.name)));
            if reaches {
                out.push(
                    Diagnostic::new(
                        "E0403",
                        format!("`{}` reaches the stage `{}`", i.name, s.name),
                        i.place,
                        "known only when evaluating",
                    )
                    .label(s.place, "read by this stage")
                    .help("a detector learns from normal samples alone; read labels in `score` or not at all"),
                );
            }
        }
    }
}
