//! Statements of bodies: `let`, `weight`, `state`, `require`, `<-`, `iterate`; and the names of instances.
//!
//! In: statements and a frame. Out: names in the frame, nodes, stored tensors. Invariants: a failed statement leaves
//! its names poisoned, so that one mistake gives one message. Imports: values, types.

use std::rc::Rc;

use uad_grammar::ast::{BinaryOp, Expr, ExprKind, Param, Pattern, Stmt, StmtKind, Type, TypeKind};
use uad_plan::{Dim, Relation, StoredKind};

use crate::diag::{Diagnostic, Place};
use crate::graph::{Op, TensorType};

use super::call::is_initialiser;
use super::types::{Labels, Use};
use super::value::{Arg, Bad, Child, Env, Func, Kind, Owner, R, Slot, Tensor, Value};
use super::{Depth, Ev, ForeignNames, StoredInfo};

/// Most elements of one stored tensor.
const MOST_ELEMENTS: i64 = 1 << 36;

/// Most values of one `let` that are looked at for traces.
const MOST_TRACED: usize = 1 << 12;

impl<'a> Ev<'a> {
    /// Statements in order; goes on after a failed one.
    pub(crate) fn statements(&mut self, stmts: &'a [Stmt], env: &Env<'a>) -> R<()> {
        if stmts.len() > 1 && self.bodies.insert(stmts.as_ptr() as usize) {
            self.declared_once(stmts.iter(), env.module);
        }
        for s in stmts {
            // What failed is poisoned; the rest may still be wrong in ways of its own.
            let r = self.statement(s, env);
            // What must hold is what the rest relies on.
            if self.stopped || r.is_err() && matches!(s.kind, StmtKind::Require { .. }) {
                return Err(Bad);
            }
        }
        Ok(())
    }

    /// One statement.
    pub(crate) fn statement(&mut self, s: &'a Stmt, env: &Env<'a>) -> R<()> {
        let place = self.at(env.module, s.span);
        match &s.kind {
            StmtKind::Let { pattern, ty, value, .. } => self.let_statement(pattern, ty.as_ref(), value, env),
            StmtKind::Weight(p, _) => self.stored_statement(p, StoredKind::Weight, env),
            StmtKind::State(p, _) => self.stored_statement(p, StoredKind::State, env),
            StmtKind::Require { cond, why } => self.require_statement(cond, why.as_ref().map(|w| w.text.as_str()), env),
            StmtKind::Become { target, value } => self.becomes(target, value, env, place),
            StmtKind::Iterate(it) => self.iterate(it, env, place),
            StmtKind::If { cond, then, otherwise } => {
                if self.condition(cond, env)? {
                    self.statements(then, env)
                } else {
                    self.statements(otherwise, env)
                }
            }
            StmtKind::Expr(e) => self.eval(e, env).map(|_| ()),
            StmtKind::Param(..)
            | StmtKind::Slot { .. }
            | StmtKind::Input { .. }
            | StmtKind::Stage { .. }
            | StmtKind::Score { .. } => {
                self.err(Diagnostic::new("E0410", "this stands in a detector only", place, "not here"));
                Err(Bad)
            }
        }
    }

    pub(super) fn let_statement(
        &mut self,
        pattern: &'a Pattern,
        ty: Option<&'a Type>,
        value: &'a Expr,
        env: &Env<'a>,
    ) -> R<()> {
        let place = self.at(env.module, value.span);
        if let Pattern::Name(n) = pattern
            && env.kind == Kind::Detector
        {
            let path = env.owner.as_ref().map_or(n.text.clone(), |o| o.join(&n.text));
            if let Some(v) = self.fed(&path, ty, env, place)? {
                env.set(&n.text, v);
                return Ok(());
            }
        }
        let r = self.eval(value, env).and_then(|v| {
            if let Pattern::Name(n) = pattern {
                self.name_value(&v, &n.text, self.at(env.module, n.span))?;
            }
            match ty {
                Some(ty) => self.fit(v, ty, env, place, Use::Let),
                None => Ok(v),
            }
        });
        match r {
            Ok(v) => {
                let r = self.bind_pattern(pattern, v, env, place);
                self.trace(pattern, env);
                r
            }
            Err(Bad) => {
                self.poison_pattern(pattern, env);
                if let Some(ty) = ty {
                    self.poison_dims(ty, env);
                }
                Err(Bad)
            }
        }
    }

    /// The dims that a failed annotation would have bound are known to no one: reading them is silent.
    pub(super) fn poison_dims(&mut self, ty: &'a Type, env: &Env<'a>) {
        if let TypeKind::Tensor(_, dims) = &ty.kind {
            for d in dims {
                if let uad_grammar::ast::DimItem::Expr(Expr { kind: ExprKind::Name(n), .. }) = d
                    && env.dim(n).is_none()
                    && env.slot(n).is_none()
                {
                    env.set(n, Value::Poison);
                }
            }
        }
    }

    /// Keeps named values for traces.
    pub(super) fn trace(&mut self, pattern: &'a Pattern, env: &Env<'a>) {
        // Where no entry is kept, nobody traces it.
        if env.kind == Kind::Fn || self.cur != 0 || self.choice.depth == Depth::Findings {
            return;
        }
        match pattern {
            Pattern::Name(n) => {
                if let Some(Slot::Known(v)) = env.slot(&n.text) {
                    let path = env.owner.as_ref().map_or(n.text.clone(), |o| o.join(&n.text));
                    let mut left = MOST_TRACED;
                    self.trace_value(&path, &v, &mut left);
                }
            }
            Pattern::Record(parts, _) => parts.iter().for_each(|p| self.trace(p, env)),
        }
    }

    /// `left`: how many values of one `let` are still looked at.
    pub(super) fn trace_value(&mut self, path: &str, v: &Value<'a>, left: &mut usize) {
        let Some(fewer) = left.checked_sub(1) else { return };
        *left = fewer;
        match v {
            Value::Tensor(t) if t.graph == self.levels[0].id && self.traced.insert(path.to_string()) => {
                let node = t.node;
                self.levels[0].graph.named.push((path.to_string(), node));
            }
            Value::List(l) if l.len() <= 64 => {
                for (n, v) in l.iter().enumerate() {
                    self.trace_value(&format!("{path}.{n}"), v, left);
                }
            }
            Value::Record(l) => {
                for (n, (name, v)) in l.iter().enumerate() {
                    match name {
                        Some(name) => self.trace_value(&format!("{path}.{name}"), v, left),
                        None => self.trace_value(&format!("{path}.{n}"), v, left),
                    }
                }
            }
            _ => {}
        }
    }

    /// A `let` that holds an instance without a name gives it its name.
    pub(crate) fn name_value(&mut self, v: &Value<'a>, name: &str, place: Place) -> R<()> {
        match v {
            Value::Func(f) => self.give_name(f, name, false, place),
            Value::List(l) => {
                let mut r = Ok(());
                for (n, v) in l.iter().enumerate() {
                    if matches!(v, Value::Func(_)) {
                        r = self.name_value(v, &format!("{name}.{n}"), place).and(r);
                    }
                }
                r
            }
            _ => Ok(()),
        }
    }

    /// Gives an instance a path, unless it has one.
    pub(crate) fn give_name(&mut self, f: &Func<'a>, name: &str, with_turn: bool, place: Place) -> R<()> {
        match f {
            Func::Instance(i) => {
                if i.named.borrow().is_some() {
                    return Ok(());
                }
                let foreign = super::call::attribute(i.decl, "weights").map(str::to_string);
                let owner = self.own(i.home.as_ref(), name, &i.turn, with_turn, i.site, foreign, place)?;
                *i.named.borrow_mut() = Some(owner);
                Ok(())
            }
            Func::Part(p) => {
                if p.open.borrow().is_some() {
                    return Ok(());
                }
                let owner = self.own(p.home.as_ref(), name, &p.turn, with_turn, p.site, None, place)?;
                self.open_part(p, owner)
            }
            Func::Repeat(fs) => {
                let mut r = Ok(());
                for (n, f) in fs.iter().enumerate() {
                    r = self.give_name(f, &format!("{name}.{n}"), with_turn, place).and(r);
                }
                r
            }
            Func::Each(f) | Func::Frozen(f) => self.give_name(f, name, with_turn, place),
            Func::Partial(p) => self.give_name(&p.0, name, with_turn, place),
            Func::Typed(t) => self.give_name(&t.0, name, with_turn, place),
            Func::Builtin(_) | Func::Fn(_) | Func::Block(..) | Func::Lambda(_) | Func::Detector => Ok(()),
        }
    }

    pub(super) fn own(
        &mut self,
        home: Option<&Rc<Owner<'a>>>,
        name: &str,
        turn: &[usize],
        with_turn: bool,
        site: Place,
        foreign: Option<String>,
        place: Place,
    ) -> R<Rc<Owner<'a>>> {
        let Some(home) = home else {
            self.err(
                Diagnostic::new("E0302", format!("a function cannot own `{name}`"), site, "makes an instance")
                    .help("make the function a `block`, or take the instance as an argument"),
            );
            return Err(Bad);
        };
        let mut full = name.to_string();
        if with_turn {
            for t in turn {
                full.push('.');
                full.push_str(&t.to_string());
            }
        }
        if let Some(child) = home.children.borrow().get(&full) {
            if child.site == site && child.turn == turn {
                return Ok(child.owner.clone());
            }
            let other = child.site;
            let text = format!("two instances are named `{}`", home.join(&full));
            let d = Diagnostic::new("E0301", text, place, "the second")
                .label(other, "the first")
                .help(format!("name one of them: `… as {name}2`; or name the first with `let` and use it twice"));
            self.err(d);
            return Err(Bad);
        }
        if home.path.is_empty() {
            self.made.push(full.clone());
        }
        let path = home.join(&full);
        let foreign = home.foreign.clone().or_else(|| foreign.map(|f| (f, path.clone())));
        let owner = Owner::at(path, foreign, home.site.or(Some(site)));
        let child = Child { site, turn: turn.to_vec(), owner: owner.clone() };
        home.children.borrow_mut().insert(full, child);
        Ok(owner)
    }

    pub(super) fn stored_statement(&mut self, p: &'a Param, kind: StoredKind, env: &Env<'a>) -> R<()> {
        let r = self.fed_state(p, kind, env).and_then(|fed| match fed {
            Some(v) => Ok(v),
            None => self.stored_value(p, kind, env),
        });
        match r {
            Ok(v) => {
                env.set(&p.name.text, v);
                Ok(())
            }
            Err(Bad) => {
                env.set(&p.name.text, Value::Poison);
                Err(Bad)
            }
        }
    }

    /// A state of a detector whose value is given instead of kept.
    fn fed_state(&mut self, p: &'a Param, kind: StoredKind, env: &Env<'a>) -> R<Option<Value<'a>>> {
        if kind != StoredKind::State || env.kind != Kind::Detector {
            return Ok(None);
        }
        let path = env.owner.as_ref().map_or(p.name.text.clone(), |o| o.join(&p.name.text));
        let v = self.fed(&path, p.ty.as_ref(), env, self.at(env.module, p.name.span))?;
        if v.is_some() {
            env.states.borrow_mut().push((&p.name.text, path));
        }
        Ok(v)
    }

    pub(super) fn stored_value(&mut self, p: &'a Param, kind: StoredKind, env: &Env<'a>) -> R<Value<'a>> {
        let place = self.at(env.module, p.name.span);
        let Some(owner) = env.owner.clone().filter(|_| env.kind != Kind::Fn) else {
            self.err(
                Diagnostic::new("E0302", format!("a function cannot own `{}`", p.name.text), place, "declared here")
                    .help("make the function a `block`"),
            );
            return Err(Bad);
        };
        let path = owner.join(&p.name.text);
        let Some(ty) = &p.ty else {
            self.err(Diagnostic::new("E0211", "a stored tensor needs a type", place, "no type"));
            return Err(Bad);
        };
        if kind == StoredKind::State {
            env.states.borrow_mut().push((&p.name.text, path.clone()));
            if let Some(v) = owner.changed.borrow().iter().find(|c| c.0 == p.name.text) {
                return Ok(v.1.clone());
            }
        }
        let at = self.at(env.module, ty.span);
        if kind == StoredKind::State && p.default.is_none() && super::states::by_rule(ty) {
            return self.state_by_rule(p, ty, &owner, env, place);
        }
        let open = kind == StoredKind::State && p.default.is_none() && env.kind == Kind::Detector;
        let (t, unit, labels) = if open {
            self.open_type(ty, &p.name.text, &owner, env)?
        } else {
            self.declared_type(ty, env, env.module, false)?
        };
        if let Some(d) = t.shape.iter().find(|d| d.as_int().is_none() && !(open && d.as_name().is_some())) {
            let d = d.to_string();
            self.err(
                Diagnostic::new("E0211", format!("`{path}` needs a known shape"), at, format!("is {t}"))
                    .help(format!("`{d}` is known only when a program is bound; give it a value by a `param`")),
            );
            return Err(Bad);
        }
        self.stored_leaf(&path, kind, t, unit, labels, p, &owner, env)
    }

    /// A weight or state of a known type as a value of this entry.
    pub(super) fn stored_leaf(
        &mut self,
        path: &str,
        kind: StoredKind,
        t: TensorType,
        unit: Option<&'a str>,
        labels: Labels<'a>,
        p: &'a Param,
        owner: &Owner<'a>,
        env: &Env<'a>,
    ) -> R<Value<'a>> {
        let place = self.at(env.module, p.name.span);
        let at = p.ty.as_ref().map_or(place, |t| self.at(env.module, t.span));
        match Dim::product(&t.shape) {
            Ok(n) if n.as_int().is_none_or(|n| n <= MOST_ELEMENTS) => {}
            _ => {
                self.err(Diagnostic::new("E0215", format!("`{path}` is too large"), at, format!("is {t}")));
                return Err(Bad);
            }
        }
        self.register(path, kind, &t, p, owner, env, place)?;
        self.own |= self.frozen == 0;
        if self.frozen == 0 && kind == StoredKind::Weight {
            self.thawed.insert(path.to_string());
        }
        let op = if kind == StoredKind::Weight { Op::Weight(path.to_string()) } else { Op::State(path.to_string()) };
        let mut leaf = self.leaf(op, path, t, place)?;
        leaf.unit = unit;
        leaf.labels = Some(labels.as_slice().into());
        Ok(Value::Tensor(leaf))
    }

    /// Enters a stored tensor into the model, with what it starts from; or compares with what it was.
    pub(super) fn register(
        &mut self,
        path: &str,
        kind: StoredKind,
        t: &TensorType,
        p: &'a Param,
        owner: &Owner<'a>,
        env: &Env<'a>,
        place: Place,
    ) -> R<()> {
        let frozen = self.frozen > 0;
        if let Some(n) = self.stored_at.get(path) {
            let old = &mut self.stored[*n];
            old.frozen &= frozen;
            if old.ty != *t {
                let (was, first) = (old.ty.clone(), old.place);
                self.err(
                    Diagnostic::new("E0203", "dimensions differ", place, format!("`{path}` is {t} in this use"))
                        .label(first, format!("and {was} in another"))
                        .help("an instance that is used twice has one set of weights: give both uses equal widths"),
                );
                return Err(Bad);
            }
            return Ok(());
        }
        self.stored_at.insert(path.to_string(), self.stored.len());
        self.stored.push(StoredInfo {
            path: path.to_string(),
            kind,
            ty: t.clone(),
            place,
            site: owner.site.unwrap_or(place),
            frozen,
            initialised: p.default.is_some(),
            stage: None,
            names: owner
                .foreign
                .as_ref()
                .map(|(name, prefix)| ForeignNames { name: name.clone(), prefix: prefix.clone() }),
        });
        let Some(init) = &p.default else { return Ok(()) };
        let kind = self.first_value(init, t, env);
        if kind.as_ref().is_some_and(|k| self.alike.contains(k)) {
            return Ok(());
        }
        // The init entry has a graph of its own: while it is on, the entry's levels are kept in its place.
        std::mem::swap(&mut self.levels, &mut self.init);
        let cur = std::mem::replace(&mut self.cur, 0);
        let scope = self.enter(path, place, false, None);
        let r = self.initial(path, init, t, env);
        self.leave(scope);
        std::mem::swap(&mut self.levels, &mut self.init);
        self.cur = cur;
        let node = r?;
        self.init[0].graph.writes.push((path.to_string(), node.node));
        self.alike.extend(kind);
        Ok(())
    }

    pub(super) fn initial(&mut self, path: &str, init: &'a Expr, t: &TensorType, env: &Env<'a>) -> R<Tensor<'a>> {
        let place = self.at(env.module, init.span);
        let old = self.site.replace(path.to_string());
        let r = self.initial_value(init, t, env, place);
        self.site = old;
        let v = r?;
        let x = match &v {
            Value::Tensor(x) => x.clone(),
            v => self.lift(v, t.dtype, place)?,
        };
        let ty = self.ty(&x);
        if ty.dtype != t.dtype {
            self.err(Diagnostic::new("E0202", format!("expected {t}, found {ty}"), place, format!("is {ty}")));
            return Err(Bad);
        }
        if ty.shape.len() > t.shape.len() || self.broadcast_shape(&ty.shape, &t.shape).as_deref() != Some(&t.shape[..])
        {
            self.err(Diagnostic::new("E0203", "dimensions differ", place, format!("is {ty}, and {t} is declared")));
            return Err(Bad);
        }
        self.spread(&x, &t.shape, place)
    }

    pub(super) fn initial_value(
        &mut self,
        init: &'a Expr,
        t: &TensorType,
        env: &Env<'a>,
        place: Place,
    ) -> R<Value<'a>> {
        let v = match &init.kind {
            ExprKind::Name(n) if super::prelude::initialiser(n).is_some() && env.slot(n).is_none() => {
                Value::Func(Func::Builtin(super::prelude::initialiser(n).unwrap_or("init.zeros")))
            }
            ExprKind::Call(f, args) => match &f.kind {
                ExprKind::Name(n)
                    if super::prelude::initialiser(n).is_some() && self.item_value(n, env.module).is_none() =>
                {
                    let args = self.arguments(args, env)?;
                    let f = Func::Builtin(super::prelude::initialiser(n).unwrap_or("init.zeros"));
                    Value::Func(Func::Partial(Rc::new((f, args))))
                }
                // `random.uniform(0, 1)` without a shape takes the declared one.
                ExprKind::Dot(base, field) if matches!(&base.kind, ExprKind::Name(n) if n == "random") => {
                    let args = self.arguments(args, env)?;
                    let name = format!("random.{}", field.text);
                    return match super::prelude::value(&name) {
                        Some(Value::Func(Func::Builtin(n))) => self.shaped(n, t.shape.clone(), None, args, place),
                        _ => self.eval(init, env),
                    };
                }
                _ => self.eval(init, env)?,
            },
            _ => self.eval(init, env)?,
        };
        let Value::Func(f) = v else { return Ok(v) };
        if !is_initialiser(&f) {
            self.err(
                Diagnostic::new("E0201", "this gives no first value", place, "is not an initialiser")
                    .help("an initialiser is a function whose first parameter is `shape`"),
            );
            return Err(Bad);
        }
        let shape = Value::List(Rc::new(t.shape.iter().map(|d| Value::Int(d.clone())).collect()));
        self.apply(&f, vec![Arg { name: None, value: shape, place }], place)
    }

    pub(super) fn require_statement(&mut self, cond: &'a Expr, why: Option<&str>, env: &Env<'a>) -> R<()> {
        let place = self.at(env.module, cond.span);
        match &cond.kind {
            ExprKind::Binary(BinaryOp::And, a, b) => {
                let r = self.require_statement(a, why, env);
                self.require_statement(b, why, env).and(r)
            }
            ExprKind::Binary(
                op @ (BinaryOp::Eq | BinaryOp::Ne | BinaryOp::Lt | BinaryOp::Le | BinaryOp::Gt | BinaryOp::Ge),
                a,
                b,
            ) => {
                let (x, y) = (self.eval(a, env), self.eval(b, env));
                let (x, y) = (x?, y?);
                match self.fold(*op, &x, &y, place)? {
                    Some(Value::Bool(true)) => Ok(()),
                    Some(Value::Bool(false)) => {
                        let shows = |v: &Value<'a>| match v {
                            Value::Int(d) => d.to_string(),
                            Value::Float(f) => f.to_string(),
                            v => v.kind().to_string(),
                        };
                        let side = |ev: &Ev<'a>, e: &'a Expr, v: &Value<'a>| match &e.kind {
                            ExprKind::Int(_) | ExprKind::Float(..) => None,
                            _ => Some(format!("`{}` is {}", ev.text(ev.at(env.module, e.span)), shows(v))),
                        };
                        let mut is: Vec<String> = side(self, a, &x).into_iter().chain(side(self, b, &y)).collect();
                        for e in [a, b] {
                            self.parts_of(e, env, &mut is);
                        }
                        self.requirement_fails(why, place, is.join(", "))
                    }
                    _ => {
                        let (pa, pb) = (self.at(env.module, a.span), self.at(env.module, b.span));
                        let (x, y) = (self.whole(&x, pa, "a requirement")?, self.whole(&y, pb, "a requirement")?);
                        if *op == BinaryOp::Eq && x.differs(&y) {
                            return self.requirement_fails(why, place, format!("{x} is never {y}"));
                        }
                        let (l, relation, r) = match op {
                            BinaryOp::Eq => (x, Relation::Eq, y),
                            BinaryOp::Ne => (x, Relation::Ne, y),
                            BinaryOp::Lt => (x, Relation::Lt, y),
                            BinaryOp::Le => (x, Relation::Le, y),
                            BinaryOp::Gt => (y, Relation::Lt, x),
                            _ => (y, Relation::Le, x),
                        };
                        let text = why.map_or_else(|| self.text(place).to_string(), str::to_string);
                        self.require(&l, relation, &r, &text, place);
                        Ok(())
                    }
                }
            }
            _ => {
                if self.condition(cond, env)? {
                    Ok(())
                } else {
                    self.requirement_fails(why, place, "is false".into())
                }
            }
        }
    }

    pub(super) fn requirement_fails(&mut self, why: Option<&str>, place: Place, is: String) -> R<()> {
        let text = why.map_or_else(|| format!("`{}` does not hold", self.text(place)), str::to_string);
        let code = if why.is_some_and(|w| w.contains("leaves no key")) { "E0408" } else { "E0212" };
        self.err(Diagnostic::new(code, text, place, is));
        Err(Bad)
    }
}
