//! Loops.
//!
//! In: a loop and the cotangents of its results. Out: nothing yet. Imports: the graph.

use super::{Reverse, Step, Why};
use crate::graph::{Node, NodeId};

impl Reverse<'_> {
    pub(super) fn looped(&mut self, id: NodeId, _node: &Node) -> Step<()> {
        if self.given.keys().any(|(n, _)| *n == id) {
            return Err(Why::Fault("no rule for loops yet".into()));
        }
        Ok(())
    }
}
