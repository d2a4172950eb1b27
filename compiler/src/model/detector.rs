//! Detectors: their bodies are evaluated name by name, once per entry.
//!
//! In: a detector with its fields. Out: frames whose names are evaluated when someone reads them, and the outputs of
//! scores. Invariants: a `let` belongs to the entries that reach it; what is forced inside a loop is evaluated outside
//! it. Imports: values, bodies.

use std::cell::Cell;
use std::rc::Rc;

use uad_grammar::ast::{
    DimItem, Expr, ExprKind, Field, ItemKind, Name, Pattern, ScorePart, Stmt, StmtKind, Type, TypeKind,
};

use crate::diag::nearest::did_you_mean;
use crate::diag::{Diagnostic, Place};
use crate::graph::{Op, ScopeId, TensorType};
use crate::hash::FxHashMap;

use super::settings::of_inner_stage;
use super::stage::{pattern_may_reach, seen_from};
use super::types::Use;
use super::value::{Bad, Env, FieldValue, Frame, Func, Kind, Outputs, Owner, Part, R, Slot, Tensor, Thunk, Value};
use super::{EntryKind, Ev};

/// Names that a statement of a detector declares.
pub(crate) fn declared(s: &Stmt) -> Vec<&Name> {
    fn pattern<'s>(p: &'s Pattern, out: &mut Vec<&'s Name>) {
        match p {
            Pattern::Name(n) => out.push(n),
            Pattern::Record(parts, _) => parts.iter().for_each(|p| pattern(p, out)),
        }
    }
    match &s.kind {
        StmtKind::Param(p, _) | StmtKind::Weight(p, _) | StmtKind::State(p, _) => vec![&p.name],
        StmtKind::Slot { name, .. } | StmtKind::Input { name, .. } => vec![name],
        StmtKind::Let { pattern: p, .. } => {
            let mut out = Vec::new();
            pattern(p, &mut out);
            out
        }
        StmtKind::Iterate(it) => it.carried.iter().map(|c| &c.0).collect(),
        _ => Vec::new(),
    }
}

/// Names that statements of one frame declare twice: first and again. The sides of an `if` do not meet.
fn twice<'s>(
    stmts: impl Iterator<Item = &'s Stmt>,
    seen: &mut FxHashMap<&'s str, &'s Name>,
    out: &mut Vec<(&'s Name, &'s Name)>,
) {
    for s in stmts {
        for n in declared(s).into_iter().filter(|n| n.text != "_") {
            match seen.get(n.text.as_str()) {
                Some(first) => out.push((first, n)),
                None => drop(seen.insert(&n.text, n)),
            }
        }
        if let StmtKind::If { then, otherwise, .. } = &s.kind {
            let mut beside = seen.clone();
            twice(then.iter(), seen, out);
            twice(otherwise.iter(), &mut beside, out);
            seen.extend(beside);
        }
    }
}

impl<'a> Ev<'a> {
    /// Reports names that a body declares twice.
    pub(crate) fn declared_once(&mut self, stmts: impl Iterator<Item = &'a Stmt>, module: usize) {
        let mut found = Vec::new();
        twice(stmts, &mut FxHashMap::default(), &mut found);
        for (first, again) in found {
            let text = format!("`{}` is declared twice", again.text);
            let d = Diagnostic::new("E0104", text, self.at(module, again.span), "again here");
            self.err(d.label(self.at(module, first.span), "first here"));
        }
    }

    /// A detector with its fields, before it has a path.
    pub(crate) fn part(
        &mut self,
        module: usize,
        name: &'a str,
        fields: Vec<(&'a str, Place, FieldValue<'a>)>,
        site: Place,
        home: Option<Rc<Owner<'a>>>,
        depth: usize,
    ) -> R<Rc<Part<'a>>> {
        let modules = self.modules;
        let Some((m, n)) = modules[module].values.get(name).copied() else {
            let known = modules[module].ast.items.iter().filter_map(|i| match &i.kind {
                ItemKind::Detector { name, .. } | ItemKind::Variant { name, .. } => Some(name.text.as_str()),
                _ => None,
            });
            let mut d = Diagnostic::new("E0106", format!("there is no detector `{name}`"), site, "unknown");
            d.help = did_you_mean(name, known);
            self.err(d);
            return Err(Bad);
        };
        match &modules[m].ast.items[n].kind {
            ItemKind::Detector { name, body } => {
                self.check_fields(&name.text, body, &fields, home.is_none())?;
                Ok(Rc::new(Part {
                    name: &name.text,
                    module: m,
                    body,
                    fields,
                    open: Default::default(),
                    site,
                    turn: self.turn.clone(),
                    home,
                    outputs: Default::default(),
                    busy: Cell::new(false),
                }))
            }
            ItemKind::Variant { name, base, fields: own } => {
                if depth > 32 {
                    let at = self.at(m, name.span);
                    self.err(Diagnostic::new("E0601", format!("`{}` is a variant of itself", name.text), at, "here"));
                    return Err(Bad);
                }
                let mut all = fields;
                for f in own {
                    let at = self.at(m, f.name.span);
                    match &f.value {
                        Some(e) => all.push((&f.name.text, at, FieldValue::Written(e, m))),
                        None => {
                            self.err(Diagnostic::new(
                                "E0105",
                                format!("`{}` needs a value", f.name.text),
                                at,
                                "no value",
                            ));
                            return Err(Bad);
                        }
                    }
                }
                let at = self.at(m, base.span);
                self.part(m, &base.text, all, at, home, depth + 1)
            }
            _ => {
                self.err(Diagnostic::new("E0106", format!("`{name}` is not a detector"), site, "is not one"));
                Err(Bad)
            }
        }
    }

    fn check_fields(
        &mut self,
        name: &str,
        body: &'a [Stmt],
        fields: &[(&'a str, Place, FieldValue<'a>)],
        outermost: bool,
    ) -> R<()> {
        let mut known: Vec<&str> = Vec::new();
        let mut stages: Vec<String> = Vec::new();
        for s in body {
            match &s.kind {
                StmtKind::Param(p, _) => known.push(&p.name.text),
                StmtKind::Slot { name, .. } => known.push(&name.text),
                StmtKind::Stage { name, .. } => stages.push(name.text.clone()),
                _ => {}
            }
        }
        let mut bad = false;
        for (f, place, _) in fields {
            // What is inside the outermost is known when all of it has been evaluated.
            if known.contains(f) || outermost && of_inner_stage(f) {
                continue;
            }
            if let Some((stage, setting)) = f.rsplit_once('.') {
                if !stages.iter().any(|s| s == stage) {
                    self.no_stage(name, stage, &stages, *place);
                    bad = true;
                } else if self.is_setting(&format!("{stage}."), setting, *place).is_err() {
                    bad = true;
                }
                continue;
            }
            let text = format!("`{name}` has no parameter or slot `{f}`");
            let mut d = Diagnostic::new("E0105", text, *place, "not there");
            d.help = did_you_mean(f, known.iter().copied());
            if d.help.is_none() && !known.is_empty() {
                d.help =
                    Some(format!("it has {}", known.iter().map(|k| format!("`{k}`")).collect::<Vec<_>>().join(", ")));
            }
            self.err(d);
            bad = true;
        }
        if bad { Err(Bad) } else { Ok(()) }
    }

    /// `other { name: value }` as an expression.
    pub(crate) fn variant_expr(
        &mut self,
        base: &'a Expr,
        fields: &'a [Field],
        env: &Env<'a>,
        place: Place,
    ) -> R<Value<'a>> {
        let ExprKind::Name(name) = &base.kind else {
            self.err(Diagnostic::new("E0106", "a variant is of a detector", place, "not a name"));
            return Err(Bad);
        };
        let mut all = Vec::new();
        let mut bad = false;
        for f in fields {
            let at = self.at(env.module, f.name.span);
            let v = match &f.value {
                // A setting of a stage has words of its own (`data: test`).
                Some(e) if f.name.text.contains('.') => {
                    all.push((f.name.text.as_str(), at, FieldValue::Written(e, env.module)));
                    continue;
                }
                Some(e) => self.eval(e, env),
                None => self.name(&f.name.text, env, at),
            };
            match v {
                Ok(v) => all.push((f.name.text.as_str(), at, FieldValue::Known(v))),
                Err(Bad) => bad = true,
            }
        }
        if bad {
            return Err(Bad);
        }
        self.parts += 1;
        if self.parts > 1000 {
            return self.endless(place);
        }
        let part = self.part(env.module, name, all, place, env.owner.clone(), 0)?;
        Ok(Value::Func(Func::Part(part)))
    }

    /// Gives a detector its frame: every name of its body, not yet evaluated.
    pub(crate) fn open_part(&mut self, part: &Rc<Part<'a>>, owner: Rc<Owner<'a>>) -> R<()> {
        let env = Frame::new(None, part.module, Kind::Detector, Some(owner.clone()));
        *env.part.borrow_mut() = Some(part.clone());
        self.frames.push(env.clone());
        *part.open.borrow_mut() = Some((env.clone(), owner.clone()));
        self.own |= !owner.path.is_empty();
        if !owner.path.is_empty() && !self.found.iter().any(|f| f.0 == owner.path) {
            self.found.push((owner.path.clone(), part.clone()));
        }
        self.declared_once(part.body.iter(), part.module);
        self.declare(part.body, &env)
    }

    fn declare(&mut self, body: &'a [Stmt], env: &Env<'a>) -> R<()> {
        for s in body {
            let thunk = Rc::new(Thunk { stmt: s, busy: Cell::new(false), done: Cell::new(false) });
            for n in declared(s) {
                if n.text != "_" && env.slot(&n.text).is_none() {
                    env.vars.borrow_mut().push((&n.text, Slot::Lazy(thunk.clone())));
                }
            }
            match &s.kind {
                StmtKind::Let { ty: Some(ty), .. } | StmtKind::Input { ty, .. } => self.promise(ty, &thunk, env),
                _ => {}
            }
        }
        // A state's type has a dim only where nothing else says it.
        for s in body {
            if let StmtKind::State(p, _) = &s.kind
                && let (Some(ty), None, Some(Slot::Lazy(thunk))) = (&p.ty, &p.default, env.slot(&p.name.text))
            {
                self.promise(ty, &thunk, env);
            }
        }
        for s in body {
            if let StmtKind::If { cond, then, otherwise } = &s.kind {
                let c = self.condition(cond, env)?;
                self.declare(if c { then } else { otherwise }, env)?;
            }
        }
        Ok(())
    }

    fn promise(&mut self, ty: &'a Type, thunk: &Rc<Thunk<'a>>, env: &Env<'a>) {
        match &ty.kind {
            TypeKind::Tensor(_, dims) => {
                for d in dims {
                    if let DimItem::Expr(Expr { kind: ExprKind::Name(n), .. }) = d {
                        env.promised.borrow_mut().push((n, thunk.clone()));
                    }
                }
            }
            TypeKind::List(t) => self.promise(t, thunk, env),
            TypeKind::Record(fields) => fields.iter().for_each(|f| self.promise(&f.1, thunk, env)),
            TypeKind::Name(_) | TypeKind::Signature(..) => {}
        }
    }

    /// Evaluates a statement of a detector, outside of any loop.
    pub(crate) fn force(&mut self, thunk: &Rc<Thunk<'a>>, frame: &Env<'a>) -> R<()> {
        if thunk.done.get() {
            return Ok(());
        }
        if thunk.busy.get() {
            return Err(Bad);
        }
        self.depth += 8;
        if self.depth > 1200 {
            self.depth -= 8;
            let at = self.at(frame.module, thunk.stmt.span);
            return self.endless(at);
        }
        thunk.busy.set(true);
        let initial = self.site.is_some();
        let site = self.site.take();
        if initial {
            std::mem::swap(&mut self.levels, &mut self.init);
        }
        let begun = self.begun(frame);
        let cur = std::mem::replace(&mut self.cur, 0);
        // Loops that it is read in are not around what it makes.
        let above = self.levels.split_off(self.levels.len().min(1));
        let turn = std::mem::take(&mut self.turn);
        let (training, frozen) = (self.training, self.frozen);
        self.frozen = 0;
        let path = frame.owner.as_ref().map_or(String::new(), |o| o.path.clone());
        self.training = self.trains(&path);
        let scope = std::mem::replace(&mut self.top().scope, ScopeId(0));
        if !path.is_empty() {
            let at = self.at(frame.module, thunk.stmt.span);
            self.enter(&path, at, true, None);
        }
        let r = self.forced(thunk.stmt, frame);
        self.top().scope = scope;
        (self.training, self.frozen) = (training, frozen);
        self.turn = turn;
        self.levels.extend(above);
        self.cur = cur;
        self.done(thunk.stmt, frame, begun, r.is_err());
        if initial {
            std::mem::swap(&mut self.levels, &mut self.init);
        }
        self.site = site;
        self.depth -= 8;
        thunk.busy.set(false);
        thunk.done.set(true);
        self.reached.insert(std::ptr::from_ref(thunk.stmt) as usize);
        if r.is_err() {
            for n in declared(thunk.stmt) {
                if !matches!(frame.slot(&n.text), Some(Slot::Known(_))) {
                    frame.set(&n.text, Value::Poison);
                }
            }
        }
        r
    }

    fn forced(&mut self, s: &'a Stmt, frame: &Env<'a>) -> R<()> {
        let part = frame.part.borrow().clone();
        match &s.kind {
            StmtKind::Param(p, _) => {
                let set = part.as_ref().and_then(|x| self.field(x, &p.name.text, frame));
                let (v, at) = match set {
                    Some(r) => r?,
                    None => match &p.default {
                        Some(e) => (self.eval(e, frame)?, self.at(frame.module, e.span)),
                        None => {
                            let at = self.at(frame.module, p.name.span);
                            self.err(Diagnostic::new(
                                "E0206",
                                format!("`{}` needs a value", p.name.text),
                                at,
                                "no value",
                            ));
                            return Err(Bad);
                        }
                    },
                };
                if matches!(v, Value::Tensor(_)) {
                    self.err(Diagnostic::new(
                        "E0210",
                        "a `param` is known while compiling",
                        at,
                        "is computed in a run",
                    ));
                    return Err(Bad);
                }
                let v = match &p.ty {
                    Some(ty) => self.fit(v, ty, frame, at, Use::Argument)?,
                    None => v,
                };
                if frame.owner.as_ref().is_some_and(|o| o.path.is_empty()) {
                    self.param_value(&p.name.text, &v);
                }
                frame.set(&p.name.text, v);
                Ok(())
            }
            StmtKind::Slot { name, ty, value } => {
                let set = part.as_ref().and_then(|x| self.field(x, &name.text, frame));
                let (v, at) = match (set, value) {
                    (Some(r), _) => r?,
                    (None, Some(e)) => (self.eval(e, frame)?, self.at(frame.module, e.span)),
                    (None, None) => {
                        let at = self.at(frame.module, name.span);
                        self.err(
                            Diagnostic::new("E0206", format!("the slot `{}` is empty", name.text), at, "no default")
                                .help(format!("give it a value in a variant: `{{ {}: … }}`", name.text)),
                        );
                        return Err(Bad);
                    }
                };
                let v = match v {
                    // A block's bare name is the block with its defaults.
                    Value::Func(f @ Func::Block(..)) => self.default_instance(f, frame, at)?,
                    v => v,
                };
                self.name_value(&v, &name.text, at)?;
                let v = self.fit(v, ty, frame, at, Use::Argument)?;
                frame.set(&name.text, v);
                Ok(())
            }
            StmtKind::Input { name, ty, from } => {
                let v = self.input(&name.text, name.span, ty, from, frame)?;
                frame.set(&name.text, v);
                Ok(())
            }
            _ => self.statement(s, frame),
        }
    }

    fn default_instance(&mut self, f: Func<'a>, env: &Env<'a>, place: Place) -> R<Value<'a>> {
        let Func::Block(decl, module) = f else { return Ok(Value::Func(f)) };
        Ok(Value::Func(self.instance(decl, module, Vec::new(), env, place)?))
    }

    /// What sets a parameter or slot, if anything does.
    fn field(&mut self, part: &Rc<Part<'a>>, name: &str, frame: &Env<'a>) -> Option<R<(Value<'a>, Place)>> {
        let (_, place, v) = part.fields.iter().find(|f| f.0 == name)?;
        Some(match v {
            FieldValue::Known(v) => Ok((v.clone(), *place)),
            FieldValue::Written(e, module) => {
                let env = Frame::new(None, *module, Kind::Detector, frame.owner.clone());
                let at = self.at(*module, e.span);
                self.eval(e, &env).map(|v| (v, at))
            }
        })
    }

    /// The outputs of a detector's score, in the entry that is being elaborated.
    pub(crate) fn outputs_of(&mut self, part: &Rc<Part<'a>>, place: Place) -> R<Rc<Outputs<'a>>> {
        if let Some(o) = part.outputs.borrow().as_ref() {
            return Ok(o.clone());
        }
        if part.open.borrow().is_none() {
            let name = part.name;
            self.give_name(&Func::Part(part.clone()), name, true, place)?;
        }
        if part.busy.replace(true) {
            self.err(Diagnostic::new(
                "E0601",
                format!("the score of `{}` reads itself", part.name),
                place,
                "leads back",
            ));
            return Err(Bad);
        }
        let r = self.score_of(part, place);
        part.busy.set(false);
        let outputs = Rc::new(r?);
        *part.outputs.borrow_mut() = Some(outputs.clone());
        Ok(outputs)
    }

    fn score_of(&mut self, part: &Rc<Part<'a>>, place: Place) -> R<Outputs<'a>> {
        let Some((env, owner)) = part.open.borrow().clone() else { return Err(Bad) };
        let Some((parts, _)) = part.body.iter().find_map(|s| match &s.kind {
            StmtKind::Score { parts } => Some((parts, s.span)),
            _ => None,
        }) else {
            let at = if owner.path.is_empty() { self.detector_place(part) } else { place };
            self.err(
                Diagnostic::new("E0412", format!("`{}` has no score", part.name), at, "this detector")
                    .help("end it with `score { map = …; sample = … }`"),
            );
            return Err(Bad);
        };
        let cur = std::mem::replace(&mut self.cur, 0);
        let turn = std::mem::take(&mut self.turn);
        let old = std::mem::replace(&mut self.top().scope, ScopeId(0));
        if !owner.path.is_empty() {
            self.enter(&owner.path, place, true, None);
        }
        let training = std::mem::replace(&mut self.training, false);
        let frame = Frame::new(Some(env), part.module, Kind::Entry, Some(owner));
        let mut outputs: Outputs<'a> = Vec::new();
        let stmts = parts.iter().filter_map(|p| if let ScorePart::Stmt(s) = p { Some(s) } else { None });
        self.declared_once(stmts, part.module);
        for p in parts {
            match p {
                ScorePart::Stmt(s) => {
                    let _ = self.statement(s, &frame);
                }
                ScorePart::Output { name, value } => {
                    let at = self.at(part.module, value.span);
                    if outputs.iter().any(|o| o.0 == name.text) {
                        let here = self.at(part.module, name.span);
                        self.err(Diagnostic::new(
                            "E0104",
                            format!("`{}` is given twice", name.text),
                            here,
                            "again here",
                        ));
                        continue;
                    }
                    // A plan's inputs, outputs and stored tensors have their names in common.
                    let kept = |s: &&Stmt| {
                        matches!(s.kind, StmtKind::Weight(..) | StmtKind::State(..) | StmtKind::Input { .. })
                    };
                    let first = part.body.iter().filter(kept).flat_map(declared).find(|n| n.text == name.text);
                    if let Some(first) = first {
                        let (here, first) = (self.at(part.module, name.span), self.at(part.module, first.span));
                        let text = format!("`{}` is declared twice", name.text);
                        let d = Diagnostic::new("E0104", text, here, "an output here");
                        self.err(d.label(first, "first here").help("outputs have names of their own"));
                        continue;
                    }
                    let v = self.eval(value, &frame).unwrap_or(Value::Poison);
                    frame.set(&name.text, v.clone());
                    outputs.push((&name.text, v, at));
                }
            }
        }
        self.training = training;
        self.top().scope = old;
        self.turn = turn;
        self.cur = cur;
        Ok(outputs)
    }

    /// Where a detector's name stands.
    pub(crate) fn detector_place(&self, part: &Part<'a>) -> Place {
        let modules = self.modules;
        let m = &modules[part.module];
        let span = m.ast.items.iter().find_map(|i| match &i.kind {
            ItemKind::Detector { name, .. } if name.text == part.name => Some(name.span),
            _ => None,
        });
        Place { file: m.file, span: span.unwrap_or_default() }
    }

    /// A value that is fed instead of computed.
    pub(crate) fn fed(
        &mut self,
        path: &str,
        ty: Option<&'a Type>,
        env: &Env<'a>,
        place: Place,
    ) -> R<Option<Value<'a>>> {
        let choice = self.choice;
        let Some((dtype, shape)) = choice.feed.get(path) else { return Ok(None) };
        let mut dims: Vec<uad_plan::Dim> = shape.iter().map(|d| uad_plan::Dim::int(*d)).collect();
        if let (Some(first), Some(Type { kind: TypeKind::Tensor(_, items), .. })) = (dims.first_mut(), ty)
            && let Some(DimItem::Expr(Expr { kind: ExprKind::Name(n), .. })) = items.first()
            && n == "b"
        {
            *first = uad_plan::Dim::name("b");
        }
        let t = TensorType::new(*dtype, dims);
        let leaf = self.leaf(Op::Input(path.to_string()), path, t.clone(), place)?;
        let v = match ty {
            Some(ty) => self.fit(Value::Tensor(leaf), ty, env, place, Use::Let)?,
            None => Value::Tensor(leaf),
        };
        self.input_info(path, t, None, "fed".to_string(), Vec::new(), place);
        Ok(Some(v))
    }

    /// Does the running stage train what has this path?
    pub(crate) fn trains(&self, path: &str) -> bool {
        if self.frozen > 0 {
            return false;
        }
        let EntryKind::Stage { home, trains: Some(patterns) } = &self.entry else { return false };
        let path = seen_from(home, path);
        path.is_empty() || path == home || patterns.iter().any(|p| pattern_may_reach(p, path))
    }

    /// `all(x)`: x of every sample of the pass.
    pub(crate) fn all_samples(&mut self, v: &Value<'a>, at: Place, place: Place) -> R<Value<'a>> {
        if matches!(self.entry, EntryKind::Score) {
            self.err(
                Diagnostic::new("E0410", "`all` stands in a stage only", place, "reached from `score`")
                    .help("keep what a score needs of all samples in a `state` that a stage writes"),
            );
            return Err(Bad);
        }
        match v {
            Value::List(l) => {
                let mut out = Vec::new();
                for v in l.iter() {
                    out.push(self.all_samples(v, at, place)?);
                }
                Ok(Value::List(Rc::new(out)))
            }
            Value::Tensor(t) => {
                self.own = true;
                let ty = self.ty(t);
                let n = self.collected.len();
                let name = format!("all.{n}");
                let Some(axis) = ty.shape.iter().position(|d| d.as_name() == Some("b")) else {
                    self.err(Diagnostic::new("E0204", "`all` needs an axis `b`", at, format!("is {ty}")));
                    return Err(Bad);
                };
                let mut shape = ty.shape.to_vec();
                shape[axis] = uad_plan::Dim::name("N");
                let whole = self.leaf(Op::Input(name.clone()), &name, TensorType::new(ty.dtype, shape), place)?;
                self.collected.push((name, t.clone(), place));
                let labels = t
                    .labels
                    .as_ref()
                    .map(|l| l.iter().map(|n| if *n == "b" { "N" } else { *n }).collect::<Vec<_>>().into());
                Ok(Value::Tensor(Tensor { unit: t.unit, labels, ..whole }))
            }
            _ => {
                let is = self.describe(v);
                self.err(Diagnostic::new("E0201", "`all` takes a tensor", at, format!("this is {is}")));
                Err(Bad)
            }
        }
    }
}
