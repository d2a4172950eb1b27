//! Inputs: sources, and the steps of the loader.
//!
//! In: an `input` statement. Out: a leaf of the graph and its row in the model. Invariants: a pipeline is checked on one
//! sample; what it gives is, stacked, what the input declares; steps of the loader come first, and functions after them are part
//! of the graph, for each sample or, where they take any leading dims, for all at once. Imports: values, types.

use uad_grammar::ast::{DimItem, Expr, ExprKind, Function, ItemKind, Span, Type, TypeKind};
use uad_plan::{DType, Dim};

use crate::diag::nearest::did_you_mean;
use crate::diag::{Diagnostic, Place};
use crate::graph::{Op, Shape, TensorType};

use super::types::{Head, Use};
use super::value::{Arg, Bad, Env, Frame, Func, Kind, R, Tensor, Value};
use super::{Ev, InputInfo, LoaderStep, PeerInfo, Static};

/// Where an input comes from: its source, the loader's steps, whose peer it is.
type Whence = (String, Vec<LoaderStep>, Option<PeerInfo>);

/// A checked pipeline.
#[derive(Default)]
struct Checked<'a> {
    steps: Vec<LoaderStep>,
    /// One sample as the loader leaves it, where functions follow.
    left: Option<(TensorType, Option<&'a str>)>,
    /// What the graph does, with further arguments.
    rest: Vec<(Func<'a>, Vec<Arg<'a>>, Place)>,
    /// Whose peer it is.
    peer: Option<PeerInfo>,
}

impl<'a> Ev<'a> {
    /// Enters an input into the model, once.
    pub(crate) fn input_info(
        &mut self,
        name: &str,
        ty: TensorType,
        unit: Option<&'a str>,
        source: String,
        pipeline: Vec<LoaderStep>,
        place: Place,
    ) {
        self.peer_info(name, ty, unit, (source, pipeline, None), place);
    }

    fn peer_info(
        &mut self,
        name: &str,
        ty: TensorType,
        unit: Option<&'a str>,
        (source, pipeline, peer): Whence,
        place: Place,
    ) {
        if self.inputs.iter().any(|i| i.name == name) {
            return;
        }
        let unit = unit.map(str::to_string);
        self.inputs.push(InputInfo { name: name.to_string(), ty, source, unit, pipeline, peer, place });
    }

    /// The value of an input.
    pub(crate) fn input(
        &mut self,
        name: &'a str,
        span: Span,
        ty: &'a Type,
        from: &'a Expr,
        frame: &Env<'a>,
    ) -> R<Value<'a>> {
        let place = self.at(frame.module, span);
        let (t, unit, labels) = self.declared_type(ty, frame, frame.module, true)?;
        let ty_place = self.at(frame.module, ty.span);
        let (source, checked) = self.pipeline(from, &t, unit, frame, ty_place)?;
        let (leaf_type, leaf_unit) = match &checked.left {
            Some((sample, unit)) => (leaf_type(name, sample, &t), *unit),
            None => (t.clone(), unit),
        };
        if let Some(known) = self.inputs.iter().find(|i| i.name == name)
            && known.ty != leaf_type
        {
            let (was, first) = (known.ty.clone(), known.place);
            self.err(
                Diagnostic::new("E0203", "dimensions differ", place, format!("`{name}` is {leaf_type} here"))
                    .label(first, format!("and {was} in another detector; inputs are shared by name")),
            );
            return Err(Bad);
        }
        self.peer_info(name, leaf_type.clone(), leaf_unit, (source, checked.steps, checked.peer), place);
        let leaf = self.leaf(Op::Input(name.to_string()), name, leaf_type, place)?;
        if checked.rest.is_empty() {
            return Ok(Value::Tensor(Tensor { unit, labels: Some(labels.as_slice().into()), ..leaf }));
        }
        let mut v = Value::Tensor(Tensor { unit: leaf_unit, ..leaf });
        for (f, args, at) in checked.rest {
            let mut all = vec![Arg { name: None, value: v, place: at }];
            all.extend(args);
            v = if takes_any(&f) { self.apply(&f, all, at)? } else { self.each(&f, all, at)? };
        }
        let Value::Tensor(made) = v else { return Err(Bad) };
        let got = self.ty(&made);
        if got != t {
            self.err(
                Diagnostic::new("E0203", "the pipeline does not give what is declared", place, format!("gives {got}"))
                    .label(ty_place, format!("{t} is declared")),
            );
            return Err(Bad);
        }
        Ok(Value::Tensor(Tensor { unit: unit.or(made.unit), labels: Some(labels.as_slice().into()), ..made }))
    }

    fn pipeline(
        &mut self,
        from: &'a Expr,
        declared: &TensorType,
        unit: Option<&'a str>,
        frame: &Env<'a>,
        ty_place: Place,
    ) -> R<(String, Checked<'a>)> {
        let mut chain = Vec::new();
        let mut at = from;
        while let ExprKind::Pipe { value, into, .. } = &at.kind {
            chain.push(&**into);
            at = value;
            if chain.len() > 64 {
                break;
            }
        }
        chain.reverse();
        let place = self.at(frame.module, at.span);
        let (name, args) = match &at.kind {
            ExprKind::Name(n) => (n, None),
            ExprKind::Call(f, args) => match &f.kind {
                ExprKind::Name(n) => (n, Some(args)),
                _ => return self.no_source("a source", frame.module, place),
            },
            _ => return self.no_source("a source", frame.module, place),
        };
        if let (Some(args), "peer") = (args, name.as_str()) {
            return self.peer(args, declared, frame, ty_place, place);
        }
        let modules = self.modules;
        let found = modules[frame.module].sources.get(name).copied().or_else(|| self.implicit(name, |m| &m.sources));
        let Some((m, n)) = found else { return self.no_source(name, frame.module, place) };
        let ItemKind::Source { ty, .. } = &modules[m].ast.items[n].kind else { return Err(Bad) };
        if name == "tensor" {
            return Ok((name.clone(), Checked::default()));
        }
        // One sample goes through in a graph of its own that nobody keeps.
        let level = self.level("pipeline", false);
        self.levels.push(level);
        let cur = std::mem::replace(&mut self.cur, self.levels.len() - 1);
        let r = self.sample(ty, m, &chain, declared, unit, frame, ty_place, place);
        self.levels.pop();
        self.cur = cur;
        Ok((name.clone(), r?))
    }

    /// `peer(image, by: class)`: the image of another, normal sample, of the same class if there is a `by`.
    fn peer(
        &mut self,
        args: &'a [uad_grammar::ast::Arg],
        declared: &TensorType,
        frame: &Env<'a>,
        ty_place: Place,
        place: Place,
    ) -> R<(String, Checked<'a>)> {
        let (mut of, mut by) = (None, None);
        for a in args {
            let at = self.at(frame.module, a.value.span);
            let role = a.name.as_ref().map_or("x", |n| n.text.as_str());
            let slot = match role {
                "x" if of.is_none() => &mut of,
                "by" if by.is_none() => &mut by,
                _ => {
                    self.err(Diagnostic::new("E0206", "`peer(x, by: class)` takes two inputs", at, "not this"));
                    return Err(Bad);
                }
            };
            let ExprKind::Name(n) = &a.value.kind else {
                self.err(Diagnostic::new("E0201", "`peer` takes the names of inputs", at, "is not a name"));
                return Err(Bad);
            };
            *slot = Some((n, at));
        }
        let row = |ev: &mut Self, (n, at): (&'a String, Place), source: &str, what: &str| {
            ev.name(n, frame, at)?;
            let found = ev.inputs.iter().find(|i| i.name == *n && i.source == source).cloned();
            found.ok_or_else(|| {
                let help = format!("declare it before: `input {n}: … from {source}`");
                ev.err(Diagnostic::new("E0201", format!("`{n}` is not {what}"), at, "expected here").help(help));
                Bad
            })
        };
        let Some(of) = of else {
            self.err(
                Diagnostic::new("E0206", "`peer` is missing its argument `x`", place, "of what?")
                    .help("name an input: `peer(image, by: class)`"),
            );
            return Err(Bad);
        };
        let own = row(self, of, "rgb", "an input of images")?;
        if own.ty != *declared {
            self.err(
                Diagnostic::new(
                    "E0203",
                    "a peer has the type of what it is a peer of",
                    ty_place,
                    format!("{declared}"),
                )
                .label(of.1, format!("is {}", own.ty)),
            );
            return Err(Bad);
        }
        let same_class = by.map(|by| row(self, by, "class", "an input from `class`")).transpose()?.is_some();
        let peer = Some(PeerInfo { of: own.name, same_class });
        Ok(("peer".into(), Checked { steps: own.pipeline, peer, ..Checked::default() }))
    }

    fn no_source<T>(&mut self, name: &str, module: usize, place: Place) -> R<T> {
        let modules = self.modules;
        let mut known: Vec<&str> = modules[module].sources.keys().map(String::as_str).collect();
        known.sort_unstable();
        let mut d = Diagnostic::new("E0101", format!("there is no source `{name}`"), place, "unknown");
        d.help = did_you_mean(name, known.iter().copied()).or_else(|| {
            (crate::source::library("data").is_some_and(|t| t.contains(&format!("source {name}:"))))
                .then(|| format!("`use data.{name}` brings it"))
        });
        self.err(d);
        Err(Bad)
    }

    fn sample(
        &mut self,
        ty: &'a Type,
        module: usize,
        chain: &[&'a Expr],
        declared: &TensorType,
        unit: Option<&'a str>,
        frame: &Env<'a>,
        ty_place: Place,
        place: Place,
    ) -> R<Checked<'a>> {
        let mut at = place;
        let mut v = match &ty.kind {
            TypeKind::Tensor(n, _) if matches!(self.head(&n.text, module, place)?, Head::Generic) => {
                return Ok(Checked::default());
            }
            _ => {
                let env = Frame::new(None, module, Kind::Fn, None);
                let (t, u, labels) = self.declared_type(ty, &env, module, true)?;
                // The source's own names must not meet those of the detector.
                let shape: Shape =
                    t.shape.iter().map(|d| d.as_name().map_or(d.clone(), |n| Dim::name(&format!("{n}'")))).collect();
                let leaf = self.add(Op::Input("sample".into()), &[], TensorType::new(t.dtype, shape), place)?;
                Value::Tensor(Tensor { unit: u, labels: Some(labels.as_slice().into()), ..leaf })
            }
        };
        let mut checked = Checked::default();
        for into in chain {
            let here = self.at(frame.module, into.span);
            let (callee, args) = match &into.kind {
                ExprKind::Call(f, args) => (&**f, self.arguments(args, frame)?),
                _ => (*into, Vec::new()),
            };
            let f = self.eval(callee, frame)?;
            let f = self.callable(f, here)?;
            let Func::Fn(d) = &f else {
                self.err(Diagnostic::new("E0207", "a step of an input is a function", here, "is not one"));
                return Err(Bad);
            };
            let (decl, module) = (d.decl, d.module);
            let loads = super::call::attribute(decl, "loader").is_some() && decl.body.value.is_none();
            if !loads && checked.rest.is_empty() {
                let Value::Tensor(t) = &v else { return Err(Bad) };
                checked.left = Some((self.ty(t), t.unit));
            }
            if loads && !checked.rest.is_empty() {
                let name = &decl.name.text;
                self.err(
                    Diagnostic::new(
                        "E0410",
                        format!("`{name}` is a step of the loader"),
                        here,
                        "after a function of the graph",
                    )
                    .label(at, "this is part of the graph, which begins where the loader ends")
                    .help("put the steps of the loader first"),
                );
                return Err(Bad);
            }
            let mut all = vec![Arg { name: None, value: v.clone(), place: at }];
            all.extend(args.iter().cloned());
            v = self.apply(&f, all.clone(), here)?;
            if loads {
                checked.steps.push(self.step(decl, module, &all)?);
            } else {
                checked.rest.push((f, args, here));
            }
            at = here;
        }
        let Value::Tensor(t) = &v else {
            self.err(Diagnostic::new(
                "E0201",
                "an input's pipeline gives a tensor",
                at,
                format!("this is {}", v.kind()),
            ));
            return Err(Bad);
        };
        let got = self.ty(t);
        let Some(("b", rest)) = declared.shape.split_first().map(|(b, rest)| (b.as_name().unwrap_or(""), rest)) else {
            self.err(
                Diagnostic::new("E0204", "an input is samples stacked", ty_place, "its first dimension is not `b`")
                    .help("write `b` first: a batch of samples"),
            );
            return Err(Bad);
        };
        let clash = got.shape.len() != rest.len()
            || got.shape.iter().zip(rest).any(|(a, b)| a != b && a.as_int().is_some() && b.as_int().is_some());
        if got.dtype != declared.dtype || clash {
            let code = if got.dtype != declared.dtype {
                "E0202"
            } else if got.shape.len() == rest.len() {
                "E0203"
            } else {
                "E0204"
            };
            self.err(
                Diagnostic::new(code, "the pipeline does not give what is declared", at, format!("a sample is {got}"))
                    .label(ty_place, format!("a batch is {declared}")),
            );
            return Err(Bad);
        }
        for (a, b) in got.shape.iter().zip(rest) {
            let open = |d: &Dim| d.as_name().is_some_and(|n| n.ends_with('\'') || n.starts_with('_'));
            if a != b && b.as_int().is_some() && open(a) && t.unit == Some("image") {
                self.err(
                    Diagnostic::new(
                        "E0203",
                        "dimensions differ",
                        at,
                        format!("a sample is {got}: `{a}` can be anything"),
                    )
                    .label(ty_place, format!("{b} is declared"))
                    .help("`resize(h, w)` or `crop(n)` makes it fixed"),
                );
                return Err(Bad);
            }
        }
        if let Some(want) = unit
            && t.unit.is_some()
            && t.unit != Some(want)
        {
            self.err(
                Diagnostic::new(
                    "E0205",
                    format!("expected `{want}`, found `{}`", t.unit.unwrap_or("")),
                    at,
                    "this step",
                )
                .label(ty_place, format!("`{want}` is declared here")),
            );
            return Err(Bad);
        }
        Ok(checked)
    }

    fn step(&mut self, decl: &'a Function, module: usize, args: &[Arg<'a>]) -> R<LoaderStep> {
        let name = super::call::attribute(decl, "loader").unwrap_or(&decl.name.text).to_string();
        let mut out = Vec::new();
        // A default may name the arguments before it.
        let frame = Frame::new(None, module, Kind::Fn, None);
        for (k, p) in decl.args.iter().enumerate().skip(1) {
            let given = args
                .iter()
                .find(|a| a.name.is_some_and(|n| n.text == p.name.text))
                .or_else(|| args.get(k).filter(|a| a.name.is_none()));
            let value = match (given, &p.default) {
                (Some(a), _) => a.value.clone(),
                (None, Some(usual)) => self.eval(usual, &frame)?,
                (None, None) => continue,
            };
            out.push((p.name.text.clone(), Static::of(&value)));
            frame.set(&p.name.text, value);
        }
        Ok(LoaderStep { name, args: out })
    }

    /// A function that the loader runs: only its type is known here.
    pub(crate) fn loader_step(
        &mut self,
        decl: &'a Function,
        step: &str,
        frame: &Env<'a>,
        place: Place,
    ) -> R<Value<'a>> {
        if self.top().graph.name != "pipeline" {
            self.err(
                Diagnostic::new("E0410", format!("`{step}` is a step of an `input`"), place, "not in a graph")
                    .help("write it after `from`: the loader runs it on each sample"),
            );
            return Err(Bad);
        }
        let Some(ty) = &decl.result else { return Err(Bad) };
        let (name, dims): (_, &'a [uad_grammar::ast::DimItem]) = match &ty.kind {
            TypeKind::Tensor(n, d) => (n, d),
            TypeKind::Name(n) => (n, &[]),
            _ => return Err(Bad),
        };
        let (dtype, unit) = match self.head(&name.text, frame.module, place)? {
            Head::DType(d) => (d, None),
            Head::Unit(u, d) => (d, Some(u)),
            Head::Alias(..) | Head::Word(_) | Head::Generic => (DType::F32, None),
        };
        let mut shape = Vec::new();
        for d in dims {
            match d {
                uad_grammar::ast::DimItem::Expr(e) => shape.push(self.dim_of(e, frame)?),
                _ => {
                    self.fresh += 1;
                    shape.push(Dim::name(&format!("_{}", self.fresh)));
                }
            }
        }
        let leaf = self.add(Op::Input("step".into()), &[], TensorType::new(dtype, shape), place)?;
        let _ = Use::Result;
        Ok(Value::Tensor(Tensor { unit, ..leaf }))
    }
}

/// The type of an input whose pipeline goes on in the graph: samples as the loader leaves them, of which open dims are those declared.
fn leaf_type(name: &str, sample: &TensorType, declared: &TensorType) -> TensorType {
    let (batch, rest) = declared.shape.split_at(declared.shape.len().min(1));
    let same = rest.len() == sample.shape.len();
    let dim = |(n, d): (usize, &Dim)| {
        let open = d.as_name().is_some_and(|n| n.ends_with('\'') || n.starts_with('_'));
        match rest.get(n).filter(|_| same && open) {
            Some(known) => known.clone(),
            None if open => Dim::name(&format!("{name}_{n}")),
            None => d.clone(),
        }
    };
    let shape: Shape = batch.iter().cloned().chain(sample.shape.iter().enumerate().map(dim)).collect();
    TensorType::new(sample.dtype, shape)
}

/// Does a function take any dims before those that it names?
fn takes_any(f: &Func<'_>) -> bool {
    let Func::Fn(f) = f else { return false };
    let first = f.decl.args.first().and_then(|p| p.ty.as_ref()).map(|t| &t.kind);
    matches!(first, Some(TypeKind::Tensor(_, dims)) if matches!(dims.first(), Some(DimItem::Rest(..))))
}
