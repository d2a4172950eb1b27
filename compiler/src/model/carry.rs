//! States inside loops: what a body changes is carried, though nobody wrote `with`.
//!
//! In: reads and writes of states while a loop's body is made. Out: inputs of the body, and after the loop the states' new
//! values. Invariants: a state has an input of its own in every body that reads it, so that a copy taken before the loop
//! keeps its value; only what the body changes is carried; levels around a loop learn of the change when it closes.
//! Imports: values, emission.

use std::rc::Rc;

use uad_plan::Dim;

use crate::diag::{Diagnostic, Place};
use crate::graph::{Graph, NodeId, Op, TensorType};
use crate::hash::FxHashMap;

use super::Ev;
use super::emit::Level;
use super::value::{Bad, Env, Kind, R, Tensor, Value};

/// A state that a loop's body reads.
pub(crate) struct Inside<'a> {
    /// Where it is stored.
    path: String,
    /// Its name.
    name: &'a str,
    /// Its value around the loop, tensor by tensor (a list of states has several).
    outer: Vec<Tensor<'a>>,
    /// The inputs of the body that stand for them.
    inputs: Vec<NodeId>,
    /// Its value here.
    now: Value<'a>,
    /// Frames that have a slot for it.
    frames: Vec<Env<'a>>,
}

impl<'a> Inside<'a> {
    /// Outer values with the inputs that stand for them.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (&Tensor<'a>, NodeId)> {
        self.outer.iter().zip(self.inputs.iter().copied())
    }
}

/// A state that a loop has changed.
pub(super) struct Changed<'a> {
    state: Inside<'a>,
    types: Vec<TensorType>,
}

/// The frame of the entry's own statements.
fn entry<'a>(env: &Env<'a>) -> Env<'a> {
    let mut at = env.clone();
    while let Some(up) = at.parent.clone().filter(|p| p.kind == Kind::Entry) {
        at = up;
    }
    at
}

impl<'a> Ev<'a> {
    /// The value of a name inside a loop, if it is a state there.
    pub(super) fn state_here(
        &mut self,
        name: &'a str,
        slot: &Value<'a>,
        frame: &Env<'a>,
        env: &Env<'a>,
        place: Place,
    ) -> R<Option<Value<'a>>> {
        // What a detector's `let`s read is the value before the entry.
        if self.cur == 0 || frame.kind == Kind::Detector && env.kind != Kind::Entry {
            return Ok(None);
        }
        let Some(path) = frame.states.borrow().iter().find(|s| s.0 == name).map(|s| s.1.clone()) else {
            return Ok(None);
        };
        let n = self.inside(name, path, slot, frame, env, place)?;
        Ok(Some(self.levels[self.cur].states[n].now.clone()))
    }

    /// Gives a state a new value inside a loop.
    pub(super) fn change_inside(
        &mut self,
        name: &'a str,
        path: String,
        v: Value<'a>,
        frame: &Env<'a>,
        env: &Env<'a>,
        place: Place,
    ) -> R<()> {
        let slot = self.name(name, env, place)?;
        let n = self.inside(name, path, &slot, frame, env, place)?;
        let mut new = Vec::new();
        self.flatten(&v, &mut new, place)?;
        let state = &self.levels[self.cur].states[n];
        for (t, input) in new.iter().zip(&state.inputs) {
            let (is, want) = (self.ty(t), self.levels[self.cur].graph.ty(*input).clone());
            if is != want {
                let text = format!("inside a loop `{name}` stays {want}");
                self.err(Diagnostic::new("E0203", text, place, format!("would become {is}")));
                return Err(Bad);
            }
        }
        self.levels[self.cur].states[n].now = v;
        Ok(())
    }

    /// The row of a state in the body that is being made; rows in the bodies around it come with it.
    fn inside(
        &mut self,
        name: &'a str,
        path: String,
        slot: &Value<'a>,
        frame: &Env<'a>,
        env: &Env<'a>,
        place: Place,
    ) -> R<usize> {
        let home = if matches!(frame.kind, Kind::Detector | Kind::Entry) { entry(env) } else { frame.clone() };
        let mut value = slot.clone();
        for level in 1..=self.cur {
            let known = self.levels[level].states.iter().position(|s| s.path == path);
            let n = match known {
                Some(n) => n,
                None => {
                    let cur = std::mem::replace(&mut self.cur, level);
                    let row = self.opened(name, &path, &value, place);
                    self.cur = cur;
                    self.levels[level].states.push(row?);
                    self.levels[level].states.len() - 1
                }
            };
            let row = &mut self.levels[level].states[n];
            if !row.frames.iter().any(|f| Rc::ptr_eq(f, &home)) {
                row.frames.push(home.clone());
            }
            value = row.now.clone();
            if level == self.cur {
                return Ok(n);
            }
        }
        Err(Bad)
    }

    fn opened(&mut self, name: &'a str, path: &str, value: &Value<'a>, place: Place) -> R<Inside<'a>> {
        let mut outer = Vec::new();
        self.flatten(value, &mut outer, place)?;
        let first = self.top().states.iter().map(|s| s.inputs.len()).sum::<usize>();
        let (mut inputs, mut now) = (Vec::new(), Vec::new());
        for (n, t) in outer.iter().enumerate() {
            let ty = self.ty(t);
            let input = self.add(Op::Input(format!("s{}", first + n)), &[], ty, place)?;
            inputs.push(input.node);
            now.push(Value::Tensor(Tensor { unit: t.unit, labels: t.labels.clone(), ..input }));
        }
        let now = match value {
            Value::List(_) => Value::List(Rc::new(now)),
            _ => now.pop().ok_or(Bad)?,
        };
        Ok(Inside { path: path.to_string(), name, outer, inputs, now, frames: Vec::new() })
    }

    /// Outputs of a body for the states that it has changed, after `first` carried values.
    pub(super) fn changed_states(&mut self, first: usize, place: Place) -> R<usize> {
        let mut next = first;
        for n in 0..self.top().states.len() {
            let now = self.top().states[n].now.clone();
            let mut new = Vec::new();
            self.flatten(&now, &mut new, place)?;
            let mut nodes = Vec::new();
            for t in &new {
                nodes.push(self.here(t, place)?);
            }
            if nodes == self.top().states[n].inputs {
                continue;
            }
            for node in nodes {
                self.top().graph.outputs.push((next.to_string(), node));
                next += 1;
            }
        }
        Ok(next - first)
    }

    /// Numbers the inputs of a finished body: `carried` values, then the states that it changes, then what it captures.
    /// Gives the values around the loop in that order, without the first, and the changed states.
    pub(super) fn settled(&self, level: &mut Level<'a>, carried: usize) -> (Vec<Tensor<'a>>, Vec<Changed<'a>>) {
        let changes = |s: &Inside<'a>| {
            let mut new = Vec::new();
            tensors(&s.now, &mut new);
            new.len() != s.inputs.len() || new.iter().zip(&s.inputs).any(|(t, i)| t.graph != level.id || t.node != *i)
        };
        let flags: Vec<bool> = level.states.iter().map(changes).collect();
        let (mut values, mut last, mut place_of) = (Vec::new(), Vec::new(), FxHashMap::default());
        let mut serial = 0;
        let (mut changed, mut next) = (Vec::new(), carried);
        let mut kept = Vec::new();
        for (state, flag) in std::mem::take(&mut level.states).into_iter().zip(flags) {
            let own = serial..serial + state.inputs.len();
            serial = own.end;
            if flag {
                for (s, t) in own.zip(&state.outer) {
                    place_of.insert(s, next);
                    next += 1;
                    values.push(t.clone());
                }
                let types = state.inputs.iter().map(|i| level.graph.ty(*i).clone()).collect();
                changed.push(Changed { state, types });
            } else {
                kept.push((own, state));
            }
        }
        let captured = next;
        next += level.captures.len();
        for (own, state) in kept {
            for (s, t) in own.zip(state.outer) {
                place_of.insert(s, next);
                next += 1;
                last.push(t);
            }
        }
        let before = level.carried;
        for node in &mut level.graph.nodes {
            let Op::Input(name) = &mut node.op else { continue };
            let number = |text: &str| text.parse::<usize>().ok();
            let to = match (name.strip_prefix('c').and_then(number), name.strip_prefix('s').and_then(number)) {
                (Some(k), _) => Some(k),
                (_, Some(k)) => place_of.get(&k).copied(),
                _ => number(name).filter(|k| *k >= before).map(|k| k - before + captured),
            };
            if let Some(k) = to {
                *name = k.to_string();
            }
        }
        values.extend(level.captures.iter().cloned());
        values.extend(last);
        (values, changed)
    }

    /// The node of a loop, and after it the states that it has changed.
    pub(super) fn looped(
        &mut self,
        count: Dim,
        (first, every): (Vec<Tensor<'a>>, Option<Dim>),
        (rest, changed): (Vec<Tensor<'a>>, Vec<Changed<'a>>),
        mut body: Graph,
        place: Place,
    ) -> R<Tensor<'a>> {
        super::prune(&mut body);
        let states: usize = changed.iter().map(|c| c.types.len()).sum();
        let own = first.len();
        let args: Vec<&Tensor<'a>> = first.iter().chain(&rest).collect();
        let op = Op::Loop { count, carried: own + states, every, body: Box::new(body) };
        let whole = self.op(op, &args, place)?;
        let mut next = own;
        for c in changed {
            let mut parts = Vec::new();
            for (ty, t) in c.types.into_iter().zip(&c.state.outer) {
                let part = self.add(Op::Part(next), &[&whole], ty, place)?;
                next += 1;
                parts.push(Value::Tensor(Tensor { unit: t.unit, labels: t.labels.clone(), ..part }));
            }
            let v = match &c.state.now {
                Value::List(_) => Value::List(Rc::new(parts)),
                _ => parts.pop().ok_or(Bad)?,
            };
            self.after(c.state, v, place)?;
        }
        Ok(whole)
    }

    /// A state's value after a loop.
    fn after(&mut self, state: Inside<'a>, v: Value<'a>, place: Place) -> R<()> {
        if self.cur != 0 {
            if let Some(row) = self.top().states.iter_mut().find(|s| s.path == state.path) {
                row.now = v;
            }
            return Ok(());
        }
        self.write_state(&state.path, &v, place)?;
        for f in &state.frames {
            self.became(state.name, &state.path, v.clone(), f);
        }
        Ok(())
    }
}

fn tensors<'a>(v: &Value<'a>, out: &mut Vec<Tensor<'a>>) {
    match v {
        Value::List(l) => l.iter().for_each(|v| tensors(v, out)),
        Value::Tensor(t) => out.push(t.clone()),
        _ => {}
    }
}
