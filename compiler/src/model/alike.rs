//! First values that are alike: where only findings are asked for, one of each kind is made.
//!
//! In: what a stored tensor starts from, its type and the frame it stands in. Out: whether such a first value has been made without
//! a finding. Invariants: alike are the same expression, the same type and the same values of all names in the expression, so what
//! is wrong with one is wrong with all; what is not known to be alike is made. Imports: values, syntax tree.

use uad_grammar::ast::{Expr, ExprKind};
use uad_plan::Dim;

use crate::graph::TensorType;

use super::value::{Env, Func, Slot, Value};
use super::{Depth, Ev};

/// A kind of first value: the expression by its address, the type, what its names stand for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct FirstValue(usize, TensorType, Vec<Part>);

/// A piece of a static value; pieces in order tell values apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Part {
    Whole(Dim),
    Bits(u64),
    Truth(bool),
    Builtin(&'static str),
    /// A declared function, by its address.
    Declared(usize),
    /// Something of so many parts.
    Many(usize),
    /// A name of the module or the prelude.
    Constant,
}

impl<'a> Ev<'a> {
    /// The kind of a first value, where it is enough to make one of each.
    pub(super) fn first_value(&self, init: &'a Expr, ty: &TensorType, env: &Env<'a>) -> Option<FirstValue> {
        let mut parts = Vec::new();
        (self.choice.depth == Depth::Findings && told(init, env, &mut parts))
            .then(|| FirstValue(std::ptr::from_ref(init) as usize, ty.clone(), parts))
    }
}

/// Tells what the names of an expression stand for. False where that is not all that it depends on.
fn told<'a>(e: &'a Expr, env: &Env<'a>, out: &mut Vec<Part>) -> bool {
    match &e.kind {
        ExprKind::Int(_) | ExprKind::Float(..) | ExprKind::Bool(_) | ExprKind::Str(_) => true,
        ExprKind::Name(n) => named(n, env, out),
        // `random.uniform` and the like.
        ExprKind::Dot(base, _) => told(base, env, out),
        ExprKind::Call(f, args) => told(f, env, out) && args.iter().all(|a| told(&a.value, env, out)),
        ExprKind::Neg(a) => told(a, env, out),
        ExprKind::Binary(_, a, b) => told(a, env, out) && told(b, env, out),
        _ => false,
    }
}

fn named<'a>(n: &'a str, env: &Env<'a>, out: &mut Vec<Part>) -> bool {
    let mut at = Some(env.clone());
    while let Some(f) = at {
        match f.slot(n) {
            Some(Slot::Known(v)) => return pieces(&v, out),
            Some(Slot::Lazy(_)) => return false,
            None => {}
        }
        if let Some((d, _)) = f.dim(n) {
            out.push(Part::Whole(d));
            return true;
        }
        if f.promised.borrow().iter().any(|p| p.0 == n) {
            return false;
        }
        at = f.parent.clone();
    }
    out.push(Part::Constant);
    n != "training"
}

fn pieces(v: &Value, out: &mut Vec<Part>) -> bool {
    match v {
        Value::Int(d) => out.push(Part::Whole(d.clone())),
        Value::Ratio(q) => out.extend([Part::Many(2), Part::Whole(q.0.clone()), Part::Whole(q.1.clone())]),
        Value::Float(x) => out.push(Part::Bits(x.to_bits())),
        Value::Bool(b) => out.push(Part::Truth(*b)),
        Value::List(l) => {
            out.push(Part::Many(l.len()));
            return l.iter().all(|v| pieces(v, out));
        }
        Value::Func(f) => return function(f, out),
        _ => return false,
    }
    true
}

fn function(f: &Func, out: &mut Vec<Part>) -> bool {
    match f {
        Func::Builtin(n) => out.push(Part::Builtin(n)),
        Func::Fn(f) if f.hyper.is_none() => out.push(Part::Declared(std::ptr::from_ref(f.decl) as usize)),
        Func::Partial(p) => {
            out.push(Part::Many(p.1.len()));
            // An argument's name is told by where it stands.
            let name = |n: &uad_grammar::ast::Name| Part::Declared(std::ptr::from_ref(n) as usize);
            return function(&p.0, out)
                && p.1.iter().all(|a| {
                    out.push(a.name.map_or(Part::Constant, name));
                    pieces(&a.value, out)
                });
        }
        _ => return false,
    }
    true
}
