//! The parser that pest makes from `uad.pest`.
//!
//! In: laid-out text of one chunk. Out: pairs. Invariants: those of pest. Imports: nothing of this project.

use pest::iterators::Pair;

/// The generated parser.
#[derive(pest_derive::Parser)]
#[grammar = "../uad.pest"]
pub(crate) struct Grammar;

/// A node of pest's tree.
pub(crate) type Node<'t> = Pair<'t, Rule>;
