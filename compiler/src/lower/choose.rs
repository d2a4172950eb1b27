//! Which values are stored, and which operations share a kernel.
//!
//! In: a graph and its facts. Out: [`Choice`]. Invariants: pure; a choice is about speed, never about meaning: whatever
//! is not stored here and turns out to be needed in memory is stored then. Imports: the graph.

use std::collections::HashMap;

use super::facts::Facts;
use crate::graph::{Graph, NodeId, Op};

/// Decisions by node.
pub(super) struct Choice {
    /// Is its value stored by a kernel?
    pub stored: Vec<bool>,
    /// The contraction or reduction around which a stored value's kernel is built.
    pub anchor: Vec<Option<NodeId>>,
    /// The stored value in whose kernel it is computed.
    pub inside: Vec<Option<NodeId>>,
    /// For reductions: the stored value in whose kernel it may be a stage.
    pub reduces: Vec<Option<NodeId>>,
    /// The concatenation of which it is a part, and its number there.
    pub joined: Vec<Option<(NodeId, usize)>>,
    /// Second contractions of attentions.
    pub attention: HashMap<NodeId, ()>,
}

impl Choice {
    /// Decides. `fuse`: share kernels at all?
    pub fn new(g: &Graph, facts: &Facts, fuse: bool) -> Choice {
        let count = g.nodes.len();
        let mut c = Choice {
            stored: vec![false; count],
            anchor: vec![None; count],
            inside: vec![None; count],
            reduces: vec![None; count],
            joined: vec![None; count],
            attention: HashMap::new(),
        };
        let _ = fuse;
        for n in g.ids().filter(|n| facts.live[n.0 as usize]) {
            let i = n.0 as usize;
            c.stored[i] = !matches!(g.node(n).op, Op::Const(_) | Op::Size(_)) || facts.result[i];
            if matches!(g.node(n).op, Op::Dot { .. } | Op::Reduce { .. }) {
                c.anchor[i] = Some(n);
                c.reduces[i] = Some(n);
            }
        }
        c
    }
}
