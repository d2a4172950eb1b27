//! Windows: what an element gave to several windows is added up.
//!
//! In: a window node and the cotangent of its result. Out: the cotangent of its argument. An element `i` stands in
//! window `n` at `k` where `n * stride + k * dilation = i + lo`: with `k = q * stride + r` the positions of one phase
//! `r` are sums over few `q` of the windows shifted by `q`, so nothing is spread apart. Invariants: only shifts, sums
//! and views; `contract` sees to convolutions before windows get here. Imports: shorthands, the graph, `uad-plan`.

use uad_plan::{Dim, ReduceOp};

use super::{Reverse, Step};
use crate::graph::{Node, NodeId, Op};

/// The windows of one node.
#[derive(Clone, Copy)]
pub(super) struct Windows {
    pub axis: usize,
    pub size: i64,
    pub stride: i64,
    pub dilation: i64,
    pub lo: i64,
    pub hi: i64,
}

impl Windows {
    pub(super) fn of(op: &Op) -> Option<Windows> {
        match *op {
            Op::Window { axis, size, stride, dilation, lo, hi, .. } => {
                Some(Windows { axis, size, stride, dilation, lo, hi })
            }
            _ => None,
        }
    }
}

impl Reverse<'_> {
    pub(super) fn windowed(&mut self, node: &Node, dy: NodeId) -> Step<()> {
        let Some(mut w) = Windows::of(&node.op) else { return Ok(()) };
        let x = node.args[0];
        let shape = self.shape(x);
        let last = shape.len();
        if let Some(dx) = self.alike(&w, dy, &shape)? {
            self.give(x, dx);
            return Ok(());
        }
        let mut dy = dy;
        if w.stride > 1 && w.dilation > 1 {
            dy = self.pad(dy, w.axis, Dim::int(0), Dim::int(0), w.stride - 1, 0.0)?;
            w.stride = 1;
        }
        // Elements of a window by q and r.
        let rounds = (w.size + w.stride - 1) / w.stride;
        dy = self.pad(dy, last, Dim::int(0), Dim::int(rounds * w.stride - w.size), 0, 0.0)?;
        let mut split = self.shape(dy).to_vec();
        split[last] = Dim::int(rounds);
        split.push(Dim::int(w.stride));
        dy = self.reshape(dy, split)?;
        let mut sum: Option<NodeId> = None;
        for q in 0..rounds {
            let part = self.slice(dy, last, Dim::int(q), 1, Dim::int(1))?;
            let (lo, hi) = (Dim::int(q * w.dilation), Dim::int((rounds - 1 - q) * w.dilation));
            let part = self.pad(part, w.axis, lo, hi, 0, 0.0)?;
            sum = Some(match sum {
                Some(s) => self.add(s, part)?,
                None => part,
            });
        }
        let Some(sum) = sum else { return Ok(()) };
        // [.., m, .., 1, r] -> [.., m, r, ..] -> [.., m * stride + r, ..]
        let mut perm: Vec<usize> = (0..=w.axis).collect();
        perm.push(last + 1);
        perm.extend(w.axis + 1..=last);
        let sum = self.permute(sum, perm)?;
        let mut merged = shape.to_vec();
        merged[w.axis] = self.shape(sum)[w.axis].mul(&Dim::int(w.stride))?;
        let sum = self.reshape(sum, merged)?;
        let dx = self.fit(sum, w.axis, w.lo, &shape[w.axis])?;
        self.give(x, dx);
        Ok(())
    }

    /// The cotangent of the argument where that of the windows is the same at all places of a window: a sum over the
    /// windows of an element, before anything is repeated.
    fn alike(&mut self, w: &Windows, dy: NodeId, shape: &[Dim]) -> Step<Option<NodeId>> {
        let node = self.g.node(dy).clone();
        let Op::Expand { axes } = &node.op else { return Ok(None) };
        let last = shape.len();
        let mut base = node.args[0];
        let mut axes = axes.clone();
        if axes.last() == Some(&last) {
            // An axis of extent 1 that repeats.
            let mut of = self.shape(base).to_vec();
            if !of.last().is_some_and(|d| d.is(1)) || node.ty.shape[last].is(1) {
                return Ok(None);
            }
            of.pop();
            axes.pop();
            base = self.reshape(base, of)?;
        }
        let Some(at) = axes.iter().position(|a| *a == w.axis) else { return Ok(None) };
        let of = self.shape(base);
        let rounds = w.size / w.stride;
        let whole = w.stride == 1 || (w.dilation == 1 && w.size % w.stride == 0);
        if of[at] != node.ty.shape[w.axis] || !whole {
            return Ok(None);
        }
        let end = of.len();
        let pad = (rounds - 1) * w.dilation;
        let (lo, hi) = if w.stride == 1 { (pad - w.lo, pad - w.hi) } else { (pad, pad) };
        if lo < 0 || hi < 0 {
            return Ok(None);
        }
        let mut y = base;
        if rounds > 1 || lo > 0 || hi > 0 {
            let op = Op::Window { axis: at, size: rounds, stride: 1, dilation: w.dilation, lo, hi, value: 0.0 };
            y = self.op(op, &[y])?;
            y = self.reduce(ReduceOp::Sum, y, vec![end])?;
        }
        if w.stride > 1 {
            let mut spread = self.shape(y).to_vec();
            spread.insert(at + 1, Dim::int(w.stride));
            let to = (0..=end).filter(|n| *n != at + 1).collect();
            y = self.expand(y, to, spread)?;
            let mut merged = self.shape(y).to_vec();
            merged.remove(at + 1);
            merged[at] = merged[at].mul(&Dim::int(w.stride))?;
            y = self.reshape(y, merged)?;
            y = self.fit(y, at, w.lo, &shape[w.axis])?;
        }
        Ok(Some(self.expand(y, axes, shape.to_vec())?))
    }
}
