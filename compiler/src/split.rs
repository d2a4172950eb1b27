//! What does not change in a stage, split off its step: frozen encoders run once per sample, not once per epoch.
//!
//! In: a checked model. Out: for a stage whose step computes contractions of inputs and of tensors that the stage leaves as
//! they are, an entry `STAGE.features` with outputs `@0`, `@1`, …, and a step that takes these as inputs; what is watched takes those that it computes alike. Invariants: no
//! draw, no tensor that the stage writes and nothing that mixes samples is in the features; every output has the samples
//! in front; of all places to cut, those with the fewest bytes per sample, and of these the last.
//! Imports: model, graphs.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use uad_plan::{Binding, DType, Dim};

use crate::graph::samples::{State, samples};
use crate::graph::{Args, Graph, Node, NodeId, Op, TensorType};
use crate::model::{Model, prune};

/// Splits the steps of all stages.
pub(crate) fn split(model: &mut Model) {
    for n in 0..model.stages.len() {
        let name = model.stages[n].name.clone();
        let Some(at) = model.entries.iter().position(|g| g.name == name) else { continue };
        let Some((features, step)) = cut(&model.entries[at]) else { continue };
        model.stages[n].features = Some(features.name.clone());
        model.entries[at] = step;
        if let Some(watch) = &model.stages[n].watch
            && let Some(watch) = model.entries.iter_mut().find(|g| g.name == *watch)
        {
            *watch = given(watch, &features);
        }
        model.entries.insert(at, features);
    }
}

/// The graph with what the features hold as inputs, instead of computed.
fn given(g: &Graph, features: &Graph) -> Graph {
    let mut known = HashMap::new();
    let numbers = alike(features, &mut known);
    let have: HashMap<usize, &String> = features.outputs.iter().map(|o| (numbers[o.1.0 as usize], &o.0)).collect();
    let own = alike(g, &mut known);
    let mut new = Graph { nodes: Vec::with_capacity(g.nodes.len()), ..g.clone() };
    let mut to: Vec<NodeId> = Vec::with_capacity(g.nodes.len());
    for (id, number) in g.ids().zip(own) {
        let n = g.node(id);
        let op = have.get(&number).map(|name| Op::Input((*name).clone()));
        let (op, args) = match op {
            Some(input) => (input, Args::new()),
            None => (n.op.clone(), n.args.iter().map(|a| to[a.0 as usize]).collect()),
        };
        new.nodes.push(Node { op, args, ..n.clone() });
        to.push(NodeId(new.nodes.len() as u32 - 1));
    }
    for (_, n) in new.outputs.iter_mut().chain(&mut new.writes).chain(&mut new.named) {
        *n = to[n.0 as usize];
    }
    prune(&mut new);
    new
}

/// The same number for what is computed alike, in all graphs that share the table.
fn alike(g: &Graph, known: &mut HashMap<(String, Vec<usize>, String), usize>) -> Vec<usize> {
    let mut numbers: Vec<usize> = Vec::with_capacity(g.nodes.len());
    for n in &g.nodes {
        let args = n.args.iter().map(|a| numbers[a.0 as usize]).collect();
        let next = known.len();
        numbers.push(*known.entry((format!("{:?}", n.op), args, n.ty.to_string())).or_insert(next));
    }
    numbers
}

/// Features and step of one graph.
fn cut(g: &Graph) -> Option<(Graph, Graph)> {
    let fixed = Fixed::new(g);
    let wanted = fixed.frontier(g);
    if wanted.is_empty() {
        return None;
    }
    let kept: Vec<NodeId> = fixed.smallest(g, &wanted)?;
    let mut features = g.clone();
    features.name = format!("{}.features", g.name);
    (features.outputs, features.writes, features.named) = (Vec::new(), Vec::new(), Vec::new());
    for (k, n) in kept.iter().enumerate() {
        let (ty, scope) = (fixed.stacked(g, *n)?, g.node(*n).scope);
        let out = if ty == *g.ty(*n) { *n } else { features.add(Op::Reshape, &[*n], ty, scope).ok()? };
        features.outputs.push((format!("@{k}"), out));
    }
    let mut step = Graph { nodes: Vec::with_capacity(g.nodes.len()), ..g.clone() };
    let mut to: Vec<NodeId> = Vec::with_capacity(g.nodes.len());
    for id in g.ids() {
        let n = g.node(id);
        let made = match kept.iter().position(|k| *k == id) {
            Some(k) => {
                let ty = fixed.stacked(g, id)?;
                let input = step.add(Op::Input(format!("@{k}")), &[], ty.clone(), n.scope).ok()?;
                if ty == n.ty { input } else { step.add(Op::Reshape, &[input], n.ty.clone(), n.scope).ok()? }
            }
            None => {
                let args = n.args.iter().map(|a| to[a.0 as usize]).collect();
                step.nodes.push(Node { args, ..n.clone() });
                NodeId(step.nodes.len() as u32 - 1)
            }
        };
        to.push(made);
    }
    for (_, n) in step.outputs.iter_mut().chain(&mut step.writes).chain(&mut step.named) {
        *n = to[n.0 as usize];
    }
    prune(&mut features);
    prune(&mut step);
    Some((features, step))
}

/// What is the same for a sample whenever the stage sees it.
struct Fixed {
    states: Vec<State>,
    /// Depends on inputs, and on nothing that draws or changes.
    fixed: Vec<bool>,
    /// Fixed, and a contraction of inputs is in it.
    heavy: Vec<bool>,
}

impl Fixed {
    fn new(g: &Graph) -> Fixed {
        let states = samples(g).0;
        let written: BTreeSet<&str> = g.writes.iter().map(|w| w.0.as_str()).collect();
        let count = g.nodes.len();
        let (mut still, mut fixed, mut heavy) = (vec![false; count], vec![false; count], vec![false; count]);
        for (i, n) in g.nodes.iter().enumerate() {
            let of = |flags: &[bool]| n.args.iter().any(|a| flags[a.0 as usize]);
            let own = match &n.op {
                Op::Input(name) => !name.starts_with('@') && !name.starts_with("all."),
                Op::Weight(p) | Op::State(p) => !written.contains(p.as_str()),
                Op::Draw { .. } => false,
                Op::Loop { body, .. } => quiet(body),
                _ => true,
            };
            let alone = !matches!(states[i], State::Mixed | State::Unknown);
            still[i] = own && alone && n.args.iter().all(|a| still[a.0 as usize]);
            fixed[i] = still[i] && (matches!(n.op, Op::Input(_)) || of(&fixed));
            heavy[i] = fixed[i] && (of(&heavy) || matches!(n.op, Op::Dot { .. } | Op::Loop { .. }));
        }
        Fixed { states, fixed, heavy }
    }

    /// Heavy values that the step reads.
    fn frontier(&self, g: &Graph) -> BTreeSet<NodeId> {
        let mut found = BTreeSet::new();
        for (i, n) in g.nodes.iter().enumerate() {
            if !self.fixed[i] {
                found.extend(n.args.iter().filter(|a| self.heavy[a.0 as usize]));
            }
        }
        let results = g.outputs.iter().chain(&g.writes).map(|o| o.1);
        found.extend(results.filter(|n| self.heavy[n.0 as usize]));
        found
    }

    /// The type with the samples alone in front, if they can be there.
    fn stacked(&self, g: &Graph, n: NodeId) -> Option<TensorType> {
        let ty = g.ty(n);
        let State::Along { axis: 0, outer, inner } = &self.states[n.0 as usize] else { return None };
        if ty.dtype != DType::F32 || !outer.is(1) || matches!(g.node(n).op, Op::Loop { .. } | Op::Eigh) {
            return None;
        }
        if inner.is(1) {
            return Some(ty.clone());
        }
        let b = ty.shape[0].exact_div(inner)?;
        let mut shape = vec![b, inner.clone()];
        shape.extend(ty.shape[1..].iter().cloned());
        Some(TensorType::new(ty.dtype, shape))
    }

    /// Bytes per sample.
    fn weight(&self, g: &Graph, n: NodeId) -> Option<u64> {
        let ty = self.stacked(g, n)?;
        let names: BTreeSet<String> = ty.shape.iter().flat_map(Dim::names).collect();
        let binding: Binding = names.into_iter().map(|d| (d.clone(), if d == "b" { 1 } else { 64 })).collect();
        let size = ty.shape.iter().try_fold(4u64, |p, d| p.checked_mul(u64::try_from(d.eval(&binding).ok()?).ok()?));
        size.map(|s| s.max(1))
    }

    /// The cut of fewest bytes between what must not be computed again and what the step reads.
    fn smallest(&self, g: &Graph, wanted: &BTreeSet<NodeId>) -> Option<Vec<NodeId>> {
        let mut flow = Flow::default();
        let (source, sink) = (flow.node(), flow.node());
        let mut at: BTreeMap<NodeId, (usize, usize)> = BTreeMap::new();
        let mut left: Vec<NodeId> = wanted.iter().copied().collect();
        let mut edges: Vec<(NodeId, NodeId)> = Vec::new();
        while let Some(n) = left.pop() {
            if at.contains_key(&n) {
                continue;
            }
            let ends = (flow.node(), flow.node());
            at.insert(n, ends);
            flow.edge(ends.0, ends.1, self.weight(g, n).unwrap_or(Flow::ENDLESS));
            if cheap(&g.node(n).op) {
                for a in g.node(n).args.iter().filter(|a| self.heavy[a.0 as usize]) {
                    edges.push((*a, n));
                    left.push(*a);
                }
            } else {
                flow.edge(source, ends.0, Flow::ENDLESS);
            }
        }
        for (a, n) in edges {
            flow.edge(at[&a].1, at[&n].0, Flow::ENDLESS);
        }
        for n in wanted {
            flow.edge(at[n].1, sink, Flow::ENDLESS);
        }
        if flow.run(source, sink) >= Flow::ENDLESS {
            return None;
        }
        let after = flow.reaches(sink);
        Some(at.iter().filter(|(_, (a, b))| !after[*a] && after[*b]).map(|(n, _)| *n).collect())
    }
}

/// Cheaper to compute again than to read.
fn cheap(op: &Op) -> bool {
    matches!(
        op,
        Op::Map(_)
            | Op::Reduce { .. }
            | Op::Permute(_)
            | Op::Reshape
            | Op::Expand { .. }
            | Op::Slice { .. }
            | Op::Pad { .. }
            | Op::Window { .. }
            | Op::Concat { .. }
            | Op::Gather { .. }
            | Op::Stop
            | Op::Part(_)
    )
}

/// Does a body draw nothing, and read no stored tensor past its arguments?
fn quiet(body: &Graph) -> bool {
    body.nodes.iter().all(|n| match &n.op {
        Op::Draw { .. } | Op::Weight(_) | Op::State(_) => false,
        Op::Loop { body, .. } => quiet(body),
        _ => true,
    })
}

/// Largest flow by shortest augmenting paths: graphs here have a few hundred edges.
#[derive(Default)]
struct Flow {
    /// Edges by their first end; each stands beside its reverse.
    out: Vec<Vec<usize>>,
    /// Second end and what is left.
    edges: Vec<(usize, u64)>,
}

impl Flow {
    const ENDLESS: u64 = 1 << 50;

    fn node(&mut self) -> usize {
        self.out.push(Vec::new());
        self.out.len() - 1
    }

    fn edge(&mut self, from: usize, to: usize, most: u64) {
        self.out[from].push(self.edges.len());
        self.edges.push((to, most));
        self.out[to].push(self.edges.len());
        self.edges.push((from, 0));
    }

    fn run(&mut self, source: usize, sink: usize) -> u64 {
        let mut total = 0;
        while total < Flow::ENDLESS {
            let mut by: Vec<Option<usize>> = vec![None; self.out.len()];
            let mut queue = VecDeque::from([source]);
            while let Some(n) = queue.pop_front() {
                for e in &self.out[n] {
                    let (to, left) = self.edges[*e];
                    if left > 0 && to != source && by[to].is_none() {
                        by[to] = Some(*e);
                        queue.push_back(to);
                    }
                }
            }
            let (mut path, mut n) = (Vec::new(), sink);
            while let Some(e) = by[n] {
                path.push(e);
                n = self.edges[e ^ 1].0;
            }
            let Some(most) = path.iter().map(|e| self.edges[*e].1).min() else { break };
            for e in path {
                self.edges[e].1 -= most;
                self.edges[e ^ 1].1 += most;
            }
            total += most;
        }
        total
    }

    /// Which nodes lead to this one by edges with something left.
    fn reaches(&self, sink: usize) -> Vec<bool> {
        let mut found = vec![false; self.out.len()];
        found[sink] = true;
        let mut left = vec![sink];
        while let Some(n) = left.pop() {
            for e in &self.out[n] {
                let (from, open) = (self.edges[*e].0, self.edges[*e ^ 1].1);
                if open > 0 && !found[from] {
                    found[from] = true;
                    left.push(from);
                }
            }
        }
        found
    }
}
