//! What the functions of the prelude do.
//!
//! In: a name of the prelude and arguments. Out: values. Invariants: static arguments give static results where that is
//! possible. Imports: values, operations.

use std::rc::Rc;

use uad_grammar::ast::{Arg as ArgAst, Expr, ExprKind};
use uad_plan::{DType, Dim, ReduceOp, ScalarOp};

use crate::diag::nearest::did_you_mean;
use crate::diag::{Diagnostic, Place};
use crate::graph::{Op, Shape};

use super::Ev;
use super::number::as_f64;
use super::value::{Arg, Bad, Env, Func, R, Slot, Tensor, Value};

/// Arguments by parameter.
pub(super) type Given<'a> = Vec<Option<(Value<'a>, Place)>>;

impl<'a> Ev<'a> {
    /// Calls whose arguments are not all values: shapes in brackets, `dot`.
    pub(crate) fn special_call(
        &mut self,
        callee: &'a Expr,
        args: &'a [ArgAst],
        piped: Option<&(Value<'a>, Place)>,
        env: &Env<'a>,
        place: Place,
    ) -> R<Option<Value<'a>>> {
        match &callee.kind {
            ExprKind::Index(base, items) => {
                let Some(name) = self.shaped_name(base, env) else { return Ok(None) };
                // `zeros[n]` is a value; what is called is a shape with arguments.
                if matches!(name, "zeros" | "ones" | "iota" | "random.permutation") {
                    return Ok(None);
                }
                let shape = self.shape_items(items, env);
                let args = self.arguments(args, env);
                let (shape, like) = shape?;
                self.shaped(name, shape.into(), like, args?, place).map(Some)
            }
            ExprKind::Name(n) => {
                // A value of this name that cannot be called does not hide a function: `pad(x, …)` beside a `pad: int`.
                let callable = |s: &Slot| matches!(s, Slot::Known(Value::Func(_) | Value::Poison) | Slot::Lazy(_));
                let mut frames = std::iter::successors(Some(env), |f| f.parent.as_ref());
                let found = frames.find_map(|f| f.seen(n, callable));
                if found == Some(true) {
                    return Ok(None);
                }
                let hidden = found.is_some();
                if !hidden && self.modules[env.module].values.contains_key(n) {
                    return Ok(None);
                }
                match n.as_str() {
                    "dot" => self.dot_call(args, piped, env, place).map(Some),
                    _ if hidden => {
                        let f = self.item_value(n, env.module).or_else(|| super::prelude::value(n));
                        let Some(Value::Func(f)) = f else { return Ok(None) };
                        let mut all = Vec::new();
                        if let Some((v, p)) = piped {
                            all.push(Arg { name: None, value: v.clone(), place: *p });
                        }
                        all.extend(self.arguments(args, env)?);
                        match f {
                            Func::Builtin(_) => self.apply(&f, all, place).map(Some),
                            Func::Fn(ref d) if d.decl.hyper.is_none() => self.apply(&f, all, place).map(Some),
                            _ => Ok(None),
                        }
                    }
                    _ => Ok(None),
                }
            }
            _ => Ok(None),
        }
    }

    pub(super) fn dot_call(
        &mut self,
        args: &'a [ArgAst],
        piped: Option<&(Value<'a>, Place)>,
        env: &Env<'a>,
        place: Place,
    ) -> R<Value<'a>> {
        let mut values: Vec<(Value<'a>, Place)> = piped.cloned().into_iter().collect();
        let mut pattern = None;
        let mut bad = false;
        for a in args {
            match &a.value.kind {
                ExprKind::Contraction(l, r) => pattern = Some((l, r)),
                _ => match self.eval(&a.value, env) {
                    Ok(v) => values.push((v, self.at(env.module, a.value.span))),
                    Err(Bad) => bad = true,
                },
            }
        }
        if bad {
            return Err(Bad);
        }
        let (Some((l, r)), [a, b]) = (pattern, values.as_slice()) else {
            self.err(
                Diagnostic::new("E0206", "`dot` takes two tensors and a pattern", place, "in this call")
                    .help("`dot(a, b, [n c, m c -> n m])`"),
            );
            return Err(Bad);
        };
        self.contraction(a, b, l, r, env, place)
    }

    /// Arguments of a function of the prelude by parameter.
    pub(super) fn given(&mut self, name: &str, args: Vec<Arg<'a>>, place: Place) -> R<Given<'a>> {
        let params = super::prelude::parameters(name);
        let bare = |p: &'static str| p.trim_end_matches('?');
        let mut out: Given<'a> = params.iter().map(|_| None).collect();
        let mut next = 0;
        for a in args {
            let at = match a.name {
                Some(n) => match params.iter().position(|p| bare(p) == n.text) {
                    Some(i) => i,
                    None => {
                        let mut d = Diagnostic::new(
                            "E0206",
                            format!("`{name}` has no parameter `{}`", n.text),
                            a.place,
                            "not a parameter",
                        );
                        d.help = did_you_mean(&n.text, params.iter().map(|p| bare(p))).or_else(|| {
                            Some(format!(
                                "it has {}",
                                params.iter().map(|p| format!("`{}`", bare(p))).collect::<Vec<_>>().join(", ")
                            ))
                        });
                        self.err(d);
                        return Err(Bad);
                    }
                },
                None => {
                    next += 1;
                    next - 1
                }
            };
            match out.get_mut(at) {
                Some(slot @ None) => *slot = Some((a.value, a.place)),
                Some(Some(_)) => {
                    let text = format!("`{}` is given twice", bare(params[at]));
                    self.err(Diagnostic::new("E0206", text, a.place, "again here"));
                    return Err(Bad);
                }
                None => {
                    let n = params.len();
                    let text = format!("`{name}` takes {n} argument{}", if n == 1 { "" } else { "s" });
                    self.err(Diagnostic::new("E0206", text, a.place, "one too many"));
                    return Err(Bad);
                }
            }
        }
        for (p, g) in params.iter().zip(&out) {
            if g.is_none() && !p.ends_with('?') {
                let text = format!("`{name}` is missing its argument `{}`", bare(p));
                self.err(Diagnostic::new("E0206", text, place, "in this call"));
                return Err(Bad);
            }
        }
        Ok(out)
    }

    pub(super) fn tensor_arg(&mut self, name: &str, a: &Option<(Value<'a>, Place)>, place: Place) -> R<Tensor<'a>> {
        match a {
            Some((Value::Tensor(t), _)) => Ok(t.clone()),
            Some((Value::Poison, _)) => Err(Bad),
            Some((v, p)) => {
                let is = self.describe(v);
                self.err(Diagnostic::new(
                    "E0201",
                    format!("`{name}` takes a tensor, found {}", v.kind()),
                    *p,
                    format!("this is {is}"),
                ));
                Err(Bad)
            }
            None => {
                self.err(Diagnostic::new("E0206", format!("`{name}` takes a tensor"), place, "in this call"));
                Err(Bad)
            }
        }
    }

    pub(super) fn int_arg(&mut self, a: &Option<(Value<'a>, Place)>, default: i64, what: &str) -> R<i64> {
        match a {
            Some((v, p)) => self.closed(v, *p, what),
            None => Ok(default),
        }
    }

    pub(super) fn flag(&mut self, a: &Option<(Value<'a>, Place)>, what: &str) -> R<bool> {
        match a {
            None => Ok(false),
            Some((Value::Bool(b), _)) => Ok(*b),
            Some((v, p)) => {
                self.err(Diagnostic::new(
                    "E0201",
                    format!("{what} is true or false"),
                    *p,
                    format!("this is {}", v.kind()),
                ));
                Err(Bad)
            }
        }
    }

    pub(super) fn number(&mut self, a: &Option<(Value<'a>, Place)>, default: f64, what: &str) -> R<f64> {
        match a {
            None => Ok(default),
            Some((v, p)) => match as_f64(v) {
                Some(x) => Ok(x),
                None => {
                    let code = if matches!(v, Value::Tensor(_)) { "E0210" } else { "E0201" };
                    self.err(Diagnostic::new(
                        code,
                        format!("{what} is a known number"),
                        *p,
                        format!("this is {}", v.kind()),
                    ));
                    Err(Bad)
                }
            },
        }
    }

    /// A function of the prelude.
    pub(crate) fn builtin(&mut self, name: &'static str, args: Vec<Arg<'a>>, place: Place) -> R<Value<'a>> {
        if args.iter().any(|a| matches!(a.value, Value::Poison)) {
            return Err(Bad);
        }
        if let Some(init) = name.strip_prefix("init.") {
            return self.first_values(init, args, place);
        }
        if matches!(name, "zeros" | "ones") && !args.is_empty() {
            return self.first_values(name, args, place);
        }
        if super::prelude::shaped(name).is_some() {
            return self.shaped(name, Shape::SCALAR, None, args, place);
        }
        // `max(a, b)` of two numbers.
        if matches!(name, "max" | "min")
            && let [a, b] = args.as_slice()
            && a.name.is_none()
            && b.name.is_none()
            && a.value.is_number()
            && b.value.is_number()
            && let Some(v) = self.fold_extreme(name == "max", &a.value, &b.value)
        {
            return Ok(v);
        }
        if matches!(name, "zip" | "enumerate") {
            return self.zipped(name == "enumerate", args, place);
        }
        let g = self.given(name, args, place)?;
        match name {
            "exp" | "log" | "sqrt" | "sin" | "cos" | "tanh" | "erf" | "abs" | "floor" | "ceil" | "round" => {
                let Some(a) = g[0].clone() else { return Err(Bad) };
                self.unary(name, a, place)
            }
            "minimum" | "maximum" => {
                let (Some(a), Some(b)) = (g[0].clone(), g[1].clone()) else { return Err(Bad) };
                if let Some(v) = self.fold_extreme(name == "maximum", &a.0, &b.0) {
                    return Ok(v);
                }
                self.map_values(if name == "maximum" { ScalarOp::Max } else { ScalarOp::Min }, &[a, b], place)
            }
            "select" => {
                let (Some(c), Some(a), Some(b)) = (g[0].clone(), g[1].clone(), g[2].clone()) else { return Err(Bad) };
                match c.0 {
                    Value::Bool(x) => Ok(if x { a.0 } else { b.0 }),
                    _ => self.map_values(ScalarOp::Select, &[c, a, b], place),
                }
            }
            "fma" => {
                let args: Vec<(Value<'a>, Place)> = g.into_iter().flatten().collect();
                self.map_values(ScalarOp::Fma, &args, place)
            }
            "cast" => self.cast(&g, place),
            "sum" | "mean" | "max" | "min" | "prod" | "any" | "argmax" | "argmin" => self.reduction(name, &g, place),
            "concat" => self.concat(&g, place),
            "gather" => self.gather(&g, place),
            "take" => {
                let (x, i) = (self.tensor_arg(name, &g[0], place)?, self.tensor_arg(name, &g[1], place)?);
                self.op(Op::Gather { axis: 1, batch: 1 }, &[&x, &i], place).map(Value::Tensor)
            }
            "scatter_add" => self.scatter_add(&g, place),
            "argsort" | "cumsum" => {
                let x = self.tensor_arg(name, &g[0], place)?;
                let ty = self.ty(&x);
                let axis = match &g[1] {
                    Some(_) => self.axes(g[1].as_ref(), ty.shape.len(), &ty)?.first().copied().unwrap_or(0),
                    None => ty.shape.len().saturating_sub(1),
                };
                let falling = name == "argsort" && self.flag(&g[2], "`falling`")?;
                let (y, back) = self.axis_last(&x, axis, place)?;
                let op = if name == "argsort" { Op::ArgSort { falling } } else { Op::Scan(ReduceOp::Sum) };
                let r = self.op(op, &[&y], place)?;
                match back {
                    Some(perm) => self.op(Op::Permute(perm), &[&r], place).map(Value::Tensor),
                    None => Ok(Value::Tensor(r)),
                }
            }
            "window" => {
                let x = self.tensor_arg(name, &g[0], place)?;
                let ty = self.ty(&x);
                let axis = self.axes(g[1].as_ref(), ty.shape.len(), &ty)?.first().copied().unwrap_or(0);
                let op = Op::Window {
                    axis,
                    size: self.int_arg(&g[2], 1, "a window's size")?,
                    stride: self.int_arg(&g[3], 1, "a stride")?,
                    dilation: self.int_arg(&g[4], 1, "a dilation")?,
                    lo: self.int_arg(&g[5], 0, "a padding")?,
                    hi: self.int_arg(&g[6], 0, "a padding")?,
                    value: self.number(&g[7], 0.0, "the padding's value")?,
                };
                self.op(op, &[&x], place).map(Value::Tensor)
            }
            "pad" => {
                let x = self.tensor_arg(name, &g[0], place)?;
                let ty = self.ty(&x);
                let rank = ty.shape.len();
                let axis = self.axes(g[1].as_ref(), rank, &ty)?.first().copied().unwrap_or(0);
                let (mut lo, mut hi) = (vec![Dim::int(0); rank], vec![Dim::int(0); rank]);
                for (slot, v) in [(&mut lo, &g[2]), (&mut hi, &g[3])] {
                    if let Some((v, p)) = v {
                        slot[axis] = self.whole(v, *p, "a padding")?;
                    }
                }
                let value = self.number(&g[4], 0.0, "the padding's value")?;
                let mut r = self.op(Op::Pad { lo, hi, interior: vec![0; rank], value }, &[&x], place)?;
                r.unit = x.unit;
                Ok(Value::Tensor(r))
            }
            "eigen_symmetric" => {
                let x = self.tensor_arg(name, &g[0], place)?;
                let ty = self.ty(&x);
                let all = self.op(Op::Eigh, &[&x], place)?;
                let head = self.ty(&all);
                let values = self.add(Op::Part(0), &[&all], head, place)?;
                let vectors = self.add(Op::Part(1), &[&all], ty, place)?;
                Ok(Value::Record(Rc::new(vec![
                    (Some("values".into()), Value::Tensor(values)),
                    (Some("vectors".into()), Value::Tensor(vectors)),
                ])))
            }
            "cholesky" => {
                let x = self.tensor_arg(name, &g[0], place)?;
                self.op(Op::Cholesky, &[&x], place).map(Value::Tensor)
            }
            "len" => {
                let Some((v, p)) = &g[0] else { return Err(Bad) };
                self.length(v, *p)
            }
            "steps" => {
                let (Some((x, p)), Some((parts, q))) = (&g[0], &g[1]) else { return Err(Bad) };
                let mut out = Vec::new();
                let mut v = x.clone();
                for f in self.items(parts, *q)? {
                    let f = self.callable(f, *q)?;
                    v = self.apply(&f, vec![Arg { name: None, value: v, place: *p }], place)?;
                    out.push(v.clone());
                }
                self.bounded(Value::List(Rc::new(out)), place)
            }
            "stop" => match &g[0] {
                Some((v, p)) => self.stopped_value(v, *p),
                None => Err(Bad),
            },
            "all" => match &g[0] {
                Some((v, p)) => self.all_samples(v, *p, place),
                None => Err(Bad),
            },
            "grad" => self.grad(&g, place),
            "peer" => {
                self.err(
                    Diagnostic::new("E0410", "`peer` is where an input comes from", place, "not in a graph")
                        .help("`input other: image[b, 3, size, size] from peer(image)`"),
                );
                Err(Bad)
            }
            _ => self.not_yet(&format!("`{name}`"), place),
        }
    }

    pub(super) fn stopped_value(&mut self, v: &Value<'a>, place: Place) -> R<Value<'a>> {
        match v {
            Value::Tensor(t) => {
                let mut r = self.op(Op::Stop, &[t], place)?;
                (r.unit, r.labels) = (t.unit, t.labels.clone());
                Ok(Value::Tensor(r))
            }
            Value::List(l) => {
                let mut out = Vec::new();
                for v in l.iter() {
                    out.push(self.stopped_value(v, place)?);
                }
                Ok(Value::List(Rc::new(out)))
            }
            v => Ok(v.clone()),
        }
    }

    pub(super) fn unary(&mut self, name: &str, a: (Value<'a>, Place), place: Place) -> R<Value<'a>> {
        if let Some(v) = self.fold_unary(name, &a.0, place)? {
            return Ok(v);
        }
        let op = match name {
            "ceil" => {
                let n = self.map_values(ScalarOp::Neg, &[a], place)?;
                let f = self.map_values(ScalarOp::Floor, &[(n, place)], place)?;
                return self.map_values(ScalarOp::Neg, &[(f, place)], place);
            }
            name => match ScalarOp::from_name(name) {
                Some(op) => op,
                None => return Err(Bad),
            },
        };
        // Functions of a symbolic integer are of its value as f32.
        let a = match &a.0 {
            Value::Int(_) | Value::Ratio(_) => (Value::Tensor(self.lift(&a.0, DType::F32, a.1)?), a.1),
            _ => a,
        };
        self.map_values(op, &[a], place)
    }

    pub(super) fn cast(&mut self, g: &Given<'a>, place: Place) -> R<Value<'a>> {
        let to = match &g[1] {
            Some((Value::Text(t), p)) => match DType::from_name(t) {
                Some(d) => d,
                None => {
                    self.err(Diagnostic::new("E0107", format!("there is no element type `{t}`"), *p, "unknown"));
                    return Err(Bad);
                }
            },
            _ => {
                self.err(Diagnostic::new("E0201", "`cast` takes f32, i32 or bool", place, "in this call"));
                return Err(Bad);
            }
        };
        let Some((v, p)) = &g[0] else { return Err(Bad) };
        match (v, to) {
            (Value::Bool(b), DType::F32) => return Ok(Value::Float(f64::from(u8::from(*b)))),
            (Value::Bool(b), DType::I32) => return Ok(Value::int(i64::from(*b))),
            (v, DType::F32) if v.is_number() => return Ok(as_f64(v).map_or(v.clone(), Value::Float)),
            (Value::Float(x), DType::I32) if x.abs() < 2e9 => return Ok(Value::int(x.trunc() as i64)),
            (Value::Int(_), DType::I32) => return Ok(v.clone()),
            (Value::Ratio(_), DType::I32) => return self.whole(v, *p, "this").map(Value::Int),
            _ => {}
        }
        let t = self.tensor_arg("cast", &g[0], place)?;
        if self.type_of(&t).dtype == to {
            return Ok(Value::Tensor(Tensor { unit: None, ..t }));
        }
        let op = match to {
            DType::F32 => ScalarOp::ToF32,
            DType::I32 => ScalarOp::ToI32,
            DType::Bool => ScalarOp::ToBool,
        };
        let mut r = self.map(op, &[&t], place)?;
        r.labels = t.labels;
        Ok(Value::Tensor(r))
    }

    pub(super) fn reduction(&mut self, name: &str, g: &Given<'a>, place: Place) -> R<Value<'a>> {
        let Some((v, p)) = &g[0] else { return Err(Bad) };
        let v = match v {
            Value::List(l) if g[1].is_none() => return self.reduce_list(name, &l.clone(), *p, place),
            Value::Range(..) if g[1].is_none() => {
                let l = self.items(v, *p)?;
                return self.reduce_list(name, &l, *p, place);
            }
            v if v.is_number() && matches!(name, "sum" | "mean" | "max" | "min" | "prod") => return Ok(v.clone()),
            v => v.clone(),
        };
        let t = self.tensor_arg(name, &Some((v, *p)), place)?;
        let ty = self.ty(&t);
        let axes = self.axes(g[1].as_ref(), ty.shape.len(), &ty)?;
        let keep = self.flag(&g[2], "`keep`")?;
        let one = |d: DType| if d == DType::Bool { Some(ScalarOp::ToF32) } else { None };
        let r = match name {
            "sum" | "prod" => {
                let x = match one(ty.dtype) {
                    Some(c) => self.map(c, &[&t], place)?,
                    None => t,
                };
                self.reduce(if name == "sum" { ReduceOp::Sum } else { ReduceOp::Prod }, &x, &axes, keep, place)?
            }
            "mean" => {
                let x = match ty.dtype {
                    DType::F32 => t,
                    _ => self.map(ScalarOp::ToF32, &[&t], place)?,
                };
                let s = self.reduce(ReduceOp::Sum, &x, &axes, keep, place)?;
                let n = self.extent(&ty, &axes, place)?;
                return self.map_values(ScalarOp::Div, &[(Value::Tensor(s), place), (Value::Int(n), place)], place);
            }
            "any" => {
                if ty.dtype != DType::Bool {
                    self.err(Diagnostic::new("E0202", "`any` takes bool", *p, format!("is {ty}")));
                    return Err(Bad);
                }
                self.reduce(ReduceOp::Max, &t, &axes, keep, place)?
            }
            "max" => self.reduce(ReduceOp::Max, &t, &axes, keep, place)?,
            "min" => self.reduce(ReduceOp::Min, &t, &axes, keep, place)?,
            "argmax" => self.reduce(ReduceOp::ArgMax, &t, &axes, keep, place)?,
            _ => self.reduce(ReduceOp::ArgMin, &t, &axes, keep, place)?,
        };
        Ok(Value::Tensor(r))
    }

    pub(super) fn reduce_list(&mut self, name: &str, l: &[Value<'a>], p: Place, place: Place) -> R<Value<'a>> {
        use uad_grammar::ast::BinaryOp as B;
        let mut items = l.iter();
        let Some(first) = items.next().cloned() else {
            return match name {
                "sum" => Ok(Value::int(0)),
                "prod" => Ok(Value::int(1)),
                _ => {
                    self.err(Diagnostic::new("E0209", format!("`{name}` of an empty list"), p, "empty"));
                    Err(Bad)
                }
            };
        };
        let mut acc = first;
        for v in items {
            acc = match name {
                "sum" | "mean" => self.binary(B::Add, (acc, p), (v.clone(), p), place)?,
                "prod" => self.binary(B::Mul, (acc, p), (v.clone(), p), place)?,
                "max" | "min" => match self.fold_extreme(name == "max", &acc, v) {
                    Some(v) => v,
                    None => {
                        let op = if name == "max" { ScalarOp::Max } else { ScalarOp::Min };
                        self.map_values(op, &[(acc, p), (v.clone(), p)], place)?
                    }
                },
                _ => return self.not_yet(&format!("`{name}` of a list"), place),
            };
        }
        if name == "mean" {
            return self.binary(B::Div, (acc, p), (Value::int(l.len() as i64), p), place);
        }
        Ok(acc)
    }
}
