//! Factorisations of symmetric matrices.
//!
//! In: a factorisation with the cotangents of its results. Out: the cotangent of the matrix, symmetric. Invariants: where
//! two eigenvalues are equal the vectors' part between them is left out, because no derivative exists; a triangular
//! factor is inverted row by row, which stays exact where elimination does. Imports: shorthands, the graph, `uad-plan`.

use uad_plan::{DType, Dim, ScalarOp};

use super::{Reverse, Step};
use crate::graph::{Graph, Node, NodeId, Op, TensorType};

impl Reverse<'_> {
    /// With `a = v diag(w) vᵀ`: `v (diag(dw) + (vᵀ dv)[k, l] / (w[l] - w[k])) vᵀ`.
    pub(super) fn eigh(&mut self, id: NodeId, node: &Node) -> Step<()> {
        let (dw, dv) = (self.take(id, 0)?, self.take(id, 1)?);
        if dw.is_none() && dv.is_none() {
            return Ok(());
        }
        let a = node.args[0];
        let (square, row) = (self.shape(a), node.ty.shape.clone());
        let r = square.len();
        let w = self.put(Op::Part(0), &[id], DType::F32, row)?;
        let v = self.put(Op::Part(1), &[id], DType::F32, square.clone())?;
        let (down, along): (Vec<usize>, Vec<usize>) = ((0..r - 1).collect(), (0..r - 2).chain([r - 1]).collect());
        let zero = self.fill(0.0, &square)?;
        let mut inner = zero;
        if let Some(dv) = dv {
            let turned = self.matmul(v, dv, true, false)?;
            let (wk, wl) = (self.expand(w, down, square.clone())?, self.expand(w, along.clone(), square.clone())?);
            let gap = self.map(ScalarOp::Sub, &[wl, wk])?;
            let equal = self.map(ScalarOp::Eq, &[wl, wk])?;
            let never = self.fill(f64::INFINITY, &square)?;
            let gap = self.select(equal, never, gap)?;
            inner = self.map(ScalarOp::Div, &[turned, gap])?;
        }
        if let Some(dw) = dw {
            let (k, l) = self.positions(&square)?;
            let diagonal = self.map(ScalarOp::Eq, &[k, l])?;
            let dw = self.expand(dw, along, square.clone())?;
            inner = self.select(diagonal, dw, inner)?;
        }
        let left = self.matmul(v, inner, false, false)?;
        let da = self.matmul(left, v, false, true)?;
        let da = self.symmetric(da)?;
        self.give(a, da);
        Ok(())
    }

    /// With `x = l⁻¹` and `p` the lower half of `lᵀ dl`, its diagonal halved: `xᵀ p x`.
    pub(super) fn cholesky(&mut self, l: NodeId, a: NodeId, dl: NodeId) -> Step<()> {
        let square = self.shape(l);
        let (i, j) = self.positions(&square)?;
        let (below, diagonal) = (self.map(ScalarOp::Lt, &[j, i])?, self.map(ScalarOp::Eq, &[i, j])?);
        let (half, zero) = (self.fill(0.5, &square)?, self.fill(0.0, &square)?);
        let m = self.matmul(l, dl, true, false)?;
        let halved = self.mul(m, half)?;
        let p = self.select(diagonal, halved, zero)?;
        let p = self.select(below, m, p)?;
        let x = self.inverse(l)?;
        let left = self.matmul(x, p, true, false)?;
        let da = self.matmul(left, x, false, false)?;
        let da = self.symmetric(da)?;
        self.give(a, da);
        Ok(())
    }

    /// The inverse of lower triangular matrices: row `i` is `(e[i] - l[i] x) / l[i, i]`, of the rows before it.
    fn inverse(&mut self, l: NodeId) -> Step<NodeId> {
        let ty = self.g.ty(l).clone();
        let (r, n) = (ty.shape.len(), ty.shape[ty.shape.len() - 1].clone());
        let zero = self.fill(0.0, &ty.shape)?;
        let scopes = self.g.scopes.clone();
        let mut body = Graph { name: "inverse".into(), scopes, ..Graph::default() };
        let mut inner = Reverse::over(&mut body, self.scope);
        let x = inner.put(Op::Input("0".into()), &[], DType::F32, ty.shape.clone())?;
        let l_in = inner.put(Op::Input("1".into()), &[], DType::F32, ty.shape.clone())?;
        let i = inner.put(Op::Input("round".into()), &[], DType::I32, vec![])?;
        let take = Op::Gather { axis: r - 2, batch: 0 };
        let row = inner.op(take.clone(), &[l_in, i])?;
        let pivot = inner.op(take, &[row, i])?;
        let lead: Vec<(usize, usize)> = (0..r - 2).map(|n| (n, n)).collect();
        let known = inner.op(Op::Dot { batch: lead, contract: vec![(r - 2, r - 2)] }, &[row, x])?;
        let wide = inner.shape(known);
        let column = inner.put(Op::Iota { axis: r - 2 }, &[], DType::I32, wide.clone())?;
        let at = inner.expand(i, vec![], wide.clone())?;
        let unit = inner.map(ScalarOp::Eq, &[column, at])?;
        let unit = inner.map(ScalarOp::ToF32, &[unit])?;
        let rest = inner.map(ScalarOp::Sub, &[unit, known])?;
        let pivot = inner.expand(pivot, (0..r - 2).collect(), wide)?;
        let new = inner.map(ScalarOp::Div, &[rest, pivot])?;
        let next = inner.op(Op::ScatterAdd { axis: r - 2, batch: 0 }, &[x, i, new])?;
        body.outputs.push(("0".into(), next));
        let op = Op::Loop { count: n, carried: 1, every: None, body: Box::new(body) };
        let whole = self.op(op, &[zero, l])?;
        self.put(Op::Part(0), &[whole], ty.dtype, ty.shape)
    }

    /// The product of the matrices in the last two axes, each transposed or not.
    fn matmul(&mut self, a: NodeId, b: NodeId, turn_a: bool, turn_b: bool) -> Step<NodeId> {
        let r = self.g.ty(a).shape.len();
        let batch = (0..r - 2).map(|n| (n, n)).collect();
        let contract = vec![(if turn_a { r - 2 } else { r - 1 }, if turn_b { r - 1 } else { r - 2 })];
        self.op(Op::Dot { batch, contract }, &[a, b])
    }

    /// Row and column of every element.
    fn positions(&mut self, square: &[Dim]) -> Step<(NodeId, NodeId)> {
        let r = square.len();
        let i = self.put(Op::Iota { axis: r - 2 }, &[], DType::I32, square.to_vec())?;
        let j = self.put(Op::Iota { axis: r - 1 }, &[], DType::I32, square.to_vec())?;
        Ok((i, j))
    }

    /// Half the sum with the transpose.
    fn symmetric(&mut self, a: NodeId) -> Step<NodeId> {
        let TensorType { shape, .. } = self.g.ty(a).clone();
        let r = shape.len();
        let turned = self.permute(a, (0..r - 2).chain([r - 1, r - 2]).collect())?;
        let (sum, half) = (self.add(a, turned)?, self.fill(0.5, &shape)?);
        self.mul(sum, half)
    }
}
