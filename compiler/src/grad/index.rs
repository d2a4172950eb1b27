//! Indexing: gathering and scattering are each other's transpose.
//!
//! In: the operation and the cotangent of its result. Out: cotangents of what it indexes and of the updates.
//! Invariants: an index has no gradient. Imports: shorthands, the graph.

use super::{Reverse, Step};
use crate::graph::{NodeId, Op};

impl Reverse<'_> {
    pub(super) fn gathered(&mut self, axis: usize, batch: usize, args: &[NodeId], dy: NodeId) -> Step<()> {
        let zero = self.like(0.0, args[0])?;
        let dx = self.op(Op::ScatterAdd { axis, batch }, &[zero, args[1], dy])?;
        self.give(args[0], dx);
        Ok(())
    }

    pub(super) fn scattered(&mut self, axis: usize, batch: usize, args: &[NodeId], dy: NodeId) -> Step<()> {
        self.give(args[0], dy);
        if self.wants(args[2]) {
            let part = self.op(Op::Gather { axis, batch }, &[dy, args[1]])?;
            self.give(args[2], part);
        }
        Ok(())
    }
}
