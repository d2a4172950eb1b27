//! Calls: functions, blocks, local functions, pipes, `repeat`, `frozen`.
//!
//! In: a callee and arguments. Out: the result. Invariants: every call has a frame and a scope of its own; arguments
//! bind left to right; a block's hyper-parameters are bound before its inputs. Imports: values, types.

use std::rc::Rc;
use std::sync::Arc;

use smallvec::SmallVec;
use uad_grammar::ast::{Arg as ArgAst, Expr, ExprKind, Function, Name, Param, Type, TypeKind};

use crate::diag::nearest::did_you_mean;
use crate::diag::{Diagnostic, Place};

use super::Ev;
use super::types::Use;
use super::value::{Arg, Bad, Env, FnValue, Frame, Func, Instance, Kind, R, Value};

/// Most instances of one `repeat`.
const MOST_REPEATS: i64 = 10_000;
/// Deepest nesting of calls.
const DEEPEST_CALL: usize = 160;

/// The text of an attribute of a function.
pub(crate) fn attribute<'a>(f: &'a Function, name: &str) -> Option<&'a str> {
    f.attributes.iter().find(|a| a.name.text == name).map(|a| a.text.as_ref().map_or("", |t| t.text.as_str()))
}

/// Does a function make what a weight starts from: is its first parameter named `shape`?
pub(crate) fn is_initialiser(f: &Func) -> bool {
    match f {
        Func::Fn(f) => {
            let first = if f.decl.hyper.is_some() && f.hyper.is_none() {
                f.decl.hyper.as_ref().and_then(|h| h.first())
            } else {
                f.decl.args.first()
            };
            first.is_some_and(|p| p.name.text == "shape")
        }
        Func::Builtin(n) => n.starts_with("init.") || *n == "zeros" || *n == "ones",
        Func::Partial(p) => is_initialiser(&p.0),
        Func::Typed(t) => is_initialiser(&t.0),
        _ => false,
    }
}

impl<'a> Ev<'a> {
    /// `callee(args)`, perhaps with a piped first argument, a name from `as`, or `frozen`.
    pub(crate) fn call_expr(
        &mut self,
        callee: &'a Expr,
        args: &'a [ArgAst],
        piped: Option<(Value<'a>, Place)>,
        name: Option<&'a Name>,
        env: &Env<'a>,
        place: Place,
    ) -> R<Value<'a>> {
        if let Some(v) = self.special_call(callee, args, piped.as_ref(), env, place)? {
            return Ok(v);
        }
        let f = self.eval(callee, env);
        let args = self.arguments(args, env);
        let at = self.at(env.module, callee.span);
        let (f, args) = (self.callable(f?, at)?, args?);
        self.call_with(f, args, piped, name, env, place)
    }

    /// A call whose callee and arguments are values.
    fn call_with(
        &mut self,
        f: Func<'a>,
        args: Vec<Arg<'a>>,
        piped: Option<(Value<'a>, Place)>,
        name: Option<&'a Name>,
        env: &Env<'a>,
        place: Place,
    ) -> R<Value<'a>> {
        let (f, frozen) = match f {
            Func::Frozen(f) => ((*f).clone(), true),
            f => (f, false),
        };
        let f = self.settle(f, env, place)?;
        let wrap = |f: Func<'a>| if frozen { Func::Frozen(Rc::new(f)) } else { f };
        let made = match f {
            // A block without parameters takes its inputs at once: `dino_s8(x)`.
            Func::Block(decl, module) if decl.hyper.as_ref().is_none_or(Vec::is_empty) && !args.is_empty() => {
                let f = self.instance(decl, module, Vec::new(), env, place)?;
                if let Some(n) = name {
                    self.give_name(&f, &n.text, true, self.at(env.module, n.span))?;
                }
                return self.apply(&wrap(f), in_front(piped, args), place);
            }
            Func::Block(decl, module) => Some(self.instance(decl, module, args, env, place)?),
            Func::Fn(v) if v.decl.hyper.is_some() && v.hyper.is_none() => {
                if is_initialiser(&Func::Fn(v.clone())) && !given(&args, "shape") {
                    Some(Func::Partial(Rc::new((Func::Fn(v), args))))
                } else {
                    let hyper = self.hyper_frame(v.decl, v.module, args, Kind::Fn, place)?;
                    Some(Func::Fn(Rc::new(FnValue { decl: v.decl, module: v.module, hyper: Some(hyper) })))
                }
            }
            f => {
                if let Some(n) = name {
                    self.give_name(&f, &n.text, true, self.at(env.module, n.span))?;
                }
                return self.apply(&wrap(f), in_front(piped, args), place);
            }
        };
        let Some(f) = made else { return Err(Bad) };
        if let Some(n) = name {
            self.give_name(&f, &n.text, true, self.at(env.module, n.span))?;
        }
        match piped {
            Some((v, p)) => self.apply(&wrap(f), vec![Arg { name: None, value: v, place: p }], place),
            None => Ok(Value::Func(wrap(f))),
        }
    }

    /// A block behind a signature, in use: an instance with its defaults, owned by the body that uses it.
    fn settle(&mut self, f: Func<'a>, env: &Env<'a>, place: Place) -> R<Func<'a>> {
        let Func::Typed(t) = &f else { return Ok(f) };
        let Func::Block(decl, module) = &t.0 else { return Ok(f) };
        let inner = self.instance(decl, *module, Vec::new(), env, place)?;
        Ok(Func::Typed(Rc::new((inner, t.1, t.2.clone()))))
    }

    /// `value |> into`.
    pub(crate) fn pipe(
        &mut self,
        v: Value<'a>,
        at: Place,
        into: &'a Expr,
        name: Option<&'a Name>,
        env: &Env<'a>,
    ) -> R<Value<'a>> {
        let place = self.at(env.module, into.span);
        match &into.kind {
            ExprKind::As(inner, n) => self.pipe(v, at, inner, Some(n), env),
            ExprKind::Call(callee, args) => self.call_expr(callee, args, Some((v, at)), name, env, place),
            ExprKind::Repeat(n, inner) => self.repeat_expr(n, inner, Some((v, at)), name, env, place),
            ExprKind::Frozen(inner) => {
                let f = self.frozen_expr(inner, name, env)?;
                let f = self.callable(f, place)?;
                self.apply(&f, vec![Arg { name: None, value: v, place: at }], place)
            }
            ExprKind::Index(base, items) if !matches!(base.kind, ExprKind::Name(_)) => {
                // `x |> f(h)[0]`: the index is of the result.
                let r = self.pipe(v, at, base, name, env)?;
                self.index_value(&r, items, env, self.at(env.module, base.span), place)
            }
            ExprKind::View(base, left, right) => {
                let r = self.pipe(v, at, base, name, env)?;
                let b = self.at(env.module, base.span);
                self.view(&r, left, right, env, b, place)
            }
            _ => {
                let f = self.eval(into, env)?;
                let f = self.callable(f, place)?;
                let f = self.settle(f, env, place)?;
                let f = match f {
                    Func::Block(..) => {
                        return self.call_with(f, Vec::new(), Some((v, at)), name, env, place);
                    }
                    Func::Fn(ref d) if d.decl.hyper.is_some() && d.hyper.is_none() => {
                        return self.call_with(f, Vec::new(), Some((v, at)), name, env, place);
                    }
                    f => f,
                };
                if let Some(n) = name {
                    self.give_name(&f, &n.text, true, self.at(env.module, n.span))?;
                }
                self.apply(&f, vec![Arg { name: None, value: v, place: at }], place)
            }
        }
    }

    /// `e as name`.
    pub(crate) fn named(&mut self, inner: &'a Expr, name: &'a Name, env: &Env<'a>, place: Place) -> R<Value<'a>> {
        match &inner.kind {
            ExprKind::Call(callee, args) => self.call_expr(callee, args, None, Some(name), env, place),
            ExprKind::Repeat(n, body) => self.repeat_expr(n, body, None, Some(name), env, place),
            ExprKind::Frozen(body) => self.frozen_expr(body, Some(name), env),
            _ => {
                let v = self.eval(inner, env)?;
                let at = self.at(env.module, name.span);
                match v {
                    Value::Func(f @ Func::Block(..)) => self.call_with(f, Vec::new(), None, Some(name), env, place),
                    Value::Func(Func::Part(p)) => {
                        let text = self.interpolate(name, env)?;
                        self.give_name(&Func::Part(p.clone()), &text, false, at)?;
                        Ok(Value::Func(Func::Part(p)))
                    }
                    Value::Func(f) => {
                        self.give_name(&f, &name.text, true, at)?;
                        Ok(Value::Func(f))
                    }
                    v => {
                        let is = self.describe(&v);
                        self.err(Diagnostic::new("E0201", "`as` names an instance", place, format!("this is {is}")));
                        Err(Bad)
                    }
                }
            }
        }
    }

    /// `"{level}_{alpha}"` with values from the frame.
    fn interpolate(&mut self, name: &'a Name, env: &Env<'a>) -> R<String> {
        let (mut out, mut rest) = (String::new(), name.text.as_str());
        while let Some(n) = rest.find('{') {
            out.push_str(&rest[..n]);
            let Some(end) = rest[n..].find('}') else { break };
            let key = &rest[n + 1..n + end];
            let v = self.name(key, env, self.at(env.module, name.span))?;
            match &v {
                Value::Int(d) => out.push_str(&d.to_string()),
                Value::Float(x) => out.push_str(&x.to_string()),
                Value::Text(t) => out.push_str(t),
                v => out.push_str(v.kind()),
            }
            rest = &rest[n + end + 1..];
        }
        out.push_str(rest);
        // A path's segments are joined by dots: none inside a segment.
        Ok(out.replace('.', "_"))
    }

    /// `repeat(n) f(h)`.
    pub(crate) fn repeat_expr(
        &mut self,
        count: &'a Expr,
        inner: &'a Expr,
        piped: Option<(Value<'a>, Place)>,
        name: Option<&'a Name>,
        env: &Env<'a>,
        place: Place,
    ) -> R<Value<'a>> {
        let at = self.at(env.module, count.span);
        let n = self.eval(count, env)?;
        let n = self.closed(&n, at, "how often to repeat")?;
        if !(0..=MOST_REPEATS).contains(&n) {
            self.err(Diagnostic::new(
                "E0215",
                format!("`repeat({n})`"),
                at,
                format!("0 to {MOST_REPEATS} is possible"),
            ));
            return Err(Bad);
        }
        if let ExprKind::As(body, inner_name) = &inner.kind {
            return self.repeat_expr(count, body, piped, Some(inner_name), env, place);
        }
        let (f, args) = match &inner.kind {
            ExprKind::Call(callee, args) => {
                let f = self.eval(callee, env);
                let args = self.arguments(args, env);
                let at = self.at(env.module, callee.span);
                (self.callable(f?, at)?, Some(args?))
            }
            _ => {
                let f = self.eval(inner, env)?;
                (self.callable(f, self.at(env.module, inner.span))?, None)
            }
        };
        let (f, args) = match f {
            Func::Block(decl, module) => {
                let f = self.instance(decl, module, args.unwrap_or_default(), env, place)?;
                (f, None)
            }
            Func::Fn(v) if v.decl.hyper.is_some() && v.hyper.is_none() => {
                let hyper = self.hyper_frame(v.decl, v.module, args.unwrap_or_default(), Kind::Fn, place)?;
                (Func::Fn(Rc::new(FnValue { decl: v.decl, module: v.module, hyper: Some(hyper) })), None)
            }
            f => (f, args),
        };
        let copies: Vec<Func<'a>> = (0..n).map(|_| copy(&f)).collect();
        let f = Func::Repeat(Rc::new(copies));
        if let Some(n) = name {
            self.give_name(&f, &n.text, true, self.at(env.module, n.span))?;
        }
        let mut all = Vec::new();
        if let Some((v, p)) = piped {
            all.push(Arg { name: None, value: v, place: p });
        }
        if all.is_empty() && args.is_none() {
            return Ok(Value::Func(f));
        }
        all.extend(args.unwrap_or_default());
        self.apply(&f, all, place)
    }

    /// `frozen e`.
    pub(crate) fn frozen_expr(&mut self, inner: &'a Expr, name: Option<&'a Name>, env: &Env<'a>) -> R<Value<'a>> {
        let place = self.at(env.module, inner.span);
        match &inner.kind {
            ExprKind::Call(callee, args) => {
                let f = self.eval(callee, env);
                let args = self.arguments(args, env);
                let at = self.at(env.module, callee.span);
                let (f, args) = (self.callable(f?, at)?, args?);
                self.call_with(Func::Frozen(Rc::new(f)), args, None, name, env, place)
            }
            ExprKind::Index(base, items) => {
                let v = self.frozen_expr(base, name, env)?;
                self.index_value(&v, items, env, self.at(env.module, base.span), place)
            }
            ExprKind::As(inner, n) => self.frozen_expr(inner, Some(n), env),
            ExprKind::Pipe { value, train: false, into } => {
                let v = self.frozen_expr(value, name, env)?;
                let at = self.at(env.module, value.span);
                self.pipe(v, at, into, None, env)
            }
            _ => {
                let v = self.eval(inner, env)?;
                if let (Some(n), Value::Func(f)) = (name, &v) {
                    self.give_name(f, &n.text, true, self.at(env.module, n.span))?;
                }
                Ok(match v {
                    Value::Func(f) => Value::Func(Func::Frozen(Rc::new(f))),
                    v => v,
                })
            }
        }
    }

    /// A block with its hyper-parameters.
    pub(crate) fn instance(
        &mut self,
        decl: &'a Function,
        module: usize,
        args: Vec<Arg<'a>>,
        env: &Env<'a>,
        place: Place,
    ) -> R<Func<'a>> {
        let hyper = self.hyper_frame(decl, module, args, Kind::Block, place)?;
        Ok(Func::Instance(Rc::new(Instance {
            decl,
            module,
            hyper,
            site: place,
            turn: self.turn.clone(),
            home: env.owner.clone(),
            named: Default::default(),
        })))
    }

    /// A frame with a function's parameters of the first parentheses.
    pub(super) fn hyper_frame(
        &mut self,
        decl: &'a Function,
        module: usize,
        args: Vec<Arg<'a>>,
        kind: Kind,
        place: Place,
    ) -> R<Env<'a>> {
        let frame = Frame::new(None, module, kind, None);
        let params = decl.hyper.as_deref().unwrap_or(&[]);
        self.inputs_among_parameters(decl, module, params, &args)?;
        self.bind_args(&decl.name, params, args, &frame, place)?;
        Ok(frame)
    }

    /// Gives parameters their arguments, left to right, then defaults.
    pub(crate) fn bind_args(
        &mut self,
        callee: &Name,
        params: &'a [Param],
        args: Vec<Arg<'a>>,
        frame: &Env<'a>,
        place: Place,
    ) -> R<()> {
        let mut given: SmallVec<[Option<Arg<'a>>; 4]> = params.iter().map(|_| None).collect();
        let mut bad = false;
        let mut next = 0;
        let declared = self.at(frame.module, callee.span);
        for a in args {
            let slot = match a.name {
                Some(n) => match params.iter().position(|p| p.name.text == n.text) {
                    Some(i) => i,
                    None => {
                        let mut at = a.place;
                        if n.span.start < at.span.start {
                            at.span.start = n.span.start;
                        }
                        let mut d = Diagnostic::new(
                            "E0206",
                            format!("`{}` has no parameter `{}`", callee.text, n.text),
                            at,
                            "not a parameter",
                        );
                        d.help = did_you_mean(&n.text, params.iter().map(|p| p.name.text.as_str()));
                        if d.help.is_none() && !params.is_empty() {
                            let all: Vec<String> = params.iter().map(|p| format!("`{}`", p.name.text)).collect();
                            d.help = Some(format!("it has {}", all.join(", ")));
                        }
                        self.err(d.label(declared, "declared here"));
                        bad = true;
                        continue;
                    }
                },
                None => {
                    next += 1;
                    next - 1
                }
            };
            match given.get_mut(slot) {
                None => {
                    if !bad {
                        let n = params.len();
                        let count = if n == 1 { "1 argument".to_string() } else { format!("{n} arguments") };
                        self.err(
                            Diagnostic::new(
                                "E0206",
                                format!("`{}` takes {count}", callee.text),
                                a.place,
                                "one too many",
                            )
                            .label(declared, "declared here"),
                        );
                    }
                    bad = true;
                }
                Some(Some(_)) => {
                    let text = format!("`{}` is given twice", params[slot].name.text);
                    self.err(Diagnostic::new("E0206", text, a.place, "again here"));
                    bad = true;
                }
                Some(free) => *free = Some(a),
            }
        }
        for (p, a) in params.iter().zip(given) {
            let r = match (a, &p.default) {
                (Some(a), _) => self.fit_param(a.value, p, frame, a.place),
                (None, Some(e)) => self.eval(e, frame).and_then(|v| {
                    let at = self.at(frame.module, e.span);
                    self.fit_param(v, p, frame, at)
                }),
                (None, None) => {
                    if !bad {
                        self.err(
                            Diagnostic::new(
                                "E0206",
                                format!("`{}` is missing its argument `{}`", callee.text, p.name.text),
                                place,
                                "in this call",
                            )
                            .label(self.at(frame.module, p.name.span), "declared here"),
                        );
                    }
                    Err(Bad)
                }
            };
            match r {
                Ok(v) => frame.set(&p.name.text, v),
                Err(Bad) => {
                    frame.set(&p.name.text, Value::Poison);
                    bad = true;
                }
            }
        }
        if bad { Err(Bad) } else { Ok(()) }
    }

    fn fit_param(&mut self, v: Value<'a>, p: &'a Param, frame: &Env<'a>, place: Place) -> R<Value<'a>> {
        match &p.ty {
            Some(ty) => self.fit(v, ty, frame, place, Use::Argument),
            None => Ok(v),
        }
    }

    /// Applies something to all its arguments.
    pub(crate) fn apply(&mut self, f: &Func<'a>, args: Vec<Arg<'a>>, place: Place) -> R<Value<'a>> {
        self.calls += 1;
        let r = if self.calls > DEEPEST_CALL { self.endless(place) } else { self.apply_kind(f, args, place) };
        self.calls -= 1;
        r
    }

    fn apply_kind(&mut self, f: &Func<'a>, args: Vec<Arg<'a>>, place: Place) -> R<Value<'a>> {
        match f {
            Func::Builtin(n) => self.builtin(n, args, place),
            Func::Fn(v) => self.apply_fn(v, args, place),
            Func::Block(decl, module) => {
                // Only a block's own name is called without its first parentheses.
                let env = Frame::new(None, *module, Kind::Fn, None);
                let f = self.instance(decl, *module, Vec::new(), &env, place)?;
                self.apply(&f, args, place)
            }
            Func::Instance(i) => self.apply_instance(i, args, place),
            Func::Lambda(l) => {
                let frame = Frame::new(Some(l.env.clone()), l.env.module, Kind::Block, l.env.owner.clone());
                *frame.rest.borrow_mut() = None;
                let turn = std::mem::take(&mut self.turn);
                let name = Name {
                    text: "the local function".into(),
                    span: l.params.first().map_or(place.span, |p| p.name.span),
                };
                let args = spread_record(l.params, args);
                let r = self
                    .bind_args(&name, l.params, args, &frame, place)
                    .and_then(|()| self.run_body(l.body, &frame, place));
                self.turn = turn;
                r
            }
            Func::Repeat(fs) => {
                let mut args = args;
                for f in fs.iter() {
                    if args.is_empty() {
                        self.err(Diagnostic::new("E0206", "nothing to carry through `repeat`", place, "no argument"));
                        return Err(Bad);
                    }
                    let value = self.apply(f, args.clone(), place)?;
                    args[0] = Arg { name: None, value, place };
                }
                match args.into_iter().next() {
                    Some(a) => Ok(a.value),
                    None => Err(Bad),
                }
            }
            Func::Each(f) => self.each(f, args, place),
            Func::Frozen(f) => {
                let (training, frozen) = (self.training, self.frozen);
                self.training = false;
                self.frozen += 1;
                let r = self.apply(f, args, place);
                (self.training, self.frozen) = (training, frozen);
                r
            }
            Func::Partial(p) => {
                let mut all = args;
                all.extend(p.1.iter().cloned());
                self.apply(&p.0, all, place)
            }
            Func::Typed(t) => self.apply_typed(&t.0, t.1, &t.2, args, place),
            Func::Detector | Func::Part(_) => {
                self.err(
                    Diagnostic::new("E0207", "a detector cannot be called", place, "called here")
                        .help("its inputs are shared by name; read a result as `name.map`"),
                );
                Err(Bad)
            }
        }
    }

    fn apply_typed(
        &mut self,
        f: &Func<'a>,
        ty: &'a Type,
        types: &Env<'a>,
        args: Vec<Arg<'a>>,
        place: Place,
    ) -> R<Value<'a>> {
        let TypeKind::Signature(params, result) = &ty.kind else { return self.apply(f, args, place) };
        let frame = Frame::new(None, types.module, Kind::Fn, None);
        let mut fitted = Vec::with_capacity(args.len());
        for (n, a) in args.into_iter().enumerate() {
            match params.get(n) {
                Some((_, t)) if a.name.is_none() && !(n == 0 && matches!(a.value, Value::Record(_))) => {
                    let value = self.fit(a.value, t, &frame, a.place, Use::Argument)?;
                    // The unit was demanded; the part itself may demand it again.
                    fitted.push(Arg { value, ..a });
                }
                _ => fitted.push(a),
            }
        }
        let r = self.apply(f, fitted, place)?;
        self.fit(r, result, &frame, place, Use::Result)
    }

    fn apply_fn(&mut self, f: &Rc<FnValue<'a>>, args: Vec<Arg<'a>>, place: Place) -> R<Value<'a>> {
        let decl = f.decl;
        self.facts.called.insert((f.module, decl.name.span));
        let missing = is_initialiser(&Func::Fn(f.clone())) && !given(&args, "shape");
        if missing {
            return Ok(Value::Func(Func::Partial(Rc::new((Func::Fn(f.clone()), args)))));
        }
        let lacking = decl.args.len() > 1
            && decl.args.first().is_some_and(|p| p.default.is_none())
            && !args.is_empty()
            && args.iter().all(|a| a.name.is_some())
            && args.iter().all(|a| a.name.is_some_and(|n| decl.args[1..].iter().any(|p| p.name.text == n.text)));
        if lacking {
            return Ok(Value::Func(Func::Partial(Rc::new((Func::Fn(f.clone()), args)))));
        }
        let frame = Frame::new(f.hyper.clone(), f.module, Kind::Fn, None);
        let args = spread_record(&decl.args, args);
        self.bind_args(&decl.name, &decl.args, args, &frame, place)?;
        if let Some(step) = attribute(decl, "loader")
            && decl.body.value.is_none()
        {
            return self.loader_step(decl, step, &frame, place);
        }
        let scope = self.enter(&decl.name.text, place, false, attribute(decl, "kernel").map(str::to_string));
        let cur = self.cur;
        let r = self.run_body(&decl.body, &frame, self.at(f.module, decl.name.span));
        debug_assert_eq!(cur, self.cur);
        self.leave(scope);
        let r = r?;
        self.fit_result(r, decl, f.module, &frame)
    }

    fn fit_result(&mut self, v: Value<'a>, decl: &'a Function, module: usize, frame: &Env<'a>) -> R<Value<'a>> {
        let Some(ty) = &decl.result else { return Ok(v) };
        let at = decl.body.value.as_ref().map_or(decl.name.span, |e| e.span);
        self.fit(v, ty, frame, self.at(module, at), Use::Result)
    }

    fn apply_instance(&mut self, i: &Rc<Instance<'a>>, args: Vec<Arg<'a>>, place: Place) -> R<Value<'a>> {
        if i.named.borrow().is_none() {
            self.give_name(&Func::Instance(i.clone()), &i.decl.name.text, true, place)?;
        }
        let Some(owner) = i.named.borrow().clone() else { return Err(Bad) };
        let decl = i.decl;
        let frame = Frame::new(Some(i.hyper.clone()), i.module, Kind::Block, Some(owner.clone()));
        let args = spread_record(&decl.args, args);
        self.bind_args(&decl.name, &decl.args, args, &frame, place)?;
        let home = i.home.as_ref().map_or("", |h| h.path.as_str());
        let label: Arc<str> =
            owner.path.strip_prefix(home).map_or(owner.path.as_str(), |p| p.trim_start_matches('.')).into();
        let at = self.where_is(place);
        self.remember(&label, &at, place, Some(i.site));
        self.facts.called.insert((i.module, decl.name.span));
        let scope = self.enter_at(label, at, true, attribute(decl, "kernel").map(str::to_string));
        let turn = std::mem::take(&mut self.turn);
        let training = self.training;
        self.training = self.trains(&owner.path);
        let r = self.run_body(&decl.body, &frame, self.at(i.module, decl.name.span));
        self.training = training;
        self.turn = turn;
        self.leave(scope);
        let r = r?;
        self.fit_result(r, decl, i.module, &frame)
    }
}

/// Is a parameter given: by name, or by a list in first place (only `shape` is asked for)?
fn given(args: &[Arg], name: &str) -> bool {
    args.iter().any(|a| a.name.is_some_and(|n| n.text == name))
        || args.first().is_some_and(|a| a.name.is_none() && matches!(a.value, Value::List(_)))
}

/// Arguments after what is piped into the call.
fn in_front<'a>(piped: Option<(Value<'a>, Place)>, mut args: Vec<Arg<'a>>) -> Vec<Arg<'a>> {
    if let Some((value, place)) = piped {
        args.insert(0, Arg { name: None, value, place });
    }
    args
}

/// A record in first place fills the first arguments, unless the parameter is a record itself.
fn spread_record<'a>(params: &[Param], args: Vec<Arg<'a>>) -> Vec<Arg<'a>> {
    let Some(Arg { name: None, value: Value::Record(fields), place }) = args.first() else { return args };
    let (fields, place) = (fields.clone(), *place);
    let first = params.first();
    let record = first.is_some_and(|p| matches!(p.ty.as_ref().map(|t| &t.kind), Some(TypeKind::Record(_))));
    let untyped = first.is_some_and(|p| p.ty.is_none());
    if record || params.len() < fields.len() || (untyped && params.len() == args.len()) {
        return args;
    }
    let mut out: Vec<Arg<'a>> = fields.iter().map(|f| Arg { name: None, value: f.1.clone(), place }).collect();
    out.extend(args.into_iter().skip(1));
    out
}

/// Another instance of the same block and hyper-parameters; other functions are themselves.
fn copy<'a>(f: &Func<'a>) -> Func<'a> {
    match f {
        Func::Instance(i) if i.named.borrow().is_none() => Func::Instance(Rc::new(Instance {
            decl: i.decl,
            module: i.module,
            hyper: i.hyper.clone(),
            site: i.site,
            turn: i.turn.clone(),
            home: i.home.clone(),
            named: Default::default(),
        })),
        Func::Frozen(f) => Func::Frozen(Rc::new(copy(f))),
        f => f.clone(),
    }
}
