//! What the functions of the prelude do.
//!
//! In: a name of the prelude and arguments. Out: values. Invariants: static arguments give static results where that is
//! possible. Imports: values, operations.

use std::rc::Rc;

use uad_grammar::ast::{Arg as ArgAst, Expr, ExprKind};
use uad_plan::{DType, Dim, ReduceOp, ScalarOp};

use crate::diag::nearest::did_you_mean;
use crate::diag::{Diagnostic, Place};
use crate::graph::{Op, TensorType};

use super::Ev;
use super::number::as_f64;
use super::value::{Arg, Bad, Env, Func, R, Tensor, Value};

/// Arguments by parameter.
type Given<'a> = Vec<Option<(Value<'a>, Place)>>;

impl<'a> Ev<'a> {
    /// Calls whose arguments are not all values: shapes in brackets, `dot`, `grad`.
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
                self.shaped(name, shape, like, args?, place).map(Some)
            }
            ExprKind::Name(n) => {
                // A value of this name that cannot be called does not hide a function: `pad(x, …)` beside a `pad: int`.
                let mut at = Some(env.clone());
                let mut hidden = false;
                while let Some(f) = at {
                    match f.slot(n) {
                        Some(super::value::Slot::Known(Value::Func(_) | Value::Poison)) => return Ok(None),
                        Some(super::value::Slot::Lazy(_)) => return Ok(None),
                        Some(_) => {
                            hidden = true;
                            break;
                        }
                        None => {}
                    }
                    at = f.parent.clone();
                }
                if self.item_value(n, env.module).is_some() && !hidden {
                    return Ok(None);
                }
                match n.as_str() {
                    "dot" => self.dot_call(args, piped, env, place).map(Some),
                    "grad" => self.not_yet("`grad`", place),
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

    fn dot_call(
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
    fn given(&mut self, name: &str, args: Vec<Arg<'a>>, place: Place) -> R<Given<'a>> {
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

    fn tensor_arg(&mut self, name: &str, a: &Option<(Value<'a>, Place)>, place: Place) -> R<Tensor<'a>> {
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

    fn int_arg(&mut self, a: &Option<(Value<'a>, Place)>, default: i64, what: &str) -> R<i64> {
        match a {
            Some((v, p)) => self.closed(v, *p, what),
            None => Ok(default),
        }
    }

    fn flag(&mut self, a: &Option<(Value<'a>, Place)>, what: &str) -> R<bool> {
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

    fn number(&mut self, a: &Option<(Value<'a>, Place)>, default: f64, what: &str) -> R<f64> {
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
            return self.shaped(name, Vec::new(), None, args, place);
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
                let (y, back) = self.to_last(&x, axis, place)?;
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
                    v = self.through(&f, v, *p, *q, place)?;
                    out.push(v.clone());
                }
                Ok(Value::List(Rc::new(out)))
            }
            "stop" => match &g[0] {
                Some((v, p)) => self.stopped_value(v, *p),
                None => Err(Bad),
            },
            "all" => match &g[0] {
                Some((v, p)) => self.all_samples(v, *p, place),
                None => Err(Bad),
            },
            "peer" => self.not_yet("`peer`", place),
            _ => self.not_yet(&format!("`{name}`"), place),
        }
    }

    /// A value through a function, or through a list of them in sequence.
    fn through(&mut self, f: &Value<'a>, v: Value<'a>, at: Place, fs: Place, place: Place) -> R<Value<'a>> {
        match f {
            Value::List(l) => {
                let mut v = v;
                for f in l.iter() {
                    v = self.through(f, v, at, fs, place)?;
                }
                Ok(v)
            }
            f => {
                let f = self.callable(f.clone(), fs)?;
                self.apply(&f, vec![Arg { name: None, value: v, place: at }], place)
            }
        }
    }

    fn stopped_value(&mut self, v: &Value<'a>, place: Place) -> R<Value<'a>> {
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

    fn unary(&mut self, name: &str, a: (Value<'a>, Place), place: Place) -> R<Value<'a>> {
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

    fn cast(&mut self, g: &Given<'a>, place: Place) -> R<Value<'a>> {
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
        if self.ty(&t).dtype == to {
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

    fn reduction(&mut self, name: &str, g: &Given<'a>, place: Place) -> R<Value<'a>> {
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

    fn reduce_list(&mut self, name: &str, l: &[Value<'a>], p: Place, place: Place) -> R<Value<'a>> {
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

    fn concat(&mut self, g: &Given<'a>, place: Place) -> R<Value<'a>> {
        let Some((v, p)) = &g[0] else { return Err(Bad) };
        let items = self.items(v, *p)?;
        if items.iter().all(|v| matches!(v, Value::List(_))) && g[1].is_none() {
            let mut out = Vec::new();
            for i in &items {
                if let Value::List(l) = i {
                    out.extend(l.iter().cloned());
                }
            }
            return Ok(Value::List(Rc::new(out)));
        }
        let mut parts = Vec::new();
        for i in &items {
            parts.push(self.tensor_arg("concat", &Some((i.clone(), *p)), place)?);
        }
        let Some(first) = parts.first().cloned() else {
            self.err(Diagnostic::new("E0209", "`concat` of an empty list", *p, "empty"));
            return Err(Bad);
        };
        let ty = self.ty(&first);
        let axis = match &g[1] {
            Some(_) => self.axes(g[1].as_ref(), ty.shape.len(), &ty)?.first().copied().unwrap_or(0),
            None => {
                self.err(Diagnostic::new("E0206", "`concat` is missing its argument `axis`", place, "in this call"));
                return Err(Bad);
            }
        };
        // Dims across the axis agree; what only a binding can compare becomes a requirement.
        for (k, t) in parts.clone().iter().enumerate().skip(1) {
            let other = self.ty(t);
            let fits = other.dtype == ty.dtype && other.shape.len() == ty.shape.len();
            let clash = fits
                && (0..ty.shape.len()).any(|n| {
                    n != axis
                        && other.shape[n] != ty.shape[n]
                        && other.shape[n].sub(&ty.shape[n]).ok().and_then(|d| d.as_int()).is_some()
                });
            if !fits || clash {
                let code = if other.dtype != ty.dtype {
                    "E0202"
                } else if fits {
                    "E0203"
                } else {
                    "E0204"
                };
                let text = match code {
                    "E0202" => "element types differ",
                    "E0203" => "dimensions differ",
                    _ => "numbers of axes differ",
                };
                let d = Diagnostic::new(code, text, *p, format!("joins {ty} and {other} along axis {axis}"));
                self.err(d);
                return Err(Bad);
            }
            let mut shape = ty.shape.clone();
            shape[axis] = other.shape[axis].clone();
            parts[k] = self.retype(t, shape, "what is joined must fit", place)?;
        }
        let unit = first.unit.filter(|u| parts.iter().all(|t| t.unit == Some(u)));
        let labels = first.labels.clone();
        if parts.len() == 1 {
            return Ok(Value::Tensor(first));
        }
        let refs: Vec<&Tensor<'a>> = parts.iter().collect();
        let mut r = self.op(Op::Concat { axis }, &refs, place)?;
        (r.unit, r.labels) = (unit, labels);
        Ok(Value::Tensor(r))
    }

    /// `gather(x, index, axis)`: for every place of `index` (which has the rank of `x`) the element of `x` there, with
    /// the coordinate on the axis replaced by the index.
    fn gather(&mut self, g: &Given<'a>, place: Place) -> R<Value<'a>> {
        let (x, i) = (self.tensor_arg("gather", &g[0], place)?, self.tensor_arg("gather", &g[1], place)?);
        let (tx, ti) = (self.ty(&x), self.ty(&i));
        let axis = self.axes(g[2].as_ref(), tx.shape.len(), &tx)?.first().copied().unwrap_or(0);
        if tx.shape.len() != ti.shape.len() {
            self.err(Diagnostic::new(
                "E0204",
                "`gather` takes an index of the rank of its value",
                place,
                format!("{tx} and {ti}"),
            ));
            return Err(Bad);
        }
        // With the axis last, all others are shared.
        let (x, back) = self.to_last(&x, axis, place)?;
        let (i, _) = self.to_last(&i, axis, place)?;
        let last = tx.shape.len() - 1;
        let r = self.op(Op::Gather { axis: last, batch: last }, &[&x, &i], place)?;
        match back {
            Some(perm) => self.op(Op::Permute(perm), &[&r], place).map(Value::Tensor),
            None => Ok(Value::Tensor(r)),
        }
    }

    fn scatter_add(&mut self, g: &Given<'a>, place: Place) -> R<Value<'a>> {
        let (x, i) = (self.tensor_arg("scatter_add", &g[0], place)?, self.tensor_arg("scatter_add", &g[1], place)?);
        let ty = self.ty(&x);
        let axis = match &g[3] {
            Some(_) => self.axes(g[3].as_ref(), ty.shape.len(), &ty)?.first().copied().unwrap_or(0),
            None => 0,
        };
        let Some((u, p)) = &g[2] else { return Err(Bad) };
        let mut u = self.lift(u, ty.dtype, *p)?;
        let tu = self.ty(&u);
        if tu.dtype == DType::Bool {
            let c = if ty.dtype == DType::F32 { ScalarOp::ToF32 } else { ScalarOp::ToI32 };
            u = self.map(c, &[&u], place)?;
        }
        let ti = self.ty(&i);
        let mut want = ty.shape.clone();
        want.splice(axis..axis + 1, ti.shape.iter().cloned());
        if self.broadcast_shape(&self.ty(&u).shape, &want).as_deref() == Some(&want[..]) {
            u = self.spread(&u, &want, place)?;
        }
        self.op(Op::ScatterAdd { axis, batch: 0 }, &[&x, &i, &u], place).map(Value::Tensor)
    }

    fn zipped(&mut self, numbered: bool, args: Vec<Arg<'a>>, place: Place) -> R<Value<'a>> {
        let mut lists = Vec::new();
        for a in &args {
            lists.push((self.items(&a.value, a.place)?, a.place));
        }
        let Some(n) = lists.first().map(|l| l.0.len()) else {
            self.err(Diagnostic::new("E0206", "nothing to go through", place, "no list"));
            return Err(Bad);
        };
        if let Some(l) = lists.iter().find(|l| l.0.len() != n) {
            self.err(
                Diagnostic::new("E0203", "lists of different lengths", l.1, format!("{} elements", l.0.len()))
                    .label(lists[0].1, format!("{n} elements")),
            );
            return Err(Bad);
        }
        let mut out = Vec::with_capacity(n);
        for k in 0..n {
            let mut row = Vec::new();
            if numbered {
                row.push((None, Value::int(k as i64)));
            }
            row.extend(lists.iter().map(|l| (None, l.0[k].clone())));
            out.push(Value::Record(Rc::new(row)));
        }
        Ok(Value::List(Rc::new(out)))
    }

    /// An initialiser with its shape.
    fn first_values(&mut self, name: &str, args: Vec<Arg<'a>>, place: Place) -> R<Value<'a>> {
        let full: &'static str = match name {
            "zeros" => "init.zeros",
            "ones" => "init.ones",
            "constant" => "init.constant",
            "uniform" => "init.uniform",
            _ => "init.normal",
        };
        let has_shape = args.iter().any(|a| a.name.is_some_and(|n| n.text == "shape"))
            || args.first().is_some_and(|a| a.name.is_none() && matches!(a.value, Value::List(_)));
        if !has_shape {
            return Ok(Value::Func(Func::Partial(Rc::new((Func::Builtin(full), args)))));
        }
        let g = self.given(full, args, place)?;
        let Some((Value::List(l), p)) = &g[0] else { return Err(Bad) };
        let mut shape = Vec::new();
        for d in l.iter() {
            shape.push(self.whole(d, *p, "a dimension")?);
        }
        let rest: Vec<Arg<'a>> =
            g[1..].iter().flatten().map(|(v, p)| Arg { name: None, value: v.clone(), place: *p }).collect();
        match full {
            "init.zeros" => self.filled(Value::Float(0.0), &shape, place),
            "init.ones" => self.filled(Value::Float(1.0), &shape, place),
            "init.constant" => match rest.into_iter().next() {
                Some(a) => self.filled(a.value, &shape, place),
                None => Err(Bad),
            },
            "init.uniform" => self.shaped("random.uniform", shape, None, rest, place),
            _ => self.shaped("random.normal", shape, None, rest, place),
        }
    }

    fn filled(&mut self, v: Value<'a>, shape: &[Dim], place: Place) -> R<Value<'a>> {
        let dtype = match &v {
            Value::Bool(_) => DType::Bool,
            Value::Tensor(t) => self.ty(t).dtype,
            _ => DType::F32,
        };
        self.countable(&TensorType::new(dtype, shape.to_vec()), place)?;
        let t = self.lift(&v, dtype, place)?;
        self.spread(&t, shape, place).map(Value::Tensor)
    }

    /// What takes its shape in brackets.
    pub(crate) fn shaped(
        &mut self,
        name: &'static str,
        shape: Vec<Dim>,
        like: Option<Tensor<'a>>,
        args: Vec<Arg<'a>>,
        place: Place,
    ) -> R<Value<'a>> {
        let g = self.given(name, args, place)?;
        self.countable(&TensorType::new(DType::F32, shape.clone()), place)?;
        let arg = |n: usize, default: f64| g.get(n).cloned().flatten().map_or((Value::Float(default), place), |v| v);
        let mut r = match name {
            "zeros" => self.filled(Value::Float(0.0), &shape, place)?,
            "ones" => self.filled(Value::Float(1.0), &shape, place)?,
            "full" => self.filled(arg(0, 0.0).0, &shape, place)?,
            "iota" => {
                if shape.len() != 1 {
                    self.err(Diagnostic::new("E0204", "`iota` has one axis", place, format!("{} axes", shape.len())));
                    return Err(Bad);
                }
                Value::Tensor(self.add(Op::Iota { axis: 0 }, &[], TensorType::new(DType::I32, shape), place)?)
            }
            "random.uniform" => {
                let u = Value::Tensor(self.draw("uniform", &shape, 0, place)?);
                let (lo, hi) = (arg(0, 0.0), arg(1, 1.0));
                self.between(u, lo, hi, place)?
            }
            "random.normal" => {
                let site = self.draw_site("normal");
                let (a, b) = (self.draw_at(&site, &shape, 0, place)?, self.draw_at(&site, &shape, 1, place)?);
                // Box and Muller: sqrt(-2 log(1 - u)) cos(2 pi v); 1 - u is never 0.
                let p = place;
                let one = self.map_values(ScalarOp::Sub, &[(Value::Float(1.0), p), (Value::Tensor(a), p)], p)?;
                let log = self.map_values(ScalarOp::Log, &[(one, p)], p)?;
                let two = self.map_values(ScalarOp::Mul, &[(Value::Float(-2.0), p), (log, p)], p)?;
                let r = self.map_values(ScalarOp::Sqrt, &[(two, p)], p)?;
                let tau = Value::Float(std::f64::consts::TAU);
                let turn = self.map_values(ScalarOp::Mul, &[(tau, p), (Value::Tensor(b), p)], p)?;
                let c = self.map_values(ScalarOp::Cos, &[(turn, p)], p)?;
                let z = self.map_values(ScalarOp::Mul, &[(r, p), (c, p)], p)?;
                let (mean, std) = (arg(0, 0.0), arg(1, 1.0));
                let z = if matches!(std.0, Value::Float(1.0)) || matches!(&std.0, Value::Int(d) if d.is(1)) {
                    z
                } else {
                    self.map_values(ScalarOp::Mul, &[(z, p), std], p)?
                };
                if as_f64(&mean.0) == Some(0.0) { z } else { self.map_values(ScalarOp::Add, &[mean, (z, p)], p)? }
            }
            "random.bernoulli" => {
                let u = Value::Tensor(self.draw("bernoulli", &shape, 0, place)?);
                self.map_values(ScalarOp::Lt, &[(u, place), arg(0, 0.5)], place)?
            }
            "random.int" => {
                let u = Value::Tensor(self.draw("int", &shape, 0, place)?);
                let (lo, hi) = (arg(0, 0.0), arg(1, 0.0));
                let p = place;
                let n = self.binary(uad_grammar::ast::BinaryOp::Sub, hi, lo.clone(), p)?;
                let n = self.binary(uad_grammar::ast::BinaryOp::Add, (n, p), (Value::int(1), p), p)?;
                let n = Value::Tensor(self.float(&n, p)?);
                let x = self.map_values(ScalarOp::Mul, &[(u, p), (n, p)], p)?;
                let x = self.map_values(ScalarOp::Floor, &[(x, p)], p)?;
                let i = match x {
                    Value::Tensor(t) => Value::Tensor(self.map(ScalarOp::ToI32, &[&t], p)?),
                    v => v,
                };
                self.map_values(ScalarOp::Add, &[(i, p), lo], p)?
            }
            "random.permutation" => {
                if shape.len() != 1 {
                    let text = "`random.permutation` has one axis";
                    self.err(Diagnostic::new("E0204", text, place, format!("{} axes", shape.len())));
                    return Err(Bad);
                }
                let u = self.draw("permutation", &shape, 0, place)?;
                Value::Tensor(self.op(Op::ArgSort { falling: false }, &[&u], place)?)
            }
            "random.choice" => {
                let Some(Some((list, p))) = g.first() else { return Err(Bad) };
                let items = self.items(list, *p)?;
                let mut numbers = Vec::new();
                for v in &items {
                    numbers.push(self.number(&Some((v.clone(), *p)), 0.0, "a choice")?);
                }
                if numbers.is_empty() {
                    self.err(Diagnostic::new("E0209", "a choice from nothing", *p, "empty"));
                    return Err(Bad);
                }
                let u = self.draw("choice", &shape, 0, place)?;
                let n = self.constant(DType::F32, numbers.len() as f64, place)?;
                let n = self.spread(&n, &shape, place)?;
                let x = self.map(ScalarOp::Mul, &[&u, &n], place)?;
                let i = self.map(ScalarOp::ToI32, &[&x], place)?;
                let ty = TensorType::new(DType::F32, vec![Dim::int(numbers.len() as i64)]);
                let table = self.add(Op::Literal(numbers), &[], ty, place)?;
                Value::Tensor(self.op(Op::Gather { axis: 0, batch: 0 }, &[&table, &i], place)?)
            }
            _ => self.fixed_permutation(&shape, &g, place)?,
        };
        if let (Value::Tensor(t), Some(l)) = (&mut r, like) {
            t.labels = l.labels;
        }
        Ok(r)
    }

    fn float(&mut self, v: &Value<'a>, place: Place) -> R<Tensor<'a>> {
        let t = self.lift(v, DType::F32, place)?;
        if self.ty(&t).dtype == DType::F32 { Ok(t) } else { self.map(ScalarOp::ToF32, &[&t], place) }
    }

    fn between(&mut self, u: Value<'a>, lo: (Value<'a>, Place), hi: (Value<'a>, Place), place: Place) -> R<Value<'a>> {
        if as_f64(&lo.0) == Some(0.0) && as_f64(&hi.0) == Some(1.0) {
            return Ok(u);
        }
        let span = self.binary(uad_grammar::ast::BinaryOp::Sub, hi, lo.clone(), place)?;
        let x = self.map_values(ScalarOp::Mul, &[(u, place), (span, place)], place)?;
        if as_f64(&lo.0) == Some(0.0) {
            return Ok(x);
        }
        self.map_values(ScalarOp::Add, &[(x, place), lo], place)
    }

    /// A permutation from a seed: the order of a hash of the positions. The same for every run and device.
    fn fixed_permutation(&mut self, shape: &[Dim], g: &Given<'a>, place: Place) -> R<Value<'a>> {
        if shape.len() != 1 {
            let text = "`fixed.permutation` has one axis";
            self.err(Diagnostic::new("E0204", text, place, format!("{} axes", shape.len())));
            return Err(Bad);
        }
        let seed = self.int_arg(&g[0], 0, "a seed")?;
        let ty = TensorType::new(DType::I32, shape.to_vec());
        let mut x = self.add(Op::Iota { axis: 0 }, &[], ty, place)?;
        // Integer mixing by xor, shifts and odd factors (wrapping), three rounds.
        let number = |ev: &mut Ev<'a>, v: i32| -> R<Tensor<'a>> {
            let c = ev.constant(DType::I32, f64::from(v), place)?;
            ev.spread(&c, shape, place)
        };
        let s = number(self, (seed as i32).wrapping_mul(0x9E37).wrapping_add(0x7F4A))?;
        x = self.map(ScalarOp::Xor, &[&x, &s], place)?;
        for (shift, factor) in [(16, 0x45D9), (15, 0x2C1B), (13, 0x3C6F)] {
            let by = number(self, shift)?;
            let y = self.map(ScalarOp::Shr, &[&x, &by], place)?;
            x = self.map(ScalarOp::Xor, &[&x, &y], place)?;
            // Products stay below 2^31: only the low 16 bits are multiplied, the rest is mixed in by xor.
            let low = number(self, 0x7FFF)?;
            let top = number(self, 0x10000)?;
            let a = self.map(ScalarOp::Rem, &[&x, &top], place)?;
            let a = self.map(ScalarOp::Rem, &[&a, &low], place)?;
            let f = number(self, factor)?;
            let m = self.map(ScalarOp::Mul, &[&a, &f], place)?;
            x = self.map(ScalarOp::Xor, &[&x, &m], place)?;
        }
        let r = self.op(Op::ArgSort { falling: false }, &[&x], place)?;
        Ok(Value::Tensor(r))
    }

    /// The path of a draw's site: instances and functions around it, the kind, and its number there.
    fn draw_site(&mut self, kind: &str) -> String {
        if let Some(path) = &self.site {
            let path = path.clone();
            let n = self.draws.entry(format!("init:{path}")).or_insert(0);
            *n += 1;
            return if *n == 1 { path } else { format!("{path}.{n}") };
        }
        let l = self.top();
        let mut labels: Vec<String> = Vec::new();
        let mut at = Some(l.scope);
        while let Some(s) = at {
            let scope = &l.graph.scopes[s.0 as usize];
            if scope.parent.is_some() {
                labels.push(scope.label.clone());
            }
            at = scope.parent;
        }
        labels.reverse();
        labels.push(kind.to_string());
        let path = labels.join(".");
        let n = self.draws.entry(path.clone()).or_insert(0);
        *n += 1;
        if *n == 1 { path } else { format!("{path}.{n}") }
    }

    fn draw(&mut self, kind: &str, shape: &[Dim], lane: u8, place: Place) -> R<Tensor<'a>> {
        let site = self.draw_site(kind);
        self.draw_at(&site, shape, lane, place)
    }

    fn draw_at(&mut self, site: &str, shape: &[Dim], lane: u8, place: Place) -> R<Tensor<'a>> {
        let sample = shape.iter().position(|d| d.as_name() == Some("b"));
        if sample.is_none() && shape.iter().any(|d| d.names().iter().any(|n| n == "b")) {
            self.warn(
                Diagnostic::new(
                    "W0502",
                    "this draw depends on the batch size",
                    place,
                    "`b` is folded into a dimension",
                )
                .help("draw with an axis of its own for `b`, then fold"),
            );
        }
        let op = Op::Draw { site: site.to_string(), lane, sample };
        let t = self.add(op, &[], TensorType::new(DType::F32, shape.to_vec()), place)?;
        self.facts.draws.entry(site.to_string()).or_insert(place);
        Ok(t)
    }
}
