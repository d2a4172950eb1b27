//! Names that nobody reads.
//!
//! In: trees of the files that are not of the library, and statements that no entry reached. Out: W0501.
//! Invariants: a name counts as read wherever its text stands in the file as a name; a leading `_` is meant to be
//! unused. Imports: the syntax tree.

use std::collections::BTreeMap;

use uad_grammar::ast::*;
use uad_plan::DType;

use crate::diag::{Diagnostic, Place};
use crate::hash::FxHashSet;
use crate::model::{Facts, Program};

/// Parameters, slots, inputs and lets of the detector that no entry reached.
pub(crate) fn lets(facts: &Facts, feed: &BTreeMap<String, (DType, Vec<i64>)>, out: &mut Vec<Diagnostic>) {
    if !feed.is_empty() {
        return;
    }
    for (name, place, what) in &facts.unreached {
        if !name.starts_with('_') {
            out.push(
                Diagnostic::new(
                    "W0501",
                    format!("`{name}` is never used"),
                    *place,
                    format!("a {what} that no entry reads"),
                )
                .help("remove it, or begin its name with `_`"),
            );
        }
    }
}

/// Imports, items and lets of bodies whose name stands nowhere else.
pub(crate) fn names(program: &Program, out: &mut Vec<Diagnostic>) {
    for (n, (file, tree)) in program.own().enumerate() {
        let mut used = Used::default();
        for item in &tree.items {
            used.item(item);
        }
        let mut warn = |name: &Name, what: &str| {
            if !name.text.starts_with('_') {
                let place = Place { file, span: name.span };
                out.push(
                    Diagnostic::new("W0501", format!("`{}` is never used", name.text), place, what.to_string())
                        .help("remove it"),
                );
            }
        };
        let has_detector =
            tree.items.iter().any(|i| matches!(i.kind, ItemKind::Detector { .. } | ItemKind::Variant { .. }));
        for item in &tree.items {
            match &item.kind {
                ItemKind::Use { names, .. } => {
                    for name in names.iter().filter(|n| !used.names.contains(&n.text)) {
                        warn(name, "imported, and not read");
                    }
                }
                // A file without a detector is a library of its user's.
                ItemKind::Fn(f) | ItemKind::Block(f) => {
                    if n == 0 && has_detector && !used.names.contains(&f.name.text) {
                        warn(&f.name, "declared, and not read");
                    }
                    let mut inner = Used::default();
                    inner.function(f);
                    let mut declared = Vec::new();
                    lets_of(&f.body.stmts, &mut declared);
                    for name in declared.into_iter().filter(|n| !inner.names.contains(&n.text)) {
                        warn(name, "a let that nothing reads");
                    }
                }
                ItemKind::Type { name, .. } | ItemKind::Unit { name, .. } | ItemKind::Source { name, .. } => {
                    if n == 0 && has_detector && !used.names.contains(&name.text) {
                        warn(name, "declared, and not read");
                    }
                }
                ItemKind::Detector { .. } | ItemKind::Variant { .. } | ItemKind::Error => {}
            }
        }
    }
}

fn lets_of<'t>(stmts: &'t [Stmt], out: &mut Vec<&'t Name>) {
    fn pattern<'t>(p: &'t Pattern, out: &mut Vec<&'t Name>) {
        match p {
            Pattern::Name(n) => out.push(n),
            Pattern::Record(parts, _) => parts.iter().for_each(|p| pattern(p, out)),
        }
    }
    for s in stmts {
        match &s.kind {
            // An annotation may be there for the dims that it names.
            StmtKind::Let { pattern: p, ty: None, .. } => pattern(p, out),
            StmtKind::If { then, otherwise, .. } => {
                lets_of(then, out);
                lets_of(otherwise, out);
            }
            _ => {}
        }
    }
}

/// Every text that stands as a name.
#[derive(Default)]
struct Used {
    names: FxHashSet<String>,
}

impl Used {
    fn add(&mut self, n: &str) {
        if !self.names.contains(n) {
            self.names.insert(n.to_string());
        }
    }

    fn item(&mut self, item: &Item) {
        match &item.kind {
            ItemKind::Use { .. } | ItemKind::Error => {}
            ItemKind::Type { ty, .. } => self.ty(ty),
            ItemKind::Unit { dtype, .. } => self.add(&dtype.text),
            ItemKind::Source { args, ty, .. } => {
                args.iter().for_each(|p| self.param(p));
                self.ty(ty);
            }
            ItemKind::Fn(f) | ItemKind::Block(f) => self.function(f),
            ItemKind::Detector { body, .. } => body.iter().for_each(|s| self.stmt(s)),
            ItemKind::Variant { base, fields, .. } => {
                self.add(&base.text);
                fields.iter().for_each(|f| self.field(f));
            }
        }
    }

    fn function(&mut self, f: &Function) {
        f.hyper.iter().flatten().chain(&f.args).for_each(|p| self.param(p));
        if let Some(t) = &f.result {
            self.ty(t);
        }
        self.body(&f.body);
    }

    fn field(&mut self, f: &Field) {
        match &f.value {
            Some(e) => self.expr(e),
            None => self.add(&f.name.text),
        }
    }

    fn param(&mut self, p: &Param) {
        if let Some(t) = &p.ty {
            self.ty(t);
        }
        if let Some(e) = &p.default {
            self.expr(e);
        }
    }

    fn ty(&mut self, t: &Type) {
        match &t.kind {
            TypeKind::Name(n) => self.add(&n.text),
            TypeKind::Tensor(n, dims) => {
                self.add(&n.text);
                for d in dims {
                    if let DimItem::Expr(e) = d {
                        self.expr(e);
                    }
                }
            }
            TypeKind::List(t) => self.ty(t),
            TypeKind::Record(f) => f.iter().for_each(|f| self.ty(&f.1)),
            TypeKind::Signature(f, r) => {
                f.iter().for_each(|f| self.ty(&f.1));
                self.ty(r);
            }
        }
    }

    fn body(&mut self, b: &Body) {
        b.stmts.iter().for_each(|s| self.stmt(s));
        if let Some(e) = &b.value {
            self.expr(e);
        }
    }

    fn stmt(&mut self, s: &Stmt) {
        match &s.kind {
            StmtKind::Param(p, _) | StmtKind::Weight(p, _) | StmtKind::State(p, _) => self.param(p),
            StmtKind::Slot { ty, value, .. } => {
                self.ty(ty);
                value.iter().for_each(|e| self.expr(e));
            }
            StmtKind::Input { ty, from, .. } => {
                self.ty(ty);
                self.expr(from);
            }
            StmtKind::Let { ty, value, .. } => {
                ty.iter().for_each(|t| self.ty(t));
                self.expr(value);
            }
            StmtKind::Require { cond, .. } => self.expr(cond),
            StmtKind::Become { target, value } => {
                self.expr(target);
                self.expr(value);
            }
            StmtKind::Iterate(it) => {
                self.expr(&it.bound);
                it.carried.iter().for_each(|c| self.expr(&c.1));
                it.until.iter().chain(&it.every).for_each(|e| self.expr(e));
                it.body.iter().for_each(|s| self.stmt(s));
            }
            StmtKind::If { cond, then, otherwise } => {
                self.expr(cond);
                then.iter().chain(otherwise).for_each(|s| self.stmt(s));
            }
            StmtKind::Stage { parts, .. } => {
                for p in parts {
                    match p {
                        StagePart::Stmt(s) => self.stmt(s),
                        StagePart::Minimise { loss, groups, .. } => {
                            self.expr(loss);
                            for g in groups {
                                g.over.iter().for_each(|n| self.add(n.text.split('.').next().unwrap_or("")));
                                self.expr(&g.with);
                            }
                        }
                        StagePart::Setting { value, .. } => self.expr(value),
                    }
                }
            }
            StmtKind::Score { parts } => {
                for p in parts {
                    match p {
                        ScorePart::Stmt(s) => self.stmt(s),
                        ScorePart::Output { value, .. } => self.expr(value),
                    }
                }
            }
            StmtKind::Expr(e) => self.expr(e),
        }
    }

    fn axes(&mut self, axes: &[ViewAxis]) {
        for a in axes {
            match a {
                ViewAxis::Name(n) => self.add(&n.text),
                ViewAxis::Group(g, _) => self.axes(g),
                ViewAxis::Int(..) | ViewAxis::Rest(_) => {}
            }
        }
    }

    fn expr(&mut self, e: &Expr) {
        match &e.kind {
            ExprKind::Name(n) => self.add(n),
            ExprKind::Int(_) | ExprKind::Float(..) | ExprKind::Bool(_) | ExprKind::Error => {}
            ExprKind::Str(s) => self.interpolated(s),
            ExprKind::Dot(b, _) | ExprKind::Neg(b) | ExprKind::Not(b) | ExprKind::Each(b) | ExprKind::Frozen(b) => {
                self.expr(b)
            }
            ExprKind::As(b, n) => {
                self.interpolated(&n.text);
                self.expr(b);
            }
            ExprKind::Call(f, args) => {
                self.expr(f);
                args.iter().for_each(|a| self.expr(&a.value));
            }
            ExprKind::Index(b, items) => {
                self.expr(b);
                for i in items {
                    if let IndexItem::Expr(e) | IndexItem::Like(e) = i {
                        self.expr(e);
                    }
                }
            }
            ExprKind::View(b, l, r) => {
                self.expr(b);
                self.axes(&l.axes);
                self.axes(&r.axes);
            }
            ExprKind::Contraction(l, r) => {
                l.iter().for_each(|s| self.axes(&s.axes));
                self.axes(&r.axes);
            }
            ExprKind::List(l) => l.iter().for_each(|e| self.expr(e)),
            ExprKind::Comprehension(b, loops) => {
                self.expr(b);
                loops.iter().for_each(|l| self.expr(&l.1));
            }
            ExprKind::Record(f) => f.iter().for_each(|a| self.expr(&a.value)),
            ExprKind::Lambda(p, b) => {
                p.iter().for_each(|p| self.param(p));
                self.body(b);
            }
            ExprKind::Binary(_, a, b) | ExprKind::Repeat(a, b) => {
                self.expr(a);
                self.expr(b);
            }
            ExprKind::Range(a, b) => a.iter().chain(b).for_each(|e| self.expr(e)),
            ExprKind::Pipe { value, into, .. } => {
                self.expr(value);
                self.expr(into);
            }
            ExprKind::Variant(b, fields) => {
                self.expr(b);
                fields.iter().for_each(|f| self.field(f));
            }
            ExprKind::If(c, a, b) => {
                self.expr(c);
                self.body(a);
                self.body(b);
            }
        }
    }

    /// Names between braces of a text.
    fn interpolated(&mut self, text: &str) {
        for piece in text.split('{').skip(1) {
            if let Some((n, _)) = piece.split_once('}') {
                self.add(n);
            }
        }
    }
}
