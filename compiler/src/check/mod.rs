//! The analyses: what a typed model must not do.
//!
//! In: a model and what elaboration noted beside it. Out: diagnostics. Invariants: an analysis changes nothing; it says
//! nothing where elaboration failed. Imports: model, graph, diagnostics.

mod batch;
mod flow;
mod mask;
mod stored;
mod unused;

use crate::diag::{Diagnostic, Label, Place, Severity};
use crate::graph::Graph;
use crate::model::{self, Called, Choice, Facts, Model};
use crate::source::{Files, Loader};

/// Elaborates and analyses a detector. No model where there is an error.
pub fn check(
    files: &mut Files,
    loader: &dyn Loader,
    root_path: &str,
    choice: &Choice,
) -> (Option<Model>, Vec<Diagnostic>) {
    let (model, mut out, _) = analysed(files, loader, root_path, choice, None);
    out.sort_by_key(order);
    (model, out)
}

/// [`check`], and then the file's other detectors, and what no detector calls. The model is the chosen detector's.
pub fn check_all(
    files: &mut Files,
    loader: &dyn Loader,
    root_path: &str,
    choice: &Choice,
) -> (Option<Model>, Vec<Diagnostic>) {
    let mut others = model::other_detectors(files, root_path);
    let whole = choice.detector.is_none() && choice.set.is_empty() && choice.feed.is_empty();
    // Parameters are set for the chosen detector alone.
    if !whole {
        others.clear();
    }
    let none = Called::new();
    let alone = (whole && others.is_empty()).then_some(&none);
    let (model, mut out, facts) = analysed(files, loader, root_path, choice, alone);
    if out.iter().any(|d| d.code == "E0001") {
        out.sort_by_key(order);
        return (model, out);
    }
    let mut called = facts.called;
    for (n, name) in others.iter().enumerate() {
        let choice = Choice { detector: Some(name.clone()), ..Choice::default() };
        let last = n + 1 == others.len();
        let (_, more, facts) = analysed(files, loader, root_path, &choice, last.then_some(&called));
        called.extend(facts.called);
        for d in more {
            let same = |o: &Diagnostic| {
                o.code == d.code && o.labels.first().map(|l| l.place) == d.labels.first().map(|l| l.place)
            };
            if d.severity == Severity::Error && !out.iter().any(same) {
                out.push(d);
            }
        }
    }
    out.sort_by_key(order);
    let failed = out.iter().any(|d| d.severity == Severity::Error);
    (model.filter(|_| !failed), out)
}

fn order(d: &Diagnostic) -> (Option<(usize, u32)>, &'static str) {
    (d.labels.first().map(|l| (l.place.file, l.place.span.start)), d.code)
}

fn analysed(
    files: &mut Files,
    loader: &dyn Loader,
    root_path: &str,
    choice: &Choice,
    elsewhere: Option<&Called>,
) -> (Option<Model>, Vec<Diagnostic>, Facts) {
    let (model, mut out, facts) = model::elaborate_facts(files, loader, root_path, choice, elsewhere);
    let failed = |out: &[Diagnostic]| out.iter().any(|d| d.severity == Severity::Error);
    if let Some(model) = model.as_ref().filter(|m| !m.name.is_empty() && !failed(&out)) {
        flow::draws(model, &facts, &mut out);
        flow::labels(model, &mut out);
        flow::until(model, &facts, &mut out);
        batch::check(model, &facts, &mut out);
        mask::check(model, &facts, &mut out);
        stored::trained(model, &mut out);
        stored::written(model, &mut out);
        unused::lets(&facts, &choice.feed, &mut out);
        unused::names(&facts, &mut out);
    }
    let model = model.filter(|m| !m.name.is_empty() && !failed(&out));
    (model, out, facts)
}

/// Where node `n` of an entry was asked for.
fn place_of(facts: &Facts, entry: &str, n: usize) -> Place {
    let none = Place { file: 0, span: Default::default() };
    facts.places.get(entry).and_then(|p| p.get(n)).copied().unwrap_or(none)
}

/// Puts the user's call that leads to a place in a library function in front.
fn with_call(mut d: Diagnostic, facts: &Facts, g: &Graph, n: usize) -> Diagnostic {
    let own = |file: usize| facts.trees.iter().any(|t| t.0 == file);
    if d.labels.first().is_some_and(|l| own(l.place.file)) {
        return d;
    }
    let mut at = g.nodes.get(n).map(|n| n.scope);
    while let Some(s) = at {
        let scope = &g.scopes[s.0 as usize];
        if let Some((place, _)) = facts.calls.get(&(scope.label.clone(), scope.place.clone())) {
            d.labels.insert(0, Label { place: *place, text: "in this call".into() });
            return d;
        }
        at = scope.parent;
    }
    d
}
