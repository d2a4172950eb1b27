//! Operations on tensors: broadcasting, element types, contractions, reductions.
//!
//! In: values with their places. Out: tensors. Invariants: broadcasting is explicit in the graph; an operation of two
//! element types is an error, except that truths count as 0 and 1 in arithmetic. Imports: values, emission.

use std::borrow::Cow;

use smallvec::SmallVec;
use uad_grammar::ast::ViewSide;
use uad_plan::{DType, Dim, ReduceOp, ScalarOp};

use crate::diag::{Diagnostic, Place};
use crate::graph::{Op, Shape, TensorType};

use super::Ev;
use super::value::{Bad, Env, R, Tensor, Value};

/// Operands of a scalar operation.
type Few<T> = SmallVec<[T; 3]>;

/// Does a shape become another by repeating axes of extent 1 and what lacks in front?
fn repeats(own: &[Dim], whole: &[Dim]) -> bool {
    let lead = whole.len().checked_sub(own.len());
    lead.is_some_and(|lead| own.iter().zip(&whole[lead..]).all(|(d, s)| d == s || d.is(1)))
}

impl<'a> Ev<'a> {
    /// The shape of two under broadcasting, or `None` where two dims differ.
    pub(crate) fn broadcast_shape(&self, a: &[Dim], b: &[Dim]) -> Option<Vec<Dim>> {
        let rank = a.len().max(b.len());
        let mut out = Vec::with_capacity(rank);
        for n in 0..rank {
            let x = (n + a.len()).checked_sub(rank).map(|i| &a[i]);
            let y = (n + b.len()).checked_sub(rank).map(|i| &b[i]);
            out.push(match (x, y) {
                (Some(x), Some(y)) if x == y || y.is(1) => x.clone(),
                (Some(x), Some(y)) if x.is(1) => y.clone(),
                (Some(_), Some(_)) => return None,
                (Some(x), None) | (None, Some(x)) => x.clone(),
                (None, None) => return None,
            });
        }
        Some(out)
    }

    /// Tensors at one shape; dims that only a binding can compare become requirements.
    pub(crate) fn align(&mut self, args: &[(Tensor<'a>, Place)], place: Place) -> R<Few<Tensor<'a>>> {
        // Most often one of them has the shape of all.
        let mut shapes = args.iter().map(|(t, _)| &self.type_of(t).shape);
        if let Some(shape) = shapes.find(|s| args.iter().all(|(t, _)| repeats(&self.type_of(t).shape, s))) {
            let shape = shape.clone();
            let mut out = Few::new();
            for (t, p) in args {
                out.push(self.spread(t, &shape, *p)?);
            }
            return Ok(out);
        }
        let mut shape: Vec<Dim> = Vec::new();
        let mut owner = vec![];
        for (k, (t, p)) in args.iter().enumerate() {
            let ty = self.type_of(t);
            let rank = shape.len().max(ty.shape.len());
            while shape.len() < rank {
                shape.insert(0, Dim::int(1));
                owner.insert(0, k);
            }
            let lead = rank - ty.shape.len();
            for (n, d) in ty.shape.iter().enumerate() {
                let at = lead + n;
                if *d == shape[at] || d.is(1) {
                    continue;
                }
                if shape[at].is(1) {
                    shape[at] = d.clone();
                    owner[at] = k;
                    continue;
                }
                if d.differs(&shape[at]) {
                    let first = &args[owner[at]];
                    self.differ(&first.0, first.1, t, *p, at, rank, place);
                    return Err(Bad);
                }
            }
        }
        let (mut out, shape) = (Few::new(), Shape::from(shape));
        for (t, p) in args {
            let own = &self.type_of(t).shape;
            let lead = shape.len() - own.len();
            let t = if repeats(own, &shape) {
                t.clone()
            } else {
                let fixed = own.iter().zip(&shape[lead..]).map(|(d, s)| if d.is(1) { d.clone() } else { s.clone() });
                self.retype(t, fixed.collect::<Shape>(), "operands must have one shape", *p)?
            };
            out.push(self.spread(&t, &shape, place)?);
        }
        Ok(out)
    }

    fn differ(&mut self, a: &Tensor<'a>, pa: Place, b: &Tensor<'a>, pb: Place, at: usize, rank: usize, place: Place) {
        let (ta, tb) = (self.ty(a), self.ty(b));
        let (na, nb) = (at + ta.shape.len() - rank, at + tb.shape.len() - rank);
        let say = |ev: &Ev<'a>, t: &Tensor<'a>, ty: &TensorType, n: usize| {
            let origin = ev.origin(t, n).map_or(String::new(), |o| format!("; {} = {o}", ty.shape[n]));
            format!("{ty}{origin}")
        };
        let (sa, sb) = (say(self, a, &ta, na), say(self, b, &tb, nb));
        let mut d = Diagnostic::new("E0203", "dimensions differ", pa, sa).label(pb, sb);
        let (x, y) = (&ta.shape[na], &tb.shape[nb]);
        let last = ta.shape.len() == tb.shape.len() && na + 1 == ta.shape.len();
        d.help = if ta.shape.len() != tb.shape.len() {
            Some(format!("axes are matched from the last; `x[:, new]` adds one where it is missing ({x} meets {y})"))
        } else if last && self.is_of_weight(a, na) {
            Some(format!("give the layer before it {y} outputs: `linear({y})`"))
        } else if last && self.is_of_weight(b, nb) {
            Some(format!("give the layer before it {x} outputs: `linear({x})`"))
        } else {
            None
        };
        let _ = place;
        self.err(d);
    }

    /// A scalar operation on values: element types agree, shapes broadcast.
    pub(crate) fn map_values(&mut self, op: ScalarOp, args: &[(Value<'a>, Place)], place: Place) -> R<Value<'a>> {
        use ScalarOp as S;
        let skip = usize::from(op == S::Select);
        let mut dtype: Option<(DType, Place)> = None;
        let mut clash = None;
        for (v, p) in &args[skip..] {
            if let Some(d) = self.dtype_of(v) {
                match dtype {
                    None => dtype = Some((d, *p)),
                    Some((old, _)) if old == d => {}
                    Some((DType::Bool, _)) => dtype = Some((d, *p)),
                    Some(_) if d == DType::Bool => {}
                    Some((old, q)) => clash = Some(((old, q), (d, *p))),
                }
            }
        }
        if let Some(((a, pa), (b, pb))) = clash {
            self.err(
                Diagnostic::new("E0202", format!("`{}` of {a} and {b}", op.name()), pa, format!("is {a}"))
                    .label(pb, format!("is {b}"))
                    .help("`cast(x, f32)` converts"),
            );
            return Err(Bad);
        }
        let float = args[skip..].iter().any(|a| matches!(a.0, Value::Float(_) | Value::Ratio(_)));
        let truth = args[skip..].iter().all(|a| matches!(a.0, Value::Bool(_)));
        let mut dtype = match dtype {
            Some((d, _)) => d,
            None if truth => DType::Bool,
            None if float || op == S::Select => DType::F32,
            None => DType::I32,
        };
        // Truths count in arithmetic; floats make the rest float only where the rest is static.
        if dtype == DType::Bool
            && !matches!(op, S::And | S::Or | S::Not | S::Select | S::Eq | S::ToF32 | S::ToI32 | S::ToBool)
        {
            dtype = if args[skip..].iter().all(|a| matches!(a.0, Value::Tensor(_) | Value::Bool(_) | Value::Int(_)))
                && !float
            {
                DType::I32
            } else {
                DType::F32
            };
        }
        if matches!(op, S::And | S::Or | S::Not) {
            dtype = DType::Bool;
        }
        if dtype == DType::Bool && matches!(op, S::Eq | S::Select) && args[skip..].iter().any(|a| a.0.is_number()) {
            dtype = DType::F32;
        }
        let mut tensors: Few<(Tensor<'a>, Place)> = Few::new();
        for (n, (v, p)) in args.iter().enumerate() {
            let want = if n < skip { DType::Bool } else { dtype };
            let mut t = self.lift(v, want, *p)?;
            let have = self.type_of(&t).dtype;
            if have != want {
                if have == DType::Bool && n >= skip {
                    let cast = if want == DType::F32 { S::ToF32 } else { S::ToI32 };
                    t = self.map(cast, &[&t], *p)?;
                } else {
                    let ty = self.ty(&t);
                    self.err(
                        Diagnostic::new(
                            "E0202",
                            format!("`{}` takes {want}, found {have}", op.name()),
                            *p,
                            format!("is {ty}"),
                        )
                        .help(if want == DType::Bool {
                            "compare it: `x > 0`".to_string()
                        } else {
                            format!("`cast(x, {want})` converts")
                        }),
                    );
                    return Err(Bad);
                }
            }
            tensors.push((t, *p));
        }
        if matches!(op.rule(), uad_plan::scalar::Rule::Float) && dtype != DType::F32 {
            // Exact functions of integers are themselves; others need f32.
            if matches!(op, S::Floor | S::Round) {
                return Ok(Value::Tensor(tensors[0].0.clone()));
            }
            let ty = self.ty(&tensors[0].0);
            self.err(
                Diagnostic::new(
                    "E0202",
                    format!("`{}` takes f32, found {}", op.name(), ty.dtype),
                    tensors[0].1,
                    format!("is {ty}"),
                )
                .help("`cast(x, f32)` converts"),
            );
            return Err(Bad);
        }
        let aligned = self.align(&tensors, place)?;
        let refs: Few<&Tensor<'a>> = aligned.iter().collect();
        let mut r = self.map(op, &refs, place)?;
        // Names of axes live on where the shape does.
        let rank = self.type_of(&r).shape.len();
        r.labels = tensors
            .iter()
            .find_map(|t| t.0.labels.clone().filter(|l| l.len() == rank && l.iter().any(|n| !n.is_empty())));
        if op == S::Select {
            let tags: Vec<Option<&'a str>> =
                args[1..].iter().map(|a| if let Value::Tensor(t) = &a.0 { t.unit } else { None }).collect();
            if tags[0] == tags[1] {
                r.unit = tags[0];
            }
        }
        Ok(Value::Tensor(r))
    }

    /// `a @ b`: the last axis of `a` with the last but one of `b` (or its only one); leading axes broadcast.
    pub(crate) fn matmul(&mut self, a: &(Value<'a>, Place), b: &(Value<'a>, Place), place: Place) -> R<Value<'a>> {
        let mut sides = Vec::new();
        for (v, p) in [a, b] {
            match v {
                Value::Tensor(t) => sides.push((t.clone(), *p)),
                _ => {
                    let is = self.describe(v);
                    self.err(Diagnostic::new("E0201", "`@` takes tensors", *p, format!("this is {is}")));
                    return Err(Bad);
                }
            }
        }
        let (mut x, mut y) = (sides[0].0.clone(), sides[1].0.clone());
        let (tx, ty) = (self.ty(&x), self.ty(&y));
        for (t, p) in [(&tx, a.1), (&ty, b.1)] {
            if t.shape.is_empty() || t.dtype != DType::F32 {
                let code = if t.dtype == DType::F32 { "E0204" } else { "E0202" };
                self.err(Diagnostic::new(code, "`@` takes matrices of f32", p, format!("is {t}")));
                return Err(Bad);
            }
        }
        let (rx, ry) = (tx.shape.len(), ty.shape.len());
        let (kx, ky) = (rx - 1, ry.saturating_sub(2));
        if tx.shape[kx] != ty.shape[ky] {
            if tx.shape[kx].differs(&ty.shape[ky]) {
                let say = |ev: &Ev<'a>, t: &Tensor<'a>, ty: &TensorType, n: usize| {
                    let origin = ev.origin(t, n).map_or(String::new(), |o| format!("; {} = {o}", ty.shape[n]));
                    format!("{ty}, axis {n} is {}{origin}", ty.shape[n])
                };
                let (sa, sb) = (say(self, &x, &tx, kx), say(self, &y, &ty, ky));
                self.err(Diagnostic::new("E0203", "dimensions differ", a.1, sa).label(b.1, sb));
                return Err(Bad);
            }
            let mut shape = ty.shape.to_vec();
            shape[ky] = tx.shape[kx].clone();
            y = self.retype(&y, shape, "`@` pairs axes of one extent", place)?;
        }
        // Leading axes of `b` go along with those of `a`.
        let lead = ry.saturating_sub(2);
        let mut batch = Vec::new();
        if lead > 0 {
            let la = rx.saturating_sub(2);
            if la < lead {
                let mut shape = ty.shape[..lead - la].to_vec();
                shape.extend(tx.shape.iter().cloned());
                x = self.spread(&x, &shape.into(), place)?;
            }
            let sx = self.ty(&x).shape;
            let la = sx.len() - 2;
            for n in 0..lead {
                let (i, j) = (la - lead + n, n);
                let sy = self.ty(&y).shape;
                if sy[j] != sx[i] {
                    if sy[j].is(1) {
                        let mut shape = sy.to_vec();
                        shape[j] = sx[i].clone();
                        y = self.spread(&y, &shape.into(), place)?;
                    } else if sx[i].is(1) {
                        let mut shape = sx.to_vec();
                        shape[i] = sy[j].clone();
                        x = self.spread(&x, &shape.into(), place)?;
                    } else {
                        self.err(
                            Diagnostic::new("E0203", "dimensions differ", a.1, format!("is {tx}"))
                                .label(b.1, format!("is {ty}: leading axes go together")),
                        );
                        return Err(Bad);
                    }
                }
                batch.push((i, j));
            }
        }
        let (rx, ry) = (self.type_of(&x).shape.len(), self.type_of(&y).shape.len());
        let contract = vec![(rx - 1, ry.saturating_sub(2))];
        let n = batch.len();
        let free = rx - 1 - n; // free axes of `a`: those before the batch, and the row
        let r = self.op(Op::Dot { batch, contract }, &[&x, &y], place)?;
        // Dot gives batch, free a, free b; free axes of `a` that stood before the batch go back there.
        let before = free.saturating_sub(usize::from(rx >= 2));
        if n > 0 && before > 0 {
            let rank = self.type_of(&r).shape.len();
            let mut perm: Vec<usize> = (n..n + before).collect();
            perm.extend(0..n);
            perm.extend(n + before..rank);
            return self.op(Op::Permute(perm), &[&r], place).map(Value::Tensor);
        }
        Ok(Value::Tensor(r))
    }

    /// `dot(a, b, [.., .. -> ..])`.
    pub(crate) fn contraction(
        &mut self,
        a: &(Value<'a>, Place),
        b: &(Value<'a>, Place),
        left: &'a [ViewSide],
        right: &'a ViewSide,
        env: &Env<'a>,
        place: Place,
    ) -> R<Value<'a>> {
        let [la, lb] = left else {
            self.err(Diagnostic::new("E0206", "`dot` contracts two tensors", place, "needs two patterns"));
            return Err(Bad);
        };
        let pattern = self.at(env.module, la.span.to(right.span));
        let mut sides = Vec::new();
        for ((v, p), s) in [(a, la), (b, lb)] {
            let Value::Tensor(t) = v else {
                let is = self.describe(v);
                self.err(Diagnostic::new("E0201", "`dot` takes tensors", *p, format!("this is {is}")));
                return Err(Bad);
            };
            let ty = self.ty(t);
            let mut names: Vec<Cow<'a, str>> = Vec::new();
            for x in &s.axes {
                match x {
                    uad_grammar::ast::ViewAxis::Name(n) if !names.contains(&Cow::Borrowed(n.text.as_str())) => {
                        names.push(Cow::Borrowed(n.text.as_str()));
                    }
                    uad_grammar::ast::ViewAxis::Rest(_) => {
                        let extra = (ty.shape.len() + 1).saturating_sub(s.axes.len());
                        names.extend((0..extra).map(|k| Cow::Owned(format!("...{k}"))));
                    }
                    _ => {
                        let sp = self.at(env.module, s.span);
                        self.err(Diagnostic::new("E0208", "a contraction names each axis once", sp, "here"));
                        return Err(Bad);
                    }
                }
            }
            if names.len() != ty.shape.len() {
                let sp = self.at(env.module, s.span);
                self.err(
                    Diagnostic::new(
                        "E0208",
                        format!("the pattern has {} axes, the value {}", names.len(), ty.shape.len()),
                        sp,
                        format!("{} axes", names.len()),
                    )
                    .label(*p, format!("is {ty}")),
                );
                return Err(Bad);
            }
            sides.push((t.clone(), names, *p, ty));
        }
        let mut want: Vec<Cow<'a, str>> = Vec::new();
        for x in &right.axes {
            match x {
                uad_grammar::ast::ViewAxis::Name(n) => want.push(Cow::Borrowed(n.text.as_str())),
                uad_grammar::ast::ViewAxis::Rest(_) => {
                    let rest = sides.iter().flat_map(|s| s.1.iter()).filter(|n| n.starts_with("..."));
                    let mut all: Vec<Cow<'a, str>> = Vec::new();
                    for n in rest {
                        if !all.contains(n) {
                            all.push(n.clone());
                        }
                    }
                    want.extend(all);
                }
                _ => {
                    self.err(Diagnostic::new("E0208", "a contraction's result is a list of axes", pattern, "here"));
                    return Err(Bad);
                }
            }
        }
        let (x, y) = (sides[0].clone(), sides[1].clone());
        let (mut batch, mut contract) = (Vec::new(), Vec::new());
        let mut yt = y.0.clone();
        let mut summed: [Vec<usize>; 2] = [Vec::new(), Vec::new()];
        for (i, n) in x.1.iter().enumerate() {
            match y.1.iter().position(|m| m == n) {
                Some(j) => {
                    let (dx, dy) = (x.3.shape[i].clone(), self.ty(&yt).shape[j].clone());
                    if dx != dy {
                        if dx.differs(&dy) {
                            let say = |ev: &Ev<'a>, t: &Tensor<'a>, ty: &TensorType, k: usize| {
                                let o = ev.origin(t, k).map_or(String::new(), |o| format!("; {} = {o}", ty.shape[k]));
                                format!("{ty}: `{n}` is {}{o}", ty.shape[k])
                            };
                            let (sa, sb) = (say(self, &x.0, &x.3, i), say(self, &y.0, &y.3, j));
                            self.err(Diagnostic::new("E0203", "dimensions differ", x.2, sa).label(y.2, sb));
                            return Err(Bad);
                        }
                        let mut shape = self.type_of(&yt).shape.to_vec();
                        shape[j] = dx;
                        yt = self.retype(&yt, shape, "`dot` pairs axes of one extent", place)?;
                    }
                    if want.contains(n) { batch.push((i, j)) } else { contract.push((i, j)) }
                }
                None if !want.contains(n) => summed[0].push(i),
                None => {}
            }
        }
        for (j, n) in y.1.iter().enumerate() {
            if !x.1.contains(n) && !want.contains(n) {
                summed[1].push(j);
            }
        }
        if let Some(n) = want.iter().find(|n| !x.1.contains(n) && !y.1.contains(n)) {
            self.err(Diagnostic::new("E0208", format!("`{n}` is on the right only"), pattern, "here"));
            return Err(Bad);
        }
        let mut seen = want.clone();
        seen.sort();
        seen.dedup();
        if seen.len() != want.len() {
            self.err(Diagnostic::new("E0208", "an axis stands on the right twice", pattern, "here"));
            return Err(Bad);
        }
        if !summed[0].is_empty() || !summed[1].is_empty() {
            self.err(
                Diagnostic::new("E0208", "an axis of one side alone is on the left only", pattern, "here")
                    .help("sum it before: `sum(x, axis: …)`"),
            );
            return Err(Bad);
        }
        let mut have: Vec<Cow<'a, str>> = batch.iter().map(|p: &(usize, usize)| x.1[p.0].clone()).collect();
        have.extend(
            x.1.iter()
                .enumerate()
                .filter(|(i, _)| !batch.iter().chain(&contract).any(|p| p.0 == *i))
                .map(|n| n.1.clone()),
        );
        have.extend(
            y.1.iter()
                .enumerate()
                .filter(|(j, _)| !batch.iter().chain(&contract).any(|p| p.1 == *j))
                .map(|n| n.1.clone()),
        );
        let r = self.op(Op::Dot { batch, contract }, &[&x.0, &yt], place)?;
        let perm: Vec<usize> = want.iter().filter_map(|n| have.iter().position(|h| h == n)).collect();
        if perm.windows(2).all(|w| w[0] < w[1]) {
            return Ok(Value::Tensor(r));
        }
        self.op(Op::Permute(perm), &[&r], place).map(Value::Tensor)
    }

    /// Axes as given, without negative numbers, rising. `None`: all.
    pub(crate) fn axes(&mut self, v: Option<&(Value<'a>, Place)>, rank: usize, ty: &TensorType) -> R<Vec<usize>> {
        let Some((v, p)) = v else { return Ok((0..rank).collect()) };
        let list = match v {
            Value::List(l) => l.to_vec(),
            v => vec![v.clone()],
        };
        let mut out = Vec::new();
        for v in &list {
            let i = self.closed(v, *p, "an axis")?;
            let k = if i < 0 { i + rank as i64 } else { i };
            if k < 0 || k >= rank as i64 {
                self.err(Diagnostic::new("E0209", format!("{ty} has no axis {i}"), *p, "out of range"));
                return Err(Bad);
            }
            if out.contains(&(k as usize)) {
                self.err(Diagnostic::new("E0209", format!("axis {i} is given twice"), *p, "again"));
                return Err(Bad);
            }
            out.push(k as usize);
        }
        out.sort_unstable();
        Ok(out)
    }

    /// Reduction over axes.
    pub(crate) fn reduce(
        &mut self,
        op: ReduceOp,
        t: &Tensor<'a>,
        axes: &[usize],
        keep: bool,
        place: Place,
    ) -> R<Tensor<'a>> {
        let ty = self.ty(t);
        let mut x = t.clone();
        let mut axes = axes.to_vec();
        if matches!(op, ReduceOp::ArgMax | ReduceOp::ArgMin) && axes.len() != 1 {
            let n = Dim::product(&ty.shape).map_err(|e| self.dim_error(e, place))?;
            x = self.reshaped(&x, vec![n], place)?;
            axes = vec![0];
        }
        let kept_shape: Vec<Dim> =
            ty.shape.iter().enumerate().map(|(n, d)| if axes.contains(&n) { Dim::int(1) } else { d.clone() }).collect();
        let mut r = if axes.is_empty() { x } else { self.op(Op::Reduce { op, axes: axes.clone() }, &[&x], place)? };
        r.unit = None;
        let labels = t.labels.as_ref().filter(|l| l.len() == ty.shape.len());
        if keep {
            r = self.reshaped(&r, kept_shape, place)?;
            r.labels = labels.cloned();
        } else {
            r.labels = labels.map(|l| {
                l.iter().enumerate().filter(|(n, _)| !axes.contains(n)).map(|l| *l.1).collect::<Vec<_>>().into()
            });
        }
        Ok(r)
    }

    /// Number of elements along axes, as a static value.
    pub(crate) fn extent(&mut self, ty: &TensorType, axes: &[usize], place: Place) -> R<Dim> {
        Dim::product(axes.iter().map(|a| &ty.shape[*a])).map_err(|e| self.dim_error(e, place))
    }

    /// Moves an axis to the end and says how to move it back.
    pub(crate) fn axis_last(
        &mut self,
        t: &Tensor<'a>,
        axis: usize,
        place: Place,
    ) -> R<(Tensor<'a>, Option<Vec<usize>>)> {
        let rank = self.type_of(t).shape.len();
        if axis + 1 == rank {
            return Ok((t.clone(), None));
        }
        let mut perm: Vec<usize> = (0..rank).filter(|n| *n != axis).collect();
        perm.push(axis);
        let mut back: Vec<usize> = (0..rank - 1).collect();
        back.insert(axis, rank - 1);
        let x = self.op(Op::Permute(perm), &[t], place)?;
        Ok((x, Some(back)))
    }
}
