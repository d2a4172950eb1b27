//! Views: what was moved goes back where it came from, what was repeated is added up.
//!
//! In: a view and the cotangent of its result. Out: the cotangent of its argument. Invariants: extents are those of
//! the argument, open ones too. Imports: shorthands, the graph, `uad-plan`.

use uad_plan::{Dim, ReduceOp};

use super::{Reverse, Step};
use crate::graph::NodeId;

impl Reverse<'_> {
    pub(super) fn permuted(&mut self, perm: &[usize], x: NodeId, dy: NodeId) -> Step<()> {
        let mut back = vec![0; perm.len()];
        for (n, p) in perm.iter().enumerate() {
            back[*p] = n;
        }
        let dx = self.permute(dy, back)?;
        self.give(x, dx);
        Ok(())
    }

    pub(super) fn reshaped(&mut self, x: NodeId, dy: NodeId) -> Step<()> {
        let shape = self.shape(x);
        let dx = self.reshape(dy, shape)?;
        self.give(x, dx);
        Ok(())
    }

    pub(super) fn expanded(&mut self, axes: &[usize], x: NodeId, dy: NodeId) -> Step<()> {
        let (from, to) = (self.shape(x), self.shape(dy));
        let moves = |n: &usize| axes.iter().position(|a| a == n).is_some_and(|k| from[k] == to[*n]);
        let repeated: Vec<usize> = (0..to.len()).filter(|n| !moves(n)).collect();
        let dx = self.reduce(ReduceOp::Sum, dy, repeated)?;
        let dx = self.reshape(dx, from)?;
        self.give(x, dx);
        Ok(())
    }

    pub(super) fn sliced(&mut self, start: &[Dim], step: &[i64], x: NodeId, dy: NodeId) -> Step<()> {
        let from = self.shape(x);
        let mut dx = dy;
        for n in 0..step.len() {
            let len = self.shape(dx)[n].clone();
            let way = len.sub(&Dim::int(1))?.mul(&Dim::int(step[n]))?;
            let mut first = start[n].clone();
            if step[n] < 0 {
                dx = self.reverse(dx, n)?;
                first = first.add(&way)?;
            }
            let interior = step[n].abs() - 1;
            let reach = len.sub(&Dim::int(1))?.mul(&Dim::int(interior + 1))?;
            let hi = from[n].sub(&first)?.sub(&reach)?.sub(&Dim::int(1))?;
            dx = self.pad(dx, n, first, hi, interior, 0.0)?;
        }
        self.give(x, dx);
        Ok(())
    }

    pub(super) fn padded(&mut self, lo: &[Dim], hi: &[Dim], interior: &[i64], x: NodeId, dy: NodeId) -> Step<()> {
        let from = self.shape(x);
        let mut dx = dy;
        for n in 0..lo.len() {
            // Negative padding cut: zeros stand where the cut elements were.
            let cut = |d: &Dim| d.as_int().filter(|v| *v < 0).map_or(0, |v| -v);
            let (below, above) = (cut(&lo[n]), cut(&hi[n]));
            dx = self.pad(dx, n, Dim::int(below), Dim::int(above), 0, 0.0)?;
            let start = lo[n].add(&Dim::int(below))?;
            dx = self.slice(dx, n, start, interior[n] + 1, from[n].clone())?;
        }
        self.give(x, dx);
        Ok(())
    }

    pub(super) fn concatenated(&mut self, axis: usize, args: &[NodeId], dy: NodeId) -> Step<()> {
        let mut start = Dim::int(0);
        for a in args {
            let count = self.shape(*a)[axis].clone();
            if self.wants(*a) {
                let part = self.slice(dy, axis, start.clone(), 1, count.clone())?;
                self.give(*a, part);
            }
            start = start.add(&count)?;
        }
        Ok(())
    }
}
