//! Does a score depend on other samples of its batch?
//!
//! In: the graph of `score`. Out: E0402 at the first operation that mixes samples. Invariants: where the samples cannot
//! be followed nothing is claimed. Imports: model, graphs.

use crate::diag::Diagnostic;
use crate::graph::samples::samples;
use crate::model::{Facts, Model};

/// Follows the samples through the score.
pub(crate) fn check(model: &Model, facts: &Facts, out: &mut Vec<Diagnostic>) {
    let Some(g) = model.entry("score") else { return };
    let Some((n, how)) = samples(g).1 else { return };
    let place = super::place_of(facts, "score", n);
    let mut d = Diagnostic::new("E0402", "a score depends on other samples of its batch", place, how);
    if let Some((name, p)) = facts.outputs.first().filter(|o| o.1 != place) {
        d = d.label(*p, format!("`{name}` and what it reads"));
    }
    d = d.help("score each sample by itself: reduce over its own axes, or keep what is common in a `state` that a stage writes");
    out.push(super::with_call(d, facts, g, n));
}
