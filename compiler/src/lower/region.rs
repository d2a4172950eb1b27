//! Regions: the operations after a contraction or reduction that its kernel takes in.
//!
//! In: a graph, its facts, an anchor. Out: the members of the region and the one value that leaves it. Invariants: no
//! member is needed outside but the root; nothing that a member reads from outside depends on the anchor.
//! Imports: facts, the graph.

use std::collections::BTreeSet;

use uad_plan::Dim;

use super::affine::rough;
use super::facts::Facts;
use crate::graph::{Graph, NodeId, Op};

/// Most members.
const LARGEST: usize = 48;

/// Does `n` depend on `on`?
pub(super) fn depends(g: &Graph, n: NodeId, on: NodeId) -> bool {
    let (mut seen, mut todo) = (BTreeSet::new(), vec![n]);
    while let Some(m) = todo.pop() {
        if m == on {
            return true;
        }
        if m > on && seen.insert(m) {
            todo.extend(&g.node(m).args);
        }
    }
    false
}

fn size(g: &Graph, n: NodeId) -> Option<Dim> {
    Dim::product(&g.ty(n).shape).ok()
}

/// The largest region of `anchor` that one value leaves: that value, and all members. `taken`: what has a kernel
/// already; `keeps`: may a view be the root, because it is written to a place that is given?
pub(super) fn grow(
    g: &Graph,
    facts: &Facts,
    anchor: NodeId,
    taken: &[Option<NodeId>],
    keeps: &dyn Fn(NodeId) -> bool,
) -> (NodeId, Vec<NodeId>) {
    let mut members = vec![anchor];
    let mut best = (anchor, members.clone());
    let mut refused: BTreeSet<NodeId> = BTreeSet::new();
    let mut next: BTreeSet<NodeId> = facts.users[anchor.0 as usize].iter().copied().collect();
    let row = Row::new(g, anchor);
    while let Some(c) = next.pop_first() {
        if members.len() >= LARGEST {
            break;
        }
        let i = c.0 as usize;
        let free = taken[i].is_none() && facts.constant[i] == facts.constant[anchor.0 as usize];
        let apart = |a: &NodeId| members.contains(a) || !depends(g, *a, anchor);
        if !free || !row.takes(g, c, &members) || !g.node(c).args.iter().all(apart) {
            refused.insert(c);
            continue;
        }
        members.push(c);
        next.extend(facts.users[i].iter().filter(|u| !refused.contains(u) && !members.contains(u)));
        let leaves =
            |m: &&NodeId| facts.result[m.0 as usize] || facts.users[m.0 as usize].iter().any(|u| !members.contains(u));
        let mut exits = members.iter().filter(leaves);
        if let (Some(root), None) = (exits.next(), exits.next()) {
            best = (*root, members.clone());
        }
    }
    // Views at the end are left to the readers.
    let (mut root, mut members) = best;
    while root != anchor && !matches!(g.node(root).op, Op::Map(_) | Op::Reduce { .. }) && !keeps(root) {
        members.retain(|m| *m != root);
        root = g.node(root).args[0];
    }
    (root, members)
}

/// What a region's members may be.
struct Row {
    /// Elements of the anchor, and of what it reduces.
    sizes: Option<(Option<Dim>, Option<Dim>)>,
}

impl Row {
    fn new(g: &Graph, anchor: NodeId) -> Row {
        let node = g.node(anchor);
        let sizes = matches!(node.op, Op::Reduce { .. }).then(|| {
            let (outer, full) = (size(g, anchor), size(g, node.args[0]));
            // One kernel for few long rows would leave most of the machine idle.
            let few = outer.as_ref().and_then(Dim::as_int).is_some_and(|o| o < 8);
            let long = full.as_ref().is_some_and(|f| rough(f) > 1 << 16);
            if few && long { (outer.clone(), outer) } else { (outer, full) }
        });
        Row { sizes }
    }

    fn takes(&self, g: &Graph, c: NodeId, members: &[NodeId]) -> bool {
        let node = g.node(c);
        let Some((outer, full)) = &self.sizes else {
            return matches!(node.op, Op::Map(_) | Op::Permute(_) | Op::Reshape | Op::Stop);
        };
        let of = size(g, c);
        match &node.op {
            Op::Map(_) | Op::Permute(_) | Op::Reshape | Op::Stop | Op::Expand { .. } => of == *outer || of == *full,
            Op::Reduce { .. } => of == *outer && size(g, node.args[0]) == *full && members.contains(&node.args[0]),
            _ => false,
        }
    }
}
