//! Pass `scale`: multiplies the smaller operand of a contraction by a number instead of its result.
//!
//! In: a graph. Out: scales of attention scores stand at the queries, before views, where [`super::merge`] finds the
//! projection's weights. Invariants: only f32, only numbers that are not subnormal, only where the result has one use
//! and is larger than an operand. Imports: `graph`.

use uad_plan::{DType, ScalarOp};

use super::dead;
use super::rewrite::{filled, literal, only_user, ordinary, rebuild, size};
use crate::graph::{Graph, Node, NodeId, Op};

/// A number moves at most so many operations at once.
const FAR: usize = 16;

/// The pass. Did it change anything?
pub fn run(graph: &mut Graph) -> bool {
    let mut changed = false;
    for _ in 0..FAR {
        if !once(graph) {
            break;
        }
        // What is left behind would count as a use.
        dead::run(graph);
        changed = true;
    }
    changed
}

fn once(graph: &mut Graph) -> bool {
    let user = only_user(graph);
    let may = |(n, node): (usize, &Node)| {
        matches!(node.op, Op::Map(ScalarOp::Mul | ScalarOp::Div))
            && user[node.args[0].0 as usize] == Some(NodeId(n as u32))
            && literal(graph, node.args[1]).is_some()
            && matches!(graph.node(node.args[0]).op, Op::Permute(_) | Op::Reshape | Op::Dot { .. })
    };
    if !graph.nodes.iter().enumerate().any(may) {
        return false;
    }
    let old = graph.clone();
    let mut any = false;
    rebuild(graph, |out, map, node| {
        let at = NodeId(map.len() as u32);
        let Op::Map(op @ (ScalarOp::Mul | ScalarOp::Div)) = node.op else { return None };
        let c = literal(&old, old.node(at).args[1])?;
        let x = old.node(at).args[0];
        if node.ty.dtype != DType::F32 || !ordinary(c) || c == 0.0 || user[x.0 as usize] != Some(at) {
            return None;
        }
        let inner = old.node(x);
        let scaled = |out: &mut Graph, y: NodeId| {
            let ty = out.ty(y).clone();
            let c = filled(out, c, &ty, node.scope)?;
            out.map(op, &[y, c], node.scope).ok()
        };
        match &inner.op {
            // Before views: nothing else reads them.
            Op::Permute(_) | Op::Reshape => {
                let y = scaled(out, map[inner.args[0].0 as usize])?;
                any = true;
                out.add(inner.op.clone(), &[y], inner.ty.clone(), inner.scope).ok()
            }
            Op::Dot { .. } => {
                let [a, b] = [inner.args[0], inner.args[1]];
                let side = usize::from(size(old.ty(b)) < size(old.ty(a)));
                let smaller = inner.args[side];
                if size(old.ty(smaller)) >= size(&inner.ty) {
                    return None;
                }
                let mut args = [map[a.0 as usize], map[b.0 as usize]];
                args[side] = scaled(out, args[side])?;
                any = true;
                out.op(inner.op.clone(), &args, inner.scope).ok()
            }
            _ => None,
        }
    });
    any
}
