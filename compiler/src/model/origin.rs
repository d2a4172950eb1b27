//! Where a number in a shape comes from, said in words.
//!
//! In: a tensor and an axis. Out: `24 + 32 + 56 + 160, joined at uniad.uad:12`, `the weight embed.w`. Invariants: only
//! asked for when something is wrong; follows an axis back through the graph, a bounded number of steps.
//! Imports: the graph.

use uad_plan::Dim;

use crate::diag::Diagnostic;
use crate::graph::{Graph, NodeId, Op};

use super::Ev;
use super::value::{Env, Slot, Tensor, Value};
use super::view::Atom;

/// Farthest walk back.
const FARTHEST: usize = 10_000;

impl<'a> Ev<'a> {
    fn graph_of(&self, t: &Tensor<'a>) -> Option<&Graph> {
        self.levels.iter().rev().find(|l| l.id == t.graph).map(|l| &l.graph)
    }

    /// Where the extent of an axis comes from, if that is more than the number itself.
    pub(crate) fn origin(&self, t: &Tensor<'a>, axis: usize) -> Option<String> {
        let g = self.graph_of(t)?;
        let (node, axis) = source(g, t.node, axis)?;
        let place = |n: NodeId| {
            let s = &g.scopes[g.node(n).scope.0 as usize];
            if s.place.is_empty() { String::new() } else { format!(" in `{}` at {}", s.label, s.place) }
        };
        match &g.node(node).op {
            Op::Concat { axis: a } if *a == axis => {
                let parts: Vec<String> = g.node(node).args.iter().map(|p| g.ty(*p).shape[axis].to_string()).collect();
                Some(format!("{}, joined{}", parts.join(" + "), place(node)))
            }
            Op::Weight(path) => Some(format!("an extent of the weight `{path}`")),
            Op::State(path) => Some(format!("an extent of the state `{path}`")),
            Op::Input(name) => Some(format!("an extent of the input `{name}`")),
            Op::Window { size, stride, .. } => {
                Some(format!("what windows of {size}, step {stride}, leave{}", place(node)))
            }
            _ => None,
        }
    }

    /// Where a name of a pattern has its value from, and the width to give a layer so that it fits.
    pub(crate) fn view_help(
        &mut self,
        mut d: Diagnostic,
        t: &Tensor<'a>,
        axis: usize,
        group: &[Atom<'a>],
        known: &Dim,
        env: &Env<'a>,
    ) -> Diagnostic {
        if let [Atom::Name(n, at)] = group {
            if let Ok(Some((_, Some(place)))) = self.known_dim(n, env)
                && place != *at
            {
                let mut text = format!("`{n}` is {known} by this");
                if let Some((v, k)) = self.labelled(n, known, env)
                    && let Some(o) = self.origin(&v, k)
                {
                    text += &format!("; {known} = {o}");
                }
                d = d.label(place, text);
            }
            if self.is_of_weight(t, axis) && axis + 1 == self.ty(t).shape.len() {
                d.help = Some(format!("give the layer before it {known} outputs: `linear({n})`"));
            }
        }
        d
    }

    /// A value of the body whose annotation names an axis so.
    fn labelled(&self, name: &str, extent: &Dim, env: &Env<'a>) -> Option<(Tensor<'a>, usize)> {
        let mut at = Some(env.clone());
        while let Some(f) = at {
            for (_, slot) in f.vars.borrow().iter() {
                if let Slot::Known(Value::Tensor(t)) = slot
                    && let Some(k) = t.labels.as_ref().and_then(|l| l.iter().position(|l| *l == name))
                    && self.ty(t).shape.get(k) == Some(extent)
                {
                    return Some((t.clone(), k));
                }
            }
            at = f.parent.clone();
        }
        None
    }

    /// Does an axis come from a weight: could a layer be given another width?
    pub(crate) fn is_of_weight(&self, t: &Tensor<'a>, axis: usize) -> bool {
        self.graph_of(t)
            .and_then(|g| source(g, t.node, axis).map(|(n, _)| matches!(g.node(n).op, Op::Weight(_))))
            .unwrap_or(false)
    }
}

/// The node that first has this extent, and its axis there.
fn source(g: &Graph, mut node: NodeId, mut axis: usize) -> Option<(NodeId, usize)> {
    let want = g.ty(node).shape.get(axis)?.clone();
    for _ in 0..FARTHEST {
        let n = g.node(node);
        let next: Option<(NodeId, usize)> = match &n.op {
            Op::Map(_) | Op::Stop => n.args.iter().find(|a| !unfolded(g, **a)).or(n.args.first()).map(|a| (*a, axis)),
            Op::Permute(p) => Some((n.args[0], p[axis])),
            Op::Expand { axes } => axes
                .iter()
                .position(|a| *a == axis)
                .filter(|i| g.ty(n.args[0]).shape[*i] == want)
                .map(|i| (n.args[0], i)),
            Op::Slice { .. } | Op::Pad { .. } | Op::Scan(_) | Op::ArgSort { .. } => Some((n.args[0], axis)),
            Op::Window { axis: a, .. } if *a != axis => Some((n.args[0], axis)),
            Op::Reduce { axes, .. } => {
                let mut k = axis;
                for a in axes {
                    if *a <= k {
                        k += 1;
                    }
                }
                Some((n.args[0], k))
            }
            Op::Reshape => reshape_axis(&g.ty(n.args[0]).shape, &n.ty.shape, axis).map(|k| (n.args[0], k)),
            Op::Dot { batch, contract } => {
                let (a, b) = (g.ty(n.args[0]).shape.len(), g.ty(n.args[1]).shape.len());
                let used =
                    |left: bool, k: usize| batch.iter().chain(contract).any(|p| if left { p.0 == k } else { p.1 == k });
                let mut order: Vec<(usize, usize)> = batch.iter().map(|p| (0, p.0)).collect();
                order.extend((0..a).filter(|k| !used(true, *k)).map(|k| (0, k)));
                order.extend((0..b).filter(|k| !used(false, *k)).map(|k| (1, k)));
                order.get(axis).map(|(side, k)| (n.args[*side], *k))
            }
            Op::Concat { axis: a } if *a != axis => n.args.first().map(|x| (*x, axis)),
            _ => None,
        };
        match next {
            Some((m, k)) if g.ty(m).shape.get(k) == Some(&want) => (node, axis) = (m, k),
            _ => return Some((node, axis)),
        }
    }
    None
}

fn unfolded(g: &Graph, n: NodeId) -> bool {
    matches!(g.node(n).op, Op::Expand { .. } | Op::Const(_))
}

/// The axis of the old shape that is this axis of the new one, where prefix products agree.
fn reshape_axis(old: &[Dim], new: &[Dim], axis: usize) -> Option<usize> {
    let before = Dim::product(&new[..axis]).ok()?;
    (0..old.len()).find(|k| old[*k] == new[axis] && Dim::product(&old[..*k]).is_ok_and(|p| p == before))
}
