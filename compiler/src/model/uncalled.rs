//! Functions and blocks that nobody calls, elaborated by themselves.
//!
//! In: a declaration of the root file. Out: diagnostics that hold whatever its arguments are. Invariants: arguments have
//! the declared types with open dims; a parameter without default is made up, and what its value decides is not told.
//! Imports: values, calls.

use std::rc::Rc;

use uad_grammar::ast::{DimItem, Expr, ExprKind, Function, ItemKind, Param, Type, TypeKind};
use uad_plan::{DType, Dim};

use crate::diag::Place;
use crate::graph::{Op, TensorType};

use super::modules::Module;
use super::types::Head;
use super::value::{Arg, Env, FnValue, Frame, Func, Instance, Kind, Owner, Tensor, Value};
use super::{Called, EntryKind, Ev};

/// What the root file declares and is not among the called; blocks are told apart.
pub(super) fn left<'a>(root: &'a Module, called: &Called) -> impl Iterator<Item = (&'a Function, bool)> {
    let declared = root.ast.items.iter().filter_map(|item| match &item.kind {
        ItemKind::Fn(f) => Some((f, false)),
        ItemKind::Block(f) => Some((f, true)),
        _ => None,
    });
    declared.filter(|(decl, _)| {
        // A step of the loader has no body to look at.
        let empty = super::call::attribute(decl, "loader").is_some() || decl.result.is_none();
        !called.contains(&(0, decl.name.span)) && (decl.body.value.is_some() || !empty)
    })
}

impl<'a> Ev<'a> {
    /// Elaborates what the root file declares and no entry called.
    pub(crate) fn uncalled(&mut self, called: &Called) {
        let modules = self.modules;
        for (decl, block) in left(&modules[0], called) {
            self.alone(decl, block);
        }
    }

    fn alone(&mut self, decl: &'a Function, block: bool) {
        self.cur = 0;
        self.levels.clear();
        let level = self.level("alone", false);
        self.levels = vec![level];
        let init = self.level("init", false);
        self.init = vec![init];
        self.entry = EntryKind::Stage { home: String::new(), trains: Some(vec!["**"]) };
        self.training = true;
        (self.stopped, self.scratch) = (false, true);
        self.turn.clear();
        let place = self.at(0, decl.name.span);
        // Weights have known shapes: a block's dims are made up.
        let mut guessed = block;
        self.closed_alone = block;
        let hyper = Frame::new(None, 0, if block { Kind::Block } else { Kind::Fn }, None);
        for p in decl.hyper.iter().flatten() {
            let v = self.made_up(p, &hyper, &mut guessed);
            hyper.set(&p.name.text, v);
        }
        let frame = Frame::new(Some(hyper.clone()), 0, Kind::Fn, None);
        let mut args = Vec::new();
        for p in &decl.args {
            let value = self.made_up(p, &frame, &mut guessed);
            // An integer may be an extent of a later argument.
            if !matches!(value, Value::Tensor(_)) {
                frame.set(&p.name.text, value.clone());
            }
            args.push(Arg { name: None, value, place });
        }
        self.only = Some(guessed);
        let f = if block {
            Func::Instance(Rc::new(Instance {
                decl,
                module: 0,
                hyper,
                site: place,
                turn: Vec::new(),
                home: Some(Owner::at(String::new(), None, None)),
                named: Default::default(),
            }))
        } else {
            let hyper = decl.hyper.as_ref().map(|_| hyper);
            Func::Fn(Rc::new(FnValue { decl, module: 0, hyper }))
        };
        let _ = self.apply(&f, args, place);
        self.only = None;
        self.scratch = false;
    }

    /// An argument for a parameter: its default, or something of its type; nothing where no value is typical.
    fn made_up(&mut self, p: &'a Param, env: &Env<'a>, guessed: &mut bool) -> Value<'a> {
        self.only = Some(true);
        let v = match (&p.default, &p.ty) {
            (Some(e), _) => self.eval(e, env).unwrap_or(Value::Poison),
            (None, Some(ty)) => self.of_type(ty, &p.name.text, env, guessed),
            (None, None) => Value::Poison,
        };
        self.only = None;
        v
    }

    fn of_type(&mut self, ty: &'a Type, name: &'a str, env: &Env<'a>, guessed: &mut bool) -> Value<'a> {
        let (head, dims): (_, &'a [DimItem]) = match &ty.kind {
            TypeKind::Name(n) => (n, &[]),
            TypeKind::Tensor(n, dims) => (n, dims),
            TypeKind::Record(_) | TypeKind::List(_) | TypeKind::Signature(..) => return Value::Poison,
        };
        let place = self.at(0, ty.span);
        match head.text.as_str() {
            "int" if dims.is_empty() => {
                *guessed = true;
                return Value::int(8);
            }
            "text" => {
                *guessed = true;
                return Value::Text("".into());
            }
            _ => {}
        }
        let known = self.modules[0].types.contains_key(&head.text) || DType::from_name(&head.text).is_some();
        let (dtype, unit) = match known.then(|| self.head(&head.text, 0, place)) {
            Some(Ok(Head::DType(d))) => (d, None),
            Some(Ok(Head::Unit(u, d))) => (d, Some(u)),
            _ if head.text.len() == 1 => (DType::F32, None),
            _ => return Value::Poison,
        };
        let mut shape = Vec::with_capacity(dims.len());
        for (k, d) in dims.iter().enumerate() {
            shape.push(match d {
                DimItem::Expr(e) => match self.open_dim(e, env, self.closed_alone, place) {
                    Some(d) => d,
                    None => return Value::Poison,
                },
                DimItem::Any(_) => Dim::name(&format!("{name}_{k}")),
                // Any number of axes: one, of the same name wherever `...` stands.
                DimItem::Rest(..) if self.closed_alone => Dim::int(16),
                DimItem::Rest(..) => Dim::name("rest"),
            });
        }
        let t = TensorType::new(dtype, shape);
        match self.leaf(Op::Input(name.to_string()), name, t, place) {
            Ok(leaf) => Value::Tensor(Tensor { unit, ..leaf }),
            Err(_) => Value::Poison,
        }
    }

    fn open_dim(&mut self, e: &'a Expr, env: &Env<'a>, closed: bool, place: Place) -> Option<Dim> {
        if let ExprKind::Name(n) = &e.kind
            && self.known_dim(n, env).ok()?.is_none()
        {
            let d = if closed && n != "b" { Dim::int(16) } else { Dim::name(n) };
            env.dims.borrow_mut().push((n, d.clone(), place));
            return Some(d);
        }
        self.dim_of(e, env).ok()
    }
}
