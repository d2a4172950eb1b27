//! Graphs whose outputs are gradients, for executors to agree on.
//!
//! In: a random graph. Out: the graph of the derivatives of a loss over its outputs. Invariants: gradients of maxima and
//! minima are left out: where f32 makes two values equal that differ in f64, they share what in f64 one has.
//! Imports: the compiler.

use uad_compiler::grad::gradients;
use uad_compiler::graph::random::loss;
use uad_compiler::graph::{Graph, Node, NodeId, Op};
use uad_plan::{DType, ReduceOp};

/// The derivatives by every f32 leaf, as outputs; `None` where there is nothing to derive.
pub fn derived(graph: &Graph) -> Option<Graph> {
    let mut g = flat_at_extremes(graph);
    let of = loss(&mut g)?;
    let mut leaves: Vec<(String, NodeId)> = Vec::new();
    for id in g.ids() {
        if let Op::Input(n) | Op::Weight(n) | Op::State(n) = &g.node(id).op
            && g.ty(id).dtype == DType::F32
            && leaves.iter().all(|l| l.0 != *n)
        {
            leaves.push((n.clone(), id));
        }
    }
    let ids: Vec<NodeId> = leaves.iter().map(|l| l.1).collect();
    let found = gradients(&mut g, of, &ids).ok()?;
    g.outputs = leaves.into_iter().zip(found).map(|((name, _), d)| (format!("d {name}"), d)).collect();
    g.outputs.push(("loss".into(), of));
    Some(g)
}

/// The graph with a `stop` behind every extreme over an axis.
fn flat_at_extremes(graph: &Graph) -> Graph {
    let mut g = Graph { nodes: Vec::new(), ..graph.clone() };
    let mut map: Vec<NodeId> = Vec::with_capacity(graph.nodes.len());
    let last = |g: &Graph| NodeId(g.nodes.len() as u32 - 1);
    for node in &graph.nodes {
        let args = node.args.iter().map(|a| map[a.0 as usize]).collect();
        g.nodes.push(Node { args, ..node.clone() });
        let at = last(&g);
        if matches!(&node.op, Op::Reduce { op, .. } | Op::Scan(op) if matches!(op, ReduceOp::Max | ReduceOp::Min)) {
            g.nodes.push(Node { op: Op::Stop, args: vec![at].into(), ..node.clone() });
        }
        map.push(last(&g));
    }
    for list in [&mut g.outputs, &mut g.writes, &mut g.named] {
        list.iter_mut().for_each(|(_, id)| *id = map[id.0 as usize]);
    }
    g
}
