//! `<-`: states and carried names that get a new value.
//!
//! In: a target, a value. Out: a name's new value in its frame; what a stage leaves in a state, written at its end. Invariants: a
//! target keeps its type; a state that changes inside a loop is carried by it, so that every round reads what the round before left.
//! Imports: values.

use std::rc::Rc;

use uad_grammar::ast::{Expr, ExprKind, IndexItem};
use uad_plan::DType;

use crate::diag::{Diagnostic, Place};
use crate::graph::{Op, TensorType};

use super::Ev;
use super::value::{Bad, Env, Kind, R, Value};

impl<'a> Ev<'a> {
    pub(super) fn becomes(&mut self, target: &'a Expr, value: &'a Expr, env: &Env<'a>, place: Place) -> R<()> {
        let (name, index) = match &target.kind {
            ExprKind::Name(n) => (n.as_str(), None),
            ExprKind::Index(base, items) => match (&base.kind, items.as_slice()) {
                (ExprKind::Name(n), [IndexItem::Expr(i)]) => (n.as_str(), Some(i)),
                _ => return self.cannot_become(target, env),
            },
            _ => return self.cannot_become(target, env),
        };
        let v = self.eval(value, env)?;
        let at = self.at(env.module, value.span);
        // Reading it declares a detector's state in this entry; a name that failed has said so.
        let old = self.name(name, env, self.at(env.module, target.span))?;
        let Some(frame) = self.changeable(name, env) else { return self.cannot_become(target, env) };
        let v = match index {
            Some(i) => self.replaced(&old, i, v, env, place)?,
            None => self.like(&v, &old, name, at, self.at(env.module, target.span))?,
        };
        self.rule(name, target, v, &frame, env, place)
    }

    /// Gives a name its new value; what a stage leaves in a state is written.
    fn rule(
        &mut self,
        name: &str,
        target: &'a Expr,
        v: Value<'a>,
        frame: &Env<'a>,
        env: &Env<'a>,
        place: Place,
    ) -> R<()> {
        let path = frame.states.borrow().iter().find(|s| s.0 == name).map(|s| s.1.clone());
        if let Some(path) = path {
            if matches!(self.entry, super::EntryKind::Score) {
                self.err(Diagnostic::new("E0410", "a state changes in a stage only", place, "reached from `score`"));
                return Err(Bad);
            }
            let name = tree_name(name, target);
            if self.cur != 0 {
                return self.change_inside(name, path, v, frame, env, place);
            }
            self.write_state(&path, &v, place)?;
            let home = if env.kind == Kind::Entry || frame.kind == Kind::Detector { env } else { frame };
            self.became(name, &path, v, home);
            return Ok(());
        }
        frame.set(tree_name(name, target), v);
        Ok(())
    }

    /// A state has a new value in a frame: statements of a stage read it there, `let`s of the detector read the old one;
    /// a block's next use reads it from its owner.
    pub(super) fn became(&mut self, name: &'a str, path: &str, v: Value<'a>, home: &Env<'a>) {
        if home.kind == Kind::Entry {
            if !home.states.borrow().iter().any(|s| s.0 == name) {
                home.states.borrow_mut().push((name, path.to_string()));
            }
        } else if home.kind == Kind::Block
            && let Some(owner) = home.owner.as_ref().filter(|o| o.join(name) == path)
        {
            let mut changed = owner.changed.borrow_mut();
            changed.retain(|c| c.0 != name);
            changed.push((name, v.clone()));
            drop(changed);
            self.changed.push(owner.clone());
            self.apart |= self.common.as_ref().is_some_and(|c| c.states.contains(path));
        }
        home.set(name, v);
    }

    pub(super) fn cannot_become(&mut self, target: &'a Expr, env: &Env<'a>) -> R<()> {
        let place = self.at(env.module, target.span);
        self.err(
            Diagnostic::new("E0411", "only a state or a carried name can become", place, "is neither")
                .help("declare it as `state`, or carry it: `iterate n with x = …`"),
        );
        Err(Bad)
    }

    /// The frame in which a name can be given a new value.
    pub(super) fn changeable(&self, name: &str, env: &Env<'a>) -> Option<Env<'a>> {
        let mut at = Some(env.clone());
        while let Some(f) = at {
            if f.states.borrow().iter().any(|s| s.0 == name)
                || self.carried.iter().any(|c| Rc::ptr_eq(&c.0, &f) && c.1 == name)
            {
                return Some(f);
            }
            if f.kind != Kind::Entry && f.slot(name).is_some() {
                return None;
            }
            at = f.parent.clone();
        }
        None
    }

    /// `v` with the type of `old`.
    pub(super) fn like(
        &mut self,
        v: &Value<'a>,
        old: &Value<'a>,
        name: &str,
        place: Place,
        target: Place,
    ) -> R<Value<'a>> {
        if let Value::List(olds) = old {
            return self.likes(v, olds, name, place, target);
        }
        let Value::Tensor(o) = old else {
            return Ok(v.clone());
        };
        let want = self.ty(o);
        if let (Value::Tensor(t), true) = (v, self.is_open(o)) {
            return self.like_open(t, &want, name, place, target);
        }
        let t = match v {
            Value::Tensor(t) => t.clone(),
            v => {
                let t = self.lift(v, want.dtype, place)?;
                self.spread(&t, &want.shape, place)?
            }
        };
        let ty = self.ty(&t);
        if ty == want {
            return Ok(Value::Tensor(t));
        }
        let decided = ty.dtype != want.dtype
            || ty.shape.len() != want.shape.len()
            || ty.shape.iter().zip(&want.shape).any(|(a, b)| a.differs(b));
        if decided {
            let code = if ty.dtype != want.dtype { "E0202" } else { "E0203" };
            let text = if ty.dtype != want.dtype { "element types differ" } else { "dimensions differ" };
            self.err(
                Diagnostic::new(code, text, place, format!("is {ty}")).label(target, format!("`{name}` is {want}")),
            );
            return Err(Bad);
        }
        self.retype(&t, want.shape, "what a name becomes has its type", place).map(Value::Tensor)
    }

    /// `old` with row `i` replaced.
    pub(super) fn replaced(
        &mut self,
        old: &Value<'a>,
        i: &'a Expr,
        v: Value<'a>,
        env: &Env<'a>,
        place: Place,
    ) -> R<Value<'a>> {
        let index = self.eval(i, env)?;
        let at = self.at(env.module, i.span);
        let Value::Tensor(o) = old else {
            self.err(Diagnostic::new("E0201", "only a tensor has rows", place, format!("this is {}", old.kind())));
            return Err(Bad);
        };
        let want = self.ty(o);
        if want.shape.is_empty() {
            self.err(Diagnostic::new("E0204", "a scalar has no rows", place, "no axes"));
            return Err(Bad);
        }
        let index = self.lift(&index, DType::I32, at)?;
        let ty = self.ty(&index);
        if ty.dtype != DType::I32 || !ty.shape.is_empty() {
            self.err(Diagnostic::new("E0209", "one row is replaced at a time", at, format!("is {ty}")));
            return Err(Bad);
        }
        let numbers = TensorType::new(DType::I32, want.shape.clone());
        let iota = self.add(Op::Iota { axis: 0 }, &[], numbers, place)?;
        let index = self.spread(&index, &want.shape, place)?;
        let hit = self.map(uad_plan::ScalarOp::Eq, &[&iota, &index], place)?;
        let new = match &v {
            Value::Tensor(t) => t.clone(),
            v => self.lift(v, want.dtype, place)?,
        };
        let new = self.spread(&new, &want.shape, place)?;
        self.map(uad_plan::ScalarOp::Select, &[&hit, &new, o], place).map(Value::Tensor)
    }
}
/// The name of a target as it stands in the tree, which outlives the elaboration.
fn tree_name<'a>(name: &str, target: &'a Expr) -> &'a str {
    fn find(e: &Expr) -> &str {
        match &e.kind {
            ExprKind::Name(n) => n,
            ExprKind::Index(base, _) => find(base),
            _ => "",
        }
    }
    debug_assert_eq!(name, find(target));
    find(target)
}
