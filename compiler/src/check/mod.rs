//! The analyses: what a typed model must not do.
//!
//! In: a model and what elaboration noted beside it. Out: diagnostics. Invariants: an analysis changes nothing; it says
//! nothing where elaboration failed. Imports: model, graph, diagnostics.

mod batch;
mod dims;
mod flow;
mod mask;
mod stored;
mod unused;

use crate::diag::{Diagnostic, Label, Place, Severity};
use crate::graph::Graph;
use crate::model::{self, Choice, Depth, Facts, Model, Program};
use crate::source::{Files, Loader};
use crate::split;

/// Elaborates and analyses a detector. No model where there is an error.
pub fn check(
    files: &mut Files,
    loader: &dyn Loader,
    root_path: &str,
    choice: &Choice,
) -> (Option<Model>, Vec<Diagnostic>) {
    let program = Program::read(files, loader, root_path, &choice.set);
    let detector = choice.detector.as_deref().or(program.main());
    let (model, found, unwanted) = checked(&program, choice, detector.as_slice(), false);
    free_later((program.modules, unwanted));
    (model, found)
}

/// [`check`], and then the file's other detectors, and what no detector calls. The model is the chosen detector's, as deep as
/// [`Depth::Findings`].
pub fn check_all(
    files: &mut Files,
    loader: &dyn Loader,
    root_path: &str,
    choice: &Choice,
) -> (Option<Model>, Vec<Diagnostic>) {
    let program = Program::read(files, loader, root_path, &choice.set);
    let mut detectors = program.detectors();
    if let Some(detector) = &choice.detector {
        detectors = vec![detector];
    }
    // Parameters are set for the chosen detector alone, and where a text does not parse one detector says what there is to say.
    let whole = choice.detector.is_none() && choice.set.is_empty() && choice.feed.is_empty();
    if !whole || program.unparsed() {
        detectors.truncate(1);
    }
    let choice = Choice { depth: Depth::Findings, ..choice.clone() };
    let (model, found, unwanted) = checked(&program, &choice, &detectors, whole);
    free_later((program.modules, unwanted));
    (model, found)
}

/// Frees on a thread of its own: a process that ends here need not wait for it.
fn free_later(made: impl Send + 'static) {
    // Without room for a thread it is freed here.
    drop(std::thread::Builder::new().name("free".into()).spawn(move || drop(made)));
}

/// What is made and not asked for: entries of the first detector, models of others.
type Unwanted = (Vec<Graph>, Vec<Model>);

/// The first detector's model and findings, and errors of the others. With `rest`, what none of them calls is looked at too.
fn checked(
    program: &Program,
    choice: &Choice,
    detectors: &[&str],
    rest: bool,
) -> (Option<Model>, Vec<Diagnostic>, Unwanted) {
    let mut done = model::on_deep_stacks(detectors.len(), |n| {
        let (model, found, facts) = analysed(program, choice, detectors[n]);
        // The memory of most others is used again by those after them; what comes last is freed while the process ends.
        (model.filter(|_| n == 0 || n + 2 >= detectors.len()), found, facts.called)
    })
    .into_iter()
    .map(|d| {
        d.unwrap_or_else(|| {
            let (model, found, facts) = model::no_room();
            (model, found, facts.called)
        })
    });
    let (model, first, mut called) = done.next().unwrap_or_default();
    let mut out = program.found.clone();
    out.extend(first);
    let mut add = |more: Vec<Diagnostic>| {
        for d in more {
            let same = |o: &Diagnostic| {
                o.code == d.code && o.labels.first().map(|l| l.place) == d.labels.first().map(|l| l.place)
            };
            if d.severity == Severity::Error && !out.iter().any(same) {
                out.push(d);
            }
        }
    };
    let (mut unwanted, mut others) = (Vec::new(), Vec::new());
    for (model, more, facts) in done {
        called.extend(facts);
        add(more);
        others.extend(model);
    }
    if rest && program.has_uncalled(&called) {
        let found = model::on_deep_stacks(1, |_| program.uncalled(&called));
        add(found.into_iter().flatten().flatten().collect());
    }
    out.sort_by_key(order);
    let failed = out.iter().any(|d| d.severity == Severity::Error);
    let model = model.filter(|_| !failed).map(|m| made(m, choice.depth, &mut unwanted));
    (model, out, (unwanted, others))
}

/// The entries that were asked for.
fn made(mut model: Model, depth: Depth, unwanted: &mut Vec<Graph>) -> Model {
    match depth {
        Depth::Whole => split::split(&mut model),
        Depth::Score => model.entries.retain(|g| g.name == "init" || g.name == "score"),
        Depth::Findings => unwanted.append(&mut model.entries),
    }
    model
}

fn order(d: &Diagnostic) -> (Option<(usize, u32)>, &'static str) {
    (d.labels.first().map(|l| (l.place.file, l.place.span.start)), d.code)
}

fn analysed(program: &Program, choice: &Choice, detector: &str) -> (Option<Model>, Vec<Diagnostic>, Facts) {
    let (model, mut out, facts) = program.elaborate(choice, detector);
    let failed = |out: &[Diagnostic]| program.broken() || out.iter().any(|d| d.severity == Severity::Error);
    if let Some(model) = model.as_ref().filter(|_| !failed(&out)) {
        flow::draws(model, &facts, &mut out);
        flow::labels(model, &mut out);
        batch::check(model, &facts, &mut out);
        dims::check(model, &facts, &mut out);
        mask::check(model, &facts, &mut out);
        stored::trained(model, &mut out);
        stored::written(model, &mut out);
        unused::lets(&facts, &choice.feed, &mut out);
        unused::names(program, &mut out);
    }
    let model = model.filter(|_| !failed(&out));
    (model, out, facts)
}

/// Where node `n` of an entry was asked for.
fn place_of(facts: &Facts, entry: &str, n: usize) -> Place {
    let none = Place { file: 0, span: Default::default() };
    facts.places.get(entry).and_then(|p| p.get(n)).copied().unwrap_or(none)
}

/// Puts the user's call that leads to a place in a library function in front.
fn with_call(mut d: Diagnostic, facts: &Facts, g: &Graph, n: usize) -> Diagnostic {
    let own = |file: usize| facts.own.contains(&file);
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
