//! Shorthands for the nodes that rules add.
//!
//! In: values of the graph. Out: new nodes, in the scope of the rule at work, or the value itself where the operation
//! would change nothing. Invariants: none beyond those of [`crate::graph::build`]. Imports: the graph, `uad-plan`.

use uad_plan::{DType, Dim, ReduceOp, ScalarOp};

use super::{Reverse, Step};
use crate::graph::{NodeId, Op, Shape, TensorType};

impl Reverse<'_> {
    pub(super) fn op(&mut self, op: Op, args: &[NodeId]) -> Step<NodeId> {
        Ok(self.g.op(op, args, self.scope)?)
    }

    pub(super) fn put(&mut self, op: Op, args: &[NodeId], dtype: DType, shape: impl Into<Shape>) -> Step<NodeId> {
        Ok(self.g.add(op, args, TensorType::new(dtype, shape), self.scope)?)
    }

    pub(super) fn map(&mut self, op: ScalarOp, args: &[NodeId]) -> Step<NodeId> {
        self.op(Op::Map(op), args)
    }

    pub(super) fn add(&mut self, a: NodeId, b: NodeId) -> Step<NodeId> {
        self.map(ScalarOp::Add, &[a, b])
    }

    pub(super) fn mul(&mut self, a: NodeId, b: NodeId) -> Step<NodeId> {
        self.map(ScalarOp::Mul, &[a, b])
    }

    pub(super) fn neg(&mut self, a: NodeId) -> Step<NodeId> {
        self.map(ScalarOp::Neg, &[a])
    }

    pub(super) fn select(&mut self, c: NodeId, a: NodeId, b: NodeId) -> Step<NodeId> {
        self.map(ScalarOp::Select, &[c, a, b])
    }

    pub(super) fn shape(&self, x: NodeId) -> Shape {
        self.g.ty(x).shape.clone()
    }

    /// An f32 repeated to a shape.
    pub(super) fn fill(&mut self, value: f64, shape: &Shape) -> Step<NodeId> {
        let c = self.g.constant(DType::F32, value, self.scope);
        Ok(self.g.broadcast(c, shape, self.scope)?)
    }

    /// An f32 repeated to the shape of `x`.
    pub(super) fn like(&mut self, value: f64, x: NodeId) -> Step<NodeId> {
        let shape = self.shape(x);
        self.fill(value, &shape)
    }

    /// An i32 repeated to a shape.
    pub(super) fn whole(&mut self, value: i32, shape: &Shape) -> Step<NodeId> {
        let c = self.g.constant(DType::I32, f64::from(value), self.scope);
        Ok(self.g.broadcast(c, shape, self.scope)?)
    }

    /// Axis `n` of the result is axis `perm[n]` of `x`.
    pub(super) fn permute(&mut self, x: NodeId, perm: Vec<usize>) -> Step<NodeId> {
        if perm.iter().enumerate().all(|(n, p)| n == *p) {
            return Ok(x);
        }
        self.op(Op::Permute(perm), &[x])
    }

    pub(super) fn reshape(&mut self, x: NodeId, shape: impl Into<Shape>) -> Step<NodeId> {
        let shape = shape.into();
        let ty = self.g.ty(x);
        if ty.shape == shape {
            return Ok(x);
        }
        let dtype = ty.dtype;
        self.put(Op::Reshape, &[x], dtype, shape)
    }

    pub(super) fn expand(&mut self, x: NodeId, axes: Vec<usize>, shape: impl Into<Shape>) -> Step<NodeId> {
        let shape = shape.into();
        let ty = self.g.ty(x);
        if ty.shape == shape {
            return Ok(x);
        }
        let dtype = ty.dtype;
        self.put(Op::Expand { axes }, &[x], dtype, shape)
    }

    pub(super) fn reduce(&mut self, op: ReduceOp, x: NodeId, axes: Vec<usize>) -> Step<NodeId> {
        if axes.is_empty() {
            return Ok(x);
        }
        self.op(Op::Reduce { op, axes }, &[x])
    }

    /// `count` elements from `start` on along one axis, every `step`-th.
    pub(super) fn slice(&mut self, x: NodeId, axis: usize, start: Dim, step: i64, count: Dim) -> Step<NodeId> {
        let ty = self.g.ty(x).clone();
        if step == 1 && start.is(0) && count == ty.shape[axis] {
            return Ok(x);
        }
        let rank = ty.shape.len();
        let (mut starts, mut steps, mut shape) = (vec![Dim::int(0); rank], vec![1; rank], ty.shape.to_vec());
        (starts[axis], steps[axis], shape[axis]) = (start, step, count);
        self.put(Op::Slice { start: starts, step: steps }, &[x], ty.dtype, shape)
    }

    /// The other way round along one axis.
    pub(super) fn reverse(&mut self, x: NodeId, axis: usize) -> Step<NodeId> {
        let count = self.shape(x)[axis].clone();
        if count.is(1) {
            return Ok(x);
        }
        self.slice(x, axis, count.sub(&Dim::int(1))?, -1, count)
    }

    /// Pads one axis; negative amounts cut.
    pub(super) fn pad(&mut self, x: NodeId, axis: usize, lo: Dim, hi: Dim, interior: i64, value: f64) -> Step<NodeId> {
        if lo.is(0) && hi.is(0) && interior == 0 {
            return Ok(x);
        }
        let rank = self.g.ty(x).shape.len();
        let (mut los, mut his, mut inside) = (vec![Dim::int(0); rank], vec![Dim::int(0); rank], vec![0; rank]);
        (los[axis], his[axis], inside[axis]) = (lo, hi, interior);
        self.op(Op::Pad { lo: los, hi: his, interior: inside, value }, &[x])
    }

    /// `count` elements from `start` (may be negative) on along one axis; zeros outside.
    pub(super) fn fit(&mut self, x: NodeId, axis: usize, start: i64, count: &Dim) -> Step<NodeId> {
        let have = self.shape(x)[axis].clone();
        let hi = count.add(&Dim::int(start))?.sub(&have)?;
        if start >= 0 && hi.as_int().is_some_and(|h| h <= 0) {
            return self.slice(x, axis, Dim::int(start), 1, count.clone());
        }
        self.pad(x, axis, Dim::int(-start), hi, 0, 0.0)
    }
}
