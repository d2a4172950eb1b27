//! Views `x[b c h w -> b (h w) c]`, indexing, and shapes in brackets.
//!
//! In: a tensor and a pattern or index items. Out: permutes, reshapes, expansions, slices and gathers. Invariants: a
//! view keeps the unit; every axis on the left stands on the right, or is 1. Imports: values, emission.

use smallvec::{SmallVec, smallvec};
use uad_grammar::ast::{ViewAxis, ViewSide};
use uad_plan::{Dim, Relation};

use crate::diag::{Diagnostic, Place};
use crate::graph::{Op, Shape, TensorType};

use super::Ev;
use super::value::{Bad, Env, R, Tensor, Value};

/// One axis of a pattern after groups are opened.
#[derive(Clone, Debug)]
pub(crate) enum Atom<'a> {
    Name(&'a str, Place),
    Int(i64, Place),
    /// Number of axes it stands for.
    Rest(Place),
}

/// Parts of a pattern: most have few axes.
type Few<T> = SmallVec<[T; 6]>;

/// An axis of a pattern: its atoms, and whether they stood in parentheses.
type Axis<'a> = (SmallVec<[Atom<'a>; 2]>, bool);

/// One side of a pattern.
type Side<'a> = SmallVec<[Axis<'a>; 4]>;

impl<'a> Ev<'a> {
    fn side(&mut self, s: &'a ViewSide, env: &Env<'a>) -> R<Side<'a>> {
        let mut out = Side::new();
        for a in &s.axes {
            out.push(match a {
                ViewAxis::Group(inner, _) => {
                    let mut atoms = SmallVec::new();
                    self.atoms(inner, env, &mut atoms, 0)?;
                    (atoms, true)
                }
                a => {
                    let mut atoms = SmallVec::new();
                    self.atoms(std::slice::from_ref(a), env, &mut atoms, 0)?;
                    (atoms, false)
                }
            });
        }
        Ok(out)
    }

    fn atoms(&mut self, axes: &'a [ViewAxis], env: &Env<'a>, out: &mut SmallVec<[Atom<'a>; 2]>, depth: usize) -> R<()> {
        for a in axes {
            match a {
                ViewAxis::Name(n) => out.push(Atom::Name(&n.text, self.at(env.module, n.span))),
                ViewAxis::Int(i, s) => out.push(Atom::Int(*i, self.at(env.module, *s))),
                ViewAxis::Rest(s) => out.push(Atom::Rest(self.at(env.module, *s))),
                ViewAxis::Group(inner, s) => {
                    if depth > 16 {
                        let p = self.at(env.module, *s);
                        self.err(Diagnostic::new("E0208", "groups are nested too deeply", p, "here"));
                        return Err(Bad);
                    }
                    self.atoms(inner, env, out, depth + 1)?;
                }
            }
        }
        Ok(())
    }

    /// `...` of the enclosing signature.
    pub(super) fn rest_of(&self, env: &Env<'a>) -> Option<Vec<Dim>> {
        let mut at = Some(env.clone());
        while let Some(f) = at {
            if let Some(r) = f.rest.borrow().as_ref() {
                return Some(r.clone());
            }
            at = f.parent.clone();
        }
        None
    }

    pub(super) fn view_error<T>(
        &mut self,
        text: String,
        at: Place,
        label: String,
        base: Place,
        ty: &TensorType,
    ) -> R<T> {
        let mut d = Diagnostic::new("E0208", text, at, label);
        if base != at {
            d = d.label(base, format!("is {ty}"));
        }
        self.err(d);
        Err(Bad)
    }

    /// `v[left -> right]`.
    pub(crate) fn view(
        &mut self,
        v: &Value<'a>,
        left: &'a ViewSide,
        right: &'a ViewSide,
        env: &Env<'a>,
        base: Place,
        place: Place,
    ) -> R<Value<'a>> {
        let Value::Tensor(t) = v else {
            if matches!(v, Value::Poison) {
                return Err(Bad);
            }
            let is = self.describe(v);
            self.err(Diagnostic::new("E0201", "a view is of a tensor", base, format!("this is {is}")));
            return Err(Bad);
        };
        let ty = self.ty(t);
        let lp = self.at(env.module, left.span);
        let (ls, rs) = (self.side(left, env)?, self.side(right, env)?);
        let lone = |g: &Axis| matches!(g, (atoms, false) if matches!(atoms.as_slice(), [Atom::Rest(_)]));
        let open = ls.iter().position(lone);
        let rank = ty.shape.len();
        let fixed = ls.len() - usize::from(open.is_some());
        if if open.is_some() { rank < fixed } else { rank != fixed } {
            return self.view_error(
                format!("the pattern has {fixed} axes, the value {rank}"),
                lp,
                format!("{fixed} axes"),
                base,
                &ty,
            );
        }
        let extra = rank - fixed;
        // Left: atoms with their dims.
        let mut names: Few<(&'a str, Dim)> = Few::new();
        let mut atoms: Few<(Option<&'a str>, Dim)> = Few::new();
        let mut rest: Option<Vec<Dim>> = None;
        let mut axis = 0;
        for g in &ls {
            if lone(g) {
                let dims = ty.shape[axis..axis + extra].to_vec();
                atoms.extend(dims.iter().map(|d| (Some("..."), d.clone())));
                rest = Some(dims);
                axis += extra;
                continue;
            }
            self.open_group(t, &g.0, &ty, axis, env, base, &mut names, &mut atoms, &mut rest)?;
            axis += 1;
        }
        self.place_view(t, &ty, &atoms, &names, rest, &ls, &rs, env, base, place)
    }

    fn open_group(
        &mut self,
        t: &Tensor<'a>,
        g: &[Atom<'a>],
        ty: &TensorType,
        axis: usize,
        env: &Env<'a>,
        base: Place,
        names: &mut Few<(&'a str, Dim)>,
        atoms: &mut Few<(Option<&'a str>, Dim)>,
        rest: &mut Option<Vec<Dim>>,
    ) -> R<()> {
        let whole = ty.shape[axis].clone();
        let mut known = Dim::int(1);
        let mut unknown: Option<(usize, &'a str, Place)> = None;
        let start = atoms.len();
        let mut at = base;
        for a in g {
            match a {
                Atom::Int(i, p) => {
                    at = *p;
                    known = known.mul(&Dim::int(*i)).map_err(|e| self.dim_error(e, *p))?;
                    atoms.push((None, Dim::int(*i)));
                }
                Atom::Rest(p) => {
                    at = *p;
                    let dims = match rest.clone().or_else(|| self.rest_of(env)) {
                        Some(d) => d,
                        None => {
                            return self.view_error(
                                "`...` inside a group has no meaning here".into(),
                                *p,
                                "no `...` in this signature".into(),
                                base,
                                ty,
                            );
                        }
                    };
                    for d in &dims {
                        known = known.mul(d).map_err(|e| self.dim_error(e, *p))?;
                        atoms.push((Some("..."), d.clone()));
                    }
                    *rest = Some(dims);
                }
                Atom::Name(n, p) => {
                    at = *p;
                    if names.iter().any(|k| k.0 == *n) || unknown.is_some_and(|u| u.1 == *n) {
                        return self.view_error(
                            format!("`{n}` stands on the left twice"),
                            *p,
                            "again here".into(),
                            base,
                            ty,
                        );
                    }
                    match self.known_dim(n, env)? {
                        Some((d, _)) => {
                            // A lone name whose known value does not fit is named anew only in groups; here it is wrong.
                            known = known.mul(&d).map_err(|e| self.dim_error(e, *p))?;
                            atoms.push((Some(n), d.clone()));
                            names.push((n, d));
                        }
                        None if unknown.is_none() => {
                            unknown = Some((atoms.len(), n, *p));
                            atoms.push((Some(n), Dim::int(0)));
                        }
                        None => {
                            return self.view_error(
                                format!("neither `{}` nor `{n}` is known", unknown.map_or("", |u| u.1)),
                                *p,
                                "one of a group may be unknown".into(),
                                base,
                                ty,
                            );
                        }
                    }
                }
            }
        }
        if let Some((n, name, p)) = unknown {
            let d = if known.is(1) {
                whole.clone()
            } else {
                if known.is(0) {
                    return self.view_error("a group of nothing".into(), p, "0 elements".into(), base, ty);
                }
                let rem = whole.rem(&known).map_err(|e| self.dim_error(e, p))?;
                match whole.exact_div(&known) {
                    Some(d) => d,
                    None if rem.is(0) => whole.floor_div(&known).map_err(|e| self.dim_error(e, p))?,
                    None if rem.as_int().is_some() => {
                        return self.view_error(
                            format!("{whole} is not a multiple of {known}"),
                            p,
                            format!("`{name}` would be {whole} / {known}"),
                            base,
                            ty,
                        );
                    }
                    None => {
                        self.require(&rem, Relation::Eq, &Dim::int(0), "a group must divide its axis", p);
                        whole.floor_div(&known).map_err(|e| self.dim_error(e, p))?
                    }
                }
            };
            atoms[n].1 = d.clone();
            names.push((name, d));
            return Ok(());
        }
        if known == whole {
            return Ok(());
        }
        if known.differs(&whole) {
            let origin = self.origin(t, axis).map_or(String::new(), |o| format!("; {whole} = {o}"));
            let text = match g {
                [Atom::Name(n, _)] => format!("`{n}` is {known} here"),
                [Atom::Int(i, _)] => format!("{i} is expected"),
                _ => format!("the group is {known}"),
            };
            let d = Diagnostic::new("E0203", "dimensions differ", at, text)
                .label(base, format!("axis {axis} of {ty} is {whole}{origin}"));
            let d = self.view_help(d, t, axis, g, &known, env);
            self.err(d);
            return Err(Bad);
        }
        self.require(&known, Relation::Eq, &whole, "a view must fit its value", at);
        // An entry that does not read the state does not know its extents.
        if let [Atom::Name(n, _)] = g
            && self.is_extent_of_state(&known)
        {
            atoms[start].1 = whole.clone();
            names.iter_mut().filter(|k| k.0 == *n).for_each(|k| k.1 = whole.clone());
        }
        Ok(())
    }

    fn place_view(
        &mut self,
        t: &Tensor<'a>,
        ty: &TensorType,
        atoms: &[(Option<&'a str>, Dim)],
        names: &[(&'a str, Dim)],
        rest: Option<Vec<Dim>>,
        ls: &Side<'a>,
        rs: &Side<'a>,
        env: &Env<'a>,
        base: Place,
        place: Place,
    ) -> R<Value<'a>> {
        // Right: for every atom, the left atom it takes, or a new dim.
        let mut order: Few<Option<usize>> = Few::new();
        let mut dims: Few<Dim> = Few::new();
        let mut groups: Few<usize> = Few::new();
        let mut labels: Few<&'a str> = Few::new();
        let mut taken: Few<bool> = smallvec![false; atoms.len()];
        for (g, grouped) in rs {
            let before = dims.len();
            let mut lone_rest = false;
            for a in g {
                match a {
                    Atom::Int(i, p) => {
                        if *i < 0 {
                            return self.view_error("a negative extent".into(), *p, "here".into(), base, ty);
                        }
                        order.push(None);
                        dims.push(Dim::int(*i));
                    }
                    Atom::Rest(p) => {
                        lone_rest = !grouped;
                        let found: Vec<usize> = (0..atoms.len()).filter(|n| atoms[*n].0 == Some("...")).collect();
                        if rest.is_some() {
                            for n in found {
                                taken[n] = true;
                                order.push(Some(n));
                                dims.push(atoms[n].1.clone());
                            }
                        } else {
                            match self.rest_of(env) {
                                Some(r) => {
                                    for d in r {
                                        order.push(None);
                                        dims.push(d);
                                    }
                                }
                                None => {
                                    return self.view_error(
                                        "`...` stands on the right only".into(),
                                        *p,
                                        "not on the left".into(),
                                        base,
                                        ty,
                                    );
                                }
                            }
                        }
                    }
                    Atom::Name(n, p) => {
                        let left = (0..atoms.len()).find(|k| atoms[*k].0 == Some(n));
                        match left {
                            Some(k) if taken[k] => {
                                return self.view_error(
                                    format!("`{n}` stands on the right twice"),
                                    *p,
                                    "again here".into(),
                                    base,
                                    ty,
                                );
                            }
                            Some(k) => {
                                taken[k] = true;
                                order.push(Some(k));
                                dims.push(atoms[k].1.clone());
                            }
                            None => match self.known_dim(n, env)? {
                                Some((d, _)) => {
                                    order.push(None);
                                    dims.push(d);
                                }
                                None => {
                                    let mut d = Diagnostic::new(
                                        "E0208",
                                        format!("`{n}` is neither on the left nor known"),
                                        *p,
                                        "unknown",
                                    )
                                    .label(base, format!("is {ty}"));
                                    d.help = crate::diag::nearest::did_you_mean(n, names.iter().map(|k| k.0)).or_else(
                                        || Some("a name on the right only must be a dim or an integer in scope".into()),
                                    );
                                    self.err(d);
                                    return Err(Bad);
                                }
                            },
                        }
                    }
                }
            }
            if lone_rest {
                // Each axis of `...` stays an axis.
                for _ in before..dims.len() {
                    groups.push(1);
                    labels.push("");
                }
            } else {
                groups.push(dims.len() - before);
                labels.push(match g.as_slice() {
                    [Atom::Name(n, _)] => n,
                    _ => "",
                });
            }
        }
        for (k, (name, d)) in atoms.iter().enumerate() {
            if taken[k] || d.is(1) {
                continue;
            }
            let what = name.map_or(format!("`{d}`"), |n| format!("`{n}`"));
            let at = ls
                .iter()
                .flat_map(|g| &g.0)
                .find_map(|a| match (a, name) {
                    (Atom::Name(n, p), Some(m)) if n == m => Some(*p),
                    (Atom::Int(i, p), None) if d.is(*i) => Some(*p),
                    (Atom::Rest(p), Some("...")) => Some(*p),
                    _ => None,
                })
                .unwrap_or(place);
            return self.view_error(
                format!("{what} is on the left only"),
                at,
                format!("its {d} elements go nowhere"),
                base,
                ty,
            );
        }
        // Reshape to the kept atoms, permute, expand, reshape to groups.
        let kept: Few<usize> = (0..atoms.len()).filter(|k| taken[*k]).collect();
        let opened: Shape = kept.iter().map(|k| atoms[*k].1.clone()).collect();
        let mut x = self.reshaped(t, opened, place)?;
        let perm: Vec<usize> = order.iter().flatten().map(|k| kept.iter().position(|q| q == k).unwrap_or(0)).collect();
        if perm.windows(2).any(|w| w[0] > w[1]) {
            x = self.op(Op::Permute(perm), &[&x], place)?;
        }
        if order.iter().any(Option::is_none) {
            let axes: Vec<usize> = (0..order.len()).filter(|n| order[*n].is_some()).collect();
            let full = TensorType::new(ty.dtype, dims.as_slice());
            self.countable(&dims, place)?;
            x = self.add(Op::Expand { axes }, &[&x], full, place)?;
        }
        let mut shape: Few<Dim> = Few::new();
        let mut n = 0;
        for g in groups {
            shape.push(Dim::product(&dims[n..n + g]).map_err(|e| self.dim_error(e, place))?);
            n += g;
        }
        x = self.reshaped(&x, shape.as_slice(), place)?;
        x.unit = t.unit;
        x.labels = Some(labels.as_slice().into());
        Ok(Value::Tensor(x))
    }

    /// The number of elements of a shape must be a number.
    pub(crate) fn countable(&mut self, shape: &[Dim], place: Place) -> R<()> {
        match Dim::product(shape) {
            Ok(n) if n.as_int().is_none_or(|n| n < 1 << 44) => Ok(()),
            _ => {
                self.err(Diagnostic::new("E0215", "a tensor of more elements than any machine holds", place, ""));
                Err(Bad)
            }
        }
    }

    /// The same elements in another shape.
    pub(crate) fn reshaped(&mut self, t: &Tensor<'a>, shape: impl Into<Shape>, place: Place) -> R<Tensor<'a>> {
        let (ty, shape) = (self.type_of(t), shape.into());
        if ty.shape == shape {
            return Ok(t.clone());
        }
        if Dim::plainly_one_product(&ty.shape, &shape) {
            return self.add(Op::Reshape, &[t], TensorType::new(ty.dtype, shape), place);
        }
        let ty = ty.clone();
        let (a, b) = match (Dim::product(&ty.shape), Dim::product(&shape)) {
            (Ok(a), Ok(b)) => (a, b),
            (Err(e), _) | (_, Err(e)) => return Err(self.dim_error(e, place)),
        };
        if a != b && !a.differs(&b) {
            // Equal under a requirement that was left to the binding: write the first differing axis as what it must be.
            if ty.shape.len() == shape.len() {
                return self.retype(t, shape, "a view must fit its value", place);
            }
            return self.resplit(t, &ty, shape, place);
        }
        self.add(Op::Reshape, &[t], TensorType::new(ty.dtype, shape), place)
    }

    /// A reshape whose equality of element counts the binding decides: the last axis that differs is written anew.
    pub(super) fn resplit(&mut self, t: &Tensor<'a>, ty: &TensorType, shape: Shape, place: Place) -> R<Tensor<'a>> {
        let (mut from, mut to) = (0, 0);
        let mut mid = Vec::new();
        let mut regular = true;
        while from < ty.shape.len() && to < shape.len() {
            if ty.shape[from] == shape[to] {
                mid.push(shape[to].clone());
                (from, to) = (from + 1, to + 1);
                continue;
            }
            // One old axis against a run of new ones, until the ends agree.
            let left_old = ty.shape.len() - from - 1;
            let run = shape.len().saturating_sub(to + left_old).max(1);
            let d = Dim::product(&shape[to..to + run]).map_err(|e| self.dim_error(e, place))?;
            mid.push(d);
            (from, to) = (from + 1, to + run);
        }
        regular &= from == ty.shape.len() && to == shape.len();
        if !regular {
            return self.not_yet("a view whose split only a binding can check", place).map(|_: Value<'a>| t.clone());
        }
        let t = self.retype(t, mid, "a view must fit its value", place)?;
        self.add(Op::Reshape, &[&t], TensorType::new(ty.dtype, shape), place)
    }
}
