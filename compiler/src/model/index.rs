//! Indexing, and shapes in brackets.
//!
//! In: values and index items. Out: slices and gathers; shapes. Invariants: known indices are inside their axis; a view
//! keeps the unit. Imports: values, emission.

use std::rc::Rc;

use uad_grammar::ast::{Expr, ExprKind, IndexItem};
use uad_plan::{DType, Dim};

use crate::diag::{Diagnostic, Place};
use crate::graph::{Op, TensorType};

use super::Ev;
use super::value::{Bad, Env, Func, R, Tensor, Value};

impl<'a> Ev<'a> {
    /// `base[items]` as written: shapes of the prelude, then indexing.
    pub(crate) fn index_expr(
        &mut self,
        base: &'a Expr,
        items: &'a [IndexItem],
        env: &Env<'a>,
        place: Place,
    ) -> R<Value<'a>> {
        if let Some(name) = self.shaped_name(base, env) {
            let (shape, like) = self.shape_items(items, env)?;
            return self.shaped(name, shape.into(), like, Vec::new(), place);
        }
        let v = self.eval(base, env)?;
        self.index_value(&v, items, env, self.at(env.module, base.span), place)
    }

    /// The name of a function that takes a shape in brackets.
    pub(crate) fn shaped_name(&mut self, base: &'a Expr, env: &Env<'a>) -> Option<&'static str> {
        let full = match &base.kind {
            ExprKind::Name(n) => {
                let mut at = Some(env.clone());
                while let Some(f) = at {
                    if let Some(s) = f.slot(n) {
                        if let super::value::Slot::Known(v) = s
                            && !matches!(v, Value::Func(_))
                        {
                            return None;
                        }
                        break;
                    }
                    at = f.parent.clone();
                }
                n.clone()
            }
            ExprKind::Dot(b, f) => match &b.kind {
                ExprKind::Name(n) if n == "random" || n == "fixed" => format!("{n}.{}", f.text),
                _ => return None,
            },
            _ => return None,
        };
        super::prelude::shaped(&full)
    }

    /// The shape in brackets, and the value of `like`.
    pub(crate) fn shape_items(&mut self, items: &'a [IndexItem], env: &Env<'a>) -> R<(Vec<Dim>, Option<Tensor<'a>>)> {
        let mut shape = Vec::new();
        let mut like = None;
        for i in items {
            match i {
                IndexItem::Expr(e) => {
                    let place = self.at(env.module, e.span);
                    let v = match &e.kind {
                        ExprKind::Name(n) => match self.known_dim(n, env)? {
                            Some((d, _)) => Value::Int(d),
                            None => self.eval(e, env)?,
                        },
                        _ => self.eval(e, env)?,
                    };
                    match v {
                        Value::List(l) => {
                            for v in l.iter() {
                                shape.push(self.whole(v, place, "a dimension")?);
                            }
                        }
                        v => shape.push(self.whole(&v, place, "a dimension")?),
                    }
                    if shape.last().and_then(Dim::as_int).is_some_and(|d| d < 0) {
                        self.err(Diagnostic::new("E0209", "a negative dimension", place, "is negative"));
                        return Err(Bad);
                    }
                }
                IndexItem::Rest(_, s) => match self.rest_of(env) {
                    Some(r) => shape.extend(r),
                    None => {
                        let p = self.at(env.module, *s);
                        self.err(Diagnostic::new("E0101", "there is no `...` in this signature", p, "unknown"));
                        return Err(Bad);
                    }
                },
                IndexItem::Like(e) => {
                    let place = self.at(env.module, e.span);
                    match self.eval(e, env)? {
                        Value::Tensor(t) => {
                            shape.extend_from_slice(&self.type_of(&t).shape);
                            like = Some(t);
                        }
                        v if v.is_number() => {}
                        v => {
                            let is = self.describe(&v);
                            self.err(Diagnostic::new("E0201", "`like` takes a tensor", place, format!("this is {is}")));
                            return Err(Bad);
                        }
                    }
                }
                IndexItem::Full(s) | IndexItem::New(s) => {
                    let p = self.at(env.module, *s);
                    self.err(Diagnostic::new("E0201", "a shape is made of dimensions", p, "not a dimension"));
                    return Err(Bad);
                }
            }
        }
        Ok((shape, like))
    }

    /// `v[items]`.
    pub(crate) fn index_value(
        &mut self,
        v: &Value<'a>,
        items: &'a [IndexItem],
        env: &Env<'a>,
        base: Place,
        place: Place,
    ) -> R<Value<'a>> {
        match v {
            Value::List(l) => self.index_list(l, items, env, place),
            Value::Record(r) => {
                let l = Rc::new(r.iter().map(|f| f.1.clone()).collect());
                self.index_list(&l, items, env, place)
            }
            Value::Tensor(t) => self.index_tensor(t, items, env, base, place),
            Value::Poison => Err(Bad),
            Value::Func(Func::Builtin(n)) if super::prelude::shaped(n).is_some() => {
                let (shape, like) = self.shape_items(items, env)?;
                self.shaped(super::prelude::shaped(n).unwrap_or("zeros"), shape.into(), like, Vec::new(), place)
            }
            _ => {
                let is = self.describe(v);
                self.err(Diagnostic::new(
                    "E0201",
                    format!("{} has no elements", v.kind()),
                    base,
                    format!("this is {is}"),
                ));
                Err(Bad)
            }
        }
    }

    pub(super) fn index_list(
        &mut self,
        l: &Rc<Vec<Value<'a>>>,
        items: &'a [IndexItem],
        env: &Env<'a>,
        place: Place,
    ) -> R<Value<'a>> {
        let [IndexItem::Expr(e)] = items else {
            self.err(Diagnostic::new("E0209", "a list has one index", place, "here"));
            return Err(Bad);
        };
        let at = self.at(env.module, e.span);
        let n = l.len() as i64;
        if let ExprKind::Range(a, b) = &e.kind {
            let mut end = |x: &'a Option<Box<Expr>>, default: i64| -> R<i64> {
                match x {
                    Some(e) => {
                        let v = self.eval(e, env)?;
                        let i = self.closed(&v, at, "an index")?;
                        Ok(if i < 0 { i + n } else { i })
                    }
                    None => Ok(default),
                }
            };
            let (x, y) = (end(a, 0)?, end(b, n)?);
            if x < 0 || y > n || x > y {
                self.err(Diagnostic::new("E0209", format!("{x}..{y} is outside a list of {n}"), at, "out of range"));
                return Err(Bad);
            }
            return Ok(Value::List(Rc::new(l[x as usize..y as usize].to_vec())));
        }
        let v = self.eval(e, env)?;
        let i = self.closed(&v, at, "an index of a list")?;
        let k = if i < 0 { i + n } else { i };
        match usize::try_from(k).ok().and_then(|k| l.get(k)) {
            Some(Value::Poison) => Err(Bad),
            Some(v) => Ok(v.clone()),
            None => {
                self.err(Diagnostic::new(
                    "E0209",
                    format!("there is no element {i} in a list of {n}"),
                    at,
                    "out of range",
                ));
                Err(Bad)
            }
        }
    }

    pub(super) fn index_tensor(
        &mut self,
        t: &Tensor<'a>,
        items: &'a [IndexItem],
        env: &Env<'a>,
        base: Place,
        place: Place,
    ) -> R<Value<'a>> {
        let ty = self.ty(t);
        let rank = ty.shape.len();
        let used = items.iter().filter(|i| matches!(i, IndexItem::Expr(_) | IndexItem::Full(_))).count();
        let rests = items.iter().filter(|i| matches!(i, IndexItem::Rest(..))).count();
        if used > rank || rests > 1 {
            self.err(
                Diagnostic::new("E0204", format!("{used} indices for {rank} axes"), place, "too many indices")
                    .label(base, format!("is {ty}")),
            );
            return Err(Bad);
        }
        // Slices first, then one gather, then new and dropped axes.
        let (mut start, mut shape) = (vec![Dim::int(0); rank], ty.shape.to_vec());
        let mut out: Vec<Option<usize>> = Vec::new(); // axis of the slice, or a new one
        let mut gather: Option<(usize, Tensor<'a>, Place)> = None;
        let mut axis = 0;
        for item in items {
            match item {
                IndexItem::Full(_) => {
                    out.push(Some(axis));
                    axis += 1;
                }
                IndexItem::New(_) => out.push(None),
                IndexItem::Rest(..) => {
                    for _ in 0..rank - used {
                        out.push(Some(axis));
                        axis += 1;
                    }
                }
                IndexItem::Like(e) => {
                    let p = self.at(env.module, e.span);
                    self.err(Diagnostic::new("E0201", "`like` stands in shapes only", p, "not an index"));
                    return Err(Bad);
                }
                IndexItem::Expr(e) => {
                    let at = self.at(env.module, e.span);
                    if let ExprKind::Range(a, b) = &e.kind {
                        let n = ty.shape[axis].clone();
                        let lo = match a {
                            Some(a) => self.bound(a, &n, env)?,
                            None => Dim::int(0),
                        };
                        let hi = match b {
                            Some(b) => self.bound(b, &n, env)?,
                            None => n.clone(),
                        };
                        self.slice_fits(&lo, &hi, &n, axis, &ty, at, base)?;
                        shape[axis] = hi.sub(&lo).map_err(|e| self.dim_error(e, at))?;
                        start[axis] = lo;
                        out.push(Some(axis));
                    } else {
                        match self.eval(e, env)? {
                            Value::Tensor(i) => {
                                if gather.is_some() {
                                    return self.not_yet("two tensors in one index", at);
                                }
                                let it = self.ty(&i);
                                if it.dtype != DType::I32 {
                                    self.err(
                                        Diagnostic::new("E0202", "an index is i32", at, format!("is {it}"))
                                            .help("`cast(x, i32)` converts; `select` chooses by truth values"),
                                    );
                                    return Err(Bad);
                                }
                                gather = Some((axis, i, at));
                                out.push(Some(axis));
                            }
                            Value::List(l) => {
                                let mut numbers = Vec::new();
                                for v in l.iter() {
                                    numbers.push(self.closed(v, at, "an index")? as f64);
                                }
                                let n = TensorType::new(DType::I32, vec![Dim::int(numbers.len() as i64)]);
                                let i = self.add(Op::Literal(numbers), &[], n, at)?;
                                gather = Some((axis, i, at));
                                out.push(Some(axis));
                            }
                            Value::Range(lo, hi) => {
                                let n = ty.shape[axis].clone();
                                self.slice_fits(&lo, &hi, &n, axis, &ty, at, base)?;
                                shape[axis] = hi.sub(&lo).map_err(|e| self.dim_error(e, at))?;
                                start[axis] = lo;
                                out.push(Some(axis));
                            }
                            v => {
                                let i = self.whole(&v, at, "an index")?;
                                let n = ty.shape[axis].clone();
                                let i = if i.as_int().is_some_and(|i| i < 0) {
                                    n.add(&i).map_err(|e| self.dim_error(e, at))?
                                } else {
                                    i
                                };
                                let end = i.add(&Dim::int(1)).map_err(|e| self.dim_error(e, at))?;
                                self.slice_fits(&i, &end, &n, axis, &ty, at, base)?;
                                start[axis] = i;
                                shape[axis] = Dim::int(1);
                            }
                        }
                    }
                    axis += 1;
                }
            }
        }
        while axis < rank {
            out.push(Some(axis));
            axis += 1;
        }
        let mut x = t.clone();
        if ty.shape != shape {
            let op = Op::Slice { start, step: vec![1; rank] };
            x = self.add(op, &[&x], TensorType::new(ty.dtype, shape), place)?;
        }
        let labels: Vec<&'a str> = match &t.labels {
            Some(l) if l.len() == rank => l.to_vec(),
            _ => vec![""; rank],
        };
        let mut spans: Vec<usize> = vec![1; rank];
        if let Some((a, i, at)) = &gather {
            spans[*a] = self.type_of(i).shape.len();
            x = self.op(Op::Gather { axis: *a, batch: 0 }, &[&x, i], *at)?;
        }
        // Axes of `x` now: every old axis is `spans[axis]` axes.
        let now = self.ty(&x).shape;
        let offset = |axis: usize| spans[..axis].iter().sum::<usize>();
        let (mut shape, mut names) = (Vec::new(), Vec::new());
        for o in &out {
            match o {
                None => {
                    shape.push(Dim::int(1));
                    names.push("");
                }
                Some(a) => {
                    for k in 0..spans[*a] {
                        shape.push(now[offset(*a) + k].clone());
                        names.push(if spans[*a] == 1 && gather.as_ref().is_none_or(|g| g.0 != *a) {
                            labels[*a]
                        } else {
                            ""
                        });
                    }
                }
            }
        }
        x = self.reshaped(&x, shape, place)?;
        x.unit = t.unit;
        x.labels = Some(names.into());
        Ok(Value::Tensor(x))
    }

    pub(super) fn bound(&mut self, e: &'a Expr, n: &Dim, env: &Env<'a>) -> R<Dim> {
        let at = self.at(env.module, e.span);
        let v = self.eval(e, env)?;
        let d = self.whole(&v, at, "the end of a range")?;
        if d.as_int().is_some_and(|d| d < 0) { n.add(&d).map_err(|e| self.dim_error(e, at)) } else { Ok(d) }
    }

    pub(super) fn slice_fits(
        &mut self,
        lo: &Dim,
        hi: &Dim,
        n: &Dim,
        axis: usize,
        ty: &TensorType,
        at: Place,
        base: Place,
    ) -> R<()> {
        let below = |a: &Dim, b: &Dim| a.sub(b).ok().and_then(|d| d.as_int()).is_some_and(|d| d > 0);
        if lo.as_int().is_some_and(|l| l < 0) || below(hi, n) || below(lo, hi) {
            let what = if hi.sub(lo).is_ok_and(|d| d.is(1)) { format!("index {lo}") } else { format!("{lo}..{hi}") };
            self.err(
                Diagnostic::new("E0209", format!("{what} is outside axis {axis} of {ty}"), at, "out of range")
                    .label(base, format!("is {ty}")),
            );
            return Err(Bad);
        }
        Ok(())
    }
}
