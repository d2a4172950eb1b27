//! `grad(loss, wrt: x)`: the reverse pass inside an entry.
//!
//! In: a loss and the value to derive by. Out: the derivative, a value of the graph in which the loss is. Invariants: a
//! value that the loss does not reach gives a diagnostic, not zeros; inside a loop nothing that leads through values
//! from around it is left out silently. Imports: gradients, values, emission.

use uad_plan::DType;

use crate::diag::{Diagnostic, Place};
use crate::grad::{self, NoGradient, Why};
use crate::graph::NodeId;

use super::Ev;
use super::builtin::Given;
use super::emit::MOST_NODES;
use super::value::{Bad, R, Tensor, Value};

impl<'a> Ev<'a> {
    pub(super) fn grad(&mut self, g: &Given<'a>, place: Place) -> R<Value<'a>> {
        let (loss, x) = (self.tensor_arg("grad", &g[0], place)?, self.tensor_arg("grad", &g[1], place)?);
        let at = |a: &Option<(Value<'a>, Place)>| a.as_ref().map_or(place, |a| a.1);
        let (loss_at, x_at) = (at(&g[0]), at(&g[1]));
        let (of, by) = (self.ty(&loss), self.ty(&x));
        if !of.shape.is_empty() {
            let d = Diagnostic::new("E0204", "`grad` derives one number", loss_at, format!("is {of}"));
            self.err(d.help("`sum(…)` or `mean(…)` makes one of it"));
            return Err(Bad);
        }
        for (ty, place) in [(&of, loss_at), (&by, x_at)] {
            if ty.dtype != DType::F32 {
                let d = Diagnostic::new("E0202", format!("{} has no gradient", ty.dtype), place, format!("is {ty}"));
                self.err(d.help("only f32 has one; `cast(x, f32)` converts"));
                return Err(Bad);
            }
        }
        let level = |t: &Tensor<'a>| self.levels.iter().position(|l| l.id == t.graph);
        let (Some(depth), Some(source)) = (level(&loss), level(&x)) else {
            // What is in none of the graphs is told by whoever wants it here.
            self.here(&loss, loss_at)?;
            self.here(&x, x_at)?;
            return Err(Bad);
        };
        if source > depth {
            return self.no_path(loss_at, x_at);
        }
        let cur = std::mem::replace(&mut self.cur, depth);
        let found = self.derive(&loss, &x, depth, (loss_at, x_at), place);
        self.cur = cur;
        let node = found?;
        Ok(Value::Tensor(Tensor { graph: loss.graph, node, unit: None, labels: x.labels }))
    }

    fn derive(
        &mut self,
        loss: &Tensor<'a>,
        x: &Tensor<'a>,
        depth: usize,
        (loss_at, x_at): (Place, Place),
        place: Place,
    ) -> R<NodeId> {
        let by = self.here(x, x_at)?;
        if self.leads_around(depth, loss.node, x) {
            let text = "the loss depends on it through values from around the loop";
            let d = Diagnostic::new("E0414", text, x_at, "derived by this").label(loss_at, "this loss");
            self.err(d.help("compute inside the loop what lies between them"));
            return Err(Bad);
        }
        if !grad::leads(&self.levels[depth].graph, loss.node, by) {
            return self.no_path(loss_at, x_at);
        }
        let l = &mut self.levels[depth];
        let before = l.graph.nodes.len();
        let found = grad::gradients(&mut l.graph, loss.node, &[by]);
        let after = l.graph.nodes.len();
        l.places.resize(after, place);
        self.nodes += after - before;
        if self.nodes > MOST_NODES {
            return self.stop(place, "the graph has more than a million nodes");
        }
        match found {
            Ok(nodes) => nodes.first().copied().ok_or(Bad),
            Err(NoGradient { node, why }) => {
                let code = match &why {
                    Why::Until => "E0409",
                    Why::Fault(text) if text.contains("64 bits") => "E0215",
                    Why::NotScalar(_) | Why::Fault(_) => "E0214",
                };
                let born = self.levels[depth].places.get(node.0 as usize).copied().unwrap_or(place);
                let d = match why {
                    Why::Until => Diagnostic::new(code, "no gradient passes a loop with `until`", born, "ends early")
                        .label(place, "this needs its gradient")
                        .help("put its result under `stop(…)`, or leave out `until`"),
                    Why::NotScalar(ty) => Diagnostic::new(code, "`grad` derives one f32", loss_at, format!("is {ty}")),
                    Why::Fault(text) => Diagnostic::new(code, text, born, "here"),
                };
                self.err(d);
                Err(Bad)
            }
        }
    }

    fn no_path<T>(&mut self, loss_at: Place, x_at: Place) -> R<T> {
        let d = Diagnostic::new("E0414", "no gradient leads from the loss to it", x_at, "derived by this")
            .label(loss_at, "does not depend on it")
            .help("`wrt` takes the name of a value that the loss was computed from, not through `stop`");
        self.err(d);
        Err(Bad)
    }

    /// Does a value of a loop's body depend on `x` through something else that the body captures?
    fn leads_around(&self, depth: usize, from: NodeId, x: &Tensor<'a>) -> bool {
        let Some(outer) = depth.checked_sub(1) else { return false };
        let (l, around) = (&self.levels[depth], &self.levels[outer]);
        if l.id == x.graph {
            return false;
        }
        let itself = if around.id == x.graph { Some(x.node) } else { around.captured.get(&(x.graph, x.node)).copied() };
        let states = l.states.iter().flat_map(super::carry::Inside::pairs).map(|(t, inner)| ((t.graph, t.node), inner));
        l.captured.iter().map(|(k, inner)| (*k, *inner)).chain(states).any(|((graph, node), inner)| {
            let other = graph == around.id && Some(node) != itself;
            let direct = |by: NodeId| grad::leads(&around.graph, node, by);
            other
                && grad::leads(&l.graph, from, inner)
                && (itself.is_some_and(direct) || self.leads_around(outer, node, x))
        })
    }
}
