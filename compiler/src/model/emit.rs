//! Putting nodes into the graph of the entry that is being elaborated.
//!
//! In: operations and tensors. Out: tensors. Invariants: a loop's body is a graph of its own, and what it reads from
//! around it becomes an input of the body; the number of nodes is bounded. Imports: values, graph.

use std::sync::Arc;

use uad_plan::{DType, Dim, Relation, Require, ScalarOp};

use crate::diag::{Diagnostic, Place};
use crate::graph::{Args, Graph, NodeId, Op, Scope, ScopeId, Shape, TensorType};
use crate::hash::FxHashMap;

use super::Ev;
use super::number::as_f64;
use super::value::{Bad, R, Tensor, Value};

/// Most nodes of one elaboration.
pub(crate) const MOST_NODES: usize = 1_000_000;
/// Nodes that an entry has room for before it grows.
const ROOM: usize = 1 << 14;

/// A graph under construction: level 0 is the entry, the others are bodies of loops.
pub(crate) struct Level<'a> {
    /// The graph.
    pub graph: Graph,
    /// Serial number: which graph a tensor belongs to.
    pub id: u32,
    /// Where new nodes come from.
    pub scope: ScopeId,
    /// Outer value -> input of this body.
    pub captured: FxHashMap<(u32, NodeId), NodeId>,
    /// Outer values in the order of the body's inputs after the carried.
    pub captures: Vec<Tensor<'a>>,
    /// Number of carried values.
    pub carried: usize,
    /// States that this body reads.
    pub states: Vec<super::carry::Inside<'a>>,
    /// Leaves by path.
    pub leaves: FxHashMap<String, NodeId>,
    /// Where each node was asked for.
    pub places: Vec<Place>,
}

impl<'a> Ev<'a> {
    /// A fresh level; the body of a loop copies the scopes around it.
    pub(crate) fn level(&mut self, name: &str, body: bool) -> Level<'a> {
        self.serial += 1;
        let (scopes, scope) = match self.levels.get(self.cur) {
            Some(l) if body => (l.graph.scopes.clone(), l.scope),
            _ => {
                let root = Scope {
                    parent: None,
                    label: self.name.as_str().into(),
                    place: "".into(),
                    instance: true,
                    kernel: None,
                };
                (vec![root], ScopeId(0))
            }
        };
        // What is not used of it is never touched; growing would copy all nodes again and again.
        let room = if body { 0 } else { ROOM };
        let nodes = Vec::with_capacity(room);
        let graph = Graph { name: name.to_string(), scopes, nodes, ..Graph::default() };
        Level {
            graph,
            id: self.serial,
            scope,
            captured: FxHashMap::default(),
            captures: Vec::new(),
            carried: 0,
            states: Vec::new(),
            leaves: FxHashMap::default(),
            places: Vec::with_capacity(room),
        }
    }

    /// The graph that nodes go into.
    pub(crate) fn top(&mut self) -> &mut Level<'a> {
        let n = self.cur.min(self.levels.len() - 1);
        &mut self.levels[n]
    }

    /// The type of a tensor, to keep while the graph grows.
    pub(crate) fn ty(&self, t: &Tensor<'a>) -> TensorType {
        self.type_of(t).clone()
    }

    /// The type of a tensor.
    pub(crate) fn type_of(&self, t: &Tensor<'a>) -> &TensorType {
        static SCALAR: TensorType = TensorType { dtype: DType::F32, shape: Shape::SCALAR };
        self.levels.iter().rev().find(|l| l.id == t.graph).map_or(&SCALAR, |l| l.graph.ty(t.node))
    }

    /// A tensor of this node of the current graph.
    pub(crate) fn tensor(&self, node: NodeId) -> Tensor<'a> {
        let n = self.cur.min(self.levels.len() - 1);
        Tensor { graph: self.levels[n].id, node, unit: None, labels: None }
    }

    /// The node of a tensor in the current graph; what comes from around a loop is captured.
    pub(crate) fn here(&mut self, t: &Tensor<'a>, place: Place) -> R<NodeId> {
        if self.top().id == t.graph {
            return Ok(t.node);
        }
        let Some(from) = self.levels[..=self.cur].iter().position(|l| l.id == t.graph) else {
            self.err(
                Diagnostic::new(
                    "E0210",
                    "this value is computed in a run, and here it is needed before",
                    place,
                    "not known yet",
                )
                .help("what weights and states start from may use parameters, dims and draws only"),
            );
            return Err(Bad);
        };
        let (mut at, mut node) = (t.graph, t.node);
        for n in from + 1..=self.cur {
            if let Some(inner) = self.levels[n].captured.get(&(at, node)) {
                (at, node) = (self.levels[n].id, *inner);
                continue;
            }
            let ty = self.levels[n - 1].graph.ty(node).clone();
            let l = &mut self.levels[n];
            let name = (l.carried + l.captures.len()).to_string();
            // cannot fail: a leaf takes any declared type.
            let inner = l.graph.add(Op::Input(name), &[], ty, l.scope).map_err(|_| Bad)?;
            l.places.push(place);
            l.captured.insert((at, node), inner);
            l.captures.push(Tensor { graph: at, node, unit: None, labels: None });
            (at, node) = (l.id, inner);
        }
        Ok(node)
    }

    /// Adds a node; a rule that does not hold is a diagnostic at `place`.
    pub(crate) fn add(&mut self, op: Op, args: &[&Tensor<'a>], declared: TensorType, place: Place) -> R<Tensor<'a>> {
        self.nodes += 1;
        if self.nodes > MOST_NODES {
            return self.stop(place, "the graph has more than a million nodes");
        }
        let mut nodes = Args::new();
        for a in args {
            nodes.push(self.here(a, place)?);
        }
        let l = self.top();
        let scope = l.scope;
        match l.graph.add(op, &nodes, declared, scope) {
            Ok(n) => {
                l.places.push(place);
                Ok(self.tensor(n))
            }
            Err(e) => {
                let code = if e.0.contains("64 bits") { "E0215" } else { "E0214" };
                self.err(Diagnostic::new(code, e.0, place, "here"));
                Err(Bad)
            }
        }
    }

    /// Adds a node whose type needs no declaration.
    pub(crate) fn op(&mut self, op: Op, args: &[&Tensor<'a>], place: Place) -> R<Tensor<'a>> {
        self.add(op, args, TensorType::new(DType::F32, vec![]), place)
    }

    /// Adds a scalar operation at every element.
    pub(crate) fn map(&mut self, op: ScalarOp, args: &[&Tensor<'a>], place: Place) -> R<Tensor<'a>> {
        self.op(Op::Map(op), args, place)
    }

    /// Adds a scalar literal.
    pub(crate) fn constant(&mut self, dtype: DType, value: f64, place: Place) -> R<Tensor<'a>> {
        self.add(Op::Const(value), &[], TensorType::new(dtype, vec![]), place)
    }

    /// Repeats a tensor to a shape (trailing axes align, extents of 1 repeat).
    pub(crate) fn spread(&mut self, t: &Tensor<'a>, shape: &Shape, place: Place) -> R<Tensor<'a>> {
        let ty = self.type_of(t);
        if ty.shape == *shape {
            return Ok(t.clone());
        }
        let want = TensorType::new(ty.dtype, shape.clone());
        let Some(lead) = shape.len().checked_sub(ty.shape.len()) else {
            let text = format!("{ty} has more axes than {want}");
            self.err(Diagnostic::new("E0204", text, place, "here"));
            return Err(Bad);
        };
        let axes = (lead..shape.len()).collect();
        self.add(Op::Expand { axes }, &[t], want, place)
    }

    /// A leaf of the entry by path or name, once.
    pub(crate) fn leaf(&mut self, op: Op, name: &str, ty: TensorType, place: Place) -> R<Tensor<'a>> {
        let cur = std::mem::replace(&mut self.cur, 0);
        let found = self.top().leaves.get(name).copied();
        let r = match found {
            Some(n) => Ok(self.tensor(n)),
            None => {
                let scope = std::mem::replace(&mut self.top().scope, ScopeId(0));
                let r = self.add(op, &[], ty, place);
                self.top().scope = scope;
                if let Ok(t) = &r {
                    let node = t.node;
                    self.top().leaves.insert(name.to_string(), node);
                }
                r
            }
        };
        self.cur = cur;
        r
    }

    /// Leaves a condition on dims to the binding.
    pub(crate) fn require(&mut self, left: &Dim, relation: Relation, right: &Dim, why: &str, place: Place) {
        let why = format!("{why} ({})", self.where_is(place));
        let r = Require { left: left.clone(), relation, right: right.clone(), why };
        let g = &mut self.levels[0].graph;
        if !g.requires.iter().any(|o| o.left == r.left && o.relation == r.relation && o.right == r.right) {
            g.requires.push(r);
        }
    }

    /// The same tensor with a dim written as an equal one: equality is left to the binding.
    pub(crate) fn retype(&mut self, t: &Tensor<'a>, shape: impl Into<Shape>, why: &str, place: Place) -> R<Tensor<'a>> {
        let shape = shape.into();
        if self.type_of(t).shape == shape {
            return Ok(t.clone());
        }
        let ty = self.ty(t);
        for (a, b) in ty.shape.iter().zip(&shape) {
            if a != b {
                self.require(a, Relation::Eq, b, why, place);
            }
        }
        let rank = shape.len();
        let op = Op::Slice { start: vec![Dim::int(0); rank], step: vec![1; rank] };
        let mut r = self.add(op, &[t], TensorType::new(ty.dtype, shape), place)?;
        (r.unit, r.labels) = (t.unit, t.labels.clone());
        Ok(r)
    }

    /// Enters a scope; give the result to [`Ev::leave`].
    pub(crate) fn enter(&mut self, label: &str, place: Place, instance: bool, kernel: Option<String>) -> ScopeId {
        let (label, at) = (label.into(), self.where_is(place));
        self.remember(&label, &at, place, None);
        self.enter_at(label, at, instance, kernel)
    }

    /// [`Ev::enter`] where the call is remembered already.
    pub(crate) fn enter_at(
        &mut self,
        label: Arc<str>,
        at: Arc<str>,
        instance: bool,
        kernel: Option<String>,
    ) -> ScopeId {
        let l = self.top();
        let old = l.scope;
        let scope = Scope { parent: Some(old), label, place: at, instance, kernel };
        l.scope = l.graph.scope(scope);
        old
    }

    /// Leaves a scope.
    pub(crate) fn leave(&mut self, old: ScopeId) {
        self.top().scope = old;
    }

    /// A static value as a scalar tensor of a dtype.
    pub(crate) fn lift(&mut self, v: &Value<'a>, dtype: DType, place: Place) -> R<Tensor<'a>> {
        match (v, dtype) {
            (Value::Tensor(t), _) => Ok(t.clone()),
            (Value::Bool(b), _) => self.constant(dtype, f64::from(u8::from(*b)), place),
            (Value::Int(d), DType::F32 | DType::I32) => match d.as_int() {
                Some(i) => {
                    if dtype == DType::I32 && i32::try_from(i).is_err() {
                        self.err(Diagnostic::new("E0215", format!("{i} is beyond 32 bits"), place, "too large"));
                        return Err(Bad);
                    }
                    self.constant(dtype, i as f64, place)
                }
                None => {
                    let t = self.add(Op::Size(d.clone()), &[], TensorType::new(DType::I32, vec![]), place)?;
                    if dtype == DType::F32 { self.map(ScalarOp::ToF32, &[&t], place) } else { Ok(t) }
                }
            },
            (Value::Ratio(q), DType::F32) => match (q.0.as_int(), q.1.as_int()) {
                (Some(a), Some(b)) => self.constant(dtype, a as f64 / b as f64, place),
                _ => {
                    let a = self.lift(&Value::Int(q.0.clone()), dtype, place)?;
                    let b = self.lift(&Value::Int(q.1.clone()), dtype, place)?;
                    self.map(ScalarOp::Div, &[&a, &b], place)
                }
            },
            (Value::Ratio(q), DType::I32) => {
                let d = q.0.floor_div(&q.1).map_err(|e| self.dim_error(e, place))?;
                self.lift(&Value::Int(d), dtype, place)
            }
            (Value::Float(x), DType::F32) => self.constant(dtype, *x, place),
            (Value::Float(_), _) => {
                self.err(
                    Diagnostic::new("E0202", format!("a number with a fraction is not {dtype}"), place, "is f32")
                        .help(format!("`cast(x, {dtype})` converts")),
                );
                Err(Bad)
            }
            (Value::Int(_) | Value::Ratio(_), DType::Bool) => {
                self.err(Diagnostic::new("E0202", "a number is not a truth value", place, "is a number"));
                Err(Bad)
            }
            (Value::List(l), DType::F32 | DType::I32) if l.iter().all(|v| as_f64(v).is_some()) => {
                let numbers: Vec<f64> = l.iter().filter_map(as_f64).collect();
                let fits = |x: &f64| x.fract() == 0.0 && x.abs() <= f64::from(i32::MAX);
                if dtype == DType::I32
                    && let Some(x) = numbers.iter().find(|x| !fits(x))
                {
                    self.err(Diagnostic::new("E0202", format!("{x} is not i32"), place, "in this list"));
                    return Err(Bad);
                }
                let ty = TensorType::new(dtype, vec![Dim::int(numbers.len() as i64)]);
                self.add(Op::Literal(numbers), &[], ty, place)
            }
            (Value::Poison, _) => Err(Bad),
            _ => {
                self.err(Diagnostic::new(
                    "E0201",
                    format!("expected a tensor or a number, found {}", v.kind()),
                    place,
                    format!("this is {}", v.kind()),
                ));
                Err(Bad)
            }
        }
    }
}
