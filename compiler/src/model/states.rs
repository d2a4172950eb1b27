//! States that a stage makes: of open shape, of the shape that a rule gives, lists of them.
//!
//! In: a state without a first value. Out: its value in this entry, and its new value of a stage. Invariants: a dim that
//! nothing else has is open, and its value is the stored tensor's; what a rule gives is asked for once per entry and
//! leaves no node that is read. Imports: values, types, statements.

use std::rc::Rc;

use uad_grammar::ast::{DimItem, Expr, ExprKind, IndexItem, Param, StagePart, Stmt, StmtKind, Type, TypeKind};
use uad_plan::{Dim, StoredKind};

use crate::diag::{Diagnostic, Place};
use crate::graph::{Op, Shape, TensorType};

use super::types::Labels;
use super::value::{Bad, Env, Frame, Kind, Owner, R, Tensor, Value};
use super::{EntryKind, Ev};

/// Is the shape of such a state what the rule that writes it gives?
pub(super) fn by_rule(ty: &Type) -> bool {
    match &ty.kind {
        TypeKind::List(_) => true,
        TypeKind::Tensor(_, dims) => dims.iter().any(|d| matches!(d, DimItem::Any(_))),
        _ => false,
    }
}

/// The name that a rule writes.
fn written(target: &Expr) -> Option<&str> {
    match &target.kind {
        ExprKind::Name(n) => Some(n),
        ExprKind::Index(b, items) if matches!(items.as_slice(), [IndexItem::Expr(_)]) => written(b),
        _ => None,
    }
}

impl<'a> Ev<'a> {
    /// An open dim of a state: named as written, after the detector's path.
    fn made_dim(&self, name: &str, state: &str, owner: &Owner<'a>) -> Dim {
        let plain = |s: &str| s.replace(|c: char| !c.is_ascii_alphanumeric(), "_");
        // `N` is the samples of the pass that runs, and `b` those of a batch.
        let own = if name == "N" || name == "b" { format!("{state}_{name}") } else { name.to_string() };
        Dim::name(&if owner.path.is_empty() { own } else { format!("p_{}_{own}", plain(&owner.path)) })
    }

    /// The declared type; names that nobody has are open dims.
    pub(super) fn open_type(
        &mut self,
        ty: &'a Type,
        state: &str,
        owner: &Owner<'a>,
        env: &Env<'a>,
    ) -> R<(TensorType, Option<&'a str>, Labels<'a>)> {
        if let TypeKind::Tensor(_, dims) = &ty.kind {
            for d in dims {
                if let DimItem::Expr(Expr { kind: ExprKind::Name(n), span }) = d
                    && self.known_dim(n, env)?.is_none()
                    && env.slot(n).is_none()
                    && self.item_value(n, env.module).is_none()
                {
                    let dim = self.made_dim(n, state, owner);
                    let at = self.at(env.module, *span);
                    env.dims.borrow_mut().push((n, dim, at));
                }
            }
        }
        self.declared_type(ty, env, env.module, false)
    }

    /// A state whose type leaves open what a rule gives.
    pub(super) fn state_by_rule(
        &mut self,
        p: &'a Param,
        ty: &'a Type,
        owner: &Rc<Owner<'a>>,
        env: &Env<'a>,
        place: Place,
    ) -> R<Value<'a>> {
        let path = owner.join(&p.name.text);
        if self.asking.contains(&path) {
            let text = format!("the shape of `{path}` is given by a rule that reads it");
            self.err(Diagnostic::new("E0211", text, place, "not known").help("write its dimensions out"));
            return Err(Bad);
        }
        self.asking.push(path.clone());
        let v = self.asked(&p.name.text, env);
        self.asking.pop();
        let Some(v) = v else {
            let text = format!("`{path}` needs a known shape: no rule of a stage gives one");
            self.err(
                Diagnostic::new("E0211", text, place, "not known")
                    .help(format!("write it in a stage, `{} <- …`, or give all dimensions", p.name.text)),
            );
            return Err(Bad);
        };
        self.made(&v?, &path, ty, p, owner, env, place)
    }

    /// The value that the first rule gives to a name, evaluated and not kept.
    fn asked(&mut self, name: &str, env: &Env<'a>) -> Option<R<Value<'a>>> {
        let part = env.part.borrow().clone()?;
        let stages = part.body.iter().filter_map(|s| match &s.kind {
            StmtKind::Stage { parts, .. } => Some(parts),
            _ => None,
        });
        let writes = |s: &Stmt| matches!(&s.kind, StmtKind::Become { target, .. } if written(target) == Some(name));
        for parts in stages {
            let rule = |p: &StagePart| matches!(p, StagePart::Stmt(s) if writes(s));
            let Some(end) = parts.iter().position(rule) else { continue };
            let frame = Frame::new(Some(env.clone()), part.module, Kind::Entry, env.owner.clone());
            let entry = std::mem::replace(&mut self.entry, EntryKind::Stage { home: String::new(), trains: None });
            let (collected, requires) = (self.collected.len(), self.levels[0].graph.requires.len());
            let mut r = Err(Bad);
            for p in &parts[..=end] {
                let StagePart::Stmt(s) = p else { continue };
                match &s.kind {
                    StmtKind::Become { value, .. } if writes(s) => r = self.eval(value, &frame),
                    StmtKind::Become { .. } => {}
                    _ => {
                        let _ = self.statement(s, &frame);
                    }
                }
            }
            self.entry = entry;
            self.collected.truncate(collected);
            self.levels[0].graph.requires.truncate(requires);
            self.levels[0].leaves.retain(|n, _| !n.starts_with("all."));
            return Some(r);
        }
        None
    }

    /// The state, or list of states, of the type of a value.
    fn made(
        &mut self,
        v: &Value<'a>,
        path: &str,
        ty: &'a Type,
        p: &'a Param,
        owner: &Rc<Owner<'a>>,
        env: &Env<'a>,
        place: Place,
    ) -> R<Value<'a>> {
        match (&ty.kind, v) {
            (TypeKind::List(inner), Value::List(l)) => {
                let mut out = Vec::with_capacity(l.len());
                for (n, v) in l.iter().enumerate() {
                    out.push(self.made(v, &format!("{path}.{n}"), inner, p, owner, env, place)?);
                }
                Ok(Value::List(Rc::new(out)))
            }
            (TypeKind::Tensor(_, dims), Value::Tensor(t)) => {
                let given = self.ty(t);
                if given.shape.len() != dims.len() {
                    let text = format!("`{path}` has {} axes, and a rule gives {given}", dims.len());
                    self.err(Diagnostic::new("E0204", text, place, "declared here"));
                    return Err(Bad);
                }
                let (mut shape, mut labels) = (Vec::new(), Labels::new());
                for (axis, (d, have)) in dims.iter().zip(&given.shape).enumerate() {
                    let name = match d {
                        DimItem::Expr(Expr { kind: ExprKind::Name(n), .. }) => n.as_str(),
                        _ => "",
                    };
                    labels.push(name);
                    let known = match d {
                        DimItem::Expr(e) if name.is_empty() => Some(self.dim_of(e, env)?),
                        // The pass's own `N` is not this one.
                        _ if name.is_empty() => None,
                        _ => self.known_dim(name, env)?.map(|d| d.0).filter(|d| d.as_name() != Some("N")),
                    };
                    let own = if name.is_empty() { format!("d{axis}") } else { name.to_string() };
                    shape.push(match known {
                        Some(d) => d,
                        None if have.as_int().is_some() => have.clone(),
                        None => {
                            let state = path.replace(|c: char| !c.is_ascii_alphanumeric(), "_");
                            let base = if name.is_empty() { format!("{state}_{own}") } else { own };
                            self.made_dim(&base, &p.name.text, owner)
                        }
                    });
                }
                let t = TensorType::new(given.dtype, shape);
                self.stored_leaf(path, StoredKind::State, t, None, labels, p, owner, env)
            }
            _ => {
                let is = self.describe(v);
                let text = format!("`{path}` is declared otherwise than the rule that writes it gives");
                self.err(Diagnostic::new("E0201", text, place, format!("a rule gives {is}")));
                Err(Bad)
            }
        }
    }

    /// Is this what a stage leaves in a state that says how large it is?
    pub(super) fn is_extent_of_state(&self, d: &Dim) -> bool {
        d.as_name().is_some() && self.stored.iter().any(|s| s.kind == StoredKind::State && s.ty.shape.contains(d))
    }

    /// Is this the old value of a state of open shape?
    pub(super) fn is_open(&self, t: &Tensor<'a>) -> bool {
        let level = self.levels.iter().find(|l| l.id == t.graph);
        let Some(node) = level.map(|l| l.graph.node(t.node)) else { return false };
        matches!(node.op, Op::State(_)) && node.ty.shape.iter().any(|d| d.as_int().is_none())
    }

    /// The new value of a state of open shape: what is closed must be kept.
    pub(super) fn like_open(
        &mut self,
        t: &Tensor<'a>,
        want: &TensorType,
        name: &str,
        place: Place,
        target: Place,
    ) -> R<Value<'a>> {
        let ty = self.ty(t);
        let text = if ty.dtype != want.dtype {
            Some(("E0202", "element types differ"))
        } else if ty.shape.len() != want.shape.len() {
            Some(("E0204", "the number of axes differs"))
        } else {
            let closed = |d: &Dim| d.as_int().is_some();
            let differ = |(a, b): (&Dim, &Dim)| closed(a) && closed(b) && a != b;
            ty.shape.iter().zip(&want.shape).any(differ).then_some(("E0203", "dimensions differ"))
        };
        if let Some((code, text)) = text {
            self.err(
                Diagnostic::new(code, text, place, format!("is {ty}")).label(target, format!("`{name}` is {want}")),
            );
            return Err(Bad);
        }
        // Extents that the state knows are demanded of what only a binding knows.
        let known = |(a, b): (&Dim, &Dim)| if b.as_int().is_some() { b.clone() } else { a.clone() };
        let shape: Shape = ty.shape.iter().zip(&want.shape).map(known).collect();
        let t = self.retype(t, shape, "what a state becomes has its type", place)?;
        Ok(Value::Tensor(t))
    }

    /// A list of states takes a list of as many values.
    pub(super) fn likes(
        &mut self,
        v: &Value<'a>,
        olds: &[Value<'a>],
        name: &str,
        place: Place,
        target: Place,
    ) -> R<Value<'a>> {
        let Value::List(l) = v else {
            let is = self.describe(v);
            self.err(Diagnostic::new("E0201", format!("`{name}` is a list of states"), place, format!("this is {is}")));
            return Err(Bad);
        };
        if l.len() != olds.len() {
            let text = format!("`{name}` is a list of {}", olds.len());
            self.err(Diagnostic::new("E0203", text, place, format!("this is a list of {}", l.len())));
            return Err(Bad);
        }
        let mut out = Vec::with_capacity(l.len());
        for (v, old) in l.iter().zip(olds) {
            out.push(self.like(v, old, name, place, target)?);
        }
        Ok(Value::List(Rc::new(out)))
    }

    /// What a stage leaves in a state.
    pub(super) fn write_state(&mut self, path: &str, v: &Value<'a>, place: Place) -> R<()> {
        match v {
            Value::List(l) => {
                for (n, v) in l.iter().enumerate() {
                    self.write_state(&format!("{path}.{n}"), v, place)?;
                }
                Ok(())
            }
            Value::Tensor(t) => {
                let node = self.here(t, place)?;
                let open = self.stored_at.get(path).is_some_and(|n| {
                    let shape = &self.stored[*n].ty.shape;
                    shape.iter().any(|d| d.as_int().is_none())
                });
                if open {
                    self.replaced.retain(|r| r.0 != path);
                    self.replaced.push((path.to_string(), Tensor { node, ..t.clone() }, place));
                    return Ok(());
                }
                let g = &mut self.levels[0].graph;
                g.writes.retain(|w| w.0 != path);
                g.writes.push((path.to_string(), node));
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
