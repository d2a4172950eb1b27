//! Steps of a random graph that stand in real ones: softmax, attention, convolution with norm, layer norm.
//!
//! In: the graph so far. Out: one more value. Invariants: see [`super`]. Imports: the graph, `uad-plan`.

use uad_plan::{DType, Dim, ReduceOp, ScalarOp};

use super::Maker;
use crate::graph::{NodeId, Op, TensorType};

fn int(v: i64) -> Dim {
    Dim::int(v)
}

impl Maker {
    fn f32s(&self, shape: &[Dim]) -> TensorType {
        TensorType::new(DType::F32, shape.to_vec())
    }

    /// A reduction over one axis, repeated back.
    fn along(&mut self, op: ReduceOp, x: NodeId, axis: usize) -> Option<NodeId> {
        let shape = self.shape(x);
        let r = self.op(Op::Reduce { op, axes: vec![axis] }, &[x])?;
        if self.random.once_in(3) {
            // As a kept axis of extent 1.
            let mut one = shape.clone();
            one[axis] = int(1);
            let r = self.put(Op::Reshape, &[r], self.f32s(&one))?;
            return self.put(Op::Expand { axes: (0..shape.len()).collect() }, &[r], self.f32s(&shape));
        }
        let axes = (0..shape.len()).filter(|n| *n != axis).collect();
        self.put(Op::Expand { axes }, &[r], self.f32s(&shape))
    }

    fn softmax_of(&mut self, x: NodeId, axis: usize) -> Option<NodeId> {
        let top = self.along(ReduceOp::Max, x, axis)?;
        let x = self.map(ScalarOp::Sub, &[x, top])?;
        let e = self.map(ScalarOp::Exp, &[x])?;
        // At most 1, and 1 at the largest: more than the facts know.
        self.facts[e.0 as usize].bound = 1.0;
        let sum = self.along(ReduceOp::Sum, e, axis)?;
        self.facts[sum.0 as usize].above = 1.0;
        self.map(ScalarOp::Div, &[e, sum])
    }

    pub(super) fn softmax(&mut self) -> Option<NodeId> {
        let x = self.find(|m, id| m.graph.ty(id).dtype == DType::F32 && m.rank(id) > 0 && m.fact(id).bound <= 6.0)?;
        let rank = self.rank(x);
        let axis = if self.random.once_in(3) { self.random.below(rank) } else { rank - 1 };
        self.softmax_of(x, axis)
    }

    /// Queries and keys from two projections, heads as a view, a mask at times.
    pub(super) fn attention(&mut self) -> Option<NodeId> {
        let (h, d) = (self.random.pick(&[1, 2, 3])?, self.random.pick(&[1, 2, 4, 5])?);
        let (t, s) = (self.random.pick(&[1, 3, 5, 7])?, self.random.pick(&[2, 3, 5])?);
        let b = Dim::name("b");
        let x = self.leaf(DType::F32, Some(vec![b.clone(), int(t), int(3)]))?;
        let memory = self.leaf(DType::F32, Some(vec![b.clone(), int(s), int(3)]))?;
        let mut heads = Vec::new();
        for (from, n) in [(x, t), (memory, s), (memory, s)] {
            let w = self.leaf(DType::F32, Some(vec![int(3), int(h * d)]))?;
            let y = self.op(Op::Dot { batch: vec![], contract: vec![(2, 0)] }, &[from, w])?;
            let bias = self.leaf(DType::F32, Some(vec![int(h * d)]))?;
            let shape = self.shape(y);
            let bias = self.broadcast(bias, &shape)?;
            let y = self.map(ScalarOp::Add, &[y, bias])?;
            let quarter = self.fill(DType::F32, 0.25, &shape)?;
            let y = self.map(ScalarOp::Mul, &[y, quarter])?;
            let split = [b.clone(), int(n), int(h), int(d)];
            let y = self.put(Op::Reshape, &[y], self.f32s(&split))?;
            heads.push(self.op(Op::Permute(vec![0, 2, 1, 3]), &[y])?);
        }
        let batch = vec![(0, 0), (1, 1)];
        let scores = self.op(Op::Dot { batch: batch.clone(), contract: vec![(3, 3)] }, &[heads[0], heads[1]])?;
        let shape = self.shape(scores);
        let scale = self.fill(DType::F32, 0.125 / (d as f64), &shape)?;
        let mut scores = self.map(ScalarOp::Mul, &[scores, scale])?;
        if self.random.once_in(2) {
            // Key 0 is never masked: no row is empty.
            let key = self.put(Op::Iota { axis: 1 }, &[], TensorType::new(DType::I32, vec![int(t), int(s)]))?;
            let query = self.put(Op::Iota { axis: 0 }, &[], TensorType::new(DType::I32, vec![int(t), int(s)]))?;
            let open = self.map(ScalarOp::Le, &[key, query])?;
            let open = self.broadcast(open, &shape)?;
            let never = self.never(&shape)?;
            // Facts bound values, and -inf has no bound: added by hand.
            let masked = self.graph.op(Op::Map(ScalarOp::Select), &[open, scores, never], self.scope).ok()?;
            self.facts.push(self.fact(scores));
            scores = masked;
        }
        let weights = self.softmax_of(scores, 3)?;
        let mixed = self.op(Op::Dot { batch, contract: vec![(3, 2)] }, &[weights, heads[2]])?;
        let mixed = self.op(Op::Permute(vec![0, 2, 1, 3]), &[mixed])?;
        self.put(Op::Reshape, &[mixed], self.f32s(&[b, int(t), int(h * d)]))
    }

    /// -inf of a shape.
    fn never(&mut self, shape: &[Dim]) -> Option<NodeId> {
        let c = self.graph.constant(DType::F32, f64::NEG_INFINITY, self.scope);
        self.facts.push(super::facts::fact(&Op::Const(0.0), &[], self.graph.ty(c)));
        let never = self.broadcast(c, shape)?;
        // Nobody else finds these.
        self.facts[c.0 as usize].bound = f64::INFINITY;
        self.facts[never.0 as usize].bound = f64::INFINITY;
        Some(never)
    }

    /// Windows, contraction, batch norm and relu; plain, depthwise or of one element.
    pub(super) fn convolution(&mut self) -> Option<NodeId> {
        let (c, o) = (self.random.pick(&[1, 2, 3, 5])?, self.random.pick(&[1, 2, 4, 5])?);
        let (h, w) = (self.random.pick(&[4, 5, 7])?, self.random.pick(&[3, 5, 6])?);
        let found = self.find(|m, id| {
            let shape = m.shape(id);
            let image = m.graph.ty(id).dtype == DType::F32 && shape.len() == 4 && m.fact(id).bound <= 8.0;
            image && shape[0] == Dim::name("b") && shape[1..].iter().all(|d| d.as_int() > Some(0))
        });
        let new = vec![Dim::name("b"), int(c), int(h), int(w)];
        let x = found.or_else(|| self.leaf(DType::F32, Some(new)))?;
        let c = self.shape(x)[1].clone();
        let depthwise = self.random.once_in(3);
        let k = self.random.pick(&[1, 2, 3])?;
        let mut y = x;
        for axis in [2, 3] {
            let (stride, lo, hi) =
                (1 + self.random.below(2) as i64, self.random.below(2) as i64, self.random.below(2) as i64);
            let extent = self.shape(x)[axis].as_int()?;
            if extent + lo + hi < k {
                return None;
            }
            y = self.op(Op::Window { axis, size: k, stride, dilation: 1, lo, hi, value: 0.0 }, &[y])?;
        }
        let (y, channels) = if depthwise {
            let weight = self.leaf(DType::F32, Some(vec![c.clone(), int(k), int(k)]))?;
            let y = self.op(Op::Dot { batch: vec![(1, 0)], contract: vec![(4, 1), (5, 2)] }, &[y, weight])?;
            (self.op(Op::Permute(vec![1, 0, 2, 3]), &[y])?, c)
        } else {
            let weight = self.leaf(DType::F32, Some(vec![int(o), c, int(k), int(k)]))?;
            let y = self.op(Op::Dot { batch: vec![], contract: vec![(1, 1), (4, 2), (5, 3)] }, &[y, weight])?;
            (self.op(Op::Permute(vec![0, 3, 1, 2]), &[y])?, int(o))
        };
        let shape = self.shape(y);
        let per_channel = |m: &mut Maker, square: bool| -> Option<NodeId> {
            let v = m.leaf(DType::F32, Some(vec![channels.clone()]))?;
            let v = if square { m.map(ScalarOp::Mul, &[v, v])? } else { v };
            m.put(Op::Expand { axes: vec![1] }, &[v], TensorType::new(DType::F32, shape.clone()))
        };
        let mean = per_channel(self, false)?;
        let y = self.map(ScalarOp::Sub, &[y, mean])?;
        let var = per_channel(self, true)?;
        let epsilon = self.fill(DType::F32, 0.25, &shape)?;
        // A square is not below 0, which the facts do not know.
        self.facts[var.0 as usize].above = 0.0;
        let var = self.map(ScalarOp::Add, &[var, epsilon])?;
        let deviation = self.map(ScalarOp::Sqrt, &[var])?;
        let y = self.map(ScalarOp::Div, &[y, deviation])?;
        let gamma = per_channel(self, false)?;
        let y = self.map(ScalarOp::Mul, &[y, gamma])?;
        let beta = per_channel(self, false)?;
        let y = self.map(ScalarOp::Add, &[y, beta])?;
        let zero = self.fill(DType::F32, 0.0, &shape)?;
        self.map(ScalarOp::Max, &[y, zero])
    }

    pub(super) fn layer_norm(&mut self) -> Option<NodeId> {
        let x = self.find(|m, id| m.graph.ty(id).dtype == DType::F32 && m.rank(id) > 0 && m.fact(id).bound <= 9.0)?;
        let (shape, axis) = (self.shape(x), self.rank(x) - 1);
        let n = self.op(Op::Size(shape[axis].clone()), &[])?;
        let n = self.map(ScalarOp::ToF32, &[n])?;
        let n = self.broadcast(n, &shape)?;
        let sum = self.along(ReduceOp::Sum, x, axis)?;
        let mean = self.map(ScalarOp::Div, &[sum, n])?;
        let x = self.map(ScalarOp::Sub, &[x, mean])?;
        let square = self.map(ScalarOp::Mul, &[x, x])?;
        let sum = self.along(ReduceOp::Sum, square, axis)?;
        let var = self.map(ScalarOp::Div, &[sum, n])?;
        self.facts[var.0 as usize].above = 0.0;
        let epsilon = self.fill(DType::F32, 0.25, &shape)?;
        let var = self.map(ScalarOp::Add, &[var, epsilon])?;
        let deviation = self.map(ScalarOp::Sqrt, &[var])?;
        let y = self.map(ScalarOp::Div, &[x, deviation])?;
        let gamma = self.leaf(DType::F32, Some(vec![shape[axis].clone()]))?;
        let gamma = self.broadcast(gamma, &shape)?;
        self.map(ScalarOp::Mul, &[y, gamma])
    }
}
