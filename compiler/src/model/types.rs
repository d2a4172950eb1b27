//! Declared types against values: dims are bound and checked, units demanded or given.
//!
//! In: a value, a type as written, the frame of the call. Out: the value as that type. Invariants: a dim is bound at its
//! first bare occurrence and checked at all others; what cannot be decided becomes a `require`. Imports: values.

use std::rc::Rc;

use smallvec::{SmallVec, smallvec};
use uad_grammar::ast::{DimItem, Expr, ExprKind, ItemKind, Span, Type, TypeKind};
use uad_plan::{DType, Dim};

use crate::diag::{Diagnostic, Place};
use crate::graph::TensorType;

use super::Ev;
use super::value::{Bad, Env, Func, Kind, R, Tensor, Value};

/// Names of axes as written, empty where there is none.
pub(crate) type Labels<'a> = SmallVec<[&'a str; 8]>;

/// What a type is put to use for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// An argument: its unit is demanded.
    Argument,
    /// A result: its unit is given.
    Result,
    /// An annotated `let`.
    Let,
}

/// What stands before the brackets of a tensor type.
pub(crate) enum Head<'a> {
    DType(DType),
    Unit(&'a str, DType),
    Alias(usize, &'a Type),
    Word(&'static str),
    Generic,
}

const WORDS: [&str; 9] = ["int", "string", "text", "folder", "corner", "initialiser", "block", "type", "any"];

impl<'a> Ev<'a> {
    /// What a type's name means in a module.
    pub(crate) fn head(&mut self, name: &str, module: usize, place: Place) -> R<Head<'a>> {
        if let Some(d) = DType::from_name(name) {
            return Ok(Head::DType(d));
        }
        let modules = self.modules;
        let found = modules[module].types.get(name).copied().or_else(|| self.implicit(name, |m| &m.types));
        if let Some((m, n)) = found {
            match &modules[m].ast.items[n].kind {
                ItemKind::Unit { name, dtype, .. } => {
                    return Ok(Head::Unit(&name.text, DType::from_name(&dtype.text).unwrap_or(DType::F32)));
                }
                ItemKind::Type { ty, .. } => return Ok(Head::Alias(m, ty)),
                _ => {}
            }
        }
        if let Some(w) = WORDS.iter().find(|w| **w == name) {
            return Ok(Head::Word(w));
        }
        if name.len() == 1 && name.starts_with(|c: char| c.is_ascii_uppercase()) {
            return Ok(Head::Generic);
        }
        let mut known: Vec<&str> = modules[module].types.keys().map(String::as_str).collect();
        known.extend(["f32", "i32", "bool"]);
        known.extend(WORDS);
        known.sort_unstable();
        let mut d = Diagnostic::new("E0107", format!("there is no type `{name}`"), place, "unknown");
        d.help = self.name_help(name, known);
        self.err(d);
        Err(Bad)
    }

    /// Puts a value under a declared type.
    pub(crate) fn fit(&mut self, v: Value<'a>, ty: &'a Type, env: &Env<'a>, place: Place, r#use: Use) -> R<Value<'a>> {
        self.fit_in(v, ty, env, env.module, place, r#use, 0)
    }

    fn fit_in(
        &mut self,
        v: Value<'a>,
        ty: &'a Type,
        env: &Env<'a>,
        module: usize,
        place: Place,
        r#use: Use,
        depth: usize,
    ) -> R<Value<'a>> {
        if matches!(v, Value::Poison) {
            return Err(Bad);
        }
        let declared = Place { file: self.modules[module].file, span: ty.span };
        if depth > 32 {
            self.err(Diagnostic::new("E0601", "this type is defined by itself", declared, "here"));
            return Err(Bad);
        }
        match &ty.kind {
            TypeKind::Name(n) => {
                let head = self.head(&n.text, module, self.at(module, n.span))?;
                match head {
                    Head::Alias(m, t) => self.fit_in(v, t, env, m, place, r#use, depth + 1),
                    Head::Word(w) => self.fit_word(v, w, declared, place),
                    Head::DType(d) => self.fit_tensor(v, Some(d), None, &[], env, module, place, declared, r#use),
                    Head::Unit(u, d) => self.fit_tensor(v, Some(d), Some(u), &[], env, module, place, declared, r#use),
                    Head::Generic => self.fit_tensor(v, None, None, &[], env, module, place, declared, r#use),
                }
            }
            TypeKind::Tensor(n, dims) => {
                let head = self.head(&n.text, module, self.at(module, n.span))?;
                let (d, u) = match head {
                    Head::DType(d) => (Some(d), None),
                    Head::Unit(u, d) => (Some(d), Some(u)),
                    Head::Generic => (None, None),
                    Head::Alias(..) | Head::Word(_) => {
                        self.err(Diagnostic::new(
                            "E0107",
                            format!("`{}` takes no dimensions", n.text),
                            declared,
                            "not an element type",
                        ));
                        return Err(Bad);
                    }
                };
                self.fit_tensor(v, d, u, dims, env, module, place, declared, r#use)
            }
            TypeKind::List(inner) => {
                let items = match &v {
                    Value::List(l) => l.clone(),
                    Value::Range(..) => Rc::new(self.items(&v, place)?),
                    _ => return self.kind_error("a list", &v, place, declared),
                };
                let mut out = Vec::with_capacity(items.len());
                let mut bad = false;
                let rest = env.rest.borrow().clone();
                for i in items.iter() {
                    // Each element has its own `...`, unless an argument before has said what it is.
                    (*env.rest.borrow_mut()).clone_from(&rest);
                    match self.fit_in(i.clone(), inner, env, module, place, r#use, depth + 1) {
                        Ok(x) => out.push(x),
                        Err(Bad) => bad = true,
                    }
                }
                *env.rest.borrow_mut() = rest;
                if bad { Err(Bad) } else { Ok(Value::List(Rc::new(out))) }
            }
            TypeKind::Record(fields) => {
                let Value::Record(values) = &v else {
                    return self.kind_error(&format!("a record of {}", fields.len()), &v, place, declared);
                };
                if values.len() != fields.len() {
                    self.err(
                        Diagnostic::new(
                            "E0201",
                            format!("expected a record of {} values, found {}", fields.len(), values.len()),
                            place,
                            format!("{} values", values.len()),
                        )
                        .label(declared, "declared here"),
                    );
                    return Err(Bad);
                }
                let mut out = Vec::with_capacity(values.len());
                let mut bad = false;
                for (n, (name, t)) in fields.iter().enumerate() {
                    // By name where both have names, else by place.
                    let by_name = name.as_ref().and_then(|n| {
                        values.iter().find(|v| v.0.as_deref() == Some(n.text.as_str())).map(|v| v.1.clone())
                    });
                    let x = by_name.unwrap_or_else(|| values[n].1.clone());
                    match self.fit_in(x, t, env, module, place, r#use, depth + 1) {
                        Ok(x) => out.push((name.as_ref().map(|n| n.text.as_str().into()), x)),
                        Err(Bad) => bad = true,
                    }
                }
                if bad { Err(Bad) } else { Ok(Value::Record(Rc::new(out))) }
            }
            TypeKind::Signature(params, _) => match v {
                Value::Func(f) => {
                    let _ = params;
                    let types = super::value::Frame::new(None, module, Kind::Fn, None);
                    Ok(Value::Func(Func::Typed(Rc::new((f, ty, types)))))
                }
                _ => self.kind_error("a function", &v, place, declared),
            },
        }
    }

    fn kind_error<T>(&mut self, want: &str, v: &Value<'a>, place: Place, declared: Place) -> R<T> {
        if matches!(v, Value::Poison) {
            return Err(Bad);
        }
        let is = self.describe(v);
        self.err(
            Diagnostic::new("E0201", format!("expected {want}, found {}", v.kind()), place, format!("this is {is}"))
                .label(declared, "declared here"),
        );
        Err(Bad)
    }

    fn fit_word(&mut self, v: Value<'a>, word: &str, declared: Place, place: Place) -> R<Value<'a>> {
        match (word, &v) {
            ("int", Value::Int(_) | Value::Ratio(_)) => self.whole(&v, place, "this").map(Value::Int),
            ("int", Value::Float(x)) if x.fract() == 0.0 => self.whole(&v, place, "this").map(Value::Int),
            ("int", Value::Tensor(_)) => {
                self.err(
                    Diagnostic::new("E0210", "an `int` must be known while compiling", place, "is computed in a run")
                        .label(declared, "declared here"),
                );
                Err(Bad)
            }
            ("int", _) => self.kind_error("an integer", &v, place, declared),
            ("string" | "text" | "folder" | "corner", Value::Text(_)) => Ok(v),
            ("string" | "text" | "folder" | "corner", _) => self.kind_error("a text", &v, place, declared),
            _ => Ok(v),
        }
    }

    fn fit_tensor(
        &mut self,
        v: Value<'a>,
        dtype: Option<DType>,
        unit: Option<&'a str>,
        dims: &'a [DimItem],
        env: &Env<'a>,
        module: usize,
        place: Place,
        declared: Place,
        r#use: Use,
    ) -> R<Value<'a>> {
        let t = match &v {
            Value::Tensor(t) => t.clone(),
            Value::Int(_) | Value::Ratio(_) | Value::Float(_) | Value::Bool(_) => {
                return self.fit_static(v, dtype, dims, env, module, place, declared, r#use);
            }
            // A list of numbers is a tensor where one is declared.
            Value::List(l) if !l.is_empty() && !dims.is_empty() && l.iter().all(Value::is_number) => {
                let whole = l.iter().all(|v| matches!(v, Value::Int(_)));
                self.lift(&v, dtype.unwrap_or(if whole { DType::I32 } else { DType::F32 }), place)?
            }
            _ => {
                let want = if dims.is_empty() { "a number" } else { "a tensor" };
                return self.kind_error(want, &v, place, declared);
            }
        };
        let ty = self.ty(&t);
        if let Some(d) = dtype
            && d != ty.dtype
        {
            self.err(
                Diagnostic::new("E0202", format!("expected {d}, found {}", ty.dtype), place, format!("is {ty}"))
                    .label(declared, format!("{d} is declared here"))
                    .help(format!("`cast(x, {d})` converts")),
            );
            return Err(Bad);
        }
        let tag = self.fit_unit(&t, unit, place, declared, r#use)?;
        let mut t = self.fit_dims(&t, &ty, dims, env, module, place, declared, r#use)?;
        t.unit = tag;
        Ok(Value::Tensor(t))
    }

    fn fit_unit(
        &mut self,
        t: &Tensor<'a>,
        unit: Option<&'a str>,
        place: Place,
        declared: Place,
        r#use: Use,
    ) -> R<Option<&'a str>> {
        match (t.unit, unit) {
            (have, None) => Ok(have.filter(|_| r#use != Use::Argument)),
            (Some(a), Some(b)) if a == b => Ok(unit),
            (None, Some(_)) if r#use != Use::Argument => Ok(unit),
            (Some(_), Some(_)) if r#use == Use::Result => Ok(unit),
            (have, Some(want)) => {
                let is = have.unwrap_or("plain f32");
                let mut d = Diagnostic::new(
                    "E0205",
                    format!("expected `{want}`, found {}", have.map_or(is.to_string(), |h| format!("`{h}`"))),
                    place,
                    format!("is {is}"),
                )
                .label(declared, format!("`{want}` is declared here"));
                d.help = match (have, want) {
                    (Some("image"), "imagenet") => Some("normalise it first: `normalise_imagenet(x)`".into()),
                    (Some("imagenet"), "image") => Some("it is normalised already: leave out one of the two".into()),
                    (None, _) => Some("arithmetic drops a unit; give this function what the unit was made for".into()),
                    _ => None,
                };
                self.err(d);
                Err(Bad)
            }
        }
    }

    /// A static number under a tensor type: it stays static where the shape is not asked for.
    fn fit_static(
        &mut self,
        v: Value<'a>,
        dtype: Option<DType>,
        dims: &'a [DimItem],
        env: &Env<'a>,
        module: usize,
        place: Place,
        declared: Place,
        r#use: Use,
    ) -> R<Value<'a>> {
        let fits = match dtype {
            Some(DType::Bool) => matches!(v, Value::Bool(_)),
            Some(DType::F32) => v.is_number(),
            Some(DType::I32) => matches!(v, Value::Int(_) | Value::Ratio(_)),
            None => true,
        };
        if !fits {
            let want = dtype.map_or("a number".to_string(), |d| d.to_string());
            self.err(
                Diagnostic::new("E0202", format!("expected {want}, found {}", v.kind()), place, "this value")
                    .label(declared, format!("{want} is declared here")),
            );
            return Err(Bad);
        }
        if dims.is_empty() {
            return Ok(match (dtype, &v) {
                (Some(DType::F32), Value::Int(_) | Value::Ratio(_)) => {
                    super::number::as_f64(&v).map_or(v.clone(), Value::Float)
                }
                _ => v,
            });
        }
        if r#use == Use::Argument {
            return Ok(v);
        }
        let mut shape = Vec::new();
        for d in dims {
            match d {
                DimItem::Expr(e) => shape.push(self.dim_of(e, env)?),
                DimItem::Rest(..) => match env.rest.borrow().clone() {
                    Some(r) => shape.extend(r),
                    None => return Ok(v),
                },
                DimItem::Any(_) => return Ok(v),
            }
        }
        let _ = module;
        let dtype = dtype.unwrap_or(match v {
            Value::Bool(_) => DType::Bool,
            _ => DType::F32,
        });
        let t = self.lift(&v, dtype, place)?;
        self.spread(&t, &shape.into(), place).map(Value::Tensor)
    }

    fn fit_dims(
        &mut self,
        t: &Tensor<'a>,
        ty: &TensorType,
        dims: &'a [DimItem],
        env: &Env<'a>,
        module: usize,
        place: Place,
        declared: Place,
        r#use: Use,
    ) -> R<Tensor<'a>> {
        let rest = dims.iter().position(|d| matches!(d, DimItem::Rest(..)));
        let (rank, fixed) = (ty.shape.len(), dims.len() - usize::from(rest.is_some()));
        if if rest.is_some() { rank < fixed } else { rank != fixed } {
            let at_least = if rest.is_some() { "at least " } else { "" };
            let axes = |n: usize| if n == 1 { "1 axis".to_string() } else { format!("{n} axes") };
            self.err(
                Diagnostic::new(
                    "E0204",
                    format!("expected {at_least}{}, found {rank}", axes(fixed)),
                    place,
                    format!("is {}", self.shown(ty)),
                )
                .label(declared, format!("{at_least}{} declared here", axes(fixed))),
            );
            return Err(Bad);
        }
        let extra = rank - fixed;
        let mut anew: Vec<(usize, Dim)> = Vec::new();
        let mut labels: Labels<'a> = match &t.labels {
            Some(old) if old.len() == rank => SmallVec::from_slice(old),
            _ => smallvec![""; rank],
        };
        let mut axis = 0;
        let mut bad = false;
        for d in dims {
            match d {
                DimItem::Any(_) => axis += 1,
                DimItem::Rest(suffix, _) => {
                    let have = ty.shape[axis..axis + extra].to_vec();
                    if suffix.is_none() {
                        let old = env.rest.borrow().clone();
                        match old {
                            None => *env.rest.borrow_mut() = Some(have),
                            Some(want) if want == have => {}
                            Some(want) if r#use == Use::Argument && fixed == 0 => {
                                // Operands of one elementwise signature broadcast.
                                match self.broadcast_shape(&have, &want) {
                                    Some(both) => *env.rest.borrow_mut() = Some(both),
                                    None => {
                                        bad = true;
                                        self.rest_error(t, &have, &want, place, declared);
                                    }
                                }
                            }
                            Some(want) if r#use == Use::Argument => {
                                bad = true;
                                self.rest_error(t, &have, &want, place, declared);
                            }
                            Some(_) => {}
                        }
                    }
                    axis += extra;
                }
                DimItem::Expr(e) => {
                    if let ExprKind::Name(n) = &e.kind {
                        labels[axis] = n;
                    }
                    let here = self.at(module, e.span);
                    match self.fit_dim(t, ty, axis, e, env, here, place, r#use) {
                        Ok(Some(d)) => anew.push((axis, d)),
                        Ok(None) => {}
                        Err(Bad) => bad = true,
                    }
                    axis += 1;
                }
            }
        }
        if bad {
            return Err(Bad);
        }
        let why = "a declared dimension must be what is given";
        let mut out = t.clone();
        if !anew.is_empty() {
            let mut shape = ty.shape.to_vec();
            anew.into_iter().for_each(|(axis, d)| shape[axis] = d);
            out = self.retype(t, shape, why, place)?;
        }
        let same = out.labels.as_deref().map_or(labels.iter().all(|l| l.is_empty()), |l| l == labels.as_slice());
        if !same {
            out.labels = Some(labels.as_slice().into());
        }
        Ok(out)
    }

    fn rest_error(&mut self, t: &Tensor<'a>, have: &[Dim], want: &[Dim], place: Place, declared: Place) {
        let show = |d: &[Dim]| d.iter().map(Dim::to_string).collect::<Vec<_>>().join(", ");
        let ty = self.ty(t);
        self.err(
            Diagnostic::new("E0203", "dimensions differ", place, format!("is {}: `...` is [{}]", ty, show(have)))
                .label(declared, format!("`...` is [{}] by an argument before", show(want))),
        );
    }

    /// Checks or binds one dim. `Some`: the tensor's axis must be written as this dim.
    fn fit_dim(
        &mut self,
        t: &Tensor<'a>,
        ty: &TensorType,
        axis: usize,
        e: &'a Expr,
        env: &Env<'a>,
        declared: Place,
        place: Place,
        r#use: Use,
    ) -> R<Option<Dim>> {
        let have = &ty.shape[axis];
        let (want, origin) = match &e.kind {
            ExprKind::Name(n) => match self.known_dim(n, env)? {
                Some((d, p)) => (d, p),
                None => {
                    env.dims.borrow_mut().push((n, have.clone(), place));
                    return Ok(None);
                }
            },
            _ => (self.dim_of(e, env)?, None),
        };
        if *have == want {
            return Ok(None);
        }
        if !have.differs(&want) {
            return Ok(Some(want));
        }
        let text = match &e.kind {
            ExprKind::Name(n) => format!("`{n}` is {want}"),
            ExprKind::Int(_) => format!("{want} is declared"),
            _ => format!("`{}` is {want}", self.text(declared)),
        };
        let origin_text = self.origin(t, axis).map_or(String::new(), |o| format!("; {have} = {o}"));
        let mut d = Diagnostic::new("E0203", "dimensions differ", place, format!("is {}{origin_text}", self.shown(ty)));
        d = match r#use {
            Use::Argument => d.label(declared, format!("{text} here, not {have}")),
            Use::Result => d.label(declared, format!("{text} in the declared result, not {have}")),
            Use::Let => d.label(declared, format!("{text} by this annotation, not {have}")),
        };
        if let Some(o) = origin.filter(|o| *o != place && *o != declared) {
            d = d.label(o, format!("{want} comes from here"));
        }
        self.err(d);
        Err(Bad)
    }

    /// The value of a dim's name, if it has one in this call or around it.
    pub(crate) fn known_dim(&mut self, name: &str, env: &Env<'a>) -> R<Option<(Dim, Option<Place>)>> {
        let mut at = Some(env);
        let mut first = true;
        while let Some(f) = at {
            // A signature's names are its own: dims of a body around a local function are not read, its integers are.
            if (first || f.kind != Kind::Fn)
                && let Some((d, p)) = f.dim(name)
            {
                return Ok(Some((d, Some(p))));
            }
            if let Some(slot) = f.slot(name) {
                if let Value::Int(d) = self.read_slot(&slot, name, f)? {
                    return Ok(Some((d, None)));
                }
            } else {
                let promise = f.promised.borrow().iter().find(|p| p.0 == name).map(|p| p.1.clone());
                if let Some(thunk) = promise
                    && !thunk.done.get()
                    && !thunk.busy.get()
                {
                    self.force(&thunk, f)?;
                    if let Some((d, p)) = f.dim(name) {
                        return Ok(Some((d, Some(p))));
                    }
                }
            }
            first = false;
            at = f.parent.as_ref();
        }
        Ok(None)
    }

    /// A dim as written: names are dims first, then integers.
    pub(crate) fn dim_of(&mut self, e: &'a Expr, env: &Env<'a>) -> R<Dim> {
        let place = self.at(env.module, e.span);
        let v = self.dim_value(e, env, 0)?;
        self.whole(&v, place, "a dimension")
    }

    fn dim_value(&mut self, e: &'a Expr, env: &Env<'a>, depth: usize) -> R<Value<'a>> {
        let place = self.at(env.module, e.span);
        if depth > 200 {
            self.err(Diagnostic::new("E0215", "this dimension is nested too deeply", place, "here"));
            return Err(Bad);
        }
        match &e.kind {
            ExprKind::Name(n) => match self.known_dim(n, env)? {
                Some((d, _)) => Ok(Value::Int(d)),
                None => self.eval(e, env),
            },
            ExprKind::Binary(op, a, b) => {
                let (x, y) = (self.dim_value(a, env, depth + 1)?, self.dim_value(b, env, depth + 1)?);
                match self.fold(*op, &x, &y, place)? {
                    Some(v) => Ok(v),
                    None => self.eval(e, env),
                }
            }
            ExprKind::Neg(a) => {
                let x = self.dim_value(a, env, depth + 1)?;
                match self.fold_neg(&x, place)? {
                    Some(v) => Ok(v),
                    None => self.eval(e, env),
                }
            }
            ExprKind::Call(f, args) if matches!(&f.kind, ExprKind::Name(n) if ["ceil", "floor", "round"].contains(&n.as_str())) =>
            {
                let ([a], ExprKind::Name(n)) = (args.as_slice(), &f.kind) else { return self.eval(e, env) };
                let x = self.dim_value(&a.value, env, depth + 1)?;
                match self.fold_unary(n, &x, place)? {
                    Some(v) => Ok(v),
                    None => self.eval(e, env),
                }
            }
            _ => self.eval(e, env),
        }
    }

    /// A closed or symbolic shape from a declared type (weights, states, inputs): names must be known, except that
    /// `open` makes new names open dims.
    pub(crate) fn declared_type(
        &mut self,
        ty: &'a Type,
        env: &Env<'a>,
        module: usize,
        open: bool,
    ) -> R<(TensorType, Option<&'a str>, Labels<'a>)> {
        let place = self.at(module, ty.span);
        let (name, dims): (_, &'a [DimItem]) = match &ty.kind {
            TypeKind::Name(n) => (n, &[]),
            TypeKind::Tensor(n, dims) => (n, dims),
            _ => {
                self.err(Diagnostic::new("E0201", "a tensor type is expected", place, "not a tensor"));
                return Err(Bad);
            }
        };
        let (dtype, unit) = match self.head(&name.text, module, self.at(module, name.span))? {
            Head::DType(d) => (d, None),
            Head::Unit(u, d) => (d, Some(u)),
            Head::Alias(m, t) if dims.is_empty() => return self.declared_type(t, env, m, open),
            Head::Alias(..) | Head::Word(_) | Head::Generic => {
                self.err(Diagnostic::new("E0201", "a tensor type is expected", place, "not a tensor"));
                return Err(Bad);
            }
        };
        let (mut shape, mut labels) = (SmallVec::<[Dim; 8]>::new(), Labels::new());
        for d in dims {
            match d {
                DimItem::Expr(e) => {
                    let known = match &e.kind {
                        ExprKind::Name(n) => {
                            labels.push(n.as_str());
                            match self.known_dim(n, env)? {
                                Some((d, _)) => Some(d),
                                None if open => {
                                    let d = Dim::name(n);
                                    env.dims.borrow_mut().push((n, d.clone(), self.at(module, e.span)));
                                    Some(d)
                                }
                                None => None,
                            }
                        }
                        _ => {
                            labels.push("");
                            None
                        }
                    };
                    shape.push(match known {
                        Some(d) => d,
                        None => self.dim_of(e, env)?,
                    });
                }
                DimItem::Rest(None, s) => {
                    let mut at = Some(env.clone());
                    let mut rest = None;
                    while let Some(f) = at.filter(|_| rest.is_none()) {
                        rest = f.rest.borrow().clone();
                        at = f.parent.clone();
                    }
                    match rest {
                        Some(r) => {
                            labels.extend(r.iter().map(|_| ""));
                            shape.extend(r);
                        }
                        None => {
                            let place = self.at(module, *s);
                            self.err(Diagnostic::new("E0211", "`...` is not known here", place, "no argument has it"));
                            return Err(Bad);
                        }
                    }
                }
                DimItem::Any(s) | DimItem::Rest(_, s) => {
                    let place = self.at(module, *s);
                    self.err(Diagnostic::new("E0211", "every dimension must be given here", place, "not known"));
                    return Err(Bad);
                }
            }
        }
        for (d, i) in shape.iter().zip(dims) {
            if d.as_int().is_some_and(|v| v < 0) {
                let span = if let DimItem::Expr(e) = i { e.span } else { Span::default() };
                self.err(Diagnostic::new("E0209", format!("a dimension of {d}"), self.at(module, span), "is negative"));
                return Err(Bad);
            }
        }
        Ok((TensorType::new(dtype, shape.as_slice()), unit, labels))
    }
}
