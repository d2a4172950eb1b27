//! The step of a stage that minimises: gradients of the loss, clipping, the optimiser of each weight, the schedule.
//!
//! In: a loss of the entry's graph, groups with their optimisers. Out: writes of weights and of what optimisers keep.
//! Invariants: all gradients are taken before any weight changes; optimisers, schedules and clipping are ordinary blocks
//! and functions; a weight is trained by the first group that matches it, and only if the loss changes with it.
//! Imports: gradients, values, calls.

use std::rc::Rc;

use uad_plan::{DType, ScalarOp};

use crate::diag::{Diagnostic, Place};
use crate::grad::{NoGradient, Why, gradients, segment};
use crate::graph::{Graph, NodeId, Op, TensorType};
use crate::hash::FxHashMap;

use super::stage::{pattern_matches, seen_from};
use super::value::{Arg, Bad, FnValue, Func, Instance, Kind, Owner, R, Tensor, Value};
use super::{Depth, Ev, GroupInfo, Minimise, StageInfo, Static};

/// A loss that waits for the stage's settings.
pub(super) struct Training<'a> {
    /// The loss.
    pub loss: Tensor<'a>,
    /// Groups in order, with their optimisers.
    pub groups: Vec<(GroupInfo, Func<'a>)>,
    /// Where the loss stands.
    pub place: Place,
}

/// Settings of a stage that are functions.
#[derive(Default)]
pub(super) struct Functions<'a> {
    /// Factor of the learning rate.
    pub schedule: Option<(Func<'a>, Place)>,
    /// Of all gradients.
    pub clip: Option<(Func<'a>, Place)>,
    /// What weights become at the end.
    pub average: Option<(Func<'a>, Place)>,
}

/// What a block gave for the first weight of a type, where that stands for all.
type Alike<'a> = FxHashMap<TensorType, Tensor<'a>>;

/// Weights that a value changes with, by path, in the order of the graph.
fn reached(g: &Graph, of: NodeId) -> Vec<(String, NodeId)> {
    let mut need = vec![false; g.nodes.len()];
    need[of.0 as usize] = true;
    let mut found = Vec::new();
    for i in (0..g.nodes.len()).rev() {
        let n = &g.nodes[i];
        if !need[i] || n.ty.dtype != DType::F32 || matches!(n.op, Op::Stop) {
            continue;
        }
        if let Op::Weight(path) = &n.op {
            found.push((path.clone(), NodeId(i as u32)));
        }
        for a in &n.args {
            need[a.0 as usize] = true;
        }
    }
    found.reverse();
    found
}

impl<'a> Ev<'a> {
    /// The rest of a step, once all of the stage has been read.
    pub(super) fn train(&mut self, t: Training<'a>, with: &Functions<'a>, info: &mut StageInfo) -> R<()> {
        let (mut groups, optimisers): (Vec<GroupInfo>, Vec<Func<'a>>) = t.groups.into_iter().unzip();
        let mut trained: Vec<(String, NodeId, usize)> = Vec::new();
        for (path, node) in reached(&self.levels[0].graph, t.loss.node) {
            if !self.thawed.contains(&path) {
                continue;
            }
            let seen = seen_from(info.home(), &path);
            let has = |g: &GroupInfo| g.over.is_empty() || g.over.iter().any(|p| pattern_matches(p, seen));
            if let Some(k) = groups.iter().position(has) {
                groups[k].weights.push(path.clone());
                trained.push((path, node, k));
            }
        }
        if let Some(m) = &mut info.minimise {
            m.groups = groups;
        }
        let scope = self.enter("update", t.place, false, None);
        let r = self.updates(&t.loss, t.place, &trained, &optimisers, with, info);
        self.leave(scope);
        r
    }

    fn updates(
        &mut self,
        loss: &Tensor<'a>,
        place: Place,
        trained: &[(String, NodeId, usize)],
        optimisers: &[Func<'a>],
        with: &Functions<'a>,
        info: &StageInfo,
    ) -> R<()> {
        let wrt: Vec<NodeId> = trained.iter().map(|t| t.1).collect();
        let level = &mut self.levels[0];
        if info.settings.iter().any(|s| s.0 == "rematerialise" && s.1 == Static::Bool(true)) {
            // cannot fail: the rounds are those that were typed.
            let _ = segment(&mut level.graph);
        }
        let made = gradients(&mut level.graph, loss.node, &wrt);
        level.places.resize(level.graph.nodes.len(), place);
        let slopes = match made {
            Ok(s) => s,
            Err(e) => return self.no_gradient(e, place),
        };
        let mut slopes: Vec<Tensor<'a>> = slopes.into_iter().map(|n| self.tensor(n)).collect();
        if let Some((f, at)) = &with.clip {
            slopes = self.clipped(f, slopes, *at)?;
        }
        let (one, step) = (Value::Float(1.0), self.reserved("@step", place)?);
        let rate = match &with.schedule {
            Some((f, at)) => {
                let mut args = Vec::new();
                for name in ["@epoch", "@epochs", "@step", "@steps"] {
                    args.push(Value::Tensor(self.reserved(name, place)?));
                }
                self.called(f, args, *at)?
            }
            None => one.clone(),
        };
        let now = self.constant(DType::F32, 1.0, place)?;
        let now = Value::Tensor(self.map(ScalarOp::Add, &[&step, &now], place)?);
        let mut after: Vec<(&String, Tensor<'a>)> = Vec::with_capacity(trained.len());
        let mut alike = vec![Alike::default(); optimisers.len()];
        for ((path, node, group), slope) in trained.iter().zip(slopes) {
            let weight = self.tensor(*node);
            let args = vec![Value::Tensor(weight.clone()), Value::Tensor(slope), now.clone(), rate.clone()];
            let new = self.kept_by(&optimisers[*group], path, args, &weight, &mut alike[*group], info, place)?;
            after.push((path, new));
        }
        for (path, new) in &after {
            self.levels[0].graph.writes.push(((*path).clone(), new.node));
        }
        if let Some((f, at)) = &with.average {
            let mut alike = Alike::default();
            for (path, new) in &after {
                let args = vec![Value::Tensor(new.clone()), now.clone()];
                let mean = self.kept_by(f, path, args, new, &mut alike, info, *at)?;
                let own = self.levels[0].graph.writes.iter().find(|w| w.1 == mean.node && w.0 != **path);
                match own.map(|w| w.0.clone()) {
                    Some(state) => self.averages.push(((*path).clone(), state)),
                    None => {
                        self.err(Diagnostic::new("E0413", "an average gives back a state of its own", *at, "does not"));
                        return Err(Bad);
                    }
                }
            }
        }
        Ok(())
    }

    /// A number that the loop gives to every step.
    fn reserved(&mut self, name: &str, place: Place) -> R<Tensor<'a>> {
        self.leaf(Op::Input(name.to_string()), name, TensorType::new(DType::F32, vec![]), place)
    }

    fn called(&mut self, f: &Func<'a>, values: Vec<Value<'a>>, place: Place) -> R<Value<'a>> {
        self.apply(f, values.into_iter().map(|value| Arg { name: None, value, place }).collect(), place)
    }

    /// A block used for one weight: what it keeps is stored under the stage and the weight's path.
    fn kept_by(
        &mut self,
        f: &Func<'a>,
        path: &str,
        args: Vec<Value<'a>>,
        like: &Tensor<'a>,
        alike: &mut Alike<'a>,
        info: &StageInfo,
        place: Place,
    ) -> R<Tensor<'a>> {
        let want = self.ty(like);
        if let Some(t) = alike.get(&want) {
            return Ok(t.clone());
        }
        let owner = Owner::at(format!("{}.{path}", info.name), None, Some(place));
        let before = self.stored.len();
        let v = self.called(&owned(f, &owner), args, place)?;
        for s in &mut self.stored[before..] {
            s.stage = Some(info.name.clone());
        }
        let t = self.lift(&v, want.dtype, place)?;
        let t = if self.ty(&t).shape.is_empty() { self.spread(&t, &want.shape, place)? } else { t };
        let is = self.ty(&t);
        if is != want {
            let text = format!("`{path}` is {want}, and would become {is}");
            self.err(Diagnostic::new("E0203", text, place, "this optimiser"));
            return Err(Bad);
        }
        if self.choice.depth != Depth::Whole {
            // What is wrong with it for one weight is wrong for all of its type.
            alike.insert(want, t.clone());
        }
        Ok(t)
    }

    fn clipped(&mut self, f: &Func<'a>, slopes: Vec<Tensor<'a>>, place: Place) -> R<Vec<Tensor<'a>>> {
        let list = Value::List(Rc::new(slopes.iter().cloned().map(Value::Tensor).collect()));
        let new = match self.called(f, vec![list], place)? {
            Value::List(l) if l.len() == slopes.len() => l,
            v => {
                let is = self.describe(&v);
                let text = format!("clipping gives back as many gradients as it takes, {}", slopes.len());
                self.err(Diagnostic::new("E0413", text, place, format!("gives {is}")));
                return Err(Bad);
            }
        };
        let mut out = Vec::with_capacity(new.len());
        for (v, old) in new.iter().zip(&slopes) {
            let t = self.lift(v, DType::F32, place)?;
            let (is, want) = (self.ty(&t), self.ty(old));
            if is != want {
                let text = format!("clipping keeps the type of a gradient, {want}");
                self.err(Diagnostic::new("E0413", text, place, format!("gives {is}")));
                return Err(Bad);
            }
            out.push(t);
        }
        Ok(out)
    }

    fn no_gradient(&mut self, e: NoGradient, loss: Place) -> R<()> {
        let place = self.levels[0].places.get(e.node.0 as usize).copied().unwrap_or(loss);
        let d = match e.why {
            Why::Until => Diagnostic::new("E0409", "no gradient passes a loop with `until`", place, "ends early")
                .help("put its result under `stop(…)`, or leave out `until`"),
            why => Diagnostic::new("E0409", "no gradient passes here", place, NoGradient { why, ..e }.to_string()),
        };
        self.err(d.label(loss, "this loss needs its gradient"));
        Err(Bad)
    }

    /// `clip: 0.1` stands for `clip_norm(0.1)`.
    pub(super) fn clip_function(&mut self, v: Value<'a>, place: Place) -> R<Func<'a>> {
        if let Value::Func(f) = v {
            return Ok(f);
        }
        let modules = self.modules;
        let library = modules.iter().position(|m| m.name == "optim");
        let item = library.and_then(|m| self.item_value("clip_norm", m));
        let Some(Value::Func(Func::Fn(f))) = item else {
            self.err(
                Diagnostic::new("E0413", "`clip` is a number only beside the library's optimisers", place, "is one")
                    .help("`use optim.clip_norm`, and `clip: clip_norm(0.1)`"),
            );
            return Err(Bad);
        };
        let most = vec![Arg { name: None, value: v, place }];
        let hyper = self.hyper_frame(f.decl, f.module, most, Kind::Fn, place)?;
        Ok(Func::Fn(Rc::new(FnValue { decl: f.decl, module: f.module, hyper: Some(hyper) })))
    }

    /// What a stage minimises, as data.
    pub(super) fn minimised(&mut self, loss: String, place: Place, groups: &[(GroupInfo, Func<'a>)]) -> Minimise {
        Minimise { loss, groups: groups.iter().map(|g| g.0.clone()).collect(), place }
    }
}

/// The function with this owner for what it keeps.
fn owned<'a>(f: &Func<'a>, owner: &Rc<Owner<'a>>) -> Func<'a> {
    match f {
        Func::Instance(i) => Func::Instance(Rc::new(Instance {
            decl: i.decl,
            module: i.module,
            hyper: i.hyper.clone(),
            site: i.site,
            turn: Vec::new(),
            home: None,
            named: std::cell::RefCell::new(Some(owner.clone())),
        })),
        Func::Typed(t) => Func::Typed(Rc::new((owned(&t.0, owner), t.1, t.2.clone()))),
        Func::Partial(p) => Func::Partial(Rc::new((owned(&p.0, owner), p.1.clone()))),
        f => f.clone(),
    }
}
