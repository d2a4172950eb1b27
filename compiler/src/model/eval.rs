//! Expressions.
//!
//! In: an expression and the frame it stands in. Out: its value, or [`Bad`] when its error has been reported.
//! Invariants: depth and number of steps are bounded; operands are all evaluated before an error is passed on, so that
//! each mistake of a line is reported. Imports: values, the other parts of the evaluator.

use std::rc::Rc;

use uad_grammar::ast::{Arg as ArgAst, BinaryOp, Body, Expr, ExprKind, Name, Pattern, Stmt, StmtKind};
use uad_plan::{DType, ScalarOp};

use crate::diag::nearest::did_you_mean;
use crate::diag::{Diagnostic, Place};

use super::Ev;
use super::value::{Arg, Bad, Env, Frame, Func, Lambda, R, Slot, Value};

/// Deepest nesting of evaluation.
const DEEPEST: usize = 1200;
/// Most steps of one elaboration.
const MOST_STEPS: usize = 4_000_000;
/// Longest list.
pub(crate) const LONGEST_LIST: i64 = 100_000;

/// Names of a detector's body that one around it may read: what it computes, and what it was made with.
fn readable(body: &[Stmt]) -> impl Iterator<Item = &str> {
    let open = |s: &&Stmt| matches!(s.kind, StmtKind::Let { .. } | StmtKind::Param(..) | StmtKind::Input { .. });
    body.iter().filter(open).flat_map(super::detector::declared).map(|n| n.text.as_str())
}

impl<'a> Ev<'a> {
    /// The value of an expression.
    pub(crate) fn eval(&mut self, e: &'a Expr, env: &Env<'a>) -> R<Value<'a>> {
        self.steps += 1;
        let place = self.at(env.module, e.span);
        if self.steps > MOST_STEPS || self.stopped {
            return self.stop(place, "elaborating this takes too many steps");
        }
        self.depth += 1;
        let r = if self.depth > DEEPEST { self.endless(place) } else { self.eval_kind(e, env, place) };
        self.depth -= 1;
        r
    }

    /// Reports endless recursion once.
    pub(crate) fn endless<T>(&mut self, place: Place) -> R<T> {
        if !self.stopped {
            self.stopped = true;
            self.err(
                Diagnostic::new("E0601", "this does not end", place, "calls go too deep here")
                    .help("a function may not lead back to itself without a static `if` that ends it"),
            );
        }
        Err(Bad)
    }

    fn eval_kind(&mut self, e: &'a Expr, env: &Env<'a>, place: Place) -> R<Value<'a>> {
        match &e.kind {
            ExprKind::Int(i) => Ok(Value::int(*i)),
            ExprKind::Float(x, _) => Ok(Value::Float(*x)),
            ExprKind::Str(s) => Ok(Value::Text(s.as_str().into())),
            ExprKind::Bool(b) => Ok(Value::Bool(*b)),
            ExprKind::Name(n) => self.name(n, env, place),
            ExprKind::Dot(base, field) => self.dot(base, field, env, place),
            ExprKind::Call(callee, args) => self.call_expr(callee, args, None, None, env, place),
            ExprKind::Index(base, items) => self.index_expr(base, items, env, place),
            ExprKind::View(base, left, right) => {
                let v = self.eval(base, env)?;
                let at = self.at(env.module, base.span);
                self.view(&v, left, right, env, at, place)
            }
            ExprKind::Contraction(..) => {
                self.err(Diagnostic::new(
                    "E0201",
                    "a pattern with `->` is an argument of `dot`",
                    place,
                    "not a value of its own",
                ));
                Err(Bad)
            }
            ExprKind::List(items) => {
                let mut out = Vec::with_capacity(items.len());
                let mut bad = false;
                for i in items {
                    match self.eval(i, env) {
                        Ok(v) => out.push(v),
                        Err(Bad) => bad = true,
                    }
                }
                if bad { Err(Bad) } else { self.bounded(Value::List(Rc::new(out)), place) }
            }
            ExprKind::Comprehension(body, loops) => {
                let mut out = Vec::new();
                self.comprehend(body, loops, env, &mut out)?;
                self.bounded(Value::List(Rc::new(out)), place)
            }
            ExprKind::Record(fields) => {
                let mut out: Vec<(Option<Rc<str>>, Value<'a>)> = Vec::with_capacity(fields.len());
                let mut bad = false;
                for f in fields {
                    match self.eval(&f.value, env) {
                        Ok(v) => out.push((f.name.as_ref().map(|n| n.text.as_str().into()), v)),
                        Err(Bad) => bad = true,
                    }
                }
                if bad { Err(Bad) } else { self.bounded(Value::Record(Rc::new(out)), place) }
            }
            ExprKind::Lambda(params, body) => {
                self.frames.push(env.clone());
                Ok(Value::Func(Func::Lambda(Rc::new(Lambda { params, body, env: env.clone() }))))
            }
            ExprKind::Neg(a) => {
                let v = self.eval(a, env)?;
                let at = self.at(env.module, a.span);
                match self.fold_neg(&v, place)? {
                    Some(v) => Ok(v),
                    None => self.map_values(ScalarOp::Neg, &[(v, at)], place),
                }
            }
            ExprKind::Not(a) => match self.eval(a, env)? {
                Value::Bool(b) => Ok(Value::Bool(!b)),
                v => {
                    let at = self.at(env.module, a.span);
                    self.map_values(ScalarOp::Not, &[(v, at)], place)
                }
            },
            ExprKind::Binary(op, a, b) => {
                let (x, y) = (self.eval(a, env), self.eval(b, env));
                let (pa, pb) = (self.at(env.module, a.span), self.at(env.module, b.span));
                self.binary(*op, (x?, pa), (y?, pb), place)
            }
            ExprKind::Range(a, b) => {
                let (Some(a), Some(b)) = (a, b) else {
                    self.err(Diagnostic::new("E0209", "an open range is an index only", place, "needs both ends"));
                    return Err(Bad);
                };
                let (x, y) = (self.eval(a, env), self.eval(b, env));
                let (pa, pb) = (self.at(env.module, a.span), self.at(env.module, b.span));
                Ok(Value::Range(self.whole(&x?, pa, "a range's start")?, self.whole(&y?, pb, "a range's end")?))
            }
            ExprKind::Pipe { value, train, into } => {
                let v = self.eval(value, env);
                let at = self.at(env.module, value.span);
                self.own |= *train && self.frozen == 0;
                if *train && !self.training {
                    return v;
                }
                let v = v?;
                if !train {
                    return self.pipe(v, at, into, None, env);
                }
                let before = v.clone();
                let after = self.pipe(v, at, into, None, env)?;
                self.same_type(&before, &after, self.at(env.module, into.span))?;
                Ok(after)
            }
            ExprKind::As(inner, name) => self.named(inner, name, env, place),
            ExprKind::Repeat(n, inner) => self.repeat_expr(n, inner, None, None, env, place),
            ExprKind::Each(inner) => {
                let f = self.eval(inner, env)?;
                let at = self.at(env.module, inner.span);
                let f = self.callable(f, at)?;
                Ok(Value::Func(Func::Each(Rc::new(f))))
            }
            ExprKind::Frozen(inner) => self.frozen_expr(inner, None, env),
            ExprKind::Variant(base, fields) => self.variant_expr(base, fields, env, place),
            ExprKind::If(cond, then, otherwise) => {
                let c = self.condition(cond, env)?;
                self.inner_body(if c { then } else { otherwise }, env, place)
            }
            ExprKind::Error => Err(Bad),
        }
    }

    /// A static truth.
    pub(crate) fn condition(&mut self, e: &'a Expr, env: &Env<'a>) -> R<bool> {
        let v = self.eval(e, env)?;
        let place = self.at(env.module, e.span);
        match v {
            Value::Bool(b) => Ok(b),
            Value::Poison => Err(Bad),
            Value::Tensor(_) => {
                self.err(
                    Diagnostic::new(
                        "E0210",
                        "`if` needs a condition known while compiling",
                        place,
                        "is computed in a run",
                    )
                    .help("`select(cond, a, b)` chooses by value"),
                );
                Err(Bad)
            }
            _ => {
                self.err(Diagnostic::new(
                    "E0201",
                    format!("expected a truth value, found {}", v.kind()),
                    place,
                    format!("this is {}", v.kind()),
                ));
                Err(Bad)
            }
        }
    }

    /// The body of an `if` that is a value: names in it are its own.
    fn inner_body(&mut self, body: &'a Body, env: &Env<'a>, place: Place) -> R<Value<'a>> {
        let inner = Frame::new(Some(env.clone()), env.module, env.kind, env.owner.clone());
        *inner.rest.borrow_mut() = env.rest.borrow().clone();
        self.run_body(body, &inner, place)
    }

    /// Statements, then the last expression.
    pub(crate) fn run_body(&mut self, body: &'a Body, env: &Env<'a>, place: Place) -> R<Value<'a>> {
        self.statements(&body.stmts, env)?;
        match &body.value {
            Some(e) => self.eval(e, env),
            None => {
                self.err(Diagnostic::new("E0213", "this body gives no value", place, "ends without an expression"));
                Err(Bad)
            }
        }
    }

    fn comprehend(
        &mut self,
        body: &'a Expr,
        loops: &'a [(Pattern, Expr)],
        env: &Env<'a>,
        out: &mut Vec<Value<'a>>,
    ) -> R<()> {
        let Some(((pattern, list), rest)) = loops.split_first() else {
            out.push(self.eval(body, env)?);
            return Ok(());
        };
        let v = self.eval(list, env)?;
        let place = self.at(env.module, list.span);
        let items = self.items(&v, place)?;
        let mut bad = false;
        for (n, item) in items.into_iter().enumerate() {
            if self.stopped {
                return Err(Bad);
            }
            let inner = Frame::new(Some(env.clone()), env.module, env.kind, env.owner.clone());
            *inner.rest.borrow_mut() = env.rest.borrow().clone();
            self.turn.push(n);
            let r =
                self.bind_pattern(pattern, item, &inner, place).and_then(|()| self.comprehend(body, rest, &inner, out));
            self.turn.pop();
            bad |= r.is_err();
        }
        if bad { Err(Bad) } else { Ok(()) }
    }

    /// The elements of a list or range.
    pub(crate) fn items(&mut self, v: &Value<'a>, place: Place) -> R<Vec<Value<'a>>> {
        match v {
            Value::List(l) => Ok(l.to_vec()),
            Value::Range(a, b) => {
                let (x, y) = (
                    self.closed(&Value::Int(a.clone()), place, "a range's start")?,
                    self.closed(&Value::Int(b.clone()), place, "a range's end")?,
                );
                if y.saturating_sub(x) > LONGEST_LIST {
                    self.err(Diagnostic::new(
                        "E0215",
                        format!("a list of more than {LONGEST_LIST} elements"),
                        place,
                        "too long",
                    ));
                    return Err(Bad);
                }
                Ok((x..y).map(Value::int).collect())
            }
            Value::Poison => Err(Bad),
            _ => {
                let is = self.describe(v);
                self.err(Diagnostic::new(
                    "E0201",
                    format!("expected a list, found {}", v.kind()),
                    place,
                    format!("this is {is}"),
                ));
                Err(Bad)
            }
        }
    }

    /// Binds the names of a pattern.
    pub(crate) fn bind_pattern(&mut self, p: &'a Pattern, v: Value<'a>, env: &Env<'a>, place: Place) -> R<()> {
        match p {
            Pattern::Name(n) => {
                if n.text != "_" {
                    env.set(&n.text, v);
                }
                Ok(())
            }
            Pattern::Record(parts, span) => {
                let values: Option<Vec<Value<'a>>> = match &v {
                    Value::Record(f) => Some(f.iter().map(|f| f.1.clone()).collect()),
                    Value::List(l) => Some(l.to_vec()),
                    _ => None,
                };
                let here = self.at(env.module, *span);
                match values {
                    Some(values) if values.len() == parts.len() => {
                        let mut r = Ok(());
                        for (p, v) in parts.iter().zip(values) {
                            r = self.bind_pattern(p, v, env, place).and(r);
                        }
                        r
                    }
                    _ => {
                        self.poison_pattern(p, env);
                        if matches!(v, Value::Poison) {
                            return Err(Bad);
                        }
                        let is = self.describe(&v);
                        self.err(
                            Diagnostic::new(
                                "E0201",
                                format!("expected {} values", parts.len()),
                                place,
                                format!("this is {is}"),
                            )
                            .label(here, format!("takes apart into {}", parts.len())),
                        );
                        Err(Bad)
                    }
                }
            }
        }
    }

    /// Marks the names of a pattern as failed.
    pub(crate) fn poison_pattern(&mut self, p: &'a Pattern, env: &Env<'a>) {
        match p {
            Pattern::Name(n) => env.set(&n.text, Value::Poison),
            Pattern::Record(parts, _) => parts.iter().for_each(|p| self.poison_pattern(p, env)),
        }
    }

    /// The value in a slot.
    pub(crate) fn read_slot(&mut self, slot: &Slot<'a>, name: &str, frame: &Env<'a>) -> R<Value<'a>> {
        let v = match slot {
            Slot::Known(v) => v.clone(),
            Slot::Lazy(thunk) => {
                if thunk.busy.get() {
                    let place = self.at(frame.module, thunk.stmt.span);
                    self.err(Diagnostic::new(
                        "E0601",
                        format!("`{name}` is defined by itself"),
                        place,
                        "leads back here",
                    ));
                    return Err(Bad);
                }
                self.force(thunk, frame)?;
                match frame.slot(name) {
                    Some(Slot::Known(v)) => v,
                    _ => return Err(Bad),
                }
            }
        };
        if matches!(v, Value::Poison) { Err(Bad) } else { Ok(v) }
    }

    /// The value of a name.
    pub(crate) fn name(&mut self, n: &'a str, env: &Env<'a>, place: Place) -> R<Value<'a>> {
        if n == "training" {
            self.own |= self.frozen == 0;
            return Ok(Value::Bool(self.training));
        }
        let mut at = Some(env);
        while let Some(f) = at {
            if let Some(slot) = f.slot(n) {
                let v = self.read_slot(&slot, n, f)?;
                return Ok(self.state_here(n, &v, f, env, place)?.unwrap_or(v));
            }
            if let Some((d, _)) = f.dim(n) {
                return Ok(Value::Int(d));
            }
            let promise = f.promised.borrow().iter().find(|p| p.0 == n).map(|p| p.1.clone());
            if let Some(thunk) = promise
                && !thunk.done.get()
                && !thunk.busy.get()
            {
                self.force(&thunk, f)?;
                if let Some((d, _)) = f.dim(n) {
                    return Ok(Value::Int(d));
                }
            }
            at = f.parent.as_ref();
        }
        if let Some(v) = self.item_value(n, env.module) {
            return Ok(v);
        }
        if let Some(v) = super::prelude::value(n) {
            return Ok(v);
        }
        self.unknown(n, env, place)
    }

    fn unknown<T>(&mut self, n: &str, env: &Env<'a>, place: Place) -> R<T> {
        let mut known: Vec<&str> = super::prelude::names().collect();
        let mut at = Some(env.clone());
        while let Some(f) = at {
            known.extend(f.vars.borrow().iter().map(|v| v.0));
            known.extend(f.dims.borrow().iter().map(|v| v.0));
            known.extend(f.promised.borrow().iter().map(|v| v.0));
            at = f.parent.clone();
        }
        let modules = self.modules;
        known.extend(modules[env.module].values.keys().map(String::as_str));
        known.sort_unstable();
        let mut d = Diagnostic::new("E0101", format!("there is no `{n}` here"), place, "unknown");
        d.help = self.name_help(n, known);
        self.err(d);
        Err(Bad)
    }

    fn dot(&mut self, base: &'a Expr, field: &'a Name, env: &Env<'a>, place: Place) -> R<Value<'a>> {
        if let ExprKind::Name(n) = &base.kind
            && (n == "random" || n == "fixed")
        {
            let full = format!("{n}.{}", field.text);
            return match super::prelude::value(&full) {
                Some(v) => Ok(v),
                None => {
                    let head = format!("{n}.");
                    let mut d = Diagnostic::new("E0101", format!("there is no `{full}`"), place, "unknown");
                    d.help = did_you_mean(&full, super::prelude::names().filter(|k| k.starts_with(&head)));
                    self.err(d);
                    Err(Bad)
                }
            };
        }
        let v = self.eval(base, env)?;
        let at = self.at(env.module, field.span);
        let known: Vec<String> = match &v {
            Value::Record(fields) => {
                if let Some(f) = fields.iter().find(|f| f.0.as_deref() == Some(field.text.as_str())) {
                    return if matches!(f.1, Value::Poison) { Err(Bad) } else { Ok(f.1.clone()) };
                }
                fields.iter().filter_map(|f| f.0.as_ref().map(|n| n.to_string())).collect()
            }
            Value::Tensor(t) => {
                let ty = self.ty(t);
                let labels: Vec<&str> = match &t.labels {
                    Some(l) if l.len() == ty.shape.len() => l.to_vec(),
                    _ => vec![""; ty.shape.len()],
                };
                if let Some(n) = labels.iter().position(|l| *l == field.text) {
                    return Ok(Value::Int(ty.shape[n].clone()));
                }
                // Feature maps whose annotation leaves the axes open are `b c h w`.
                if ty.shape.len() == 4
                    && let Some(n) = ["b", "c", "h", "w"].iter().position(|l| *l == field.text)
                    && (labels[n].is_empty() || labels[n].len() > 1 || labels[n].eq_ignore_ascii_case(&field.text))
                {
                    return Ok(Value::Int(ty.shape[n].clone()));
                }
                labels.iter().filter(|l| !l.is_empty()).map(|l| l.to_string()).collect()
            }
            Value::Func(f) => {
                let part = match f {
                    Func::Part(p) => Some(p.clone()),
                    Func::Frozen(p) => match &**p {
                        Func::Part(p) => Some(p.clone()),
                        _ => None,
                    },
                    _ => None,
                };
                match part {
                    Some(p) => {
                        let outputs = self.outputs_of(&p, place)?;
                        if let Some(o) = outputs.iter().find(|o| o.0 == field.text) {
                            return if matches!(o.1, Value::Poison) { Err(Bad) } else { Ok(o.1.clone()) };
                        }
                        let inside = p.open.borrow().clone();
                        if let Some((inside, _)) = inside.filter(|_| readable(p.body).any(|n| n == field.text)) {
                            return self.name(&field.text, &inside, place);
                        }
                        let outputs = outputs.iter().map(|o| o.0.to_string());
                        outputs.chain(readable(p.body).map(str::to_string)).collect()
                    }
                    None => Vec::new(),
                }
            }
            _ => Vec::new(),
        };
        let is = self.describe(&v);
        let mut d = Diagnostic::new("E0101", format!("{is} has no `{}`", field.text), at, "not there");
        d.help = did_you_mean(&field.text, known.iter().map(String::as_str));
        if let (Value::Tensor(_), true) = (&v, super::prelude::value(&field.text).is_some()) {
            d.help = Some(format!("functions stand before their arguments: `{}(x)`, or `x |> {0}`", field.text));
        } else if matches!(v, Value::Tensor(_)) && ["shape", "size"].contains(&field.text.as_str()) {
            d.help = Some(match known.first() {
                Some(k) => format!("extents are read by name: it has {}, as `x.{k}`", quoted(&known)),
                None => "name its axes, `let x: f32[b, c] = …`, and read `x.c`".to_string(),
            });
        } else if d.help.is_none() && !known.is_empty() {
            d.help = Some(format!("it has {}", quoted(&known)));
        }
        self.err(d);
        Err(Bad)
    }

    /// Arguments of a call, all evaluated.
    pub(crate) fn arguments(&mut self, args: &'a [ArgAst], env: &Env<'a>) -> R<Vec<Arg<'a>>> {
        // A value that is piped into the call goes in front.
        let mut out = Vec::with_capacity(args.len() + 1);
        let mut bad = false;
        for a in args {
            let place = self.at(env.module, a.value.span);
            match self.eval(&a.value, env) {
                Ok(value) => out.push(Arg { name: a.name.as_ref(), value, place }),
                Err(Bad) => bad = true,
            }
        }
        if bad { Err(Bad) } else { Ok(out) }
    }

    /// Something that can be called.
    pub(crate) fn callable(&mut self, v: Value<'a>, place: Place) -> R<Func<'a>> {
        match v {
            Value::Func(f) => Ok(f),
            // A list of functions is called in sequence.
            Value::List(l) if !l.is_empty() => {
                let all: R<Vec<Func<'a>>> = l.iter().map(|f| self.callable(f.clone(), place)).collect();
                Ok(Func::Repeat(Rc::new(all?)))
            }
            Value::Poison => Err(Bad),
            _ => {
                let is = self.describe(&v);
                self.err(Diagnostic::new(
                    "E0207",
                    format!("{} cannot be called", v.kind()),
                    place,
                    format!("this is {is}"),
                ));
                Err(Bad)
            }
        }
    }

    /// `@train f` keeps the type.
    fn same_type(&mut self, before: &Value<'a>, after: &Value<'a>, place: Place) -> R<()> {
        if let (Value::Tensor(a), Value::Tensor(b)) = (before, after)
            && a.unit == b.unit
            && self.type_of(a) == self.type_of(b)
        {
            return Ok(());
        }
        let (x, y) = (self.describe(before), self.describe(after));
        if x == y {
            return Ok(());
        }
        self.err(
            Diagnostic::new("E0407", "a step of training changes the type", place, format!("gives {y} for {x}"))
                .help("when scoring the step is left out, so it must give back what it takes"),
        );
        Err(Bad)
    }

    /// What a value is, for messages.
    pub(crate) fn describe(&self, v: &Value<'a>) -> String {
        match v {
            Value::Tensor(t) => {
                let ty = self.ty(t);
                match t.unit {
                    Some(u) => {
                        let s = ty.to_string();
                        s.replacen(ty.dtype.name(), u, 1)
                    }
                    None => ty.to_string(),
                }
            }
            Value::Int(d) => format!("the integer {d}"),
            Value::Float(x) => format!("the number {x}"),
            Value::Ratio(q) => format!("the number {} / {}", q.0, q.1),
            Value::Bool(b) => b.to_string(),
            Value::Text(t) => format!("\"{t}\""),
            Value::List(l) => format!("a list of {}", l.len()),
            Value::Record(f) => {
                format!("({})", f.iter().map(|f| self.describe(&f.1)).collect::<Vec<_>>().join(", "))
            }
            _ => v.kind().to_string(),
        }
    }

    /// The dtype of static or tensor values.
    pub(crate) fn dtype_of(&self, v: &Value<'a>) -> Option<DType> {
        match v {
            Value::Tensor(t) => Some(self.type_of(t).dtype),
            _ => None,
        }
    }

    /// `len`: first extent of a tensor, elements of a list.
    pub(crate) fn length(&mut self, v: &Value<'a>, place: Place) -> R<Value<'a>> {
        match v {
            Value::List(l) => Ok(Value::int(l.len() as i64)),
            Value::Record(l) => Ok(Value::int(l.len() as i64)),
            Value::Range(a, b) => match b.sub(a) {
                Ok(d) => Ok(Value::Int(d)),
                Err(e) => Err(self.dim_error(e, place)),
            },
            Value::Tensor(t) => match self.ty(t).shape.first() {
                Some(d) => Ok(Value::Int(d.clone())),
                None => {
                    self.err(Diagnostic::new("E0204", "a scalar has no length", place, "no axes"));
                    Err(Bad)
                }
            },
            _ => {
                self.err(Diagnostic::new("E0201", format!("{} has no length", v.kind()), place, ""));
                Err(Bad)
            }
        }
    }

    /// Two operands.
    pub(crate) fn binary(
        &mut self,
        op: BinaryOp,
        a: (Value<'a>, Place),
        b: (Value<'a>, Place),
        place: Place,
    ) -> R<Value<'a>> {
        if let Some(v) = self.fold(op, &a.0, &b.0, place)? {
            return Ok(v);
        }
        if op == BinaryOp::MatMul {
            return self.matmul(&a, &b, place);
        }
        let (scalar, swap, negate) = match op {
            BinaryOp::Add => (ScalarOp::Add, false, false),
            BinaryOp::Sub => (ScalarOp::Sub, false, false),
            BinaryOp::Mul => (ScalarOp::Mul, false, false),
            BinaryOp::Div => (ScalarOp::Div, false, false),
            BinaryOp::Rem => (ScalarOp::Rem, false, false),
            BinaryOp::Eq => (ScalarOp::Eq, false, false),
            BinaryOp::Ne => (ScalarOp::Eq, false, true),
            BinaryOp::Lt => (ScalarOp::Lt, false, false),
            BinaryOp::Le => (ScalarOp::Le, false, false),
            BinaryOp::Gt => (ScalarOp::Lt, true, false),
            BinaryOp::Ge => (ScalarOp::Le, true, false),
            BinaryOp::And => (ScalarOp::And, false, false),
            BinaryOp::Or | BinaryOp::MatMul => (ScalarOp::Or, false, false),
        };
        let args = if swap { [b, a] } else { [a, b] };
        let r = self.map_values(scalar, &args, place)?;
        if !negate {
            return Ok(r);
        }
        self.map_values(ScalarOp::Not, &[(r, place)], place)
    }
}

/// Names in backquotes, with commas.
fn quoted(names: &[String]) -> String {
    names.iter().map(|k| format!("`{k}`")).collect::<Vec<_>>().join(", ")
}
