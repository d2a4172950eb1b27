//! Pass `broadcast`: computes before repeating instead of after.
//!
//! In: a graph. Out: `expand` stands after scalar operations, reductions and contractions where all that they read is
//! repeated along an axis. A learned query that is repeated over the batch is projected once, and what only depends on
//! weights no longer depends on the batch. Invariants: no element is computed more often than before.
//! Imports: `graph`.

use uad_plan::{DType, Dim, ReduceOp, ScalarOp};

use super::rewrite::{expand, rebuild, repeated, varying};
use crate::graph::{Graph, Node, NodeId, Op, Shape};

/// The pass. Did it change anything?
pub fn run(graph: &mut Graph) -> bool {
    rebuild(graph, |out, _, node| match &node.op {
        Op::Map(op) => maps(out, node, *op),
        Op::Reduce { op, axes } => reduces(out, node, *op, axes),
        Op::Dot { batch, contract } => dots(out, node, batch, contract),
        _ => None,
    })
}

/// A value without the axes not in `kept`, along which it repeats.
fn narrow(out: &mut Graph, x: NodeId, kept: &[usize], node: &Node) -> Option<NodeId> {
    let full = out.ty(x).shape.clone();
    if kept.len() == full.len() {
        return Some(x);
    }
    let (y, axes) = repeated(out, x)?;
    let places: Vec<usize> = axes.iter().map(|a| kept.iter().position(|k| k == a)).collect::<Option<_>>()?;
    let shape: Shape = kept.iter().map(|k| full[*k].clone()).collect();
    expand(out, y, &places, &shape, node.scope)
}

fn maps(out: &mut Graph, node: &Node, op: ScalarOp) -> Option<NodeId> {
    let rank = node.ty.shape.len();
    let mut kept: Vec<usize> = node.args.iter().flat_map(|a| varying(out, *a)).collect();
    kept.sort_unstable();
    kept.dedup();
    if kept.len() == rank {
        return None;
    }
    let args: Vec<NodeId> = node.args.iter().map(|a| narrow(out, *a, &kept, node)).collect::<Option<_>>()?;
    let y = out.map(op, &args, node.scope).ok()?;
    expand(out, y, &kept, &node.ty.shape, node.scope)
}

fn reduces(out: &mut Graph, node: &Node, op: ReduceOp, axes: &[usize]) -> Option<NodeId> {
    let x = node.args[0];
    let full = out.ty(x).shape.clone();
    let varies = varying(out, x);
    // Repeated axes that are summed stay where they are unless the reduction does not see repetition.
    let blind = matches!(op, ReduceOp::Max | ReduceOp::Min);
    let summed = op == ReduceOp::Sum && node.ty.dtype == DType::F32;
    let repeats = |n: &usize| !varies.contains(n);
    let gone = |n: &usize| repeats(n) && (!axes.contains(n) || summed || (blind && full[*n].as_int() > Some(0)));
    let kept: Vec<usize> = (0..full.len()).filter(|n| !gone(n)).collect();
    if kept.len() == full.len() {
        return None;
    }
    let mut y = narrow(out, x, &kept, node)?;
    let place = |n: &usize| kept.iter().position(|k| k == n);
    let left: Vec<usize> = axes.iter().filter_map(place).collect();
    if !left.is_empty() {
        y = out.op(Op::Reduce { op, axes: left }, &[y], node.scope).ok()?;
    }
    let times: Vec<&Dim> = axes.iter().filter(|a| repeats(a)).map(|a| &full[*a]).collect();
    if summed && !times.is_empty() {
        let n = Dim::product(times).ok()?;
        let n = out.op(Op::Size(n), &[], node.scope).ok()?;
        let n = out.map(ScalarOp::ToF32, &[n], node.scope).ok()?;
        let shape = out.ty(y).shape.clone();
        let n = out.broadcast(n, &shape, node.scope).ok()?;
        y = out.map(ScalarOp::Mul, &[y, n], node.scope).ok()?;
    }
    // Where the axes that are left stand in the result.
    let stays: Vec<usize> = (0..full.len()).filter(|n| !axes.contains(n)).collect();
    let places: Vec<usize> = (0..stays.len()).filter(|n| kept.contains(&stays[*n])).collect();
    expand(out, y, &places, &node.ty.shape, node.scope)
}

fn dots(out: &mut Graph, node: &Node, batch: &[(usize, usize)], contract: &[(usize, usize)]) -> Option<NodeId> {
    let mut args = [node.args[0], node.args[1]];
    let mut pairs = [batch.to_vec(), contract.to_vec()];
    // Which axes of the result stay: a repeated free axis of either side goes.
    let mut stays: Vec<bool> = vec![true; batch.len()];
    for (side, arg) in args.iter_mut().enumerate() {
        let own = |p: &(usize, usize)| if side == 0 { p.0 } else { p.1 };
        let used: Vec<usize> = batch.iter().chain(contract).map(own).collect();
        let varies = varying(out, *arg);
        let rank = out.ty(*arg).shape.len();
        let kept: Vec<usize> = (0..rank).filter(|n| used.contains(n) || varies.contains(n)).collect();
        stays.extend((0..rank).filter(|n| !used.contains(n)).map(|n| kept.contains(&n)));
        if kept.len() == rank {
            continue;
        }
        *arg = narrow(out, *arg, &kept, node)?;
        for p in pairs.iter_mut().flatten() {
            let n = if side == 0 { &mut p.0 } else { &mut p.1 };
            *n = kept.iter().position(|k| k == n)?;
        }
    }
    let places: Vec<usize> = (0..stays.len()).filter(|n| stays[*n]).collect();
    if places.len() == stays.len() {
        return None;
    }
    let [batch, contract] = pairs;
    let y = out.op(Op::Dot { batch, contract }, &args, node.scope).ok()?;
    expand(out, y, &places, &node.ty.shape, node.scope)
}
