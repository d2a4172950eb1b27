//! Syntax trees in, plans out.
//!
//! In: source texts given as text. Out: diagnostics, typed model, graphs, plans. Invariants: no I/O, no
//! devices; never panics on a program; one direction: syntax, model, graph, plan. Imports: `uad-grammar`, `uad-plan`.

pub mod check;
pub mod compile;
pub mod diag;
pub mod grad;
pub mod graph;
mod hash;
pub mod library;
pub mod lower;
pub mod model;
pub mod names;
pub mod pass;
pub mod source;
mod split;
