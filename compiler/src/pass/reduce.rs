//! Pass `reduce`: merges reductions of reductions, and reduces before views.
//!
//! In: a graph. Out: fewer reductions over smaller things. Invariants: sums are made in another order than before, as
//! any two back ends make them. Imports: `graph`.

use uad_plan::{DType, ReduceOp};

use super::rewrite::{groups, permute, rebuild, reshape};
use crate::graph::{Graph, Node, NodeId, Op};

/// The pass. Did it change anything?
pub fn run(graph: &mut Graph) -> bool {
    rebuild(graph, |out, _, node| match &node.op {
        Op::Reduce { op, axes } => rule(out, node, *op, axes),
        _ => None,
    })
}

fn rule(out: &mut Graph, node: &Node, op: ReduceOp, axes: &[usize]) -> Option<NodeId> {
    let x = node.args[0];
    let full = out.ty(x).shape.clone();
    if axes.is_empty() {
        return Some(x);
    }
    let arg = matches!(op, ReduceOp::ArgMax | ReduceOp::ArgMin);
    // Over one element there is nothing to reduce.
    if !arg && axes.iter().any(|a| full[*a].is(1)) {
        let left: Vec<usize> = axes.iter().copied().filter(|a| !full[*a].is(1)).collect();
        let y = if left.is_empty() { x } else { out.op(Op::Reduce { op, axes: left }, &[x], node.scope).ok()? };
        return reshape(out, y, node.ty.shape.clone(), node.scope);
    }
    let inner = out.node(x).clone();
    match &inner.op {
        Op::Reduce { op: o, axes: first } if *o == op && !arg => {
            let stays: Vec<usize> = (0..out.ty(inner.args[0]).shape.len()).filter(|n| !first.contains(n)).collect();
            let mut all: Vec<usize> = first.iter().copied().chain(axes.iter().map(|a| stays[*a])).collect();
            all.sort_unstable();
            out.op(Op::Reduce { op, axes: all }, &[inner.args[0]], node.scope).ok()
        }
        Op::Permute(perm) => {
            let mut of: Vec<usize> = axes.iter().map(|a| perm[*a]).collect();
            of.sort_unstable();
            let y = out.op(Op::Reduce { op, axes: of.clone() }, &[inner.args[0]], node.scope).ok()?;
            let moved = |p: usize| p - of.iter().filter(|o| **o < p).count();
            let order = (0..perm.len()).filter(|n| !axes.contains(n)).map(|n| moved(perm[n])).collect();
            permute(out, y, order, node.scope)
        }
        Op::Reshape if !arg && (op != ReduceOp::Sum || node.ty.dtype != DType::Bool) => {
            let before = out.ty(inner.args[0]).shape.clone();
            let mut of = Vec::new();
            for (old, new) in groups(&before, &full)? {
                match new.clone().filter(|n| axes.contains(n)).count() {
                    0 => {}
                    n if n == new.len() => of.extend(old.filter(|n| !before[*n].is(1))),
                    _ => return None,
                }
            }
            let y = out.op(Op::Reduce { op, axes: of }, &[inner.args[0]], node.scope).ok()?;
            reshape(out, y, node.ty.shape.clone(), node.scope)
        }
        _ => None,
    }
}
