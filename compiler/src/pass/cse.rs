//! Pass `cse`: equal operations on equal arguments are one node.
//!
//! In: a graph. Out: the same with the first of equal nodes in place of all. Invariants: draws are values (same site,
//! same numbers), so they merge as well; 0 and -0 are different; the first one's scope stays. Imports: `graph`.

use super::rewrite::rebuild;
use crate::graph::{Args, Graph, NodeId, Op, TensorType};
use crate::hash::FxHashMap;

/// The pass. Did it change anything?
pub fn run(graph: &mut Graph) -> bool {
    let mut seen: FxHashMap<(&'static str, Args, TensorType), Vec<NodeId>> = FxHashMap::default();
    rebuild(graph, |out, _, node| {
        let alike = seen.entry((node.op.name(), node.args.clone(), node.ty.clone())).or_default();
        let hit = alike.iter().copied().find(|id| same(&out.node(*id).op, &node.op));
        if hit.is_none() {
            alike.push(NodeId(out.nodes.len() as u32));
        }
        hit
    })
}

fn same(a: &Op, b: &Op) -> bool {
    let bits = |x: f64, y: f64| x.to_bits() == y.to_bits();
    match (a, b) {
        (Op::Const(x), Op::Const(y)) => bits(*x, *y),
        (Op::Literal(x), Op::Literal(y)) => x.len() == y.len() && x.iter().zip(y).all(|(x, y)| bits(*x, *y)),
        (Op::Window { value: x, .. }, Op::Window { value: y, .. })
        | (Op::Pad { value: x, .. }, Op::Pad { value: y, .. }) => bits(*x, *y) && a == b,
        // Bodies may hold signed zeros; what two loops share is not worth the look inside.
        (Op::Loop { .. }, _) => false,
        _ => a == b,
    }
}
