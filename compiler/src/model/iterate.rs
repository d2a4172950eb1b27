//! Loops: `iterate`, and `each` over samples.
//!
//! In: loop statements and functions over rows. Out: loop nodes. Invariants: a body is a graph of its own; a failed loop
//! leaves its carried names poisoned. Imports: values, emission.

use std::rc::Rc;

use uad_grammar::ast::Iterate;
use uad_plan::{DType, Dim};

use crate::diag::{Diagnostic, Place};
use crate::graph::{Op, TensorType};

use super::Ev;
use super::value::{Arg, Bad, Env, Frame, Func, Kind, R, Slot, Tensor, Value};

impl<'a> Ev<'a> {
    pub(super) fn iterate(&mut self, it: &'a Iterate, env: &Env<'a>, place: Place) -> R<()> {
        let r = self.iterate_loop(it, env, place);
        if r.is_err() {
            for (n, _) in &it.carried {
                env.set(&n.text, Value::Poison);
            }
        }
        r
    }

    pub(super) fn iterate_loop(&mut self, it: &'a Iterate, env: &Env<'a>, place: Place) -> R<()> {
        let at = self.at(env.module, it.bound.span);
        let (start, count) = match self.eval(&it.bound, env)? {
            Value::Range(a, b) => {
                let n = b.sub(&a).map_err(|e| self.dim_error(e, at))?;
                (a, n)
            }
            v => (Dim::int(0), self.whole(&v, at, "the number of rounds")?),
        };
        if count.as_int().is_some_and(|n| !(0..=1_000_000_000).contains(&n)) {
            self.err(Diagnostic::new("E0215", format!("{count} rounds"), at, "0 to a thousand million are possible"));
            return Err(Bad);
        }
        let mut first = Vec::new();
        for (n, e) in &it.carried {
            let p = self.at(env.module, e.span);
            let v = self.eval(e, env)?;
            let t = match &v {
                Value::Tensor(t) => t.clone(),
                Value::Int(_) => self.lift(&v, DType::I32, p)?,
                Value::Bool(_) => self.lift(&v, DType::Bool, p)?,
                v => self.lift(v, DType::F32, p)?,
            };
            self.here(&t, p)?;
            first.push((n, t));
        }
        let every = match &it.every {
            Some(e) => {
                let p = self.at(env.module, e.span);
                let v = self.eval(e, env)?;
                Some(self.whole(&v, p, "`every`")?)
            }
            None => None,
        };
        let mut level = self.level("loop", true);
        level.carried = first.len();
        self.levels.push(level);
        self.cur = self.levels.len() - 1;
        let r = self.loop_body(it, &first, &start, env, place);
        let level = self.levels.pop();
        self.cur = self.levels.len() - 1;
        r?;
        let Some(mut level) = level else { return Err(Bad) };
        let after = self.settled(&mut level, first.len());
        if first.is_empty() && after.1.is_empty() {
            self.err(
                Diagnostic::new("E0206", "a loop that carries nothing does nothing", place, "no `with`")
                    .help("carry a value, `iterate n with x = …`, or change a state in it"),
            );
            return Err(Bad);
        }
        let start: Vec<Tensor<'a>> = first.iter().map(|f| f.1.clone()).collect();
        let whole = self.looped(count, (start, every), after, level.graph, place)?;
        for (k, (n, f)) in first.iter().enumerate() {
            let ty = self.ty(f);
            let t = self.add(Op::Part(k), &[&whole], ty, place)?;
            let v = Value::Tensor(Tensor { labels: f.labels.clone(), ..t });
            if env.kind == Kind::Detector && self.cur == 0 {
                let path = env.owner.as_ref().map_or(n.text.clone(), |o| o.join(&n.text));
                self.trace_value(&path, &v, &mut 1);
            }
            env.set(&n.text, v);
        }
        Ok(())
    }

    pub(super) fn loop_body(
        &mut self,
        it: &'a Iterate,
        first: &[(&'a uad_grammar::ast::Name, Tensor<'a>)],
        start: &Dim,
        env: &Env<'a>,
        place: Place,
    ) -> R<()> {
        let frame = Frame::new(Some(env.clone()), env.module, env.kind, env.owner.clone());
        *frame.rest.borrow_mut() = env.rest.borrow().clone();
        for (k, (n, f)) in first.iter().enumerate() {
            let ty = self.ty(f);
            let t = self.add(Op::Input(k.to_string()), &[], ty, place)?;
            frame.set(&n.text, Value::Tensor(Tensor { labels: f.labels.clone(), ..t }));
            self.carried.push((frame.clone(), n.text.clone()));
        }
        if let Some(j) = &it.index {
            let round = self.add(Op::Input("round".into()), &[], TensorType::new(DType::I32, vec![]), place)?;
            let v = if start.is(0) {
                Value::Tensor(round)
            } else {
                let s = self.lift(&Value::Int(start.clone()), DType::I32, place)?;
                Value::Tensor(self.map(uad_plan::ScalarOp::Add, &[&round, &s], place)?)
            };
            frame.set(&j.text, v);
        }
        let errors = self.errors;
        let r = self.statements(&it.body, &frame);
        let until = match &it.until {
            Some(e) if r.is_ok() => self.eval(e, &frame).map(|v| Some((v, self.at(env.module, e.span)))),
            _ => r.map(|()| None),
        };
        self.carried.truncate(self.carried.len() - first.len());
        if self.errors != errors {
            return Err(Bad);
        }
        for (k, (n, _)) in first.iter().enumerate() {
            match frame.slot(&n.text) {
                Some(Slot::Known(Value::Tensor(t))) => {
                    let node = self.here(&t, place)?;
                    self.top().graph.outputs.push((k.to_string(), node));
                }
                _ => return Err(Bad),
            }
        }
        self.changed_states(first.len(), place)?;
        if let Some((v, p)) = until? {
            let t = self.lift(&v, DType::Bool, p)?;
            let ty = self.ty(&t);
            if ty != TensorType::new(DType::Bool, vec![]) {
                self.err(Diagnostic::new("E0202", "`until` takes one truth value", p, format!("is {ty}")));
                return Err(Bad);
            }
            let node = self.here(&t, p)?;
            self.top().graph.outputs.push(("until".into(), node));
        }
        Ok(())
    }

    /// `each f` over the leading axis, as a loop that fills its results row by row.
    pub(crate) fn each(&mut self, f: &Func<'a>, args: Vec<Arg<'a>>, place: Place) -> R<Value<'a>> {
        let Some(Value::Tensor(x)) = args.first().map(|a| a.value.clone()) else {
            self.err(Diagnostic::new("E0206", "`each` goes over the leading axis of a tensor", place, "no tensor"));
            return Err(Bad);
        };
        let ty = self.ty(&x);
        let Some(count) = ty.shape.first().cloned() else {
            self.err(Diagnostic::new("E0204", "`each` needs a leading axis", place, format!("is {ty}")));
            return Err(Bad);
        };
        let level = self.level("each", true);
        self.levels.push(level);
        self.cur = self.levels.len() - 1;
        self.each_depth += 1;
        let r = self.each_body(f, &x, args, &count, place);
        self.each_depth -= 1;
        let level = self.levels.pop();
        self.cur = self.levels.len() - 1;
        let (shape, leaves) = r?;
        let Some(mut level) = level else { return Err(Bad) };
        let after = self.settled(&mut level, leaves.len());
        let mut start = Vec::new();
        for (ty, _) in &leaves {
            let zero = self.constant(ty.dtype, 0.0, place)?;
            start.push(self.spread(&zero, &ty.shape, place)?);
        }
        let whole = self.looped(count, (start, None), after, level.graph, place)?;
        let mut parts = Vec::new();
        for (k, (ty, bool_result)) in leaves.iter().enumerate() {
            let t = self.add(Op::Part(k), &[&whole], ty.clone(), place)?;
            parts.push(if *bool_result { self.map(uad_plan::ScalarOp::ToBool, &[&t], place)? } else { t });
        }
        let mut parts = parts.into_iter();
        Ok(refill(&shape, &mut parts))
    }

    pub(super) fn each_body(
        &mut self,
        f: &Func<'a>,
        x: &Tensor<'a>,
        args: Vec<Arg<'a>>,
        count: &Dim,
        place: Place,
    ) -> R<(Value<'a>, Vec<(TensorType, bool)>)> {
        let round = self.add(Op::Input("round".into()), &[], TensorType::new(DType::I32, vec![]), place)?;
        let mut row = self.op(Op::Gather { axis: 0, batch: 0 }, &[x, &round], place)?;
        row.unit = x.unit;
        row.labels = x.labels.as_ref().map(|l| l.iter().skip(1).copied().collect::<Vec<_>>().into());
        let mut inner = vec![Arg { name: None, value: Value::Tensor(row), place }];
        inner.extend(args.into_iter().skip(1));
        let v = self.apply(f, inner, place)?;
        let mut flat = Vec::new();
        self.flatten(&v, &mut flat, place)?;
        let mut leaves = Vec::new();
        for (k, t) in flat.into_iter().enumerate() {
            let mut t = t;
            let is_bool = self.ty(&t).dtype == DType::Bool;
            if is_bool {
                t = self.map(uad_plan::ScalarOp::ToI32, &[&t], place)?;
            }
            let ty = self.ty(&t);
            let mut shape = vec![count.clone()];
            shape.extend(ty.shape.iter().cloned());
            let all = TensorType::new(ty.dtype, shape);
            let carried = self.add(Op::Input(format!("c{k}")), &[], all.clone(), place)?;
            let next = self.op(Op::ScatterAdd { axis: 0, batch: 0 }, &[&carried, &round, &t], place)?;
            let node = self.here(&next, place)?;
            self.top().graph.outputs.push((k.to_string(), node));
            leaves.push((all, is_bool));
        }
        if leaves.is_empty() {
            self.err(Diagnostic::new("E0201", "`each` gathers tensors", place, "gives none"));
            return Err(Bad);
        }
        self.changed_states(leaves.len(), place)?;
        Ok((v, leaves))
    }

    pub(super) fn flatten(&mut self, v: &Value<'a>, out: &mut Vec<Tensor<'a>>, place: Place) -> R<()> {
        match v {
            Value::List(l) => l.iter().try_for_each(|v| self.flatten(v, out, place)),
            Value::Record(l) => l.iter().try_for_each(|v| self.flatten(&v.1, out, place)),
            v => {
                let dtype = if matches!(v, Value::Bool(_)) { DType::Bool } else { DType::F32 };
                out.push(self.lift(v, dtype, place)?);
                Ok(())
            }
        }
    }
}

fn refill<'a>(shape: &Value<'a>, parts: &mut impl Iterator<Item = Tensor<'a>>) -> Value<'a> {
    match shape {
        Value::List(l) => Value::List(Rc::new(l.iter().map(|v| refill(v, parts)).collect())),
        Value::Record(l) => Value::Record(Rc::new(l.iter().map(|(n, v)| (n.clone(), refill(v, parts))).collect())),
        v => match parts.next() {
            Some(t) => {
                let unit = if let Value::Tensor(o) = v { o.unit } else { None };
                Value::Tensor(Tensor { unit, ..t })
            }
            None => Value::Poison,
        },
    }
}
