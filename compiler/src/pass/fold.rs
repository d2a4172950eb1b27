//! Pass `fold`: computes what is known.
//!
//! In: a graph. Out: constants in place of scalar operations on constants, sizes of closed dims, and small literal
//! tensors in place of operations on literals. Invariants: f32 is computed in f64 as the reference does, i32 wraps at
//! 32 bits; no literal grows beyond [`LARGEST`] elements. Imports: `graph`.

use uad_plan::{DType, ReduceOp, ScalarOp};

use super::rewrite::{closed, elements, filled, literal, rebuild};
use crate::graph::{Graph, Node, NodeId, Op, TensorType};

/// The most elements of a computed literal: larger ones are made when weights are loaded.
const LARGEST: usize = 256;

/// The pass. Did it change anything?
pub fn run(graph: &mut Graph) -> bool {
    rebuild(graph, |out, _, node| match &node.op {
        Op::Size(d) => {
            let v = i32::try_from(d.as_int()?).ok()?;
            Some(out.constant(DType::I32, f64::from(v), node.scope))
        }
        Op::Literal(v) => {
            // One value everywhere is a constant.
            let first = *v.first()?;
            let same = v.iter().all(|x| x.to_bits() == first.to_bits());
            if same { filled(out, first, &node.ty, node.scope) } else { None }
        }
        Op::Map(op) => scalars(out, node, *op).or_else(|| tensors(out, node)),
        Op::Permute(_) | Op::Reshape | Op::Slice { .. } | Op::Concat { .. } => {
            // A view of one repeated value is that value repeated.
            let first = literal(out, *node.args.first()?);
            if let Some(v) = first
                && node.args.iter().all(|a| literal(out, *a).map(f64::to_bits) == Some(v.to_bits()))
            {
                return filled(out, v, &node.ty, node.scope);
            }
            tensors(out, node)
        }
        Op::Reduce { op, .. } => {
            if let (Some(v), ReduceOp::Max | ReduceOp::Min) = (literal(out, node.args[0]), op)
                && elements(out.ty(node.args[0])).is_some_and(|n| n > 0)
            {
                return filled(out, v, &node.ty, node.scope);
            }
            tensors(out, node)
        }
        _ => None,
    })
}

/// All arguments are scalar literals, repeated or not.
fn scalars(out: &mut Graph, node: &Node, op: ScalarOp) -> Option<NodeId> {
    let values: Option<Vec<f64>> = node.args.iter().map(|a| literal(out, *a)).collect();
    let v = scalar(op, out.ty(*node.args.first()?).dtype, node.ty.dtype, &values?);
    // NaN differs from itself: passes would see a change for ever.
    if v.is_nan() { None } else { filled(out, v, &node.ty, node.scope) }
}

/// A scalar operation on values of known dtypes.
pub(super) fn scalar(op: ScalarOp, of: DType, to: DType, args: &[f64]) -> f64 {
    let int = |n: usize| args.get(n).copied().unwrap_or(0.0) as i64;
    let wrap = |v: i64| f64::from(v as i32);
    if of == DType::I32 && to == DType::I32 {
        let (a, b) = (int(0), int(1));
        match op {
            ScalarOp::Add => return wrap(a.wrapping_add(b)),
            ScalarOp::Sub => return wrap(a.wrapping_sub(b)),
            ScalarOp::Mul => return wrap(a.wrapping_mul(b)),
            ScalarOp::Neg => return wrap(a.wrapping_neg()),
            ScalarOp::Abs => return wrap(a.wrapping_abs()),
            ScalarOp::Div if b == 0 => return 0.0,
            ScalarOp::Rem if b == 0 => return 0.0,
            ScalarOp::Div => return wrap(a.div_euclid(b) - i64::from(b < 0 && a.rem_euclid(b) != 0)),
            ScalarOp::Rem => {
                let q = a.div_euclid(b) - i64::from(b < 0 && a.rem_euclid(b) != 0);
                return wrap(a - b * q);
            }
            _ => {}
        }
    }
    op.eval(args)
}

/// A literal tensor in row-major order.
struct Known {
    shape: Vec<usize>,
    data: Vec<f64>,
}

fn count(shape: &[usize]) -> usize {
    shape.iter().product()
}

/// The index of each position, in row-major order.
fn positions(shape: &[usize]) -> Vec<Vec<usize>> {
    let mut all = Vec::with_capacity(count(shape));
    let mut at = vec![0; shape.len()];
    for _ in 0..count(shape) {
        all.push(at.clone());
        for n in (0..shape.len()).rev() {
            at[n] += 1;
            if at[n] < shape[n] {
                break;
            }
            at[n] = 0;
        }
    }
    all
}

impl Known {
    fn at(&self, index: &[usize]) -> Option<f64> {
        let place = index.iter().zip(&self.shape).fold(0, |p, (i, d)| p * d + i);
        self.data.get(place).copied()
    }
}

/// The value of a node, if it is small and made of literals by views.
fn known(graph: &Graph, id: NodeId, depth: usize) -> Option<Known> {
    let node = graph.node(id);
    let shape = closed(&node.ty)?;
    if elements(&node.ty)? > LARGEST || depth > 8 {
        return None;
    }
    let data = match &node.op {
        Op::Const(v) => vec![*v],
        Op::Literal(v) => v.clone(),
        Op::Iota { axis } => positions(&shape).iter().map(|p| p[*axis] as f64).collect(),
        Op::Expand { axes } => {
            let source = known(graph, node.args[0], depth + 1)?;
            let from = |p: &Vec<usize>| {
                let index: Vec<usize> =
                    axes.iter().zip(&source.shape).map(|(a, d)| if *d == 1 { 0 } else { p[*a] }).collect();
                source.at(&index)
            };
            positions(&shape).iter().map(from).collect::<Option<_>>()?
        }
        _ => return None,
    };
    Some(Known { shape, data })
}

/// An operation on small literals.
fn tensors(out: &mut Graph, node: &Node) -> Option<NodeId> {
    let shape = closed(&node.ty)?;
    if elements(&node.ty)? > LARGEST || node.args.is_empty() {
        return None;
    }
    let args: Vec<Known> = node.args.iter().map(|a| known(out, *a, 0)).collect::<Option<_>>()?;
    let of = out.ty(node.args[0]).dtype;
    let data: Vec<f64> = match &node.op {
        Op::Map(op) => (0..count(&shape))
            .map(|n| {
                let values: Option<Vec<f64>> = args.iter().map(|a| a.data.get(n).copied()).collect();
                values.map(|v| scalar(*op, of, node.ty.dtype, &v))
            })
            .collect::<Option<_>>()?,
        Op::Reshape => args[0].data.clone(),
        Op::Permute(perm) => {
            let from = |p: &Vec<usize>| {
                let mut index = vec![0; p.len()];
                perm.iter().zip(p).for_each(|(n, i)| index[*n] = *i);
                args[0].at(&index)
            };
            positions(&shape).iter().map(from).collect::<Option<_>>()?
        }
        Op::Slice { start, step } => {
            let from = |p: &Vec<usize>| {
                let index: Option<Vec<usize>> =
                    (0..p.len()).map(|n| usize::try_from(start[n].as_int()? + step[n] * p[n] as i64).ok()).collect();
                args[0].at(&index?)
            };
            positions(&shape).iter().map(from).collect::<Option<_>>()?
        }
        Op::Concat { axis } => {
            let from = |p: &Vec<usize>| {
                let mut p = p.clone();
                for a in &args {
                    if p[*axis] < a.shape[*axis] {
                        return a.at(&p);
                    }
                    p[*axis] -= a.shape[*axis];
                }
                None
            };
            positions(&shape).iter().map(from).collect::<Option<_>>()?
        }
        Op::Reduce { op, axes } => reduce(*op, of, axes, &args[0], &shape)?,
        _ => return None,
    };
    if data.iter().any(|v| v.is_nan()) { None } else { leaf(out, data, &node.ty, node) }
}

/// A literal, or a constant where the shape is that of a scalar.
fn leaf(out: &mut Graph, data: Vec<f64>, ty: &TensorType, node: &Node) -> Option<NodeId> {
    match (data.as_slice(), ty.shape.is_empty()) {
        ([v], true) => Some(out.constant(ty.dtype, *v, node.scope)),
        _ => out.add(Op::Literal(data), &[], ty.clone(), node.scope).ok(),
    }
}

fn reduce(op: ReduceOp, of: DType, axes: &[usize], x: &Known, shape: &[usize]) -> Option<Vec<f64>> {
    let fold = match op {
        ReduceOp::Sum => (0.0, ScalarOp::Add),
        ReduceOp::Prod => (1.0, ScalarOp::Mul),
        ReduceOp::Max => (f64::NEG_INFINITY, ScalarOp::Max),
        ReduceOp::Min => (f64::INFINITY, ScalarOp::Min),
        ReduceOp::ArgMax | ReduceOp::ArgMin => return None,
    };
    // Of nothing: left to who runs it, whose smallest value depends on the dtype.
    if of == DType::Bool || x.data.is_empty() {
        return None;
    }
    let mut result = vec![fold.0; count(shape)];
    for (p, v) in positions(&x.shape).iter().zip(&x.data) {
        let kept = p.iter().enumerate().filter(|(n, _)| !axes.contains(n)).map(|(_, i)| *i);
        let place = kept.zip(shape).fold(0, |a, (i, d)| a * d + i);
        let r = result.get_mut(place)?;
        *r = scalar(fold.1, of, of, &[*r, *v]);
    }
    Some(result)
}
