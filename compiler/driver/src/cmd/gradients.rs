//! Gradients for `uadc compare`: the derivatives of a loss over our values, by inputs and weights, beside foreign ones.
//!
//! In: a compiled spec, its names file with [gradients], inputs, foreign gradients. Out: pairs of tensors. Invariants: a foreign
//! gradient is found under the name of its input or weight (`input.NAME` too), and goes through the same view or formula.
//! Imports: compiled, engine, failure; gradients of the compiler, names files.

use std::collections::BTreeMap;
use std::sync::Arc;

use uad_compiler::grad::gradients;
use uad_compiler::graph::{Graph, NodeId, Op, ScopeId, TensorType};
use uad_compiler::names::{LossRule, Names, cover};
use uad_plan::tensor::Tensor;
use uad_plan::{DType, Dim, ReduceOp, ScalarOp};
use uad_runtime::tensors::TensorFile;

use crate::args;
use crate::compiled::Compiled;
use crate::engine::{Engine, InMemory};
use crate::failure::{Done, Failure};

/// A gradient here and there.
pub struct Pair {
    /// Foreign name, or several.
    pub foreign: String,
    /// Our input or path.
    pub ours: String,
    /// Theirs, as ours lies.
    pub theirs: Tensor,
    /// Ours.
    pub value: Tensor,
}

/// What is compared.
pub struct Task<'a> {
    /// The spec.
    pub compiled: &'a Compiled,
    /// How names and axes correspond.
    pub names: &'a Names,
    /// How to run.
    pub engine: &'a args::Engine,
    /// The foreign inputs, cotangents among them.
    pub inputs: Option<&'a TensorFile>,
    /// The foreign gradients.
    pub theirs: &'a TensorFile,
}

impl Task<'_> {
    /// All gradients that both sides have, and the foreign names that nothing here stands for.
    pub fn pairs(
        &self,
        given: &BTreeMap<String, Tensor>,
        stored: &BTreeMap<String, Tensor>,
    ) -> Done<(Vec<Pair>, Vec<String>)> {
        let entry = self.names.entry();
        let mut graph = self.compiled.graph(entry)?.clone();
        // What a step leaves is not asked for.
        graph.writes.clear();
        let mut given = given.clone();
        let loss = self.loss(&mut graph, &mut given)?;
        let theirs = self.expected()?;
        let (mut names, mut by) = (Vec::new(), Vec::new());
        for (ours, foreign, value) in theirs.found {
            let node = graph.ids().find(|id| match &graph.node(*id).op {
                Op::Input(n) | Op::Weight(n) | Op::State(n) => *n == ours,
                _ => false,
            });
            if let Some(node) = node {
                by.push(node);
                names.push((ours, foreign, value));
            }
        }
        let fault = |e: String| Failure::Fault(format!("gradients: {e}"));
        let found = gradients(&mut graph, loss, &by).map_err(|e| fault(e.to_string()))?;
        graph.named.clear();
        graph.outputs = names.iter().zip(&found).map(|(n, d)| (format!("d {}", n.0), *d)).collect();
        // A gradient may need no input; the open dims take their values from them.
        graph.outputs.push(("loss".to_owned(), loss));
        let plan = self.compiled.plan_of(&[graph])?;
        let mut engine = Engine::new(plan, Arc::new(InMemory(stored.clone())), self.engine);
        let mut values = engine.call(entry, &given)?;
        let mut pairs = Vec::new();
        for (ours, foreign, theirs) in names {
            let value =
                values.remove(&format!("d {ours}")).ok_or_else(|| fault(format!("`{ours}` was not computed")))?;
            pairs.push(Pair { foreign, ours, theirs, value });
        }
        Ok((pairs, theirs.left))
    }

    /// The sum of what [gradients] lists.
    fn loss(&self, graph: &mut Graph, given: &mut BTreeMap<String, Tensor>) -> Done<NodeId> {
        let mut sum: Option<NodeId> = None;
        for (n, (ours, rule)) in self.names.gradients.iter().enumerate() {
            let y = value(graph, ours)?;
            let (ty, scope) = (graph.ty(y).clone(), graph.node(y).scope);
            let made = |r: Result<NodeId, uad_compiler::graph::build::TypeError>| {
                r.map_err(|e| Failure::input(format!("[gradients] `{ours}`: {}", e.0)))
            };
            let term = match rule {
                LossRule::Weighed(foreign) => {
                    let name = format!("@cotangent.{n}");
                    let file = self.inputs.ok_or_else(|| Failure::input("the case has no inputs"))?;
                    let mut weights = file.get(foreign).map_err(Failure::input)?;
                    let viewed = self.names.outputs.iter().find(|o| o.ours.matches(ours).is_some());
                    if let Some(view) = viewed.and_then(|o| o.view.as_ref()) {
                        let shape = view.shape(weights.shape()).unwrap_or_default();
                        weights =
                            view.apply(&weights, &shape).map_err(|e| Failure::input(format!("`{foreign}`: {e}")))?;
                    }
                    given.insert(name.clone(), weights);
                    let w = made(graph.add(Op::Input(name), &[], ty.clone(), scope))?;
                    made(graph.map(ScalarOp::Mul, &[y, w], scope))?
                }
                LossRule::Times(factor) => {
                    let c = graph.constant(DType::F32, *factor, scope);
                    let c = made(graph.broadcast(c, &ty.shape, scope))?;
                    made(graph.map(ScalarOp::Mul, &[y, c], scope))?
                }
                LossRule::MeanSquareTo(other) => {
                    let other = value(graph, other)?;
                    let d = made(graph.map(ScalarOp::Sub, &[y, other], scope))?;
                    let square = made(graph.map(ScalarOp::Mul, &[d, d], scope))?;
                    let count = count(graph, &ty.shape, scope)?;
                    let count = made(graph.broadcast(count, &ty.shape, scope))?;
                    made(graph.map(ScalarOp::Div, &[square, count], scope))?
                }
            };
            let axes = (0..ty.shape.len()).collect();
            let term = made(graph.op(Op::Reduce { op: ReduceOp::Sum, axes }, &[term], scope))?;
            sum = Some(match sum {
                Some(s) => made(graph.map(ScalarOp::Add, &[s, term], scope))?,
                None => term,
            });
        }
        sum.ok_or_else(|| Failure::input("[gradients] names nothing"))
    }

    /// Foreign gradients by our inputs and paths.
    fn expected(&self) -> Done<Expected> {
        let (mut found, mut seen) = (Vec::new(), Vec::new());
        let shapes = self.theirs.shapes();
        for rule in &self.names.inputs {
            for foreign in [rule.foreign.clone(), format!("input.{}", rule.foreign)] {
                if !shapes.contains_key(&foreign) {
                    continue;
                }
                let mut tensor = self.theirs.get(&foreign).map_err(Failure::input)?;
                if let Some(view) = &rule.view {
                    let shape = view.shape(tensor.shape()).unwrap_or_default();
                    tensor = view.apply(&tensor, &shape).map_err(|e| Failure::input(format!("`{foreign}`: {e}")))?;
                }
                seen.push(foreign.clone());
                found.push((rule.to.clone(), foreign, tensor));
            }
        }
        let weights: BTreeMap<String, Vec<usize>> = shapes
            .iter()
            .filter(|(n, _)| cover::is_weight(self.names, n))
            .map(|(n, s)| (n.clone(), s.clone()))
            .collect();
        let params = |n: &str| self.compiled.int_param(n);
        let read = |name: &str| self.theirs.get(name).map_err(|e| e.to_string());
        for s in &self.compiled.model.stored {
            let shape = s.ty.shape.iter().map(|d| usize::try_from(d.as_int().unwrap_or(0)).unwrap_or(0)).collect();
            let one = [(s.path.clone(), s.ty.dtype, shape)];
            // Not every stored tensor has a foreign gradient.
            for a in cover::assign(self.names, &one, &weights, &params).into_iter().flatten() {
                let Some(foreign) = a.foreign.clone().filter(|f| !self.names.ignores(f)) else { continue };
                let value = a.value(&params, &read).map_err(Failure::input)?;
                seen.push(foreign.clone());
                found.push((a.path, foreign, value));
            }
        }
        let left = shapes.keys().filter(|n| !seen.contains(n) && !self.names.ignores(n)).cloned().collect();
        Ok(Expected { found, left })
    }
}

struct Expected {
    found: Vec<(String, String, Tensor)>,
    left: Vec<String>,
}

/// Our output, `let` or input of this name.
fn value(graph: &Graph, name: &str) -> Done<NodeId> {
    let named = graph.outputs.iter().chain(&graph.named).find(|(n, _)| n == name).map(|n| n.1);
    let input = || graph.ids().find(|id| matches!(&graph.node(*id).op, Op::Input(n) if n == name));
    named
        .or_else(input)
        .ok_or_else(|| Failure::input(format!("[gradients] names `{name}`, which the entry does not have")))
}

/// The number of elements as an f32.
fn count(graph: &mut Graph, shape: &[Dim], scope: ScopeId) -> Done<NodeId> {
    let all = Dim::product(shape).map_err(|e| Failure::input(e.to_string()))?;
    let size = graph.add(Op::Size(all), &[], TensorType::new(DType::I32, vec![]), scope);
    let made = size.and_then(|s| graph.map(ScalarOp::ToF32, &[s], scope));
    made.map_err(|e| Failure::Fault(e.0))
}
