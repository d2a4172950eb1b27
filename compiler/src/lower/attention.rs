//! Attention: two contractions with a softmax between them, in one kernel that stores no weights.
//!
//! In: a graph. Out: where attention stands in it, and its kernels. Invariants: everything between the contractions is
//! used there only; the softmax runs over exactly the axes that the second contraction sums.
//! Imports: facts, pulling, templates, the graph, `uad-plan`.

use std::collections::BTreeSet;

use uad_plan::{AttentionRole, Body, Dim, DotRole, Kernel, ReduceOp, ScalarOp};

use super::affine::{Coord, Space, rough};
use super::expr::{Frame, Place, Point};
use super::facts::Facts;
use super::template::Contraction;
use super::{Halt, LowerError, Lowering, merge};
use crate::graph::{Graph, NodeId, Op};

/// An attention.
#[derive(Clone)]
pub(super) struct Match {
    /// The contraction of weights and values.
    pub second: NodeId,
    /// Which argument of it the weights are.
    side: usize,
    /// The contraction of queries and keys.
    first: NodeId,
    /// The scores: what the softmax is taken of.
    scores: NodeId,
    /// The quotient that ends the softmax, its numerator, and the nodes that broadcast sum and maximum.
    quotient: NodeId,
    power: NodeId,
    sum: NodeId,
    max: NodeId,
    /// Everything that the kernel computes before the second contraction.
    pub inside: BTreeSet<NodeId>,
}

/// Most nodes between the first contraction and the softmax.
const LONGEST: usize = 48;

/// All attentions.
pub(super) fn find(g: &Graph, facts: &Facts) -> Vec<Match> {
    let mut found: Vec<Match> = Vec::new();
    for second in g.ids().filter(|n| facts.live[n.0 as usize]) {
        if !matches!(&g.node(second).op, Op::Dot { contract, .. } if !contract.is_empty()) {
            continue;
        }
        let free = |m: &Match| found.iter().all(|o| o.inside.is_disjoint(&m.inside));
        found.extend((0..2).filter_map(|side| matched(g, facts, second, side)).find(free));
    }
    found
}

fn map_args(g: &Graph, n: NodeId, op: ScalarOp) -> Option<&[NodeId]> {
    let node = g.node(n);
    (node.op == Op::Map(op)).then_some(node.args.as_slice())
}

/// The reduction below views, with the nodes passed.
fn broadcast(g: &Graph, n: NodeId, want: ReduceOp, seen: &mut BTreeSet<NodeId>) -> Option<NodeId> {
    let mut at = n;
    loop {
        seen.insert(at);
        let node = g.node(at);
        match &node.op {
            Op::Permute(_) | Op::Reshape | Op::Expand { .. } | Op::Stop => at = node.args[0],
            Op::Reduce { op, .. } if *op == want => return Some(node.args[0]),
            _ => return None,
        }
    }
}

fn matched(g: &Graph, facts: &Facts, second: NodeId, side: usize) -> Option<Match> {
    let mut inside = BTreeSet::new();
    let mut quotient = g.node(second).args[side];
    while matches!(g.node(quotient).op, Op::Permute(_) | Op::Reshape | Op::Stop) {
        inside.insert(quotient);
        quotient = g.node(quotient).args[0];
    }
    let &[power, sum] = map_args(g, quotient, ScalarOp::Div)? else { return None };
    let &[shifted] = map_args(g, power, ScalarOp::Exp)? else { return None };
    let &[scores, max] = map_args(g, shifted, ScalarOp::Sub)? else { return None };
    inside.extend([quotient, power, shifted]);
    let fits = broadcast(g, sum, ReduceOp::Sum, &mut inside)? == power
        && broadcast(g, max, ReduceOp::Max, &mut inside)? == scores;
    let first = fits.then(|| path(g, scores, &mut inside))??;
    let closed = inside.iter().all(|m| {
        let i = m.0 as usize;
        !facts.result[i]
            && facts.constant[i] == facts.constant[second.0 as usize]
            && facts.users[i].iter().all(|u| *u == second || inside.contains(u))
    });
    closed.then_some(Match { second, side, first, scores, quotient, power, sum, max, inside })
}

/// The only contraction that `scores` comes from by maps and views, with the nodes on the way.
fn path(g: &Graph, scores: NodeId, inside: &mut BTreeSet<NodeId>) -> Option<NodeId> {
    // Arguments before their users: a node is on the way if one of its arguments is.
    let (mut seen, mut todo) = (BTreeSet::new(), vec![scores]);
    let mut first = None;
    while let Some(n) = todo.pop() {
        if !seen.insert(n) {
            continue;
        }
        if seen.len() > LONGEST {
            return None;
        }
        let node = g.node(n);
        match &node.op {
            Op::Map(_) | Op::Permute(_) | Op::Reshape | Op::Stop => todo.extend(&node.args),
            Op::Dot { contract, .. } if !contract.is_empty() => {
                if first.is_some() {
                    return None;
                }
                first = Some(n);
            }
            _ => {}
        }
    }
    let first = first?;
    let mut on = BTreeSet::from([first]);
    for n in seen {
        if n > first && g.node(n).args.iter().any(|a| on.contains(a)) {
            on.insert(n);
        }
    }
    on.contains(&scores).then(|| inside.extend(on))?;
    Some(first)
}

impl Lowering<'_> {
    pub(super) fn attention_space(&self, second: NodeId) -> Result<Space, LowerError> {
        let mut dims = Contraction::new(self, second)?.dims;
        if let Some(m) = self.choice.attention.get(&second) {
            let first = Contraction::new(self, m.first)?;
            dims.extend_from_slice(&first.dims[first.out..]);
        }
        Ok(Space::new(&dims))
    }

    /// The kernel of the value `n` around an attention.
    pub(super) fn attention(
        &self,
        n: NodeId,
        second: NodeId,
        place: &Place,
        space: &Space,
    ) -> Result<Kernel<Dim>, Halt> {
        let Some(m) = self.choice.attention.get(&second) else { return Err(Halt::Store(second)) };
        let unfit = || Halt::Store(m.quotient);
        let c = Contraction::new(self, second)?;
        let at = space.coords()?;
        let extents = space.extents();
        let axes_of = |role: DotRole| -> Vec<usize> {
            (0..c.dims.len()).filter(|d| c.roles[*d] == role).flat_map(|d| space.axes(d)).collect()
        };
        let keys = axes_of(DotRole::K);
        let (queries, features) = match m.side {
            0 => (axes_of(DotRole::M), axes_of(DotRole::N)),
            _ => (axes_of(DotRole::N), axes_of(DotRole::M)),
        };
        let pick = |dims: &[usize]| Point::at(dims.iter().map(|d| at[*d].clone()).collect());
        let (weights, values) = if m.side == 0 { (&c.a, &c.b) } else { (&c.b, &c.a) };
        let mut frame = self.frame(space);
        // From the weights down to the softmax.
        let (mut node, mut point) = (self.graph.node(second).args[m.side], pick(weights));
        while node != m.quotient {
            (node, point) = frame.through(node, &point)?.ok_or_else(unfit)?;
        }
        for (top, source) in [(m.sum, m.power), (m.max, m.scores)] {
            if !self.spans(&mut frame, top, source, &point, &keys)? {
                return Err(unfit());
            }
        }
        frame.anchor = Some((m.first, None));
        let score = frame.hole(m.scores, &point)?;
        let Some((_, Some(reached))) = frame.anchor.take() else { return Err(unfit()) };
        // The first contraction's operands: its own result's coordinates, and the axes that it sums.
        let f = Contraction::new(self, m.first)?;
        let operand = |dims: &[usize]| -> Vec<Coord> {
            dims.iter()
                .map(|d| if *d < f.out { reached[*d].clone() } else { at[c.dims.len() + d - f.out].clone() })
                .collect()
        };
        let moves = |coords: &[Coord], axes: &[usize]| axes.iter().any(|a| coords.iter().any(|c| c.moves(*a)));
        let args = &self.graph.node(m.first).args;
        let (mut q, mut k) = ((args[0], operand(&f.a)), (args[1], operand(&f.b)));
        if moves(&q.1, &keys) {
            std::mem::swap(&mut q, &mut k);
        }
        let fits = !moves(&q.1, &keys)
            && !moves(&q.1, &features)
            && !moves(&k.1, &queries)
            && !moves(&k.1, &features)
            && !moves(&reached, &features);
        if !fits {
            return Err(unfit());
        }
        let (q, k) = (frame.hole(q.0, &Point::at(q.1))?, frame.hole(k.0, &Point::at(k.1))?);
        let v = frame.hole(self.graph.node(second).args[1 - m.side], &pick(values))?;
        let identity: Vec<Coord> = at[..c.out].to_vec();
        let root = Point::at(self.follow(second, n, identity.clone(), &extents)?);
        frame.anchor = Some((second, Some(identity)));
        let out = frame.hole(n, &root)?;
        let write = place.access(&root, extents.len())?;
        let roles: Vec<AttentionRole> = (0..extents.len())
            .map(|a| match a {
                a if keys.contains(&a) => AttentionRole::S,
                a if queries.contains(&a) => AttentionRole::T,
                a if features.contains(&a) => AttentionRole::E,
                a if c.dims.len() < at.len() && a >= space.axes(c.dims.len()).start => AttentionRole::D,
                _ => AttentionRole::Batch,
            })
            .collect();
        let rank = |r: AttentionRole| match r {
            AttentionRole::Batch => 0,
            AttentionRole::T => 1,
            AttentionRole::S => 2,
            AttentionRole::D => 3,
            AttentionRole::E => 4,
        };
        let mut order: Vec<usize> = (0..roles.len()).collect();
        order.sort_by_key(|a| (rank(roles[*a]), -rough(&write.strides[*a])));
        let body = Body::Attention { roles, q, k, score, v, out };
        let kernel = Kernel { reads: frame.reads, writes: vec![write], ..self.kernel(n, extents, body) };
        Ok(merge::reorder(kernel, &order))
    }

    /// Is `top` the broadcast of a reduction of `source` over exactly the axes `keys`, seen from `source` at `point`?
    fn spans(
        &self,
        frame: &mut Frame,
        top: NodeId,
        source: NodeId,
        point: &Point,
        keys: &[usize],
    ) -> Result<bool, Halt> {
        let (mut node, mut at) = (top, point.clone());
        while let Some((arg, next)) = frame.through(node, &at)? {
            (node, at) = (arg, next);
        }
        let reduce = self.graph.node(node);
        let Op::Reduce { axes, .. } = &reduce.op else { return Ok(false) };
        let kept: Vec<&Coord> =
            (0..point.coords.len()).filter(|k| !axes.contains(k)).map(|k| &point.coords[k]).collect();
        let along: Vec<Dim> = axes.iter().map(|a| self.graph.ty(source).shape[*a].clone()).collect();
        let across: Vec<Dim> = keys.iter().map(|a| frame.extents[*a].clone()).collect();
        let inner = axes.iter().all(|k| {
            let c = &point.coords[*k];
            c.vias.is_empty() && (0..frame.extents.len()).all(|a| !c.moves(a) || keys.contains(&a))
        });
        Ok(reduce.args[0] == source
            && kept == at.coords.iter().collect::<Vec<_>>()
            && kept.iter().all(|c| keys.iter().all(|a| !c.moves(*a)))
            && inner
            && Dim::product(&along)? == Dim::product(&across)?)
    }
}
