//! The analyses: what a typed model must not do.
//!
//! In: a model and what elaboration noted beside it. Out: diagnostics. Invariants: an analysis changes nothing; it says
//! nothing where elaboration failed. Imports: model, graph, diagnostics.

mod batch;
mod flow;
mod mask;
mod stored;
mod unused;

use crate::diag::{Diagnostic, Place, Severity};
use crate::model::{self, Choice, Facts, Model};
use crate::source::{Files, Loader};

/// Elaborates and analyses a detector. No model where there is an error.
pub fn check(
    files: &mut Files,
    loader: &dyn Loader,
    root_path: &str,
    choice: &Choice,
) -> (Option<Model>, Vec<Diagnostic>) {
    let (model, mut out, facts) = model::elaborate_facts(files, loader, root_path, choice);
    let failed = |out: &[Diagnostic]| out.iter().any(|d| d.severity == Severity::Error);
    if let Some(model) = model.as_ref().filter(|_| !failed(&out)) {
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
    out.sort_by_key(|d| (d.labels.first().map(|l| (l.place.file, l.place.span.start)), d.code));
    let model = model.filter(|_| !failed(&out));
    (model, out)
}

/// Where node `n` of an entry was asked for.
fn place_of(facts: &Facts, entry: &str, n: usize) -> Place {
    let none = Place { file: 0, span: Default::default() };
    facts.places.get(entry).and_then(|p| p.get(n)).copied().unwrap_or(none)
}

/// Labels a place in a library function with the call that leads there.
fn with_call(mut d: Diagnostic, model: &Model, entry: &str, n: usize) -> Diagnostic {
    let Some(g) = model.entry(entry) else { return d };
    let mut at = g.nodes.get(n).map(|n| n.scope);
    let mut chain = Vec::new();
    while let Some(s) = at {
        let scope = &g.scopes[s.0 as usize];
        if !scope.place.is_empty() {
            chain.push(format!("`{}` at {}", scope.label, scope.place));
        }
        at = scope.parent;
    }
    if !chain.is_empty() {
        d.notes.push(format!("in {}", chain.join(", in ")));
    }
    d
}
