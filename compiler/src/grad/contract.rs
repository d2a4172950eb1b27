//! Contractions: the cotangent of an operand is a contraction of the result's cotangent with the other operand.
//!
//! In: a contraction and the cotangent of its result. Out: cotangents of both operands. An operand that is windows of a
//! value (through permutations and regrouped axes) hands its cotangent to that value at once: a convolution's gradient
//! is then a contraction of windows of the result's cotangent with the mirrored weight, one per phase of the stride,
//! and overlapping windows are never stored. Axes have labels here, so that no rule counts positions.
//! Invariants: sums run over the axes over which the operand was repeated. Imports: shorthands, the graph, `uad-plan`.

use uad_plan::{Dim, ReduceOp};

use super::window::Windows;
use super::{Reverse, Step};
use crate::graph::groups::groups;
use crate::graph::{Node, NodeId, Op, Shape};

/// Names an axis: a position in [`Labels::extents`].
type Label = usize;

/// A value with a label on each axis.
#[derive(Clone, Debug)]
struct Labelled {
    id: NodeId,
    axes: Vec<Label>,
}

/// The extents of all labels.
struct Labels {
    extents: Vec<Dim>,
}

impl Labels {
    fn fresh(&mut self, extent: Dim) -> Label {
        self.extents.push(extent);
        self.extents.len() - 1
    }
}

/// An axis of the value to which a cotangent goes.
#[derive(Clone, Debug)]
struct Axis {
    /// Its parts, outermost first.
    labels: Vec<Label>,
    /// The elements from here on, so many, are the axis (zeros outside).
    fit: Option<(i64, Dim)>,
}

impl Reverse<'_> {
    pub(super) fn contracted(
        &mut self,
        batch: &[(usize, usize)],
        contract: &[(usize, usize)],
        node: &Node,
        dy: NodeId,
    ) -> Step<()> {
        let (a, b) = (node.args[0], node.args[1]);
        let mut labels = Labels { extents: self.shape(a).to_vec() };
        let of_a: Vec<Label> = (0..labels.extents.len()).collect();
        let mut of_b = Vec::new();
        for (n, d) in self.shape(b).iter().enumerate() {
            let pair = batch.iter().chain(contract).find(|p| p.1 == n);
            of_b.push(pair.map_or_else(|| labels.fresh(d.clone()), |p| of_a[p.0]));
        }
        let mut of_y: Vec<Label> = batch.iter().map(|p| of_a[p.0]).collect();
        of_y.extend(of_a.iter().filter(|l| !batch.iter().chain(contract).any(|p| p.0 == **l)));
        of_y.extend(of_b.iter().filter(|l| !of_a.contains(l)));
        let (a, b) = (Labelled { id: a, axes: of_a }, Labelled { id: b, axes: of_b });
        let dy = Labelled { id: dy, axes: of_y };
        if self.wants(a.id) {
            self.toward(&mut labels, &a, dy.clone(), b.clone())?;
        }
        if self.wants(b.id) {
            self.toward(&mut labels, &b, dy, a)?;
        }
        Ok(())
    }

    /// Gives the contraction of `dy` and `other` to the operand, or to the value whose windows the operand is.
    fn toward(&mut self, labels: &mut Labels, operand: &Labelled, dy: Labelled, other: Labelled) -> Step<()> {
        let single = |l: &Label| Axis { labels: vec![*l], fit: None };
        let mut axes: Vec<Axis> = operand.axes.iter().map(single).collect();
        let (mut p, mut q) = (dy, other);
        let (mut at, mut windows) = (operand.id, false);
        // The operand itself, or what it is a permutation of: its gradient is best laid out as that is.
        let mut plain = (operand.id, operand.axes.clone());
        loop {
            let node = self.g.node(at).clone();
            let Some(&arg) = node.args.first() else { break };
            match &node.op {
                Op::Permute(perm) => {
                    let mut moved = axes.clone();
                    for (k, axis) in perm.iter().zip(axes) {
                        moved[*k] = axis;
                    }
                    axes = moved;
                    if !windows && axes.iter().all(|a| a.labels.len() == 1) {
                        plain = (arg, axes.iter().flat_map(|a| a.labels.clone()).collect());
                    }
                }
                Op::Reshape => match regrouped(&axes, &node.ty.shape, &self.shape(arg)) {
                    Some(inner) => axes = inner,
                    None => break,
                },
                op => {
                    let Some(w) = Windows::of(op) else { break };
                    let extent = self.shape(arg)[w.axis].clone();
                    match self.unwind(labels, &w, &axes, &extent, &p, &q)? {
                        Some((inner, dy, other)) => (axes, p, q) = (inner, dy, other),
                        None => break,
                    }
                    windows = true;
                }
            }
            at = arg;
        }
        if !windows {
            // The result's last axis is best the second factor's: results lie that way.
            let last =
                plain.1.iter().rev().find(|l| !labels.extents[**l].is(1) && p.axes.contains(l) != q.axes.contains(l));
            let turn = last.is_some_and(|l| p.axes.contains(l));
            let (p, q) = if turn { (&q, &p) } else { (&p, &q) };
            let dx = self.product(p, q, &plain.1)?;
            self.give(plain.0, dx);
            return Ok(());
        }
        // Pixels, then channels: as the convolution's result lies.
        let flat: Vec<Label> = axes.iter().flat_map(|a| a.labels.iter().copied()).collect();
        let mut dx = self.product(&p, &q, &flat)?;
        let extent = |a: &Axis| Dim::product(a.labels.iter().map(|l| &labels.extents[*l]));
        let merged: Shape = axes.iter().map(extent).collect::<Result<_, _>>()?;
        dx = self.reshape(dx, merged)?;
        for (n, axis) in axes.iter().enumerate() {
            if let Some((start, count)) = &axis.fit {
                dx = self.fit(dx, n, *start, count)?;
            }
        }
        self.give(at, dx);
        Ok(())
    }

    /// Looks through one window node: its windows' axis `n` is in one factor, the axis inside them `k` in the other. The
    /// first becomes windows itself, the other is mirrored. `None` where the factors have other axes.
    fn unwind(
        &mut self,
        labels: &mut Labels,
        w: &Windows,
        axes: &[Axis],
        extent: &Dim,
        p: &Labelled,
        q: &Labelled,
    ) -> Step<Option<(Vec<Axis>, Labelled, Labelled)>> {
        let Some((inside, rest)) = axes.split_last() else { return Ok(None) };
        let plain = |a: &Axis| if a.fit.is_none() && a.labels.len() == 1 { Some(a.labels[0]) } else { None };
        let (Some(n), Some(k)) = (plain(&axes[w.axis]), plain(inside)) else { return Ok(None) };
        let only = |l: Label, x: &Labelled, y: &Labelled| x.axes.contains(&l) && !y.axes.contains(&l);
        if only(n, q, p) && only(k, p, q) {
            let turned = self.unwind(labels, w, axes, extent, q, p)?;
            return Ok(turned.map(|(axes, q, p)| (axes, p, q)));
        }
        if !only(n, p, q) || !only(k, q, p) {
            return Ok(None);
        }
        let (mut p, mut q, mut w) = (p.clone(), q.clone(), *w);
        let position = |x: &Labelled, l: Label| x.axes.iter().position(|a| *a == l).unwrap_or(0);
        let (at, of) = (position(&p, n), position(&q, k));
        if w.stride > 1 && w.dilation > 1 {
            p.id = self.pad(p.id, at, Dim::int(0), Dim::int(0), w.stride - 1, 0.0)?;
            w.stride = 1;
        }
        // Elements of a window by q and r: see `window`.
        let rounds = (w.size + w.stride - 1) / w.stride;
        let mut parts = Vec::new();
        if w.stride > 1 {
            q.id = self.pad(q.id, of, Dim::int(0), Dim::int(rounds * w.stride - w.size), 0, 0.0)?;
            let mut split = self.shape(q.id).to_vec();
            split[of] = Dim::int(w.stride);
            parts.push(labels.fresh(Dim::int(w.stride)));
            q.axes[of] = parts[0];
            if rounds > 1 {
                split.insert(of, Dim::int(rounds));
                q.axes.insert(of, k);
            }
            q.id = self.reshape(q.id, split)?;
        }
        let round = labels.fresh(Dim::int(rounds));
        let pad = (rounds - 1) * w.dilation;
        // Without phases the windows give just the elements that are wanted, where padding is not more than windows reach.
        let exact = w.stride == 1 && w.lo <= pad && w.hi <= pad;
        let (lo, hi) = if exact { (pad - w.lo, pad - w.hi) } else { (pad, pad) };
        if rounds > 1 || lo > 0 || hi > 0 {
            let op = Op::Window { axis: at, size: rounds, stride: 1, dilation: w.dilation, lo, hi, value: 0.0 };
            p.id = self.op(op, &[p.id])?;
            p.axes[at] = labels.fresh(self.shape(p.id)[at].clone());
            p.axes.push(round);
            q.id = self.reverse(q.id, of)?;
            q.axes[of] = round;
        } else if w.stride == 1 {
            // Windows of one element.
            let mut shape = self.shape(q.id).to_vec();
            shape.remove(of);
            q.id = self.reshape(q.id, shape)?;
            q.axes.remove(of);
        }
        parts.insert(0, p.axes[at]);
        let fit = if exact { None } else { Some((w.lo, extent.clone())) };
        let mut inner = rest.to_vec();
        inner[w.axis] = Axis { labels: parts, fit };
        Ok(Some((inner, p, q)))
    }

    /// The sum of the product over all labels that are not in `out`, with its axes in that order.
    fn product(&mut self, p: &Labelled, q: &Labelled, out: &[Label]) -> Step<NodeId> {
        let (p, q) = (self.alone(p, q, out)?, self.alone(q, p, out)?);
        let place = |x: &Labelled, l: Label| x.axes.iter().position(|a| *a == l);
        let (mut batch, mut contract, mut axes) = (Vec::new(), Vec::new(), Vec::new());
        for l in out {
            if let (Some(n), Some(m)) = (place(&p, *l), place(&q, *l)) {
                batch.push((n, m));
                axes.push(*l);
            }
        }
        for (n, l) in p.axes.iter().enumerate() {
            match place(&q, *l) {
                Some(m) if !out.contains(l) => contract.push((n, m)),
                Some(_) => {}
                None => axes.push(*l),
            }
        }
        axes.extend(q.axes.iter().filter(|l| !p.axes.contains(l)));
        let y = self.op(Op::Dot { batch, contract }, &[p.id, q.id])?;
        self.permute(y, out.iter().filter_map(|l| axes.iter().position(|a| a == l)).collect())
    }

    /// A factor without axes that only it has and nobody wants.
    fn alone(&mut self, x: &Labelled, other: &Labelled, out: &[Label]) -> Step<Labelled> {
        let idle = |l: &Label| !out.contains(l) && !other.axes.contains(l);
        let sums: Vec<usize> = (0..x.axes.len()).filter(|n| idle(&x.axes[*n])).collect();
        let id = self.reduce(ReduceOp::Sum, x.id, sums)?;
        Ok(Labelled { id, axes: x.axes.iter().copied().filter(|l| !idle(l)).collect() })
    }
}

/// The axes of a reshape's argument, where each is made of whole axes of its result.
fn regrouped(axes: &[Axis], outer: &[Dim], inner: &[Dim]) -> Option<Vec<Axis>> {
    let mut result: Vec<Axis> = inner.iter().map(|_| Axis { labels: Vec::new(), fit: None }).collect();
    for (from, to) in groups(inner, outer)? {
        let mut wide = from.clone().filter(|n| !inner[*n].is(1));
        let (first, more) = (wide.next(), wide.next());
        let parts = &axes[to];
        if more.is_some() || (parts.len() > 1 && parts.iter().any(|a| a.fit.is_some())) {
            return None;
        }
        let at = first.unwrap_or(from.start);
        let labels = parts.iter().flat_map(|a| a.labels.iter().copied()).collect();
        let fit = parts.first().and_then(|a| a.fit.clone());
        *result.get_mut(at)? = Axis { labels, fit };
    }
    Some(result)
}
