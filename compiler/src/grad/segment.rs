//! Loops in segments: less memory for a gradient, for one more run of the loop.
//!
//! In: a graph. Out: the same graph, where a loop of n rounds is a loop over segments of about √n rounds. The gradient of a loop keeps
//! what each round carried in; of the outer loop that is one value per segment, and of a segment, which is run again when the
//! gradient comes to it, one per round: about 2√n values instead of n (Chen et al., Training deep nets with sublinear memory
//! cost, 2016). Invariants: every round does the same arithmetic on the same numbers; nodes keep their places; loops with `until`
//! and loops whose count is not known stay as they are.
//! Imports: the graph, `uad-plan`.

use uad_plan::{DType, Dim, ScalarOp};

use crate::graph::build::TypeError;
use crate::graph::{Graph, Node, NodeId, Op, ScopeId, TensorType};

/// Shorter loops keep little.
const SHORTEST: i64 = 9;

/// Brings every loop of the graph to segments.
pub fn segment(g: &mut Graph) -> Result<(), TypeError> {
    for n in 0..g.nodes.len() {
        let Op::Loop { count, carried, every: None, body } = &g.nodes[n].op else { continue };
        let Some(rounds) = count.as_int().filter(|r| *r >= SHORTEST && body.outputs.len() == *carried) else {
            continue;
        };
        let types: Vec<TensorType> = g.nodes[n].args.iter().map(|a| g.ty(*a).clone()).collect();
        let scope = body.nodes.last().map_or(ScopeId(0), |n| n.scope);
        let plan = Segments { body, carried: *carried, types: &types, scope };
        let new = plan.whole(rounds)?;
        g.nodes[n].op = Op::Loop { count: Dim::from(1), carried: *carried, every: None, body: Box::new(new) };
    }
    Ok(())
}

/// A loop that is cut.
struct Segments<'a> {
    body: &'a Graph,
    carried: usize,
    /// Of its arguments.
    types: &'a [TensorType],
    scope: ScopeId,
}

impl Segments<'_> {
    /// All rounds as one: whole segments, then what is left over.
    fn whole(&self, rounds: i64) -> Result<Graph, TypeError> {
        let each = rounds.isqrt();
        let (segments, left) = (rounds / each, rounds % each);
        let mut g = self.empty();
        let args = self.inputs(&mut g)?;
        let outer = Op::Loop {
            count: Dim::from(segments),
            carried: self.carried,
            every: None,
            body: Box::new(self.one(each)?),
        };
        let mut results = self.parts(&mut g, outer, &args)?;
        if left > 0 {
            let done =
                g.add(Op::Size(Dim::from(segments * each)), &[], TensorType::new(DType::I32, vec![]), self.scope)?;
            let captured = args[self.carried..].iter().copied();
            let args: Vec<NodeId> = results.iter().copied().chain(captured).chain([done]).collect();
            results = self.rest(&mut g, left, &args)?;
        }
        self.close(g, results)
    }

    /// One segment: its own number is `round`.
    fn one(&self, each: i64) -> Result<Graph, TypeError> {
        let mut g = self.empty();
        let mut args = self.inputs(&mut g)?;
        let int = TensorType::new(DType::I32, vec![]);
        let number = g.add(Op::Input("round".into()), &[], int.clone(), self.scope)?;
        let each_node = g.add(Op::Size(Dim::from(each)), &[], int.clone(), self.scope)?;
        args.push(g.add(Op::Map(ScalarOp::Mul), &[number, each_node], int, self.scope)?);
        let results = self.rest(&mut g, each, &args)?;
        self.close(g, results)
    }

    /// So many rounds of the body, from the round that the last argument says.
    fn rest(&self, g: &mut Graph, rounds: i64, args: &[NodeId]) -> Result<Vec<NodeId>, TypeError> {
        let mut body = Graph { nodes: Vec::new(), ..self.body.clone() };
        let int = TensorType::new(DType::I32, vec![]);
        let first = body.add(Op::Input(self.types.len().to_string()), &[], int.clone(), self.scope)?;
        let turn = body.add(Op::Input("round".into()), &[], int.clone(), self.scope)?;
        let round = body.add(Op::Map(ScalarOp::Add), &[first, turn], int, self.scope)?;
        let mut to: Vec<NodeId> = Vec::with_capacity(self.body.nodes.len());
        for node in &self.body.nodes {
            to.push(match &node.op {
                Op::Input(name) if name == "round" => round,
                _ => {
                    let args = node.args.iter().map(|a| to[a.0 as usize]).collect();
                    body.nodes.push(Node { args, ..node.clone() });
                    NodeId(body.nodes.len() as u32 - 1)
                }
            });
        }
        for (_, n) in body.outputs.iter_mut().chain(&mut body.named) {
            *n = to[n.0 as usize];
        }
        let op = Op::Loop { count: Dim::from(rounds), carried: self.carried, every: None, body: Box::new(body) };
        self.parts(g, op, args)
    }

    fn parts(&self, g: &mut Graph, op: Op, args: &[NodeId]) -> Result<Vec<NodeId>, TypeError> {
        let whole = g.op(op, args, self.scope)?;
        (0..self.carried).map(|k| g.add(Op::Part(k), &[whole], self.types[k].clone(), self.scope)).collect()
    }

    fn empty(&self) -> Graph {
        let b = self.body;
        Graph { dims: b.dims.clone(), scopes: b.scopes.clone(), name: b.name.clone(), ..Graph::default() }
    }

    fn inputs(&self, g: &mut Graph) -> Result<Vec<NodeId>, TypeError> {
        let types = self.types.iter().enumerate();
        types.map(|(k, ty)| g.add(Op::Input(k.to_string()), &[], ty.clone(), self.scope)).collect()
    }

    fn close(&self, mut g: Graph, results: Vec<NodeId>) -> Result<Graph, TypeError> {
        g.outputs = results.into_iter().enumerate().map(|(k, n)| (k.to_string(), n)).collect();
        Ok(g)
    }
}
