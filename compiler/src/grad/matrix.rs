//! Factorisations.
//!
//! In: a factorisation and cotangents of its results. Out: nothing yet. Imports: the graph.

use super::{Reverse, Step, Why};
use crate::graph::{Node, NodeId};

impl Reverse<'_> {
    pub(super) fn eigh(&mut self, id: NodeId, _node: &Node) -> Step<()> {
        if self.given.keys().any(|(n, _)| *n == id) {
            return Err(Why::Fault("no rule for eigenproblems yet".into()));
        }
        Ok(())
    }

    pub(super) fn cholesky(&mut self, _y: NodeId, _x: NodeId, _dy: NodeId) -> Step<()> {
        Err(Why::Fault("no rule for factorisations yet".into()))
    }
}
