//! Reductions over axes and along an axis.
//!
//! In: the reduction, its argument and result, the cotangent of the result. Out: the cotangent of the argument.
//! Invariants: elements that tie for an extreme share its cotangent equally; a running extreme is its last occurrence;
//! products are exact where elements are 0, because they are never divided. Imports: shorthands, the graph, `uad-plan`.

use uad_plan::{DType, Dim, ReduceOp, ScalarOp};

use super::{Reverse, Step};
use crate::graph::{NodeId, Op, Shape};

/// Has the reduction a gradient?
pub(super) fn passes(op: ReduceOp) -> bool {
    match op {
        ReduceOp::Sum | ReduceOp::Prod | ReduceOp::Max | ReduceOp::Min => true,
        ReduceOp::ArgMax | ReduceOp::ArgMin => false,
    }
}

impl Reverse<'_> {
    pub(super) fn reduced(&mut self, op: ReduceOp, axes: &[usize], y: NodeId, x: NodeId, dy: NodeId) -> Step<()> {
        let shape = self.shape(x);
        let kept: Vec<usize> = (0..shape.len()).filter(|n| !axes.contains(n)).collect();
        let dx = match op {
            ReduceOp::ArgMax | ReduceOp::ArgMin => return Ok(()),
            ReduceOp::Sum => self.expand(dy, kept, shape)?,
            ReduceOp::Max | ReduceOp::Min => {
                let all = self.expand(y, kept.clone(), shape.clone())?;
                let here = self.map(ScalarOp::Eq, &[x, all])?;
                let one = self.map(ScalarOp::ToF32, &[here])?;
                let count = self.reduce(ReduceOp::Sum, one, axes.to_vec())?;
                let share = self.map(ScalarOp::Div, &[dy, count])?;
                let share = self.expand(share, kept, shape.clone())?;
                let zero = self.fill(0.0, &shape)?;
                self.select(here, share, zero)?
            }
            ReduceOp::Prod => {
                // The product of all others: those before by those after, in a row of all reduced elements.
                let order: Vec<usize> = kept.iter().chain(axes).copied().collect();
                let moved = self.permute(x, order.clone())?;
                let across = self.shape(moved);
                let mut flat = across[..kept.len()].to_vec();
                flat.push(Dim::product(&across[kept.len()..])?);
                let row = self.reshape(moved, flat.clone())?;
                let last = kept.len();
                let before = self.earlier(row, last)?;
                let back = self.reverse(row, last)?;
                let after = self.earlier(back, last)?;
                let after = self.reverse(after, last)?;
                let others = self.mul(before, after)?;
                let dy = self.expand(dy, (0..last).collect(), flat)?;
                let part = self.mul(dy, others)?;
                let part = self.reshape(part, across)?;
                let mut undo = vec![0; order.len()];
                for (n, p) in order.iter().enumerate() {
                    undo[*p] = n;
                }
                self.permute(part, undo)?
            }
        };
        self.give(x, dx);
        Ok(())
    }

    /// Running products along the last axis, without the element itself.
    fn earlier(&mut self, x: NodeId, last: usize) -> Step<NodeId> {
        let count = self.shape(x)[last].clone();
        let shifted = self.pad(x, last, Dim::int(1), Dim::int(-1), 0, 1.0)?;
        if count.is(1) {
            return Ok(shifted);
        }
        self.op(Op::Scan(ReduceOp::Prod), &[shifted])
    }

    pub(super) fn scanned(&mut self, op: ReduceOp, y: NodeId, x: NodeId, dy: NodeId) -> Step<()> {
        let shape = self.shape(x);
        let last = shape.len() - 1;
        let dx = match op {
            ReduceOp::ArgMax | ReduceOp::ArgMin => return Ok(()),
            ReduceOp::Sum => self.onwards(dy, last)?,
            ReduceOp::Max | ReduceOp::Min => {
                let at = self.put(Op::Iota { axis: last }, &[], DType::I32, shape.clone())?;
                let here = self.map(ScalarOp::Eq, &[x, y])?;
                let none = self.whole(0, &shape)?;
                let at = self.select(here, at, none)?;
                let at = self.op(Op::Scan(ReduceOp::Max), &[at])?;
                let zero = self.fill(0.0, &shape)?;
                self.op(Op::ScatterAdd { axis: last, batch: last }, &[zero, at, dy])?
            }
            ReduceOp::Prod => {
                // By element i: the sum over j >= i of dy[j] times the product of all up to j but i.
                let mut square = shape.to_vec();
                square.push(shape[last].clone());
                let square = Shape::from(square);
                let along: Vec<usize> = (0..last).chain([last + 1]).collect();
                let row = self.expand(x, along.clone(), square.clone())?;
                let i = self.put(Op::Iota { axis: last }, &[], DType::I32, square.clone())?;
                let j = self.put(Op::Iota { axis: last + 1 }, &[], DType::I32, square.clone())?;
                let (itself, later) = (self.map(ScalarOp::Eq, &[i, j])?, self.map(ScalarOp::Le, &[i, j])?);
                let (one, zero) = (self.fill(1.0, &square)?, self.fill(0.0, &square)?);
                let others = self.select(itself, one, row)?;
                let others = self.op(Op::Scan(ReduceOp::Prod), &[others])?;
                let dy = self.expand(dy, along, square)?;
                let part = self.mul(dy, others)?;
                let part = self.select(later, part, zero)?;
                self.reduce(ReduceOp::Sum, part, vec![last + 1])?
            }
        };
        self.give(x, dx);
        Ok(())
    }

    /// Sums from each element to the last.
    fn onwards(&mut self, x: NodeId, last: usize) -> Step<NodeId> {
        let back = self.reverse(x, last)?;
        let sums = self.op(Op::Scan(ReduceOp::Sum), &[back])?;
        self.reverse(sums, last)
    }
}
