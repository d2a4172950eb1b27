//! What passes are written with: a forward rebuild, uses, and questions about nodes.
//!
//! In: a graph and a rule. Out: the graph rebuilt. Invariants: a rule sees arguments that were already rewritten, and
//! cannot change a node's type: what it returns with another type is not taken. Imports: `graph`.

use uad_plan::Binding;

pub use crate::graph::groups::groups;
use crate::graph::{Graph, Node, NodeId, Op, ScopeId, Shape, TensorType};

/// Rebuilds a graph node by node. The rule gets the graph so far, where each earlier node went (as many as the number
/// of this node), and the node with its arguments in the new graph; it returns the value that takes the node's place,
/// or `None` to keep it. Tells whether anything changed; a node in place of an equal one changes nothing.
pub fn rebuild(graph: &mut Graph, mut rule: impl FnMut(&mut Graph, &[NodeId], &Node) -> Option<NodeId>) -> bool {
    let mut changed = false;
    let old = std::mem::take(graph);
    *graph = Graph { name: old.name, dims: old.dims, scopes: old.scopes, requires: old.requires, ..Graph::default() };
    let mut map: Vec<NodeId> = Vec::with_capacity(old.nodes.len());
    for mut node in old.nodes {
        for a in &mut node.args {
            *a = map[a.0 as usize];
        }
        let size = graph.nodes.len();
        match rule(graph, &map, &node) {
            Some(id) if *graph.ty(id) == node.ty => {
                let same = id.0 as usize == size && graph.nodes.len() == size + 1 && graph.nodes[size] == node;
                changed |= !same;
                map.push(id);
            }
            _ => {
                graph.nodes.truncate(size);
                graph.nodes.push(node);
                map.push(NodeId(size as u32));
            }
        }
    }
    let place = |list: Vec<(String, NodeId)>| list.into_iter().map(|(n, id)| (n, map[id.0 as usize])).collect();
    graph.outputs = place(old.outputs);
    graph.writes = place(old.writes);
    graph.named = place(old.named);
    changed
}

/// How often each value is used: as an argument, a result or a write. Names alone use nothing.
pub fn uses(graph: &Graph) -> Vec<u32> {
    let mut count = vec![0u32; graph.nodes.len()];
    let arguments = graph.nodes.iter().flat_map(|n| &n.args);
    let results = graph.outputs.iter().chain(&graph.writes).map(|o| &o.1);
    arguments.chain(results).for_each(|a| count[a.0 as usize] += 1);
    count
}

/// The one node that uses each value, where it is one argument of one node and nothing else.
pub fn only_user(graph: &Graph) -> Vec<Option<NodeId>> {
    let count = uses(graph);
    let mut user = vec![None; graph.nodes.len()];
    for (n, node) in graph.nodes.iter().enumerate() {
        for a in &node.args {
            user[a.0 as usize] = Some(NodeId(n as u32));
        }
    }
    graph.outputs.iter().chain(&graph.writes).for_each(|o| user[o.1.0 as usize] = None);
    user.into_iter().zip(count).map(|(u, c)| u.filter(|_| c == 1)).collect()
}

/// The value of a scalar literal, or of one repeated to a shape.
pub fn literal(graph: &Graph, id: NodeId) -> Option<f64> {
    let node = graph.node(id);
    match &node.op {
        Op::Const(v) => Some(*v),
        Op::Expand { axes } if axes.is_empty() => literal(graph, node.args[0]),
        _ => None,
    }
}

/// A scalar literal repeated to a shape.
pub fn filled(graph: &mut Graph, value: f64, ty: &TensorType, scope: ScopeId) -> Option<NodeId> {
    let c = graph.constant(ty.dtype, value, scope);
    graph.broadcast(c, &ty.shape, scope).ok()
}

/// A reshape, or nothing where the shape is there already.
pub fn reshape(graph: &mut Graph, x: NodeId, shape: impl Into<Shape>, scope: ScopeId) -> Option<NodeId> {
    let shape = shape.into();
    if graph.ty(x).shape == shape {
        return Some(x);
    }
    let dtype = graph.ty(x).dtype;
    graph.add(Op::Reshape, &[x], TensorType::new(dtype, shape), scope).ok()
}

/// A permutation, or nothing where the order is there already.
pub fn permute(graph: &mut Graph, x: NodeId, perm: Vec<usize>, scope: ScopeId) -> Option<NodeId> {
    if rising(&perm) {
        return Some(x);
    }
    graph.op(Op::Permute(perm), &[x], scope).ok()
}

/// Repeats `x` to a shape, its axes going where `places` says (in any order), or nothing where that changes nothing.
pub fn expand(graph: &mut Graph, x: NodeId, places: &[usize], shape: &Shape, scope: ScopeId) -> Option<NodeId> {
    let mut order: Vec<usize> = (0..places.len()).collect();
    order.sort_by_key(|n| places[*n]);
    let axes: Vec<usize> = order.iter().map(|n| places[*n]).collect();
    let x = permute(graph, x, order, scope)?;
    if graph.ty(x).shape == *shape && rising(&axes) {
        return Some(x);
    }
    let dtype = graph.ty(x).dtype;
    graph.add(Op::Expand { axes }, &[x], TensorType::new(dtype, shape.clone()), scope).ok()
}

/// The axes of an expanded value that hold different elements, with the argument and where its axes go; axes of
/// extent 1 that repeat are left out of the argument. `None` where the node is no `expand`.
pub fn repeated(graph: &mut Graph, id: NodeId) -> Option<(NodeId, Vec<usize>)> {
    let node = graph.node(id).clone();
    let Op::Expand { axes } = &node.op else { return None };
    let x = node.args[0];
    let shape = graph.ty(x).shape.clone();
    let kept: Vec<usize> = (0..axes.len()).filter(|n| shape[*n] == node.ty.shape[axes[*n]]).collect();
    let y = reshape(graph, x, kept.iter().map(|n| shape[*n].clone()).collect::<Shape>(), node.scope)?;
    Some((y, kept.iter().map(|n| axes[*n]).collect()))
}

/// The axes of a value that may hold different elements: all but those that an `expand` repeats.
pub fn varying(graph: &Graph, id: NodeId) -> Vec<usize> {
    let node = graph.node(id);
    let Op::Expand { axes } = &node.op else { return (0..node.ty.shape.len()).collect() };
    let shape = &graph.ty(node.args[0]).shape;
    axes.iter().zip(shape).filter(|(a, d)| **d == node.ty.shape[**a]).map(|(a, _)| *a).collect()
}

/// Is it 0, 1, 2, …?
pub fn rising(perm: &[usize]) -> bool {
    perm.iter().enumerate().all(|(n, p)| n == *p)
}

/// All extents, where none is open.
pub fn closed(ty: &TensorType) -> Option<Vec<usize>> {
    ty.shape.iter().map(|d| d.as_int().and_then(|v| usize::try_from(v).ok())).collect()
}

/// The number of elements, where no extent is open.
pub fn elements(ty: &TensorType) -> Option<usize> {
    closed(ty)?.into_iter().try_fold(1usize, usize::checked_mul)
}

/// A number of elements to compare by: open dims count as 16.
pub fn size(ty: &TensorType) -> f64 {
    ty.shape
        .iter()
        .map(|d| {
            let binding: Binding = d.names().into_iter().map(|n| (n, 16)).collect();
            d.eval(&binding).unwrap_or(1) as f64
        })
        .product()
}

/// Is `v` an f32 that computing with keeps: finite and not subnormal?
pub fn ordinary(v: f64) -> bool {
    let f = v as f32;
    f == 0.0 && v == 0.0 || f.is_normal()
}
