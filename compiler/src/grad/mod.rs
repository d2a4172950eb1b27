//! Gradients: reverse mode, from graph to graph.
//!
//! In: a graph, a scalar in it and what to derive by. Out: nodes appended to the same graph, so that gradients of
//! gradients are gradients. Invariants: nodes that were there stay as they are; every new node has the scope of the
//! node it comes from; every row of the tables of primitives and of scalar operations has a rule here, or the crate
//! does not compile; the order of sums is that of the graph. Conventions where there is no derivative, as in PyTorch
//! but for the square root: the derivative of `abs` at 0, of `sqrt` at 0 (PyTorch: infinite) and of `max(x, constant)`
//! at the constant is 0; two values that tie for a maximum share its gradient equally.
//! Imports: the graph, `uad-plan`.

mod contract;
mod index;
mod loops;
mod make;
mod matrix;
mod reduce;
mod scalar;
mod segment;
mod shape;
mod window;

use std::fmt;

use smallvec::SmallVec;
use uad_plan::{DType, DimError};

pub use segment::segment;

use crate::graph::build::TypeError;
use crate::graph::{Graph, Node, NodeId, Op, ScopeId, TensorType};
use crate::hash::FxHashMap;

/// Why there is no gradient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoGradient {
    /// The node through which none passes.
    pub node: NodeId,
    /// Why.
    pub why: Why,
}

/// Reasons of [`NoGradient`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// A loop that ends early: nobody knows which values it carried.
    Until,
    /// What is derived is not one f32.
    NotScalar(TensorType),
    /// A dimension beyond 64 bits, or a fault of the compiler.
    Fault(String),
}

impl fmt::Display for NoGradient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.why {
            Why::Until => write!(f, "{}: no gradient passes a loop with `until`", self.node),
            Why::NotScalar(t) => write!(f, "{}: only one f32 has a gradient, not {t}", self.node),
            Why::Fault(text) => write!(f, "{}: {text}", self.node),
        }
    }
}
impl std::error::Error for NoGradient {}

impl From<TypeError> for Why {
    fn from(e: TypeError) -> Why {
        Why::Fault(e.0)
    }
}

impl From<DimError> for Why {
    fn from(e: DimError) -> Why {
        Why::Fault(e.to_string())
    }
}

/// What a rule gives.
type Step<T> = Result<T, Why>;

/// Appends the derivatives of the scalar `of` by each of `wrt`: zeros where no path leads there. An input, weight or
/// state stands for all nodes of its name.
pub fn gradients(g: &mut Graph, of: NodeId, wrt: &[NodeId]) -> Result<Vec<NodeId>, NoGradient> {
    let ty = g.ty(of).clone();
    if ty != TensorType::new(DType::F32, vec![]) {
        return Err(NoGradient { node: of, why: Why::NotScalar(ty) });
    }
    let scope = g.node(of).scope;
    let one = g.constant(DType::F32, 1.0, scope);
    pull(g, &[(of, one)], wrt)
}

/// Does a path of gradients lead from `of` to `by`?
pub fn leads(g: &Graph, of: NodeId, by: NodeId) -> bool {
    let end = of.0 as usize + 1;
    let same = leaves(g, end);
    let by = same.get(by.0 as usize).copied().unwrap_or(by);
    live(g, end, &same, &goals(end, &[by])).last().copied().unwrap_or(false)
}

/// Appends the sum, over all values with a cotangent, of the cotangent's product with the derivative by each of `wrt`.
fn pull(g: &mut Graph, seeds: &[(NodeId, NodeId)], wrt: &[NodeId]) -> Result<Vec<NodeId>, NoGradient> {
    let end = seeds.iter().map(|s| s.0.0 as usize + 1).max().unwrap_or(0);
    let same = leaves(g, end);
    let of = |id: NodeId| same.get(id.0 as usize).copied().unwrap_or(id);
    let wanted: Vec<NodeId> = wrt.iter().map(|w| of(*w)).collect();
    let goal = goals(end, &wanted);
    let live = live(g, end, &same, &goal);
    let mut r = Reverse { g, live, same: same.clone(), given: FxHashMap::default(), scope: ScopeId(0) };
    for (id, cotangent) in seeds {
        r.give(*id, *cotangent);
    }
    let mut found: FxHashMap<NodeId, NodeId> = FxHashMap::default();
    for id in (0..end as u32).rev().map(NodeId) {
        let fail = |why: Why| NoGradient { node: id, why };
        let node = r.g.node(id);
        r.scope = node.scope;
        if matches!(node.op, Op::Loop { .. } | Op::Eigh) {
            let node = node.clone();
            if node.op == Op::Eigh { r.eigh(id, &node) } else { r.looped(id, &node) }.map_err(fail)?;
            continue;
        }
        let Some(dy) = r.take(id, 0).map_err(fail)? else { continue };
        if goal[id.0 as usize] {
            found.insert(id, dy);
        }
        let node = r.g.node(id).clone();
        r.rule(id, &node, dy).map_err(fail)?;
    }
    let mut result = Vec::with_capacity(wanted.len());
    for w in wanted {
        let node = r.g.node(w).clone();
        r.scope = node.scope;
        result.push(match found.get(&w) {
            Some(dy) => *dy,
            None => r.fill(0.0, &node.ty.shape).map_err(|why| NoGradient { node: w, why })?,
        });
    }
    Ok(result)
}

/// For each node the first that is the same input, weight or state, else the node itself.
fn leaves<'g>(g: &'g Graph, end: usize) -> Vec<NodeId> {
    let mut first: FxHashMap<(&'g str, &'g str), NodeId> = FxHashMap::default();
    let one = |(n, node): (usize, &'g Node)| {
        let id = NodeId(n as u32);
        match &node.op {
            Op::Input(name) | Op::Weight(name) | Op::State(name) => {
                *first.entry((node.op.name(), name.as_str())).or_insert(id)
            }
            _ => id,
        }
    };
    g.nodes.iter().enumerate().take(end).map(one).collect()
}

/// Which nodes are among `wanted`.
fn goals(end: usize, wanted: &[NodeId]) -> Vec<bool> {
    let mut goal = vec![false; end];
    wanted.iter().filter_map(|w| Some(w.0 as usize).filter(|n| *n < end)).for_each(|n| goal[n] = true);
    goal
}

/// Which nodes lie on a path of gradients to one that is a goal.
fn live(g: &Graph, end: usize, same: &[NodeId], goal: &[bool]) -> Vec<bool> {
    let mut live = vec![false; end];
    for n in 0..end {
        let node = &g.nodes[n];
        let reached = |k: usize| live[node.args[k].0 as usize] && passes(&node.op, k);
        let several = matches!(node.op, Op::Loop { .. });
        live[n] =
            (node.ty.dtype == DType::F32 || several) && (goal[same[n].0 as usize] || (0..node.args.len()).any(reached));
    }
    live
}

/// Does a gradient pass from the result to argument `k`, where that is f32?
fn passes(op: &Op, k: usize) -> bool {
    match op {
        Op::Input(_)
        | Op::Weight(_)
        | Op::State(_)
        | Op::Const(_)
        | Op::Literal(_)
        | Op::Size(_)
        | Op::Iota { .. }
        | Op::Draw { .. }
        | Op::ArgSort { .. }
        | Op::Stop => false,
        Op::Map(op) => scalar::rule(*op).is_some(),
        Op::Reduce { op, .. } => reduce::passes(*op),
        Op::Gather { .. } => k == 0,
        Op::ScatterAdd { .. } => k != 1,
        Op::Permute(_)
        | Op::Reshape
        | Op::Expand { .. }
        | Op::Slice { .. }
        | Op::Pad { .. }
        | Op::Window { .. }
        | Op::Concat { .. }
        | Op::Dot { .. }
        | Op::Scan(_)
        | Op::Loop { .. }
        | Op::Eigh
        | Op::Cholesky
        | Op::Part(_) => true,
    }
}

/// The pass backwards.
struct Reverse<'g> {
    g: &'g mut Graph,
    /// Does a gradient go here?
    live: Vec<bool>,
    /// See [`leaves`].
    same: Vec<NodeId>,
    /// Cotangents of results so far, by node and number of the result.
    given: FxHashMap<(NodeId, usize), SmallVec<[NodeId; 4]>>,
    /// The scope of the node whose rule is at work.
    scope: ScopeId,
}

impl<'g> Reverse<'g> {
    /// Over a graph in the making, into which no gradient goes.
    fn over(g: &'g mut Graph, scope: ScopeId) -> Reverse<'g> {
        Reverse { g, live: Vec::new(), same: Vec::new(), given: FxHashMap::default(), scope }
    }

    /// Does a gradient go to this value?
    fn wants(&self, id: NodeId) -> bool {
        self.live.get(id.0 as usize).copied().unwrap_or(false)
    }

    /// Adds to the cotangent of a value.
    fn give(&mut self, id: NodeId, cotangent: NodeId) {
        if self.wants(id) {
            let id = self.same[id.0 as usize];
            self.given.entry((id, 0)).or_default().push(cotangent);
        }
    }

    /// The sum of what was given to a result.
    fn take(&mut self, id: NodeId, part: usize) -> Step<Option<NodeId>> {
        let Some(all) = self.given.remove(&(id, part)) else { return Ok(None) };
        let mut all = all.into_iter();
        let Some(mut sum) = all.next() else { return Ok(None) };
        for more in all {
            sum = self.add(sum, more)?;
        }
        Ok(Some(sum))
    }

    /// The rules of operations with one result.
    fn rule(&mut self, id: NodeId, node: &Node, dy: NodeId) -> Step<()> {
        match &node.op {
            Op::Input(_)
            | Op::Weight(_)
            | Op::State(_)
            | Op::Const(_)
            | Op::Literal(_)
            | Op::Size(_)
            | Op::Iota { .. }
            | Op::Draw { .. }
            | Op::ArgSort { .. }
            | Op::Stop => Ok(()),
            Op::Map(op) => self.scalar(*op, &scalar::Site { args: &node.args, y: id, dy }),
            Op::Reduce { op, axes } => self.reduced(*op, axes, id, node.args[0], dy),
            Op::Permute(perm) => self.permuted(perm, node.args[0], dy),
            Op::Reshape => self.reshaped(node.args[0], dy),
            Op::Expand { axes } => self.expanded(axes, node.args[0], dy),
            Op::Slice { start, step } => self.sliced(start, step, node.args[0], dy),
            Op::Pad { lo, hi, interior, .. } => self.padded(lo, hi, interior, node.args[0], dy),
            Op::Concat { axis } => self.concatenated(*axis, &node.args, dy),
            Op::Window { .. } => self.windowed(node, dy),
            Op::Dot { batch, contract } => self.contracted(batch, contract, node, dy),
            Op::Gather { axis, batch } => self.gathered(*axis, *batch, &node.args, dy),
            Op::ScatterAdd { axis, batch } => self.scattered(*axis, *batch, &node.args, dy),
            Op::Scan(op) => self.scanned(*op, id, node.args[0], dy),
            Op::Cholesky => self.cholesky(id, node.args[0], dy),
            Op::Part(k) => {
                if self.wants(node.args[0]) {
                    self.given.entry((node.args[0], *k)).or_default().push(dy);
                }
                Ok(())
            }
            // Operations with several results get their cotangents through their parts.
            Op::Loop { .. } | Op::Eigh => Ok(()),
        }
    }
}
