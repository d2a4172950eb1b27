//! Pass `dead`: removes what no result needs.
//!
//! In: a graph. Out: the nodes that an output or a write needs. Invariants: names of removed values go, too; inputs
//! that nothing reads go (an entry's inputs are those of its graph). Imports: `graph`.

use crate::graph::{Graph, NodeId};

/// The pass. Did it change anything?
pub fn run(graph: &mut Graph) -> bool {
    let mut needed = vec![false; graph.nodes.len()];
    graph.outputs.iter().chain(&graph.writes).for_each(|o| needed[o.1.0 as usize] = true);
    for n in (0..graph.nodes.len()).rev() {
        if needed[n] {
            graph.nodes[n].args.iter().for_each(|a| needed[a.0 as usize] = true);
        }
    }
    if needed.iter().all(|n| *n) {
        return false;
    }
    let mut map = Vec::with_capacity(needed.len());
    let mut next = 0;
    for n in &needed {
        map.push(NodeId(next));
        next += u32::from(*n);
    }
    let mut at = 0;
    graph.nodes.retain(|_| {
        at += 1;
        needed[at - 1]
    });
    graph.named.retain(|n| needed[n.1.0 as usize]);
    let ids = graph.nodes.iter_mut().flat_map(|n| n.args.iter_mut());
    let results = graph.outputs.iter_mut().chain(&mut graph.writes).chain(&mut graph.named).map(|o| &mut o.1);
    ids.chain(results).for_each(|id| *id = map[id.0 as usize]);
    true
}
