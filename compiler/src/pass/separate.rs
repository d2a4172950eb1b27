//! Pass `separate`: reduces windows over two axes one axis at a time.
//!
//! In: a graph. Out: sums and extremes of nested windows as two reductions, the first over the inner windows before the
//! outer ones are taken: of k by k windows 2k elements are read in place of k*k. Invariants: only f32; only where it
//! at least halves what is read; sums are made in another order than before, as in [`super::reduce`]. Imports: `graph`.

use uad_plan::{DType, ReduceOp};

use super::rewrite::{rebuild, size};
use crate::graph::{Graph, Node, NodeId, Op};

/// The result in the intermediate is written and read once more: less than this factor is no gain.
const GAIN: f64 = 2.0;

/// The pass.
pub fn run(graph: &mut Graph) -> bool {
    rebuild(graph, |out, _, node| match &node.op {
        Op::Reduce { op, axes } => rule(out, node, *op, axes),
        _ => None,
    })
}

fn rule(out: &mut Graph, node: &Node, op: ReduceOp, axes: &[usize]) -> Option<NodeId> {
    let outer = out.node(node.args[0]).clone();
    let Op::Window { axis, value, .. } = outer.op else { return None };
    let inner = out.node(outer.args[0]).clone();
    let Op::Window { axis: first, size: count, .. } = inner.op else { return None };
    // Outside the argument a whole inner window holds `value`, and reduces to it.
    let keeps = match op {
        ReduceOp::Sum => value == 0.0,
        ReduceOp::Max | ReduceOp::Min => true,
        _ => false,
    };
    // The axes inside the windows: the last of either window.
    let (within, last) = (inner.ty.shape.len() - 1, outer.ty.shape.len() - 1);
    let apart = axis != first && axis != within;
    if !keeps || !apart || node.ty.dtype != DType::F32 || ![within, last].iter().all(|a| axes.contains(a)) {
        return None;
    }
    let (before, after) = (size(&outer.ty), size(&inner.ty) + size(&outer.ty) / count as f64);
    if before < GAIN * after {
        return None;
    }
    let y = out.op(Op::Reduce { op, axes: vec![within] }, &[outer.args[0]], inner.scope).ok()?;
    let y = out.op(outer.op, &[y], outer.scope).ok()?;
    let mut rest: Vec<usize> = axes.iter().copied().filter(|a| *a < within).collect();
    rest.push(within);
    out.op(Op::Reduce { op, axes: rest }, &[y], node.scope).ok()
}
