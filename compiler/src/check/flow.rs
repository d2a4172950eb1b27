//! What must not reach what: draws a score, labels a stage, gradients a loop with `until`.
//!
//! In: graphs, from which dead nodes are gone, so that what is there is reached. Out: E0401, E0403, E0409.
//! Invariants: one message per draw site, label, loop. Imports: graphs.

use std::collections::HashSet;

use uad_plan::DType;

use crate::diag::{Diagnostic, Place};
use crate::graph::{Graph, Op};
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
    let mut seen: HashSet<Place> = HashSet::new();
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

/// A loss needs the gradient of a loop that ends early.
pub(crate) fn until(model: &Model, facts: &Facts, out: &mut Vec<Diagnostic>) {
    for s in model.stages.iter().filter(|s| s.minimise.is_some()) {
        let Some(g) = model.entry(&s.name) else { continue };
        let trained: HashSet<&str> = s
            .minimise
            .iter()
            .flat_map(|m| m.groups.iter().flat_map(|g| g.weights.iter().map(String::as_str)))
            .collect();
        // Which nodes depend on a trained weight, smoothly.
        let mut smooth = vec![false; g.nodes.len()];
        for (i, n) in g.nodes.iter().enumerate() {
            smooth[i] = match &n.op {
                Op::Weight(p) => trained.contains(p.as_str()),
                Op::Stop => false,
                _ => n.ty.dtype == DType::F32 && n.args.iter().any(|a| smooth[a.0 as usize]),
            };
        }
        let mut need = vec![false; g.nodes.len()];
        for (name, n) in &g.outputs {
            if name == "loss" {
                need[n.0 as usize] = true;
            }
        }
        for i in (0..g.nodes.len()).rev() {
            let n = &g.nodes[i];
            if !need[i] || !smooth[i] {
                continue;
            }
            if let Op::Loop { body, .. } = &n.op
                && body.outputs.iter().any(|o| o.0 == "until")
            {
                let place = super::place_of(facts, &s.name, i);
                out.push(
                    Diagnostic::new("E0409", "no gradient passes a loop with `until`", place, "ends early")
                        .label(s.minimise.as_ref().map_or(s.place, |m| m.place), "this loss needs its gradient")
                        .help("put its result under `stop(…)`, or leave out `until`"),
                );
                continue;
            }
            for a in &n.args {
                need[a.0 as usize] = true;
            }
        }
    }
}
