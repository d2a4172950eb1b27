//! Joining and picking: `concat`, `gather`, `scatter_add`, `zip`, `enumerate`.
//!
//! In: arguments of functions of the prelude. Out: tensors and lists. Invariants: dims across the joined axis agree.
//! Imports: values, operations.

use std::rc::Rc;

use uad_plan::{DType, ScalarOp};

use crate::diag::{Diagnostic, Place};
use crate::graph::{Op, Shape};

use super::Ev;
use super::builtin::Given;
use super::value::{Arg, Bad, R, Tensor, Value};

impl<'a> Ev<'a> {
    pub(super) fn concat(&mut self, g: &Given<'a>, place: Place) -> R<Value<'a>> {
        let Some((v, p)) = &g[0] else { return Err(Bad) };
        let items = self.items(v, *p)?;
        if items.iter().all(|v| matches!(v, Value::List(_))) && g[1].is_none() {
            let mut out = Vec::new();
            for i in &items {
                if let Value::List(l) = i {
                    out.extend(l.iter().cloned());
                }
            }
            return self.bounded(Value::List(Rc::new(out)), place);
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
            let clash = fits && (0..ty.shape.len()).any(|n| n != axis && other.shape[n].differs(&ty.shape[n]));
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
                let mut label = format!("joins {ty} and {other} along axis {axis}");
                if code == "E0203"
                    && let Some(n) = (0..ty.shape.len()).find(|n| *n != axis && ty.shape[*n] != other.shape[*n])
                {
                    label += &format!(": axis {n} is {} and {}", ty.shape[n], other.shape[n]);
                }
                let d = Diagnostic::new(code, text, *p, label);
                self.err(d);
                return Err(Bad);
            }
            let mut shape = ty.shape.to_vec();
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
    pub(super) fn gather(&mut self, g: &Given<'a>, place: Place) -> R<Value<'a>> {
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
        let (x, back) = self.axis_last(&x, axis, place)?;
        let (i, _) = self.axis_last(&i, axis, place)?;
        let last = tx.shape.len() - 1;
        let r = self.op(Op::Gather { axis: last, batch: last }, &[&x, &i], place)?;
        match back {
            Some(perm) => self.op(Op::Permute(perm), &[&r], place).map(Value::Tensor),
            None => Ok(Value::Tensor(r)),
        }
    }

    pub(super) fn scatter_add(&mut self, g: &Given<'a>, place: Place) -> R<Value<'a>> {
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
        let mut want = ty.shape.to_vec();
        want.splice(axis..axis + 1, ti.shape.iter().cloned());
        let want = Shape::from(want);
        if self.broadcast_shape(&self.ty(&u).shape, &want).as_deref() == Some(&want[..]) {
            u = self.spread(&u, &want, place)?;
        }
        self.op(Op::ScatterAdd { axis, batch: 0 }, &[&x, &i, &u], place).map(Value::Tensor)
    }

    pub(super) fn zipped(&mut self, numbered: bool, args: Vec<Arg<'a>>, place: Place) -> R<Value<'a>> {
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
        self.bounded(Value::List(Rc::new(out)), place)
    }
}
