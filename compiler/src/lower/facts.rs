//! What is true of a graph before any decision: who uses whom, what is constant, how values would like to lie.
//!
//! In: a graph. Out: [`Facts`], one entry per node. Invariants: pure. Imports: the graph.

use std::collections::BTreeSet;

use uad_plan::Dim;

use super::affine::runs;
use crate::graph::{Graph, NodeId, Op, TensorType};
use crate::hash::FxHashMap;

/// Facts by node.
pub(super) struct Facts {
    /// Does a result depend on it?
    pub live: Vec<bool>,
    /// Live nodes that take it as an argument, rising, each once.
    pub users: Vec<Vec<NodeId>>,
    /// Is it an output, or written to a stored tensor?
    pub result: Vec<bool>,
    /// Does it depend on stored tensors and literals alone? Then it is computed once.
    pub constant: Vec<bool>,
    /// The axes as they should lie in memory, outermost first.
    pub order: Vec<Vec<usize>>,
    /// The path of the `let` that names it.
    pub name: FxHashMap<NodeId, String>,
}

impl Facts {
    /// `fixed`: may stored tensors be taken for constant (not inside a loop's body)?
    pub fn new(g: &Graph, fixed: bool, layouts: bool) -> Facts {
        let count = g.nodes.len();
        let (mut live, mut result) = (vec![false; count], vec![false; count]);
        for (_, n) in g.outputs.iter().chain(&g.writes) {
            live[n.0 as usize] = true;
            result[n.0 as usize] = true;
        }
        let mut users = vec![Vec::new(); count];
        for n in g.ids().rev() {
            if !live[n.0 as usize] {
                continue;
            }
            for a in &g.node(n).args {
                live[a.0 as usize] = true;
                let list: &mut Vec<NodeId> = &mut users[a.0 as usize];
                if list.last() != Some(&n) {
                    list.push(n);
                }
            }
        }
        users.iter_mut().for_each(|u| u.reverse());
        let written: BTreeSet<&str> = g.writes.iter().map(|w| w.0.as_str()).collect();
        let mut constant = vec![false; count];
        for n in g.ids() {
            let node = g.node(n);
            constant[n.0 as usize] = fixed
                && match &node.op {
                    Op::Input(_) | Op::Draw { .. } => false,
                    Op::Weight(p) | Op::State(p) => !written.contains(p.as_str()),
                    Op::Loop { body, .. } if !quiet(body, &written) => false,
                    _ => node.args.iter().all(|a| constant[a.0 as usize]),
                };
        }
        // A result that nothing constant reads is computed where it is wanted.
        for n in g.ids().rev() {
            let i = n.0 as usize;
            if result[i] && !users[i].iter().any(|u| constant[u.0 as usize]) {
                constant[i] = false;
            }
        }
        let mut name = FxHashMap::default();
        for (path, n) in &g.named {
            name.entry(*n).or_insert_with(|| path.clone());
        }
        let order = if layouts { orders(g) } else { g.nodes.iter().map(|n| (0..n.ty.shape.len()).collect()).collect() };
        Facts { live, users, result, constant, order, name }
    }
}

/// Does a loop's body draw nothing, and read no stored tensor that the entry writes?
fn quiet(body: &Graph, written: &BTreeSet<&str>) -> bool {
    body.nodes.iter().all(|n| match &n.op {
        Op::Draw { .. } => false,
        Op::Weight(p) | Op::State(p) => !written.contains(p.as_str()),
        Op::Loop { body, .. } => quiet(body, written),
        _ => true,
    })
}

/// The stored tensors that loop bodies name.
pub(super) fn stored_inside(g: &Graph) -> Vec<(&str, &TensorType)> {
    let mut found = Vec::new();
    for n in &g.nodes {
        let Op::Loop { body, .. } = &n.op else { continue };
        for inner in &body.nodes {
            if let Op::Weight(p) | Op::State(p) = &inner.op {
                found.push((p.as_str(), &inner.ty));
            }
        }
        found.extend(stored_inside(body));
    }
    found
}

/// How much an order matters: nothing (a broadcast), a row-major tensor from outside, the result of a contraction.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Weight {
    Broadcast,
    Given,
    Computed,
}

fn orders(g: &Graph) -> Vec<Vec<usize>> {
    let mut known: Vec<(Vec<usize>, Weight)> = Vec::with_capacity(g.nodes.len());
    for n in g.ids() {
        let node = g.node(n);
        let rank = node.ty.shape.len();
        let plain: Vec<usize> = (0..rank).collect();
        let of = |k: usize| &known[node.args[k].0 as usize];
        let from = |k: usize| &*g.ty(node.args[k]).shape;
        let entry = match &node.op {
            Op::Const(_) | Op::Size(_) | Op::Iota { .. } => (plain, Weight::Broadcast),
            Op::Map(_) => {
                let best = (0..node.args.len()).rev().max_by_key(|k| of(*k).1);
                best.map_or((plain, Weight::Broadcast), |k| of(k).clone())
            }
            Op::Stop | Op::Slice { .. } | Op::Pad { .. } => of(0).clone(),
            Op::Concat { .. } => {
                let best = (0..node.args.len()).rev().max_by_key(|k| of(*k).1);
                best.map_or((plain, Weight::Given), |k| of(k).clone())
            }
            Op::Scan(_) => (of(0).0.clone(), of(0).1),
            Op::Permute(perm) => {
                let back = |axis: &usize| perm.iter().position(|p| p == axis).unwrap_or(0);
                (of(0).0.iter().map(back).collect(), of(0).1)
            }
            Op::Reshape => (reshaped(from(0), &of(0).0, &node.ty.shape), of(0).1),
            Op::Expand { axes } => {
                let grows = axes.len() < rank || axes.iter().enumerate().any(|(k, a)| from(0)[k] != node.ty.shape[*a]);
                let order = of(0).0.iter().map(|k| axes[*k]).collect();
                if grows { (plain, Weight::Broadcast) } else { (order, of(0).1) }
            }
            Op::Window { .. } => (of(0).0.iter().copied().chain([rank - 1]).collect(), of(0).1),
            Op::Reduce { axes, .. } => {
                let kept: Vec<usize> = (0..from(0).len()).filter(|k| !axes.contains(k)).collect();
                let to = |k: &usize| kept.iter().position(|x| x == k);
                (of(0).0.iter().filter_map(to).collect(), of(0).1)
            }
            Op::Dot { batch, contract } => {
                // Batch and M as they lie in `a`, then N: channels stay innermost.
                let free: Vec<usize> =
                    (0..from(0).len()).filter(|k| batch.iter().chain(contract).all(|p| p.0 != *k)).collect();
                let to = |k: &usize| {
                    let b = batch.iter().position(|p| p.0 == *k);
                    b.or_else(|| free.iter().position(|f| f == k).map(|f| batch.len() + f))
                };
                let lead = of(0).0.iter().filter_map(to);
                (lead.chain(batch.len() + free.len()..rank).collect(), Weight::Computed)
            }
            Op::Gather { axis, batch } => {
                let index = from(1).len() - batch;
                let to = |k: &usize| match k.cmp(axis) {
                    std::cmp::Ordering::Less => *k..*k + 1,
                    std::cmp::Ordering::Equal => *axis..axis + index,
                    std::cmp::Ordering::Greater => k + index - 1..k + index,
                };
                (of(0).0.iter().flat_map(to).collect(), of(0).1)
            }
            _ => (plain, Weight::Given),
        };
        known.push(entry);
    }
    known.into_iter().map(|k| k.0).collect()
}

/// The order of the axes after a reshape, where each run of axes lies together.
fn reshaped(from: &[Dim], order: &[usize], to: &[Dim]) -> Vec<usize> {
    let plain = (0..to.len()).collect();
    let Ok(runs) = runs(from, to) else { return plain };
    let mut out: Vec<usize> = (0..to.len()).filter(|n| runs.iter().all(|r| !r.1.contains(n))).collect();
    let solid: Vec<usize> = order.iter().copied().filter(|n| runs.iter().any(|r| r.0.contains(n))).collect();
    let mut at = 0;
    while at < solid.len() {
        let Some((a, b)) = runs.iter().find(|r| r.0.first() == Some(&solid[at])) else { return plain };
        if solid.get(at..at + a.len()) != Some(a.as_slice()) {
            return plain;
        }
        out.extend(b);
        at += a.len();
    }
    if out.len() == to.len() { out } else { plain }
}
