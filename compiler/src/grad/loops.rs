//! Loops of a fixed number of rounds.
//!
//! In: a loop and the cotangents of its results. Out: cotangents of the first values and of what the body captures, by
//! a loop that goes through the rounds from the last to the first. What a round carried in is looked up in a history
//! that the loop, run once more, writes; everything else of a round is computed again. Invariants: only the carried
//! values that the gradient reads have a history; a round's draws depend on their site alone, so that computing them
//! again gives the same; a loop with `until` is refused. Imports: shorthands, the graph, `uad-plan`.

use std::collections::{BTreeMap, BTreeSet};

use uad_plan::{DType, Dim, ScalarOp};

use super::{NoGradient, Reverse, Step, Why, goals, leaves, live, pull};
use crate::graph::{Graph, Node, NodeId, Op, Shape, TensorType};

/// A loop's parts.
struct Rounds<'a> {
    count: &'a Dim,
    carried: usize,
    body: &'a Graph,
    args: &'a [NodeId],
}

/// One round's gradient.
struct Back {
    /// The body with the gradient of its outputs; cotangents are inputs `d0`, `d1`, …
    graph: Graph,
    /// Carried values whose cotangent goes from round to round.
    through: Vec<usize>,
    /// Captured values whose cotangent is added up.
    sums: Vec<usize>,
    /// The derivatives by both, in this order.
    found: Vec<NodeId>,
}

impl Reverse<'_> {
    pub(super) fn looped(&mut self, id: NodeId, node: &Node) -> Step<()> {
        let Op::Loop { count, carried, body, .. } = &node.op else { return Ok(()) };
        let mut seeds = BTreeMap::new();
        for k in 0..*carried {
            if let Some(d) = self.take(id, k)? {
                seeds.insert(k, d);
            }
        }
        if seeds.is_empty() {
            return Ok(());
        }
        if body.outputs.len() > *carried {
            return Err(Why::Until);
        }
        let rounds = Rounds { count, carried: *carried, body, args: &node.args };
        let wanted = self.reached(&rounds);
        let back = one_round(&rounds, &wanted)?;
        let read = inputs(&back.graph);
        let history = self.history(&rounds, &read)?;
        let (body, captures) = self.backwards(&rounds, &back, &history, &read)?;
        let mut args = Vec::new();
        for k in &back.through {
            args.push(match seeds.get(k) {
                Some(d) => *d,
                None => self.like(0.0, node.args[*k])?,
            });
        }
        for k in &back.sums {
            args.push(self.like(0.0, node.args[*k])?);
        }
        let results = args.len();
        args.extend(captures);
        let op = Op::Loop { count: count.clone(), carried: results, every: None, body: Box::new(body) };
        let whole = self.op(op, &args)?;
        for (n, k) in back.through.iter().chain(&back.sums).enumerate() {
            let ty = self.g.ty(node.args[*k]).clone();
            let part = self.put(Op::Part(n), &[whole], ty.dtype, ty.shape)?;
            self.give(node.args[*k], part);
        }
        Ok(())
    }

    /// Which arguments lie on a path to what is wanted: directly, or through what they are carried into.
    fn reached(&self, rounds: &Rounds) -> BTreeSet<usize> {
        let float = |k: &usize| self.g.ty(rounds.args[*k]).dtype == DType::F32;
        let read = inputs(rounds.body);
        let used = |k: &usize| *k < rounds.carried || read.contains(&k.to_string());
        let wanted = |k: &usize| float(k) && used(k) && self.wants(rounds.args[*k]);
        let mut reached: BTreeSet<usize> = (0..rounds.args.len()).filter(wanted).collect();
        let end = rounds.body.nodes.len();
        let same = leaves(rounds.body, end);
        loop {
            let path = live(rounds.body, end, &same, &goals(end, &numbered(rounds.body, &reached)));
            let before = reached.len();
            let next = |k: &usize| path[rounds.body.outputs[*k].1.0 as usize];
            reached.extend((0..rounds.carried).filter(|k| float(k) && next(k)));
            if reached.len() == before {
                return reached;
            }
        }
    }

    /// Runs the loop once more, with all that the carried values were at the start of each round. By number of the
    /// carried value: its history.
    fn history(&mut self, rounds: &Rounds, read: &BTreeSet<String>) -> Step<BTreeMap<usize, NodeId>> {
        let kept: Vec<usize> = (0..rounds.carried).filter(|k| read.contains(&k.to_string())).collect();
        if kept.is_empty() {
            return Ok(BTreeMap::new());
        }
        let mut body = rounds.body.clone();
        shift(&mut body, rounds.carried, kept.len());
        let scope = body.nodes.last().map_or(self.scope, |n| n.scope);
        let mut inner = Reverse::over(&mut body, scope);
        let round = inner.put(Op::Input("round".into()), &[], DType::I32, vec![])?;
        let mut args = rounds.args[..rounds.carried].to_vec();
        let mut types = Vec::new();
        for (n, k) in kept.iter().enumerate() {
            let ty = self.g.ty(rounds.args[*k]).clone();
            let all = stacked(&ty, rounds.count);
            let mut x = inner.put(Op::Input(k.to_string()), &[], ty.dtype, ty.shape.clone())?;
            if ty.dtype == DType::Bool {
                x = inner.map(ScalarOp::ToI32, &[x])?;
            }
            let past = inner.put(Op::Input((rounds.carried + n).to_string()), &[], all.dtype, all.shape.clone())?;
            let next = inner.op(Op::ScatterAdd { axis: 0, batch: 0 }, &[past, round, x])?;
            inner.g.outputs.push(((rounds.carried + n).to_string(), next));
            let none = self.g.constant(all.dtype, 0.0, self.scope);
            args.push(self.g.broadcast(none, &all.shape, self.scope)?);
            types.push(all);
        }
        args.extend(&rounds.args[rounds.carried..]);
        let carried = rounds.carried + kept.len();
        let op = Op::Loop { count: rounds.count.clone(), carried, every: None, body: Box::new(body) };
        let whole = self.op(op, &args)?;
        let mut history = BTreeMap::new();
        for (n, (k, all)) in kept.into_iter().zip(types).enumerate() {
            history.insert(k, self.put(Op::Part(rounds.carried + n), &[whole], all.dtype, all.shape)?);
        }
        Ok(history)
    }

    /// The body of the loop backwards, and what it captures.
    fn backwards(
        &mut self,
        rounds: &Rounds,
        back: &Back,
        history: &BTreeMap<usize, NodeId>,
        read: &BTreeSet<String>,
    ) -> Step<(Graph, Vec<NodeId>)> {
        let from = &back.graph;
        let results = back.through.len() + back.sums.len();
        let mut body =
            Graph { dims: from.dims.clone(), scopes: from.scopes.clone(), name: from.name.clone(), ..Graph::default() };
        let scope = from.nodes.last().map_or(self.scope, |n| n.scope);
        let mut inner = Reverse::over(&mut body, scope);
        let mut captures = Vec::new();
        let mut input = |inner: &mut Reverse, captured: NodeId, ty: &TensorType| {
            captures.push(captured);
            inner.put(Op::Input((results + captures.len() - 1).to_string()), &[], ty.dtype, ty.shape.clone())
        };
        // The round's number: the last round comes first.
        let turn = inner.put(Op::Input("round".into()), &[], DType::I32, vec![])?;
        let count = inner.op(Op::Size(rounds.count.clone()), &[])?;
        let one = inner.whole(1, &Shape::SCALAR)?;
        let last = inner.map(ScalarOp::Sub, &[count, one])?;
        let round = inner.map(ScalarOp::Sub, &[last, turn])?;
        let mut values: BTreeMap<String, NodeId> = BTreeMap::from([("round".to_owned(), round)]);
        for (k, arg) in rounds.args.iter().enumerate().filter(|(k, _)| read.contains(&k.to_string())) {
            let ty = self.g.ty(*arg).clone();
            let value = match history.get(&k) {
                Some(all) => {
                    let past = input(&mut inner, *all, &stacked(&ty, rounds.count))?;
                    let x = inner.op(Op::Gather { axis: 0, batch: 0 }, &[past, round])?;
                    if ty.dtype == DType::Bool { inner.map(ScalarOp::ToBool, &[x])? } else { x }
                }
                None => input(&mut inner, *arg, &ty)?,
            };
            values.insert(k.to_string(), value);
        }
        let mut sums = Vec::new();
        for (n, k) in back.through.iter().chain(&back.sums).enumerate() {
            let ty = self.g.ty(rounds.args[*k]).clone();
            let x = inner.put(Op::Input(n.to_string()), &[], ty.dtype, ty.shape)?;
            if n < back.through.len() {
                values.insert(format!("d{k}"), x);
            } else {
                sums.push(x);
            }
        }
        let mut map: Vec<NodeId> = Vec::with_capacity(from.nodes.len());
        for node in &from.nodes {
            let known = if let Op::Input(name) = &node.op { values.get(name) } else { None };
            map.push(match known {
                Some(id) => *id,
                None => {
                    let args = node.args.iter().map(|a| map[a.0 as usize]).collect();
                    inner.g.nodes.push(Node { args, ..node.clone() });
                    NodeId(inner.g.nodes.len() as u32 - 1)
                }
            });
        }
        for (n, d) in back.found.iter().enumerate() {
            let mut d = map[d.0 as usize];
            if let Some(sum) = n.checked_sub(back.through.len()).and_then(|n| sums.get(n)) {
                d = inner.add(*sum, d)?;
            }
            inner.g.outputs.push((n.to_string(), d));
        }
        Ok((body, captures))
    }
}

/// The body with the gradient of its outputs by the arguments in `wanted`.
fn one_round(rounds: &Rounds, wanted: &BTreeSet<usize>) -> Step<Back> {
    let mut graph = rounds.body.clone();
    let (through, sums): (Vec<usize>, Vec<usize>) = wanted.iter().partition(|k| **k < rounds.carried);
    let mut seeds = Vec::new();
    let mut by = Vec::new();
    for k in through.iter().chain(&sums) {
        // An argument that the body does not read has no input yet.
        let ids = numbered(&graph, &BTreeSet::from([*k]));
        let scope = graph.nodes.last().map_or(crate::graph::ScopeId(0), |n| n.scope);
        let ty = match ids.first() {
            Some(id) => graph.ty(*id).clone(),
            None if *k < rounds.carried => graph.ty(graph.outputs[*k].1).clone(),
            None => return Err(Why::Fault(format!("a loop does not read its argument {k}"))),
        };
        by.push(match ids.first() {
            Some(id) => *id,
            None => graph.add(Op::Input(k.to_string()), &[], ty.clone(), scope)?,
        });
        if *k < rounds.carried {
            let d = graph.add(Op::Input(format!("d{k}")), &[], ty, scope)?;
            seeds.push((graph.outputs[*k].1, d));
        }
    }
    let found = pull(&mut graph, &seeds, &by).map_err(|NoGradient { why, .. }| why)?;
    let mut back = Back { graph, through, sums, found };
    prune(&mut back);
    Ok(back)
}

/// Removes what the derivatives do not need.
fn prune(back: &mut Back) {
    let mut used = vec![false; back.graph.nodes.len()];
    back.found.iter().for_each(|d| used[d.0 as usize] = true);
    for n in (0..used.len()).rev() {
        if used[n] {
            back.graph.nodes[n].args.iter().for_each(|a| used[a.0 as usize] = true);
        }
    }
    let mut map = Vec::with_capacity(used.len());
    let mut kept = Vec::new();
    for (n, mut node) in std::mem::take(&mut back.graph.nodes).into_iter().enumerate() {
        map.push(NodeId(kept.len() as u32));
        if used[n] {
            node.args.iter_mut().for_each(|a| *a = map[a.0 as usize]);
            kept.push(node);
        }
    }
    back.graph.nodes = kept;
    back.found.iter_mut().for_each(|d| *d = map[d.0 as usize]);
    (back.graph.outputs, back.graph.named) = (Vec::new(), Vec::new());
}

/// The names of a graph's inputs.
fn inputs(g: &Graph) -> BTreeSet<String> {
    g.nodes.iter().filter_map(|n| if let Op::Input(name) = &n.op { Some(name.clone()) } else { None }).collect()
}

/// The first input node of each of these numbers.
fn numbered(g: &Graph, numbers: &BTreeSet<usize>) -> Vec<NodeId> {
    let find = |k: &usize| {
        let name = k.to_string();
        g.ids().find(|id| matches!(&g.node(*id).op, Op::Input(n) if *n == name))
    };
    numbers.iter().filter_map(find).collect()
}

/// Gives inputs from number `first` on a number higher by `by`.
fn shift(body: &mut Graph, first: usize, by: usize) {
    for node in &mut body.nodes {
        if let Op::Input(name) = &mut node.op
            && let Some(k) = name.parse::<usize>().ok().filter(|k| *k >= first)
        {
            *name = (k + by).to_string();
        }
    }
}

/// One value per round.
fn stacked(ty: &TensorType, count: &Dim) -> TensorType {
    let shape: Shape = std::iter::once(count.clone()).chain(ty.shape.iter().cloned()).collect();
    TensorType::new(if ty.dtype == DType::Bool { DType::I32 } else { ty.dtype }, shape)
}
