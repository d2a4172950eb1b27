//! One step of a random graph: single primitives.
//!
//! In: the graph so far. Out: one more value, or nothing where the dice do not fit. Invariants: see [`super`].
//! Imports: the graph, `uad-plan`.

use uad_plan::{DType, Dim, ReduceOp, ScalarOp};

use super::{EXTENTS, Maker};
use crate::graph::{Graph, NodeId, Op, Scope, ScopeId, TensorType};

fn int(v: i64) -> Dim {
    Dim::int(v)
}

impl Maker {
    /// One primitive or pattern; the result is its last value.
    pub(super) fn step(&mut self) -> Option<NodeId> {
        match self.random.below(40) {
            0 | 1 => self.leaf(DType::F32, None),
            2 => self.leaf(DType::I32, None),
            3 => self.leaf(DType::Bool, None),
            4..=6 => self.unary(),
            7..=10 => self.binary(),
            11 => self.truth(),
            12 => self.integers(),
            13 | 14 => self.reduce(),
            15 => {
                let x = self.find(|_, _| true)?;
                let perm = self.random.order(self.rank(x));
                self.op(Op::Permute(perm), &[x])
            }
            16 | 17 => self.reshape(),
            18 => self.expand(),
            19 | 20 => self.slice(),
            21 => self.pad(),
            22 => self.window(),
            23 => self.concat(),
            24 | 25 => self.dot(),
            26 => self.gather(),
            27 => self.scatter(),
            28 => self.sort(),
            29 => self.scan(),
            30 => self.repeat(),
            31 => self.matrix(),
            32 => self.counted(),
            33 | 34 => self.softmax(),
            35 | 36 => self.attention(),
            37 | 38 => self.convolution(),
            _ => self.layer_norm(),
        }
    }

    fn unary(&mut self) -> Option<NodeId> {
        use ScalarOp as S;
        let op = self.random.pick(&[
            S::Neg,
            S::Abs,
            S::Sqrt,
            S::Exp,
            S::Log,
            S::Sin,
            S::Cos,
            S::Tanh,
            S::Erf,
            S::Floor,
            S::Round,
            S::ToI32,
            S::ToBool,
        ])?;
        match op {
            S::Floor | S::Round | S::ToI32 | S::ToBool => {
                let x = self.exact()?;
                self.map(op, &[x])
            }
            // Away from where slopes are steep.
            S::Sqrt | S::Log => {
                let x = self.float()?;
                let x = self.map(S::Abs, &[x])?;
                let shape = self.shape(x);
                let c = self.fill(DType::F32, 0.5, &shape)?;
                let x = self.map(S::Add, &[x, c])?;
                self.map(op, &[x])
            }
            _ => {
                let x = self.find(|m, id| m.graph.ty(id).dtype == DType::F32 && m.fact(id).bound <= 9.0)?;
                let y = self.map(op, &[x])?;
                if self.random.once_in(6) { self.op(Op::Stop, &[y]) } else { Some(y) }
            }
        }
    }

    /// A second argument of the same type: one that exists, a smaller one repeated, or a number.
    pub(super) fn partner(&mut self, x: NodeId) -> Option<NodeId> {
        let ty = self.graph.ty(x).clone();
        let rank = ty.shape.len();
        match self.random.below(4) {
            0 => self.find(|m, id| *m.graph.ty(id) == ty),
            1 if ty.dtype == DType::F32 => {
                let c = self.random.pick(&[0.0, 1.0, -1.0, 0.5, 2.0, 0.3, -1.7])?;
                self.fill(DType::F32, c, &ty.shape)
            }
            2 if rank > 0 => {
                // Along some axes only, with an extent of 1 at times.
                let axes: Vec<usize> = (0..rank).filter(|_| self.random.once_in(2)).collect();
                let shape: Vec<Dim> =
                    axes.iter().map(|a| if self.random.once_in(4) { int(1) } else { ty.shape[*a].clone() }).collect();
                let y = self.leaf(ty.dtype, Some(shape))?;
                self.put(Op::Expand { axes }, &[y], ty)
            }
            _ => self.leaf(ty.dtype, Some(ty.shape.to_vec())),
        }
    }

    fn binary(&mut self) -> Option<NodeId> {
        use ScalarOp as S;
        let op = self.random.pick(&[S::Add, S::Sub, S::Mul, S::Add, S::Mul, S::Div, S::Rem, S::Min, S::Max, S::Fma])?;
        let x = if op == S::Rem { self.exact()? } else { self.float()? };
        match op {
            S::Div => {
                let y = self.partner(x)?;
                let shape = self.shape(x);
                if self.random.once_in(3) {
                    let c = self.fill(DType::F32, 4.0, &shape)?;
                    return self.map(op, &[x, c]);
                }
                let y = self.map(S::Abs, &[y])?;
                let c = self.fill(DType::F32, 0.5, &shape)?;
                let y = self.map(S::Add, &[y, c])?;
                self.map(op, &[x, y])
            }
            S::Rem => {
                let shape = self.shape(x);
                let c = self.fill(DType::F32, 2.0, &shape)?;
                self.map(op, &[x, c])
            }
            S::Fma => {
                let (y, z) = (self.partner(x)?, self.partner(x)?);
                self.map(op, &[x, y, z])
            }
            _ => {
                let y = self.partner(x)?;
                if self.random.once_in(3) { self.map(op, &[y, x]) } else { self.map(op, &[x, y]) }
            }
        }
    }

    fn truth(&mut self) -> Option<NodeId> {
        use ScalarOp as S;
        let x = self.exact()?;
        let y = self.partner(x).filter(|y| self.fact(*y).exact())?;
        let op = self.random.pick(&[S::Lt, S::Le, S::Eq])?;
        let mut c = self.map(op, &[x, y])?;
        if self.random.once_in(2) {
            let ty = self.graph.ty(c).clone();
            let d = self.leaf(DType::Bool, Some(ty.shape.to_vec()))?;
            let op = self.random.pick(&[S::And, S::Or])?;
            c = self.map(op, &[c, d])?;
        }
        if self.random.once_in(3) {
            c = self.map(S::Not, &[c])?;
        }
        if self.random.once_in(4) {
            return self.map(S::ToF32, &[c]);
        }
        let a = self.find(|m, id| m.graph.ty(id).dtype == DType::F32 && m.shape(id) == m.shape(x)).unwrap_or(x);
        let b = self.partner(a)?;
        self.map(S::Select, &[c, a, b])
    }

    fn integers(&mut self) -> Option<NodeId> {
        use ScalarOp as S;
        let small = |m: &Maker, id| m.graph.ty(id).dtype == DType::I32 && m.fact(id).bound < 1000.0;
        let x = self.find(small).or_else(|| self.leaf(DType::I32, None))?;
        let ty = self.graph.ty(x).clone();
        let op = self.random.pick(&[
            S::Add,
            S::Sub,
            S::Mul,
            S::Div,
            S::Rem,
            S::Min,
            S::Max,
            S::Xor,
            S::Shl,
            S::Shr,
            S::Abs,
            S::ToF32,
            S::Eq,
        ])?;
        match op {
            S::Abs | S::ToF32 => self.map(op, &[x]),
            S::Shl | S::Shr => {
                let n = self.random.below(5) as f64;
                let c = self.fill(DType::I32, n, &ty.shape)?;
                self.map(op, &[x, c])
            }
            _ => {
                let y = self.partner(x).filter(|y| small(self, *y))?;
                self.map(op, &[x, y])
            }
        }
    }

    fn some_axes(&mut self, rank: usize) -> Vec<usize> {
        let mut axes: Vec<usize> = (0..rank).filter(|_| self.random.once_in(2)).collect();
        if axes.is_empty() && rank > 0 {
            axes.push(self.random.below(rank));
        }
        axes
    }

    fn reduce(&mut self) -> Option<NodeId> {
        use ReduceOp as R;
        let op = self.random.pick(&[R::Sum, R::Sum, R::Max, R::Min, R::Prod, R::ArgMax, R::ArgMin])?;
        match op {
            R::Sum | R::Prod => {
                let x = self.float()?;
                let axes = self.some_axes(self.rank(x));
                self.op(Op::Reduce { op, axes }, &[x])
            }
            R::Max | R::Min => {
                let x = self.find(|_, _| true)?;
                let axes = self.some_axes(self.rank(x));
                self.op(Op::Reduce { op, axes }, &[x])
            }
            R::ArgMax | R::ArgMin => {
                let x = self.exact()?;
                let axes = vec![self.random.below(self.rank(x))];
                self.op(Op::Reduce { op, axes }, &[x])
            }
        }
    }

    /// Merges two neighbours, splits an axis or adds one of extent 1.
    fn reshape(&mut self) -> Option<NodeId> {
        let x = self.find(|_, _| true)?;
        let ty = self.graph.ty(x).clone();
        let (mut shape, rank) = (ty.shape.to_vec(), ty.shape.len());
        match self.random.below(3) {
            0 if rank >= 2 => {
                let n = self.random.below(rank - 1);
                let d = shape.remove(n + 1);
                shape[n] = shape[n].mul(&d).ok()?;
            }
            1 if (1..6).contains(&rank) => {
                let n = self.random.below(rank);
                let k = self.random.pick(&[2, 3, 5])?;
                let rest = shape[n].exact_div(&int(k))?;
                shape[n] = rest;
                shape.insert(n + self.random.below(2), int(k));
            }
            _ if rank < 6 => shape.insert(self.random.below(rank + 1), int(1)),
            _ => return None,
        }
        self.put(Op::Reshape, &[x], TensorType::new(ty.dtype, shape))
    }

    fn expand(&mut self) -> Option<NodeId> {
        let x = self.find(|m, id| m.rank(id) < 5)?;
        let ty = self.graph.ty(x).clone();
        let (mut shape, mut axes) = (Vec::new(), Vec::new());
        for d in &ty.shape {
            if self.random.once_in(3) {
                shape.push(int(EXTENTS[self.random.below(4)]));
            }
            axes.push(shape.len());
            shape.push(if d.is(1) && self.random.once_in(2) { int(3) } else { d.clone() });
        }
        if self.random.once_in(2) || ty.shape == shape {
            shape.push(int(2));
        }
        self.put(Op::Expand { axes }, &[x], TensorType::new(ty.dtype, shape))
    }

    fn slice(&mut self) -> Option<NodeId> {
        let x = self.find(|m, id| m.rank(id) > 0)?;
        let ty = self.graph.ty(x).clone();
        let (mut start, mut step, mut shape) = (vec![], vec![], vec![]);
        for d in &ty.shape {
            let extent = d.as_int();
            match extent.filter(|e| *e > 0) {
                Some(e) if self.random.once_in(2) => {
                    let s = self.random.pick(&[1, 1, 2, 3, -1, -2])?;
                    let first = self.random.below(e as usize) as i64;
                    let room = if s > 0 { (e - 1 - first) / s } else { first / -s };
                    let len = 1 + self.random.below(room as usize + 1) as i64;
                    start.push(int(first));
                    step.push(s);
                    shape.push(int(len));
                }
                // Backwards through an open dim.
                None if self.random.once_in(3) => {
                    start.push(d.sub(&int(1)).ok()?);
                    step.push(-1);
                    shape.push(d.clone());
                }
                _ => {
                    start.push(int(0));
                    step.push(1);
                    shape.push(d.clone());
                }
            }
        }
        self.put(Op::Slice { start, step }, &[x], TensorType::new(ty.dtype, shape))
    }

    fn pad(&mut self) -> Option<NodeId> {
        let x = self.find(|m, id| m.rank(id) > 0)?;
        let rank = self.rank(x);
        let amount = |m: &mut Maker| if m.random.once_in(2) { int(m.random.below(3) as i64) } else { int(0) };
        let lo = (0..rank).map(|_| amount(self)).collect();
        let hi = (0..rank).map(|_| amount(self)).collect();
        let interior = (0..rank).map(|_| i64::from(self.random.once_in(5))).collect();
        let value = match self.graph.ty(x).dtype {
            DType::F32 => self.random.pick(&[0.0, 1.5])?,
            DType::I32 | DType::Bool => 1.0,
        };
        self.op(Op::Pad { lo, hi, interior, value }, &[x])
    }

    fn window(&mut self) -> Option<NodeId> {
        let x = self.find(|m, id| m.graph.ty(id).dtype == DType::F32 && (1..6).contains(&m.rank(id)))?;
        let axis = self.random.below(self.rank(x));
        let extent = self.shape(x)[axis].as_int()?;
        let (size, dilation) = (1 + self.random.below(3) as i64, 1 + self.random.below(2) as i64);
        let (lo, hi) = (self.random.below(3) as i64, self.random.below(3) as i64);
        if extent + lo + hi < dilation * (size - 1) + 1 {
            return None;
        }
        let stride = 1 + self.random.below(3) as i64;
        let value = if self.random.once_in(4) { f64::NEG_INFINITY } else { 0.0 };
        let window = self.op(Op::Window { axis, size, stride, dilation, lo, hi, value }, &[x])?;
        let last = self.rank(window) - 1;
        // A window of padding only has nothing but -inf.
        if value == 0.0 || lo.max(hi) >= size {
            let op = self.random.pick(&[ReduceOp::Sum, ReduceOp::Max])?;
            return if value != 0.0 {
                None
            } else if self.random.once_in(2) {
                Some(window)
            } else {
                self.op(Op::Reduce { op, axes: vec![last] }, &[window])
            };
        }
        if dilation > 1 {
            return None;
        }
        self.op(Op::Reduce { op: ReduceOp::Max, axes: vec![last] }, &[window])
    }

    fn concat(&mut self) -> Option<NodeId> {
        let x = self.find(|m, id| m.rank(id) > 0)?;
        let ty = self.graph.ty(x).clone();
        let axis = self.random.below(ty.shape.len());
        let mut args = vec![x];
        for _ in 0..1 + self.random.below(2) {
            let mut shape = ty.shape.to_vec();
            if self.random.once_in(2) {
                args.push(x);
            } else {
                shape[axis] = int(EXTENTS[self.random.below(4)]);
                args.push(self.leaf(ty.dtype, Some(shape))?);
            }
        }
        self.op(Op::Concat { axis }, &args)
    }

    /// Any contraction: axes of `x` are batch, summed or free, those of a new `y` come in any order.
    fn dot(&mut self) -> Option<NodeId> {
        let x = self.find(|m, id| m.graph.ty(id).dtype == DType::F32 && (1..5).contains(&m.rank(id)))?;
        let shape = self.shape(x);
        let (mut roles, mut dims) = (Vec::new(), Vec::new());
        for (n, d) in shape.iter().enumerate() {
            // An open dim of a stored tensor would be wrong: it is batch or free.
            let role = if d.as_int().is_some() { self.random.below(4) } else { self.random.below(2) };
            roles.push(role);
            if role > 0 {
                dims.push((Some((n, role > 1)), d.clone()));
            }
        }
        if !roles.iter().any(|r| *r > 1) {
            return None;
        }
        for _ in 0..self.random.below(3) {
            dims.push((None, int(EXTENTS[self.random.below(5)])));
        }
        let order = self.random.order(dims.len());
        let of: Vec<Dim> = order.iter().map(|n| dims[*n].1.clone()).collect();
        let y = self.leaf(DType::F32, Some(of))?;
        let (mut batch, mut contract) = (Vec::new(), Vec::new());
        for (at, n) in order.iter().enumerate() {
            match dims[*n].0 {
                Some((axis, true)) => contract.push((axis, at)),
                Some((axis, false)) => batch.push((axis, at)),
                None => {}
            }
        }
        if self.random.once_in(4) {
            let flip = |p: Vec<(usize, usize)>| p.into_iter().map(|p| (p.1, p.0)).collect();
            return self.op(Op::Dot { batch: flip(batch), contract: flip(contract) }, &[y, x]);
        }
        self.op(Op::Dot { batch, contract }, &[x, y])
    }

    /// Axes and indices as `gather` takes them.
    fn indexed(&mut self, x: NodeId) -> Option<(NodeId, usize, usize)> {
        let shape = self.shape(x);
        let axis = self.random.below(shape.len());
        let batch = self.random.below(axis + 1);
        let mut of: Vec<Dim> = shape[..batch].to_vec();
        for _ in 0..self.random.below(3) {
            of.push(int(EXTENTS[self.random.below(5)]));
        }
        Some((self.leaf(DType::I32, Some(of))?, axis, batch))
    }

    fn gather(&mut self) -> Option<NodeId> {
        let x = self.find(|m, id| (1..5).contains(&m.rank(id)))?;
        let (index, axis, batch) = self.indexed(x)?;
        self.op(Op::Gather { axis, batch }, &[x, index])
    }

    fn scatter(&mut self) -> Option<NodeId> {
        let x = self.find(|m, id| m.graph.ty(id).dtype == DType::F32 && (1..4).contains(&m.rank(id)))?;
        let (index, axis, batch) = self.indexed(x)?;
        let (t, i) = (self.shape(x), self.shape(index));
        let of: Vec<Dim> = t[..axis].iter().chain(&i[batch..]).chain(&t[axis + 1..]).cloned().collect();
        let found = self.find(|m, id| *m.graph.ty(id) == TensorType::new(DType::F32, of.clone()));
        let updates = found.or_else(|| self.leaf(DType::F32, Some(of)))?;
        self.op(Op::ScatterAdd { axis, batch }, &[x, index, updates])
    }

    fn sort(&mut self) -> Option<NodeId> {
        let x = self.exact().filter(|x| self.rank(*x) > 0)?;
        let falling = self.random.once_in(2);
        let order = self.op(Op::ArgSort { falling }, &[x])?;
        // Sorted values: the positions go along with all axes before the last.
        let axis = self.rank(x) - 1;
        if self.random.once_in(2) { self.op(Op::Gather { axis, batch: axis }, &[x, order]) } else { Some(order) }
    }

    fn scan(&mut self) -> Option<NodeId> {
        let x = self.find(|m, id| m.graph.ty(id).dtype == DType::F32 && m.rank(id) > 0)?;
        let op = self.random.pick(&[ReduceOp::Sum, ReduceOp::Sum, ReduceOp::Max, ReduceOp::Min, ReduceOp::Prod])?;
        self.op(Op::Scan(op), &[x])
    }

    /// `carry <- tanh(carry * w + captured)`, with an early exit at times.
    fn repeat(&mut self) -> Option<NodeId> {
        let x = self.float()?;
        let captured = self.partner(x)?;
        let ty = self.graph.ty(x).clone();
        let mut body = Graph::default();
        let root =
            |label: &str| Scope { parent: None, label: label.into(), place: "".into(), instance: false, kernel: None };
        let s: ScopeId = body.scope(root("round"));
        let scalar = TensorType::new(DType::I32, vec![]);
        let carry = body.add(Op::Input("0".into()), &[], ty.clone(), s).ok()?;
        let w = body.add(Op::Input("1".into()), &[], ty.clone(), s).ok()?;
        let round = body.add(Op::Input("round".into()), &[], scalar.clone(), s).ok()?;
        let f = body.map(ScalarOp::ToF32, &[round], s).ok()?;
        let f = body.broadcast(f, &ty.shape, s).ok()?;
        let half = body.constant(DType::F32, 0.5, s);
        let half = body.broadcast(half, &ty.shape, s).ok()?;
        let next = body.map(ScalarOp::Mul, &[carry, half], s).ok()?;
        let next = body.map(ScalarOp::Add, &[next, w], s).ok()?;
        let next = body.map(ScalarOp::Add, &[next, f], s).ok()?;
        let next = body.map(ScalarOp::Tanh, &[next], s).ok()?;
        body.outputs.push(("0".into(), next));
        let until = self.random.once_in(2);
        if until {
            let one = body.constant(DType::I32, 1.0, s);
            let stop = body.map(ScalarOp::Le, &[one, round], s).ok()?;
            body.outputs.push(("until".into(), stop));
        }
        let count = int(1 + self.random.below(4) as i64);
        let every = (until && self.random.once_in(2)).then(|| int(2));
        let op = Op::Loop { count, carried: 1, every, body: Box::new(body) };
        let looped = self.op(op, &[x, captured])?;
        self.put(Op::Part(0), &[looped], ty)
    }

    /// A well-conditioned symmetric matrix, factored: `a aᵀ / n + diag(1, 2, …)`.
    fn matrix(&mut self) -> Option<NodeId> {
        let n = self.random.pick(&[1, 2, 3, 5])?;
        let lead: Vec<Dim> = if self.random.once_in(2) { vec![Dim::name("b")] } else { vec![] };
        let r = lead.len();
        let square = |k: usize| TensorType::new(DType::F32, [lead.clone(), vec![int(k as i64); 2]].concat());
        let a = self.leaf(DType::F32, Some(square(n).shape.to_vec()))?;
        let batch: Vec<(usize, usize)> = (0..r).map(|n| (n, n)).collect();
        let aat = self.op(Op::Dot { batch, contract: vec![(r + 1, r + 1)] }, &[a, a])?;
        let small = self.fill(DType::F32, 0.0625 / n as f64, &square(n).shape)?;
        let aat = self.map(ScalarOp::Mul, &[aat, small])?;
        let diagonal = (0..n * n).map(|i| if i / n == i % n { 2.0 * (1 + i / n) as f64 } else { 0.0 }).collect();
        let d = self.put(Op::Literal(diagonal), &[], TensorType::new(DType::F32, vec![int(n as i64); 2]))?;
        let d = self.broadcast(d, &square(n).shape)?;
        let m = self.map(ScalarOp::Add, &[aat, d])?;
        if self.random.once_in(2) {
            return self.op(Op::Cholesky, &[m]);
        }
        let eigen = self.op(Op::Eigh, &[m])?;
        let shape = [lead.clone(), vec![int(n as i64)]].concat();
        let values = self.put(Op::Part(0), &[eigen], TensorType::new(DType::F32, shape))?;
        // The vectors' signs are a convention: only what does not depend on them is compared.
        let vectors = self.put(Op::Part(1), &[eigen], square(n))?;
        let squares = self.map(ScalarOp::Mul, &[vectors, vectors])?;
        let sum = self.op(Op::Reduce { op: ReduceOp::Sum, axes: vec![r] }, &[squares])?;
        self.map(ScalarOp::Mul, &[values, sum])
    }

    /// Numbers made of positions and sizes.
    fn counted(&mut self) -> Option<NodeId> {
        let x = self.find(|m, id| m.graph.ty(id).dtype == DType::F32 && m.rank(id) > 0)?;
        let ty = self.graph.ty(x).clone();
        let axis = self.random.below(ty.shape.len());
        let i = self.put(Op::Iota { axis }, &[], TensorType::new(DType::I32, ty.shape.clone()))?;
        let n = self.op(Op::Size(ty.shape[axis].clone()), &[])?;
        let n = self.broadcast(n, &ty.shape)?;
        if self.random.once_in(2) {
            // Mirrored positions as indices.
            let last = self.map(ScalarOp::Sub, &[n, i])?;
            return self.map(ScalarOp::Rem, &[last, n]);
        }
        let (i, n) = (self.map(ScalarOp::ToF32, &[i])?, self.map(ScalarOp::ToF32, &[n])?);
        let half = self.fill(DType::F32, 0.5, &ty.shape)?;
        let n = self.map(ScalarOp::Add, &[n, half])?;
        let part = self.map(ScalarOp::Div, &[i, n]);
        let part = part.or_else(|| self.map(ScalarOp::Sin, &[i]))?;
        self.map(ScalarOp::Add, &[x, part])
    }
}
