//! A loss for any graph: what gradients are tested with.
//!
//! In: a graph with outputs. Out: one f32 of which all f32 outputs are part, each element with a weight of its own.
//! Invariants: outputs of any size count; nothing has a step or a tie. Imports: the graph, `uad-plan`.

use uad_plan::{DType, ReduceOp, ScalarOp};

use crate::graph::{Graph, NodeId, Op, TensorType};

/// Takes the outputs (and writes and names) off the graph and adds their weighed sum; `None` where none is f32.
pub fn loss(g: &mut Graph) -> Option<NodeId> {
    let mut outputs = std::mem::take(&mut g.outputs);
    outputs.retain(|o| g.ty(o.1).dtype == DType::F32);
    (g.writes, g.named) = (vec![], vec![]);
    let mut sum: Option<NodeId> = None;
    for (n, (_, id)) in outputs.into_iter().enumerate() {
        let scope = g.node(id).scope;
        let shape = g.ty(id).shape.clone();
        let mut weight = g.constant(DType::F32, 0.7 + 0.125 * n as f64, scope);
        weight = g.broadcast(weight, &shape, scope).ok()?;
        for axis in 0..shape.len() {
            let i = g.add(Op::Iota { axis }, &[], TensorType::new(DType::I32, shape.clone()), scope).ok()?;
            let i = g.map(ScalarOp::ToF32, &[i], scope).ok()?;
            let angle = g.map(ScalarOp::Add, &[i, weight], scope).ok()?;
            weight = g.map(ScalarOp::Sin, &[angle], scope).ok()?;
        }
        // Large outputs are bounded, so that all count.
        let y = g.map(ScalarOp::Tanh, &[id], scope).ok()?;
        let small = g.constant(DType::F32, 0.01, scope);
        let small = g.broadcast(small, &shape, scope).ok()?;
        let linear = g.map(ScalarOp::Mul, &[id, small], scope).ok()?;
        let y = g.map(ScalarOp::Add, &[y, linear], scope).ok()?;
        let y = g.map(ScalarOp::Mul, &[y, weight], scope).ok()?;
        let y = g.op(Op::Reduce { op: ReduceOp::Sum, axes: (0..shape.len()).collect() }, &[y], scope).ok()?;
        sum = Some(match sum {
            Some(s) => g.map(ScalarOp::Add, &[s, y], scope).ok()?,
            None => y,
        });
    }
    sum
}
