//! Weights and states over the stages: who trains, who writes, who reads.
//!
//! In: a model. Out: E0404, E0405, E0406, and patterns of `over` that match nothing. Invariants: one message per
//! outermost instance. Imports: the model.

use std::collections::BTreeMap;

use uad_plan::StoredKind;

use crate::diag::Diagnostic;
use crate::diag::nearest::nearest;
use crate::hash::FxHashSet;
use crate::model::{Model, StoredInfo, pattern_matches, seen_from};

/// A weight that no stage trains, or two groups train.
pub(crate) fn trained(model: &Model, out: &mut Vec<Diagnostic>) {
    let mut done: FxHashSet<&str> = FxHashSet::default();
    for s in &model.stages {
        let Some(m) = &s.minimise else { continue };
        for g in &m.groups {
            done.extend(g.weights.iter().map(String::as_str));
        }
        let reads: FxHashSet<&String> = s.reads.iter().collect();
        let weights: Vec<&StoredInfo> = model
            .stored
            .iter()
            .filter(|t| t.kind == StoredKind::Weight && !t.frozen && reads.contains(&t.path))
            .collect();
        let mut told: FxHashSet<(usize, usize)> = FxHashSet::default();
        for w in &weights {
            let mut hits = Vec::new();
            for (k, g) in m.groups.iter().enumerate() {
                for (p, place) in g.over.iter().zip(&g.places) {
                    if p != "rest"
                        && pattern_matches(p, seen_from(s.home(), &w.path))
                        && hits.last().is_none_or(|h: &(usize, &String, _)| h.0 != k)
                    {
                        hits.push((k, p, *place));
                    }
                }
            }
            if let [a, b, ..] = hits.as_slice()
                && told.insert((a.0, b.0))
            {
                out.push(
                    Diagnostic::new(
                        "E0405",
                        format!("two groups train `{}`", w.path),
                        b.2,
                        format!("`{}` matches it", b.1),
                    )
                    .label(a.2, format!("and so does `{}`", a.1))
                    .help("`rest` stands for what no group before has"),
                );
            }
        }
        for g in &m.groups {
            for (p, place) in g.over.iter().zip(&g.places) {
                let hit =
                    |t: &StoredInfo| t.kind == StoredKind::Weight && pattern_matches(p, seen_from(s.home(), &t.path));
                let any = model.stored.iter().any(hit);
                if p != "rest" && !any {
                    let mut known: Vec<&str> = model.instances.iter().map(String::as_str).collect();
                    known.extend(model.stored.iter().map(|t| t.path.as_str()));
                    known.iter_mut().for_each(|k| *k = seen_from(s.home(), k));
                    let mut d =
                        Diagnostic::new("E0101", format!("no weight has the path `{p}`"), *place, "matches nothing");
                    d.help = nearest(p, known).map(|n| format!("did you mean `{n}`?"));
                    out.push(d);
                }
            }
        }
    }
    let mut left: BTreeMap<&str, Vec<&StoredInfo>> = BTreeMap::new();
    for t in &model.stored {
        if t.kind == StoredKind::Weight && !t.frozen && !done.contains(t.path.as_str()) {
            left.entry(t.path.split('.').next().unwrap_or("")).or_default().push(t);
        }
    }
    if !left.is_empty() && !model.stages.iter().any(|s| s.minimise.is_some()) {
        let names: Vec<String> = left.keys().map(|k| format!("`{k}`")).collect();
        let shown = match names.as_slice() {
            [a] => a.clone(),
            [a, b] => format!("{a} and {b}"),
            [a, rest @ ..] => format!("{a} and {} more", rest.len()),
            [] => String::new(),
        };
        let mut sites: Vec<_> = left.values().filter_map(|w| Some(w.first()?.site)).collect();
        sites.sort_unstable();
        sites.dedup();
        let Some((first, rest)) = sites.split_first() else { return };
        let text = format!("no stage trains {shown}: no stage of `{}` minimises a loss", model.name);
        let mut d = Diagnostic::new("E0404", text, *first, "stays as it starts");
        for p in rest.iter().take(3) {
            d = d.label(*p, "and so does this");
        }
        out.push(d.help(
            "write `stage train { minimise loss with adamw(lr: 1e-4); epochs: 100 }`, or `frozen` before what needs none",
        ));
        return;
    }
    for (root, weights) in left {
        let Some(first) = weights.first() else { continue };
        let more = match weights.len() - 1 {
            0 => String::new(),
            n => format!(" and {n} more of `{root}`"),
        };
        let text = format!("no stage trains `{}`{more}", first.path);
        let mut d = Diagnostic::new("E0404", text, first.site, "stays as it starts");
        d.help = Some(if model.stages.iter().any(|s| s.minimise.is_some()) {
            format!("add `{root}` to the `over` of a stage whose loss reads it, or write `frozen`")
        } else {
            "minimise a loss in a stage, or write `frozen` before the instance".to_string()
        });
        out.push(d);
    }
}

/// A state that is read before a stage has written it.
pub(crate) fn written(model: &Model, out: &mut Vec<Diagnostic>) {
    let mut have: FxHashSet<&str> = model
        .stored
        .iter()
        .filter(|t| t.kind == StoredKind::Weight || t.initialised)
        .map(|t| t.path.as_str())
        .collect();
    let mut told: FxHashSet<&str> = FxHashSet::default();
    let mut read = |who: String, reads: &FxHashSet<&str>, have: &FxHashSet<&str>, out: &mut Vec<Diagnostic>| {
        for t in model.stored.iter().filter(|t| t.kind == StoredKind::State && reads.contains(t.path.as_str())) {
            if !have.contains(t.path.as_str()) && told.insert(t.path.as_str()) {
                let writer = model.stages.iter().find(|s| s.writes.contains(&t.path));
                let mut d = Diagnostic::new(
                    "E0406",
                    format!("`{}` is read before a stage has written it", t.path),
                    t.place,
                    format!("read by {who}"),
                );
                if let Some(w) = writer {
                    d = d.label(w.place, "written by this stage, which runs later");
                }
                out.push(d.help("give it a first value, `= zeros`, or write it in a stage before"));
            }
        }
    };
    for s in &model.stages {
        read(format!("the stage `{}`", s.name), &s.reads.iter().map(String::as_str).collect(), &have, out);
        have.extend(s.writes.iter().map(String::as_str));
    }
    if let Some(score) = model.entry("score") {
        let reads = score
            .nodes
            .iter()
            .filter_map(|n| match &n.op {
                crate::graph::Op::State(p) => Some(p.as_str()),
                _ => None,
            })
            .collect();
        read("the score".into(), &reads, &have, out);
    }
}
