//! What takes a shape: fills, counts, draws, first values of weights.
//!
//! In: a shape and arguments. Out: tensors. Invariants: a draw is keyed by the path of its site; where its shape has `b`,
//! by each sample's number. Imports: values, operations.

use uad_plan::{DType, Dim, ScalarOp};

use crate::diag::{Diagnostic, Place};
use crate::graph::{Op, Shape, TensorType};

use super::Ev;
use super::builtin::Given;
use super::number::as_f64;
use super::value::{Arg, Bad, Func, R, Tensor, Value};
use std::rc::Rc;

impl<'a> Ev<'a> {
    /// An initialiser with its shape.
    pub(super) fn first_values(&mut self, name: &str, args: Vec<Arg<'a>>, place: Place) -> R<Value<'a>> {
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
        let shape: Shape = l.iter().map(|d| self.whole(d, *p, "a dimension")).collect::<R<_>>()?;
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

    pub(super) fn filled(&mut self, v: Value<'a>, shape: &Shape, place: Place) -> R<Value<'a>> {
        let dtype = match &v {
            Value::Bool(_) => DType::Bool,
            Value::Tensor(t) => self.type_of(t).dtype,
            _ => DType::F32,
        };
        self.countable(shape, place)?;
        let t = self.lift(&v, dtype, place)?;
        self.spread(&t, shape, place).map(Value::Tensor)
    }

    /// What takes its shape in brackets.
    pub(crate) fn shaped(
        &mut self,
        name: &'static str,
        shape: Shape,
        like: Option<Tensor<'a>>,
        args: Vec<Arg<'a>>,
        place: Place,
    ) -> R<Value<'a>> {
        let g = self.given(name, args, place)?;
        self.countable(&shape, place)?;
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

    pub(super) fn float(&mut self, v: &Value<'a>, place: Place) -> R<Tensor<'a>> {
        let t = self.lift(v, DType::F32, place)?;
        if self.type_of(&t).dtype == DType::F32 { Ok(t) } else { self.map(ScalarOp::ToF32, &[&t], place) }
    }

    pub(super) fn between(
        &mut self,
        u: Value<'a>,
        lo: (Value<'a>, Place),
        hi: (Value<'a>, Place),
        place: Place,
    ) -> R<Value<'a>> {
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
    pub(super) fn fixed_permutation(&mut self, shape: &Shape, g: &Given<'a>, place: Place) -> R<Value<'a>> {
        if shape.len() != 1 {
            let text = "`fixed.permutation` has one axis";
            self.err(Diagnostic::new("E0204", text, place, format!("{} axes", shape.len())));
            return Err(Bad);
        }
        let seed = self.int_arg(&g[0], 0, "a seed")?;
        let ty = TensorType::new(DType::I32, shape.clone());
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
    pub(super) fn draw_site(&mut self, kind: &str) -> String {
        if let Some(path) = &self.site {
            let path = path.clone();
            let n = self.draws.entry(format!("init:{path}")).or_insert(0);
            *n += 1;
            return if *n == 1 { path } else { format!("{path}.{n}") };
        }
        self.own = true;
        let l = self.top();
        let mut labels: Vec<String> = Vec::new();
        let mut at = Some(l.scope);
        while let Some(s) = at {
            let scope = &l.graph.scopes[s.0 as usize];
            if scope.parent.is_some() {
                labels.push(scope.label.to_string());
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

    pub(super) fn draw(&mut self, kind: &str, shape: &Shape, lane: u8, place: Place) -> R<Tensor<'a>> {
        let site = self.draw_site(kind);
        self.draw_at(&site, shape, lane, place)
    }

    pub(super) fn draw_at(&mut self, site: &str, shape: &Shape, lane: u8, place: Place) -> R<Tensor<'a>> {
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
        let t = self.add(op, &[], TensorType::new(DType::F32, shape.clone()), place)?;
        self.facts.draws.entry(site.to_string()).or_insert(place);
        Ok(t)
    }
}
