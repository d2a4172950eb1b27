//! Verification of plans.
//!
//! In: a plan. Out: the plan as [`Verified`], or every [`Violation`].
//! Invariants: [`Verified`] is made here only, so whoever has one relies on every rule below without a check.
//! Imports: [`crate::plan`], [`crate::hole`], [`crate::extent`].
//!
//! Plan: paths of stored tensors and names of entries are unique; dims of
//! stored shapes are known, or names whose values the stored tensors have.
//! Entry: names of buffers and dims are unique; dims are declared; no dim is named like an axis (`i0`); buffers are
//! dense, all but temporary ones row-major; constants have a closed shape and as many elements as it says; stored
//! buffers are stored tensors of the plan; every output is written.
//! Kernel: the rules of its template (module `kernel`).
//! Order: what a kernel reads was written before it (or is an input, stored or constant); what a loop's body writes
//! counts after the loop only for carried buffers. `setup` writes temporary buffers only, which nothing else writes; it
//! reads no input, no tensor that the entry writes, and draws nothing.

mod entry;
mod kernel;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Deref;

use crate::dim::Dim;
use crate::plan::Plan;

/// Something that passed [`verify`]; read-only.
#[derive(Clone, Debug, PartialEq)]
pub struct Verified<T>(T);

impl<T> Deref for Verified<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> Verified<T> {
    /// The thing itself, no longer known to be right once it is changed.
    pub fn into_inner(self) -> T {
        self.0
    }
}

/// A broken rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Entry and kernel.
    pub place: String,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}
impl std::error::Error for Violation {}

/// Collects what is wrong and where.
#[derive(Default)]
struct Findings {
    place: String,
    found: Vec<Violation>,
}

impl Findings {
    fn say(&mut self, message: impl Into<String>) {
        self.found.push(Violation { place: self.place.clone(), message: message.into() });
    }
    fn check(&mut self, holds: bool, message: impl FnOnce() -> String) {
        if !holds {
            self.say(message());
        }
    }
}

/// Checks every rule of the plan format.
pub fn verify(plan: Plan<Dim>) -> Result<Verified<Plan<Dim>>, Vec<Violation>> {
    let mut findings = Findings { place: format!("plan `{}`", plan.name), found: Vec::new() };
    let mut paths = BTreeSet::new();
    for s in &plan.stored {
        findings.check(paths.insert(&s.path), || format!("two stored tensors `{}`", s.path));
        let known = |d: &Dim| d.as_int().map_or_else(|| d.as_name().is_some(), |v| v >= 0);
        findings.check(s.shape.iter().all(known), || {
            format!("a dim of the stored tensor `{}` is neither known nor a name", s.path)
        });
    }
    let mut names = BTreeSet::new();
    for e in &plan.entries {
        findings.place = format!("plan `{}`", plan.name);
        findings.check(names.insert(&e.name), || format!("two entries `{}`", e.name));
        entry::check(&plan, e, &mut findings);
    }
    if findings.found.is_empty() { Ok(Verified(plan)) } else { Err(findings.found) }
}
