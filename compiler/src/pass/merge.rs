//! Pass `merge`: scales and shifts after a contraction go into its weights and one bias.
//!
//! In: a graph. Out: `dot(x, w) * s + t` becomes `dot(x, w * s) + t`, for any chain of + - * / with values that depend
//! on stored tensors only and vary along axes which the result has from the weights: batch norm after a convolution, a
//! bias before it, layer scale, the scale of queries. Permutations in the chain go after it. Invariants: each value of
//! the chain has one use; stored tensors that the entry writes are not merged; what is merged is computed once, in
//! set-up. Imports: `graph`.

use std::collections::BTreeMap;

use uad_plan::{DType, ScalarOp};

use super::rewrite::{expand, filled, only_user, permute, rebuild, repeated, varying};
use super::stored::depends_only_on_stored;
use crate::graph::{Graph, NodeId, Op, ScopeId, Shape};

/// One link of a chain.
struct Step {
    op: ScalarOp,
    /// The value that is not the chain's; none for a negation.
    other: Option<NodeId>,
    /// Is the chain's value the second argument?
    second: bool,
    /// Axis `n` of the value at this link is axis `axes[n]` of the contraction's result.
    axes: Vec<usize>,
}

/// A contraction and what follows it.
struct Chain {
    dot: NodeId,
    /// Which operand holds the weights.
    side: usize,
    /// (axis of the result, axis of the weights), by axis of the result.
    kept: Vec<(usize, usize)>,
    steps: Vec<Step>,
}

/// The pass. Did it change anything?
pub fn run(graph: &mut Graph) -> bool {
    let (stored, user) = (depends_only_on_stored(graph), only_user(graph));
    let mut ends: BTreeMap<NodeId, Chain> = BTreeMap::new();
    for id in graph.ids() {
        if let Some((end, chain)) = chain(graph, &stored, &user, id) {
            ends.insert(end, chain);
        }
    }
    if ends.is_empty() {
        return false;
    }
    let old = graph.clone();
    rebuild(graph, |out, map, node| {
        let chain = ends.get(&NodeId(map.len() as u32))?;
        emit(out, &old, map, chain, node.scope)
    })
}

/// The chain that begins at a contraction with weights, and its last link, if merging it gains anything.
fn chain(graph: &Graph, stored: &[bool], user: &[Option<NodeId>], dot: NodeId) -> Option<(NodeId, Chain)> {
    let node = graph.node(dot);
    let Op::Dot { batch, contract } = &node.op else { return None };
    let side = match [stored[node.args[0].0 as usize], stored[node.args[1].0 as usize]] {
        [false, true] => 1,
        [true, false] => 0,
        [true, true] | [false, false] => return None,
    };
    let mut kept: Vec<(usize, usize)> =
        batch.iter().enumerate().map(|(n, p)| (n, if side == 0 { p.0 } else { p.1 })).collect();
    let mut next = batch.len();
    for s in 0..2 {
        let own = |p: &(usize, usize)| if s == 0 { p.0 } else { p.1 };
        for n in 0..graph.ty(node.args[s]).shape.len() {
            if !batch.iter().chain(contract).any(|p| own(p) == n) {
                if s == side {
                    kept.push((next, n));
                }
                next += 1;
            }
        }
    }
    let mut axes: Vec<usize> = (0..node.ty.shape.len()).collect();
    let (mut at, mut end) = (dot, dot);
    let mut steps: Vec<Step> = Vec::new();
    while let Some(next) = user[at.0 as usize] {
        let link = graph.node(next);
        match &link.op {
            Op::Permute(perm) => axes = perm.iter().map(|p| axes[*p]).collect(),
            Op::Map(ScalarOp::Neg) => {
                steps.push(Step { op: ScalarOp::Neg, other: None, second: false, axes: axes.clone() });
                end = next;
            }
            Op::Map(op @ (ScalarOp::Add | ScalarOp::Sub | ScalarOp::Mul | ScalarOp::Div)) => {
                let second = link.args[1] == at;
                let other = link.args[usize::from(!second)];
                let along = |n: &usize| kept.iter().any(|k| k.0 == axes[*n]);
                let fits = stored[other.0 as usize] && varying(graph, other).iter().all(along);
                if !fits || (second && *op == ScalarOp::Div) {
                    break;
                }
                steps.push(Step { op: *op, other: Some(other), second, axes: axes.clone() });
                end = next;
            }
            _ => break,
        }
        at = next;
    }
    let adds = steps.iter().filter(|s| matches!(s.op, ScalarOp::Add | ScalarOp::Sub)).count();
    let scales = steps.len() > adds || steps.iter().any(|s| s.op == ScalarOp::Sub && s.second);
    let turned = steps.last().is_some_and(|s| s.axes.windows(2).any(|w| w[0] > w[1]));
    let plain = adds == 1 && steps.len() == 1 && !turned;
    if steps.is_empty() || (plain && !scales) { None } else { Some((end, Chain { dot, side, kept, steps })) }
}

/// The scale and the shift that a chain comes to, over the weights' axes of the result.
#[derive(Default)]
struct Affine {
    scale: Option<NodeId>,
    shift: Option<NodeId>,
}

impl Affine {
    fn step(&mut self, out: &mut Graph, step: &Step, v: NodeId, scope: ScopeId) -> Option<()> {
        use ScalarOp as S;
        let mut map = |op: S, args: &[NodeId]| out.map(op, args, scope).ok();
        match (step.op, step.second) {
            (S::Add, _) => self.shift = Some(self.shift.map_or(Some(v), |t| map(S::Add, &[t, v]))?),
            (S::Sub, false) => {
                self.shift = Some(match self.shift {
                    Some(t) => map(S::Sub, &[t, v])?,
                    None => map(S::Neg, &[v])?,
                });
            }
            (S::Mul, _) => {
                self.scale = Some(self.scale.map_or(Some(v), |s| map(S::Mul, &[s, v]))?);
                self.shift = match self.shift {
                    Some(t) => Some(map(S::Mul, &[t, v])?),
                    None => None,
                };
            }
            (S::Div, false) => {
                self.shift = match self.shift {
                    Some(t) => Some(map(S::Div, &[t, v])?),
                    None => None,
                };
                let ty = out.ty(v).clone();
                let one = filled(out, 1.0, &ty, scope)?;
                let s = self.scale.unwrap_or(one);
                self.scale = Some(out.map(S::Div, &[s, v], scope).ok()?);
            }
            // v - x, and -x
            (S::Sub, true) | (S::Neg, _) => {
                self.shift = match self.shift {
                    Some(t) if step.op == S::Neg => Some(map(S::Neg, &[t])?),
                    Some(t) => Some(map(S::Sub, &[v, t])?),
                    None if step.op == S::Neg => None,
                    None => Some(v),
                };
                let ty = out.ty(v).clone();
                self.scale = match self.scale {
                    Some(s) => Some(out.map(S::Neg, &[s], scope).ok()?),
                    None => Some(filled(out, -1.0, &ty, scope)?),
                };
            }
            _ => return None,
        }
        Some(())
    }
}

fn emit(out: &mut Graph, old: &Graph, map: &[NodeId], chain: &Chain, scope: ScopeId) -> Option<NodeId> {
    let dot = old.node(chain.dot);
    let shape = &dot.ty.shape;
    let kept_shape: Shape = chain.kept.iter().map(|k| shape[k.0].clone()).collect();
    let place = |axis: usize| chain.kept.iter().position(|k| k.0 == axis);
    let mut affine = Affine::default();
    for step in &chain.steps {
        let v = match step.other {
            // A negation needs no value, only its type.
            None => filled(out, 0.0, &crate::graph::TensorType::new(DType::F32, kept_shape.clone()), scope)?,
            Some(other) => {
                let x = map[other.0 as usize];
                let (x, axes) = match repeated(out, x) {
                    Some(r) => r,
                    None => (x, (0..out.ty(x).shape.len()).collect()),
                };
                let places: Vec<usize> = axes.iter().map(|a| place(step.axes[*a])).collect::<Option<_>>()?;
                expand(out, x, &places, &kept_shape, scope)?
            }
        };
        affine.step(out, step, v, scope)?;
    }
    let mut value = map[chain.dot.0 as usize];
    if let Some(s) = affine.scale {
        let mut args = [map[dot.args[0].0 as usize], map[dot.args[1].0 as usize]];
        let weights = args[chain.side];
        let full = out.ty(weights).shape.clone();
        let places: Vec<usize> = chain.kept.iter().map(|k| k.1).collect();
        let s = expand(out, s, &places, &full, scope)?;
        args[chain.side] = out.map(ScalarOp::Mul, &[weights, s], scope).ok()?;
        value = out.op(dot.op.clone(), &args, dot.scope).ok()?;
    }
    if let Some(t) = affine.shift {
        let places: Vec<usize> = chain.kept.iter().map(|k| k.0).collect();
        let t = expand(out, t, &places, shape, scope)?;
        value = out.map(ScalarOp::Add, &[value, t], scope).ok()?;
    }
    permute(out, value, chain.steps.last()?.axes.clone(), scope)
}
