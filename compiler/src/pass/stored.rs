//! What can be computed once, when weights are loaded.
//!
//! In: a graph. Out: one flag per node. Invariants: a flagged value depends on stored tensors that the entry does not
//! write, on constants and on dims, and on nothing else. Imports: `graph`.

use std::collections::BTreeSet;

use crate::graph::{Graph, Op};

/// Which values depend on nothing but stored tensors that this entry leaves as they are, constants and dims.
pub fn depends_only_on_stored(graph: &Graph) -> Vec<bool> {
    let written: BTreeSet<&str> = graph.writes.iter().map(|w| w.0.as_str()).collect();
    let mut stored: Vec<bool> = Vec::with_capacity(graph.nodes.len());
    for node in &graph.nodes {
        let own = match &node.op {
            Op::Input(_) | Op::Draw { .. } => false,
            Op::Weight(path) | Op::State(path) => !written.contains(path.as_str()),
            Op::Loop { body, .. } => !draws(body),
            Op::Const(_)
            | Op::Literal(_)
            | Op::Size(_)
            | Op::Iota { .. }
            | Op::Map(_)
            | Op::Reduce { .. }
            | Op::Permute(_)
            | Op::Reshape
            | Op::Expand { .. }
            | Op::Slice { .. }
            | Op::Pad { .. }
            | Op::Window { .. }
            | Op::Concat { .. }
            | Op::Dot { .. }
            | Op::Gather { .. }
            | Op::ScatterAdd { .. }
            | Op::ArgSort { .. }
            | Op::Scan(_)
            | Op::Eigh
            | Op::Cholesky
            | Op::Part(_)
            | Op::Stop => true,
        };
        let flag = own && node.args.iter().all(|a| stored[a.0 as usize]);
        stored.push(flag);
    }
    stored
}

/// Does a body draw random numbers, or read stored tensors past its arguments?
fn draws(body: &Graph) -> bool {
    body.nodes.iter().any(|n| match &n.op {
        Op::Draw { .. } | Op::Weight(_) | Op::State(_) => true,
        Op::Loop { body, .. } => draws(body),
        _ => false,
    })
}
