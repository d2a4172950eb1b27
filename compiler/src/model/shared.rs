//! What all entries of a detector have in common, evaluated once: above all its frozen encoders.
//!
//! In: the score, evaluated. Out: values of names, with their nodes, from which every other entry starts. Invariants: only what no
//! entry changes is common: nothing that trains, draws, collects or is a state's; an entry that starts from it has the graph that
//! it would have without, but for the order of nodes. Imports: values, graphs.

use std::ops::Range;
use std::rc::Rc;

use uad_grammar::ast::{Stmt, StmtKind};
use uad_plan::{Dim, Require};

use crate::diag::Place;
use crate::graph::{Graph, Node, NodeId, Op};
use crate::hash::FxHashSet;

use super::Ev;
use super::detector::declared;
use super::value::{Child, Env, Func, Part, Slot, Tensor, Value};

/// What evaluating a statement of the outermost detector did.
pub(super) struct Done<'a> {
    stmt: &'a Stmt,
    /// It belongs to the entry that evaluated it.
    own: bool,
    dims: Vec<(&'a str, Dim, Place)>,
    requires: Vec<Require<Dim>>,
    /// Values that it named, in the order of the graph.
    named: Range<usize>,
    /// Instances of the detector that it named, in their order.
    made: Range<usize>,
}

/// The beginning of every entry but the score.
pub(super) struct Common<'a> {
    level: u32,
    graph: Graph,
    places: Vec<Place>,
    names: Vec<(&'a str, Value<'a>)>,
    dims: Vec<(&'a str, Dim, Place)>,
    children: Vec<(String, Child<'a>)>,
    /// States that were read: they have not changed yet.
    pub states: FxHashSet<String>,
}

/// How much there was when the evaluation of a statement began.
pub(super) struct Begun {
    own: bool,
    dims: usize,
    made: usize,
    named: usize,
    requires: Vec<Require<Dim>>,
}

/// Calls `with` for every tensor of a value. False where a value holds more than tensors, numbers and instances made of numbers.
fn tensors<'a>(v: &Value<'a>, with: &mut dyn FnMut(&Tensor<'a>)) -> bool {
    match v {
        Value::Poison => false,
        Value::Int(_) | Value::Ratio(_) | Value::Float(_) | Value::Bool(_) | Value::Text(_) | Value::Range(..) => true,
        Value::List(l) => l.iter().all(|v| tensors(v, with)),
        Value::Record(l) => l.iter().all(|f| tensors(&f.1, with)),
        Value::Tensor(t) => {
            with(t);
            true
        }
        Value::Func(f) => closed(f),
    }
}

/// Does a function hold no tensor and no frame of an entry?
fn closed(f: &Func) -> bool {
    let numbers = |env: &Env| {
        let plain = |v: &Value| {
            let mut none = true;
            tensors(v, &mut |_| none = false) && none
        };
        env.vars.borrow().iter().all(|v| matches!(&v.1, Slot::Known(v) if plain(v)))
    };
    match f {
        Func::Builtin(_) | Func::Block(..) => true,
        Func::Fn(f) => f.hyper.as_ref().is_none_or(numbers),
        Func::Instance(i) => i.named.borrow().is_some() && numbers(&i.hyper),
        Func::Repeat(fs) => fs.iter().all(closed),
        Func::Each(f) | Func::Frozen(f) => closed(f),
        Func::Typed(t) => closed(&t.0),
        Func::Lambda(_) | Func::Partial(_) | Func::Detector | Func::Part(_) => false,
    }
}

/// The value with other nodes for its tensors, in the order of [`tensors`].
fn moved<'a>(v: &Value<'a>, to: &dyn Fn(NodeId) -> NodeId) -> Value<'a> {
    match v {
        Value::List(l) => Value::List(Rc::new(l.iter().map(|v| moved(v, to)).collect())),
        Value::Record(l) => Value::Record(Rc::new(l.iter().map(|f| (f.0.clone(), moved(&f.1, to))).collect())),
        Value::Tensor(t) => Value::Tensor(Tensor { node: to(t.node), ..t.clone() }),
        v => v.clone(),
    }
}

impl<'a> Ev<'a> {
    /// A statement of a frame is about to be evaluated.
    pub(super) fn begun(&mut self, frame: &Env<'a>) -> Begun {
        let g = &mut self.levels[0].graph;
        Begun {
            own: std::mem::take(&mut self.own) | frame.read_own.take(),
            dims: frame.dims.borrow().len(),
            made: self.made.len(),
            named: g.named.len(),
            requires: std::mem::take(&mut g.requires),
        }
    }

    /// It has been. What it belongs to, whatever reads it belongs to.
    pub(super) fn done(&mut self, stmt: &'a Stmt, frame: &Env<'a>, begun: Begun, failed: bool) {
        let g = &mut self.levels[0].graph;
        let requires = std::mem::replace(&mut g.requires, begun.requires);
        for r in &requires {
            if !g.requires.iter().any(|o| o.left == r.left && o.relation == r.relation && o.right == r.right) {
                g.requires.push(r.clone());
            }
        }
        let known = matches!(
            stmt.kind,
            StmtKind::Param(..) | StmtKind::Slot { .. } | StmtKind::Input { .. } | StmtKind::Let { .. }
        );
        let own = self.own || frame.read_own.get() || failed || !known;
        let dims = frame.dims.borrow()[begun.dims..].to_vec();
        if own {
            let names = declared(stmt).into_iter().map(|n| n.text.as_str()).chain(dims.iter().map(|d| d.0));
            frame.own.borrow_mut().extend(names);
        }
        self.own = begun.own || own;
        if self.common.is_none() && frame.owner.as_ref().is_some_and(|o| o.path.is_empty()) {
            let named = begun.named..self.levels[0].graph.named.len();
            self.evaluated.push(Done { stmt, own, dims, requires, named, made: begun.made..self.made.len() });
        }
    }

    /// Keeps what the score has evaluated and every entry would evaluate again.
    pub(super) fn keep_common(&mut self, root: &Part<'a>) {
        let evaluated = std::mem::take(&mut self.evaluated);
        let Some((frame, owner)) = root.open.borrow().clone() else { return };
        // The sides of an `if` are chosen before there is a frame to put values into.
        if std::mem::take(&mut self.apart)
            || self.errors > 0
            || root.body.iter().any(|s| matches!(s.kind, StmtKind::If { .. }))
        {
            return;
        }
        let old = &self.levels[0];
        let mut live = vec![false; old.graph.nodes.len()];
        let mut names: Vec<(&'a str, Value<'a>)> = Vec::new();
        let mut from: Vec<&Done<'a>> = Vec::new();
        for done in evaluated.iter().filter(|d| !d.own) {
            let values: Option<Vec<_>> = declared(done.stmt)
                .into_iter()
                .filter(|n| n.text != "_")
                .map(|n| {
                    let Some(Slot::Known(v)) = frame.slot(&n.text) else { return None };
                    let mut here = true;
                    let plain = tensors(&v, &mut |t| here &= t.graph == old.id);
                    (plain && here).then_some((n.text.as_str(), v))
                })
                .collect();
            let Some(values) = values else { continue };
            for v in &values {
                tensors(&v.1, &mut |t| live[t.node.0 as usize] = true);
            }
            names.extend(values);
            from.push(done);
        }
        for n in (0..live.len()).rev() {
            if live[n] {
                old.graph.nodes[n].args.iter().for_each(|a| live[a.0 as usize] = true);
            }
        }
        let mut to = vec![NodeId(0); live.len()];
        let count = live.iter().filter(|l| **l).count();
        let (nodes, mut places) = (Vec::with_capacity(count), Vec::with_capacity(count));
        let mut graph = Graph { scopes: old.graph.scopes.clone(), nodes, ..Graph::default() };
        for (n, node) in old.graph.nodes.iter().enumerate().filter(|n| live[n.0]) {
            to[n] = NodeId(graph.nodes.len() as u32);
            let args = node.args.iter().map(|a| to[a.0 as usize]).collect();
            graph.nodes.push(Node { args, op: node.op.clone(), ty: node.ty.clone(), scope: node.scope });
            places.push(old.places[n]);
        }
        let mut dims: Vec<(&'a str, Dim, Place)> = Vec::new();
        let mut children = Vec::new();
        for done in from {
            for r in &done.requires {
                if !graph.requires.contains(r) {
                    graph.requires.push(r.clone());
                }
            }
            for d in &done.dims {
                if !dims.iter().any(|o| o.0 == d.0) {
                    dims.push(d.clone());
                }
            }
            let kept = |n: &(String, NodeId)| live[n.1.0 as usize] && !graph.named.iter().any(|o| o.0 == n.0);
            let named: Vec<_> = old.graph.named[done.named.clone()]
                .iter()
                .filter(|n| kept(n))
                .map(|n| (n.0.clone(), to[n.1.0 as usize]))
                .collect();
            graph.named.extend(named);
            let made = owner.children.borrow();
            children
                .extend(self.made[done.made.clone()].iter().filter_map(|n| Some((n.clone(), made.get(n)?.clone()))));
        }
        for n in &mut names {
            n.1 = moved(&n.1, &|n| to[n.0 as usize]);
        }
        let state = |n: &Node| if let Op::State(p) = &n.op { Some(p.clone()) } else { None };
        let states = graph.nodes.iter().filter_map(state).collect();
        self.common = Some(Rc::new(Common { level: old.id, graph, places, names, dims, children, states }));
    }

    /// Puts what is common into an entry that has nothing yet.
    pub(super) fn start_from_common(&mut self, root: &Part<'a>) {
        let (Some(common), Some((frame, owner))) = (self.common.clone(), root.open.borrow().clone()) else { return };
        let level = &mut self.levels[0];
        level.id = common.level;
        let Graph { name: _, dims, nodes, scopes, outputs, writes, named, requires } = &common.graph;
        level.graph.nodes.extend_from_slice(nodes);
        level.graph.dims.clone_from(dims);
        level.graph.scopes.clone_from(scopes);
        level.graph.outputs.clone_from(outputs);
        level.graph.writes.clone_from(writes);
        level.graph.named.clone_from(named);
        level.graph.requires.clone_from(requires);
        level.places.extend_from_slice(&common.places);
        for (n, node) in level.graph.nodes.iter().enumerate() {
            if let Op::Input(p) | Op::Weight(p) | Op::State(p) = &node.op {
                level.leaves.insert(p.clone(), NodeId(n as u32));
            }
        }
        self.traced.extend(level.graph.named.iter().map(|n| n.0.clone()));
        for (name, value) in &common.names {
            if let Some(Slot::Lazy(thunk)) = frame.slot(name) {
                thunk.done.set(true);
            }
            frame.set(name, value.clone());
        }
        frame.dims.borrow_mut().extend(common.dims.iter().cloned());
        owner.children.borrow_mut().extend(common.children.iter().cloned());
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::super::{Choice, Model, Program, evaluate, evaluator, on_deep_stacks};
    use crate::graph::{Graph, Op, TensorType};
    use crate::library::SPECS;
    use crate::source::{Files, LibraryOnly};

    /// Numbers equal values of graphs equally.
    #[derive(Default)]
    struct Values(HashMap<(String, TensorType, Vec<usize>), usize>);

    impl Values {
        /// The value of every node, in any order of nodes; outputs and writes by name.
        fn of(&mut self, g: &Graph) -> (Vec<usize>, Vec<(String, usize)>) {
            let mut values = Vec::new();
            for n in &g.nodes {
                let op = match &n.op {
                    Op::Loop { count, carried, every, body } => {
                        let outputs = self.of(body).1;
                        format!("loop {count} {carried} {every:?} {outputs:?}")
                    }
                    op => format!("{op:?}"),
                };
                let scope = g.chain(n.scope).join("/");
                let args = n.args.iter().map(|a| values[a.0 as usize]).collect();
                let next = self.0.len();
                values.push(*self.0.entry((format!("{scope} {op}"), n.ty.clone(), args)).or_insert(next));
            }
            let results = g.outputs.iter().chain(&g.writes).map(|o| (o.0.clone(), values[o.1.0 as usize])).collect();
            values.sort_unstable();
            (values, results)
        }
    }

    #[test]
    fn entries_are_what_they_are_apart() {
        let mut shared = 0;
        for (name, text) in SPECS {
            let (path, choice) = (format!("specs/{name}.uad"), Choice::default());
            let mut files = Files::one(&path, *text);
            let program = Program::read(&mut files, &LibraryOnly, &path, &[]);
            let Some(detector) = program.main() else { continue };
            let made = on_deep_stacks(2, |n| {
                let mut ev = evaluator(&program, &choice, detector);
                ev.apart = n == 1;
                let (model, found, _) = evaluate(ev);
                let places: Vec<_> = found.iter().map(|d| (d.code, d.labels.first().map(|l| l.place))).collect();
                (model.unwrap_or_default(), places)
            });
            let made: Vec<(Model, _)> = made.into_iter().flatten().collect();
            let [(one, said), (other, said_apart)] = made.as_slice() else { panic!("{name}") };
            assert_eq!(said, said_apart, "{name}");
            assert_eq!(one.stored, other.stored, "{name}");
            assert_eq!(one.stages, other.stages, "{name}");
            let mut values = Values::default();
            for (a, b) in one.entries.iter().zip(&other.entries) {
                assert_eq!((&a.name, &a.dims), (&b.name, &b.dims), "{name}");
                assert_eq!(values.of(a), values.of(b), "{name}: {}", a.name);
                let sorted = |g: &Graph| {
                    let mut requires: Vec<String> = g.requires.iter().map(|r| format!("{r:?}")).collect();
                    let mut named: Vec<String> = g.named.iter().map(|n| n.0.clone()).collect();
                    requires.sort();
                    named.sort();
                    (requires, named)
                };
                assert_eq!(sorted(a), sorted(b), "{name}: {}", a.name);
                shared += usize::from(a != b);
            }
        }
        assert!(shared > 0, "no entry began with what others have");
    }
}
