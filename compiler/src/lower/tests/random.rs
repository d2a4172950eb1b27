//! Random well-typed graphs, lowered both ways and run.
//!
//! In: seeds. Out: graphs. Invariants: the same seed gives the same graph. Imports: the harness, the graph.

use uad_plan::{Binding, DType, Dim, ReduceOp, ScalarOp};

use super::equal::check;
use crate::graph::{Graph, NodeId, Op, Scope, ScopeId, Shape, TensorType};

struct Maker {
    g: Graph,
    state: u64,
}

const AT: ScopeId = ScopeId(0);
/// Larger values are not worked on: rounding would grow without bound.
const MOST: i64 = 600;

impl Maker {
    fn new(seed: u64) -> Maker {
        let mut g = Graph { name: "score".into(), dims: vec!["b".into()], ..Graph::default() };
        g.scope(Scope { parent: None, label: "random".into(), place: "".into(), instance: true, kernel: None });
        Maker { g, state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x1234_5678 }
    }

    fn below(&mut self, n: usize) -> usize {
        self.state = self.state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        ((self.state >> 33) as usize) % n.max(1)
    }

    fn dim(&mut self) -> Dim {
        match self.below(5) {
            0 => Dim::name("b"),
            1 => Dim::int(1),
            n => Dim::int(n as i64),
        }
    }

    fn shape(&mut self) -> Vec<Dim> {
        (0..self.below(4)).map(|_| self.dim()).collect()
    }

    fn leaf(&mut self, n: usize) {
        let shape = self.shape();
        let closed = shape.iter().all(|d| d.as_int().is_some());
        let op = if closed && self.below(2) == 0 { Op::Weight(format!("w{n}")) } else { Op::Input(format!("x{n}")) };
        let t = TensorType::new(DType::F32, shape);
        self.g.add(op, &[], t, AT).expect("a leaf");
    }

    fn any(&mut self) -> NodeId {
        // Late nodes more often.
        let n = self.g.nodes.len();
        let back = if self.below(2) == 0 { self.below(n.min(4)) } else { self.below(n) };
        let at = n - 1 - back;
        // A loop's value is its part, which stands after it.
        NodeId((at + usize::from(matches!(self.g.nodes[at].op, Op::Loop { .. }))) as u32)
    }

    fn float(&mut self) -> NodeId {
        for _ in 0..64 {
            let n = self.any();
            if self.g.ty(n).dtype == DType::F32 {
                return n;
            }
        }
        NodeId(0)
    }

    fn op(&mut self, op: Op, args: &[NodeId]) -> Option<NodeId> {
        self.typed(op, args, vec![])
    }

    fn typed(&mut self, op: Op, args: &[NodeId], shape: impl Into<Shape>) -> Option<NodeId> {
        let dtype = args.first().map_or(DType::F32, |a| self.g.ty(*a).dtype);
        let before = self.g.nodes.len();
        let n = self.g.add(op, args, TensorType::new(dtype, shape), AT).ok()?;
        let t = self.g.ty(n).clone();
        let bound = Binding::from([("b".to_string(), 2)]);
        let size = t.shape.iter().try_fold(1i64, |p, d| {
            let v = d.eval(&bound).ok().filter(|v| *v >= 1)?;
            p.checked_mul(v)
        });
        if size.is_none_or(|s| s > MOST) || t.shape.len() > 6 {
            self.g.nodes.truncate(before);
            return None;
        }
        Some(n)
    }

    fn like(&mut self, x: NodeId) -> NodeId {
        let t = self.g.ty(x).clone();
        let same: Vec<NodeId> =
            self.g.ids().filter(|n| *self.g.ty(*n) == t && !matches!(self.g.node(*n).op, Op::Loop { .. })).collect();
        same[self.below(same.len())]
    }

    fn scalar(&mut self, x: NodeId, v: f64) -> Option<NodeId> {
        let shape = self.g.ty(x).shape.clone();
        let dtype = self.g.ty(x).dtype;
        let c = self.g.constant(dtype, v, AT);
        self.g.broadcast(c, &shape, AT).ok()
    }

    /// Repeats a reduced value over the axes that it lost.
    fn back(&mut self, x: NodeId, shape: &[Dim], axes: &[usize]) -> Option<NodeId> {
        let kept = (0..shape.len()).filter(|k| !axes.contains(k)).collect();
        self.typed(Op::Expand { axes: kept }, &[x], shape.to_vec())
    }

    fn softmax(&mut self, x: NodeId, axis: usize) -> Option<NodeId> {
        let shape = self.g.ty(x).shape.clone();
        let axes = vec![axis];
        let m = self.op(Op::Reduce { op: ReduceOp::Max, axes: axes.clone() }, &[x])?;
        let m = self.back(m, &shape, &axes)?;
        let e = self.op(Op::Map(ScalarOp::Sub), &[x, m])?;
        let e = self.op(Op::Map(ScalarOp::Exp), &[e])?;
        let s = self.op(Op::Reduce { op: ReduceOp::Sum, axes: axes.clone() }, &[e])?;
        let s = self.back(s, &shape, &axes)?;
        self.op(Op::Map(ScalarOp::Div), &[e, s])
    }

    fn norm(&mut self, x: NodeId, axes: Vec<usize>) -> Option<NodeId> {
        let shape = self.g.ty(x).shape.clone();
        let s = self.op(Op::Reduce { op: ReduceOp::Sum, axes: axes.clone() }, &[x])?;
        let s = self.back(s, &shape, &axes)?;
        let d = self.op(Op::Map(ScalarOp::Sub), &[x, s])?;
        let q = self.op(Op::Map(ScalarOp::Mul), &[d, d])?;
        let q = self.op(Op::Reduce { op: ReduceOp::Sum, axes: axes.clone() }, &[q])?;
        let one = self.scalar(q, 1.0)?;
        let q = self.op(Op::Map(ScalarOp::Add), &[q, one])?;
        let q = self.op(Op::Map(ScalarOp::Sqrt), &[q])?;
        let q = self.back(q, &shape, &axes)?;
        self.op(Op::Map(ScalarOp::Div), &[d, q])
    }

    fn dot(&mut self, a: NodeId, b: NodeId) -> Option<NodeId> {
        let (s, t) = (self.g.ty(a).shape.clone(), self.g.ty(b).shape.clone());
        let (mut batch, mut contract, mut used) = (Vec::new(), Vec::new(), Vec::new());
        for (k, d) in s.iter().enumerate() {
            let free: Vec<usize> = (0..t.len()).filter(|j| t[*j] == *d && !used.contains(j)).collect();
            if free.is_empty() {
                continue;
            }
            let j = free[self.below(free.len())];
            match self.below(3) {
                0 => batch.push((k, j)),
                1 => contract.push((k, j)),
                _ => continue,
            }
            used.push(j);
        }
        self.op(Op::Dot { batch, contract }, &[a, b])
    }

    fn order(&mut self, n: usize) -> Vec<usize> {
        let mut p: Vec<usize> = (0..n).collect();
        for i in (1..n).rev() {
            let j = self.below(i + 1);
            p.swap(i, j);
        }
        p
    }

    fn some(&mut self, rank: usize) -> Vec<usize> {
        (0..rank).filter(|_| self.below(2) == 0).collect()
    }

    fn index(&mut self, shape: Vec<Dim>) -> Option<NodeId> {
        let n = self.g.nodes.len();
        self.g.add(Op::Input(format!("i{n}")), &[], TensorType::new(DType::I32, shape), AT).ok()
    }

    fn step(&mut self) -> Option<NodeId> {
        let x = self.float();
        let shape = self.g.ty(x).shape.clone();
        let rank = shape.len();
        match self.below(29) {
            0..=3 => {
                let ops = [ScalarOp::Tanh, ScalarOp::Neg, ScalarOp::Abs, ScalarOp::Sin];
                let op = ops[self.below(4)];
                self.op(Op::Map(op), &[x])
            }
            4..=7 => {
                let y = self.like(x);
                let ops = [ScalarOp::Add, ScalarOp::Sub, ScalarOp::Max, ScalarOp::Mul];
                let op = ops[self.below(4)];
                self.op(Op::Map(op), &[x, y])
            }
            8 => {
                let ops = [ReduceOp::Sum, ReduceOp::Max, ReduceOp::Min];
                let (op, axes) = (ops[self.below(3)], self.some(rank));
                self.op(Op::Reduce { op, axes }, &[x])
            }
            9 | 10 => {
                let p = self.order(rank);
                self.op(Op::Permute(p), &[x])
            }
            11 | 12 => {
                let mut to = Vec::new();
                for d in &shape {
                    match (self.below(3), d.as_int()) {
                        (0, _) if !to.is_empty() => {
                            let last: Dim = to.pop()?;
                            to.push(last.mul(d).ok()?);
                        }
                        (1, Some(v)) if v > 2 && v % 2 == 0 => to.extend([Dim::int(2), Dim::int(v / 2)]),
                        (1, _) => to.extend([Dim::int(1), d.clone()]),
                        _ => to.push(d.clone()),
                    }
                }
                self.typed(Op::Reshape, &[x], to)
            }
            13 => {
                let at = self.below(rank + 1);
                let axes = (0..rank).map(|k| k + usize::from(k >= at)).collect();
                let new = self.dim();
                let mut to: Vec<Dim> = shape
                    .iter()
                    .map(|d| if d.is(1) && self.state & 64 == 0 { Dim::int(3) } else { d.clone() })
                    .collect();
                to.insert(at, new);
                self.typed(Op::Expand { axes }, &[x], to)
            }
            14 => {
                let (mut start, mut step, mut to) = (vec![], vec![], vec![]);
                for d in &shape {
                    match (self.below(3), d.as_int()) {
                        (0, Some(v)) if v > 1 => {
                            start.push(Dim::int(v - 1));
                            step.push(-1);
                            to.push(Dim::int(v - self.below(2) as i64));
                        }
                        (1, Some(v)) if v > 2 => {
                            start.push(Dim::int(1));
                            step.push(2);
                            to.push(Dim::int(v / 2));
                        }
                        _ => {
                            start.push(Dim::int(0));
                            step.push(1);
                            to.push(d.clone());
                        }
                    }
                }
                self.typed(Op::Slice { start, step }, &[x], to)
            }
            15 => {
                let between = self.below(3) == 0;
                let amounts = |m: &mut Maker| (0..rank).map(|_| m.below(3) as i64).collect::<Vec<_>>();
                let (lo, hi, inner) = (amounts(self), amounts(self), amounts(self));
                let cut = |v: i64, d: &Dim| Dim::int(if v == 2 && d.as_int().is_some_and(|d| d > 3) { -1 } else { v });
                let op = Op::Pad {
                    lo: lo.iter().zip(&shape).map(|(v, d)| cut(*v, d)).collect(),
                    hi: hi.iter().zip(&shape).map(|(v, d)| cut(*v, d)).collect(),
                    interior: if between { inner } else { vec![0; rank] },
                    value: self.below(2) as f64,
                };
                self.op(op, &[x])
            }
            16 if rank > 0 => {
                let op = Op::Window {
                    axis: self.below(rank),
                    size: 1 + self.below(3) as i64,
                    stride: 1 + self.below(2) as i64,
                    dilation: 1 + self.below(2) as i64,
                    lo: self.below(2) as i64,
                    hi: self.below(2) as i64,
                    value: self.below(2) as f64,
                };
                self.op(op, &[x])
            }
            17 if rank > 0 => {
                let axis = self.below(rank);
                let (y, z) = (self.like(x), self.like(x));
                let args = [x, y, z];
                let n = 1 + self.below(3);
                self.op(Op::Concat { axis }, &args[..n])
            }
            18 | 19 => {
                let y = self.float();
                self.dot(x, y)
            }
            20 if rank > 0 => {
                let axis = self.below(rank);
                self.softmax(x, axis)
            }
            21 if rank > 0 => {
                let axes = self.some(rank);
                self.norm(x, axes)
            }
            22 if rank > 0 => {
                let axis = self.below(rank);
                let batch = self.below(axis + 1);
                let mut s = shape[..batch].to_vec();
                s.extend((0..self.below(3)).map(|_| self.dim()));
                let i = self.index(s)?;
                let got = self.op(Op::Gather { axis, batch }, &[x, i])?;
                if self.below(2) == 0 { self.op(Op::ScatterAdd { axis, batch }, &[x, i, got]) } else { Some(got) }
            }
            23 if rank > 0 => match self.below(3) {
                0 => self.op(Op::Scan(ReduceOp::Sum), &[x]),
                1 => {
                    let t = TensorType::new(DType::I32, shape);
                    let i = self.g.add(Op::Iota { axis: self.state as usize % rank }, &[], t, AT).ok()?;
                    let i = self.op(Op::Map(ScalarOp::ToF32), &[i])?;
                    self.op(Op::Map(ScalarOp::Add), &[x, i])
                }
                _ => {
                    let op = Op::Draw { site: "d".into(), lane: 1, sample: Some(0) };
                    let d = self.typed(op, &[], shape)?;
                    self.op(Op::Map(ScalarOp::Mul), &[x, d])
                }
            },
            24 => {
                let y = self.like(x);
                let c = self.op(Op::Map(ScalarOp::Lt), &[x, y])?;
                let c = if rank > 0 && self.below(2) == 0 {
                    let pad = Op::Pad {
                        lo: vec![Dim::int(1); rank],
                        hi: vec![Dim::int(-1); rank],
                        interior: vec![0; rank],
                        value: 1.0,
                    };
                    self.op(pad, &[c])?
                } else {
                    c
                };
                self.op(Op::Map(ScalarOp::Select), &[c, x, y])
            }
            25 if rank > 0 => {
                let axes = vec![self.below(rank)];
                let i = self.op(Op::Reduce { op: ReduceOp::ArgMax, axes }, &[x])?;
                self.op(Op::Map(ScalarOp::ToF32), &[i])
            }
            26 | 27 => self.attention(x),
            28 => self.repeat(x),
            _ => None,
        }
    }

    /// Heads over the last axis but one of `x`, with a mask from indices.
    fn attention(&mut self, x: NodeId) -> Option<NodeId> {
        let shape = self.g.ty(x).shape.clone();
        if shape.len() != 3 || self.g.ty(x).dtype != DType::F32 {
            return None;
        }
        let side = |m: &mut Maker, name: &str| {
            let t = TensorType::new(DType::F32, vec![shape[2].clone(), Dim::int(4)]);
            let n = m.g.nodes.len();
            let w = m.g.add(Op::Input(format!("{name}{n}")), &[], t, AT).ok()?;
            let y = m.op(Op::Dot { batch: vec![], contract: vec![(2, 0)] }, &[x, w])?;
            let split = vec![shape[0].clone(), shape[1].clone(), Dim::int(2), Dim::int(2)];
            let y = m.typed(Op::Reshape, &[y], split)?;
            m.op(Op::Permute(vec![0, 2, 1, 3]), &[y])
        };
        let (q, k, v) = (side(self, "q")?, side(self, "k")?, side(self, "v")?);
        let s = self.op(Op::Dot { batch: vec![(0, 0), (1, 1)], contract: vec![(3, 3)] }, &[q, k])?;
        let t = TensorType::new(DType::I32, self.g.ty(s).shape.clone());
        let i = self.g.add(Op::Iota { axis: 2 }, &[], t.clone(), AT).ok()?;
        let j = self.g.add(Op::Iota { axis: 3 }, &[], t, AT).ok()?;
        let c = self.op(Op::Map(ScalarOp::Le), &[i, j])?;
        let low = self.scalar(s, -1e30)?;
        let s = self.op(Op::Map(ScalarOp::Select), &[c, s, low])?;
        let p = self.softmax(s, 3)?;
        let o = if self.below(3) == 0 {
            let o = self.op(Op::Dot { batch: vec![(0, 0), (1, 1)], contract: vec![(2, 3)] }, &[v, p])?;
            self.op(Op::Permute(vec![0, 3, 1, 2]), &[o])?
        } else {
            let o = self.op(Op::Dot { batch: vec![(0, 0), (1, 1)], contract: vec![(3, 2)] }, &[p, v])?;
            self.op(Op::Permute(vec![0, 2, 1, 3]), &[o])?
        };
        self.typed(Op::Reshape, &[o], vec![shape[0].clone(), shape[1].clone(), Dim::int(4)])
    }

    /// A loop that carries `x` and captures another value.
    fn repeat(&mut self, x: NodeId) -> Option<NodeId> {
        let y = self.like(x);
        let t = self.g.ty(x).clone();
        let mut body = Maker::new(self.state);
        body.g.dims.clear();
        body.g.add(Op::Input("0".into()), &[], t.clone(), AT).ok()?;
        body.g.add(Op::Input("1".into()), &[], t.clone(), AT).ok()?;
        for _ in 0..4 {
            body.step();
        }
        let last =
            body.g.ids().rev().find(|n| *body.g.ty(*n) == t && !matches!(body.g.node(*n).op, Op::Loop { .. }))?;
        let captured = body.g.nodes.iter().any(|n| matches!(&n.op, Op::Input(i) if i.len() > 1));
        if captured {
            return None;
        }
        body.g.outputs.push(("0".into(), last));
        let op = Op::Loop { count: Dim::int(3), carried: 1, every: None, body: Box::new(body.g) };
        let l = self.op(op, &[x, y])?;
        self.typed(Op::Part(0), &[l], t.shape)
    }
}

fn random(seed: u64) -> Graph {
    let mut m = Maker::new(seed);
    let leaves = 1 + m.below(3);
    (0..leaves).for_each(|n| m.leaf(n));
    let steps = 3 + m.below(22);
    for _ in 0..steps {
        if let Some(n) = m.step()
            && m.g.ty(n).dtype == DType::F32
            && matches!(m.g.node(n).op, Op::Dot { .. } | Op::Scan(_) | Op::Reduce { .. })
        {
            // Keeps values small.
            m.op(Op::Map(ScalarOp::Tanh), &[n]);
        }
    }
    let last = NodeId(m.g.nodes.len() as u32 - 1);
    m.g.outputs.push(("y".into(), last));
    for k in 0..m.below(3) {
        let n = m.any();
        m.g.outputs.push((format!("y{k}"), n));
    }
    let n = m.float();
    if m.g.ty(n).shape.iter().all(|d| d.as_int().is_some()) && m.below(3) == 0 {
        m.g.writes.push(("state".into(), n));
    }
    m.g
}

#[test]
fn random_graphs() {
    let seeds = std::env::var("UAD_SEEDS").ok().and_then(|s| s.parse().ok()).unwrap_or(200);
    for seed in 0..seeds {
        let g = random(seed);
        eprintln!("seed {seed}\n{g}");
        check(&g, &Binding::from([("b".to_string(), 2)]));
    }
}
