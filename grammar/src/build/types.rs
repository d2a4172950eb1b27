//! Types of the tree.
//!
//! In: pairs of types. Out: [`Type`]. Invariants: as in [`super`]. Imports: the other builders.

use super::{Builder, kids};
use crate::SyntaxError;
use crate::ast::{DimItem, Name, Type, TypeKind};
use crate::rules::{Node, Rule};

/// `list list … T` and `(T) -> (T) -> … T` nest at most this deep.
const MAX_CHAIN: usize = 16;

impl Builder<'_> {
    pub(super) fn ty(&mut self, node: Node<'_>) -> Option<Type> {
        let span = self.span(&node);
        let mut parts: Vec<Node<'_>> = kids(node).collect();
        if parts.len() > MAX_CHAIN {
            self.errors.push(SyntaxError::new(span, "a signature of too many steps", "this one"));
            parts.truncate(1);
        }
        let mut ty = self.ty_one(parts.pop()?)?;
        while let Some(part) = parts.pop() {
            let fields = kids(part.clone()).next().filter(|p| p.as_rule() == Rule::ty_paren);
            let Some(fields) = fields else {
                let span = self.span(&part);
                self.errors.push(
                    SyntaxError::new(span, "the arguments of a signature stand in parentheses", "left of `->`")
                        .help(format!("write `({}) -> …`", part.as_str().trim())),
                );
                continue;
            };
            let span = self.span(&part).to(ty.span);
            ty = Type { span, kind: TypeKind::Signature(self.ty_fields(fields)?, Box::new(ty)) };
        }
        Some(ty)
    }

    fn ty_one(&mut self, node: Node<'_>) -> Option<Type> {
        let span = self.span(&node);
        let mut parts = kids(node);
        let mut lists = Vec::new();
        while let Some(list) = parts.next_if(|p| p.as_rule() == Rule::k_list) {
            lists.push(self.span(&list));
        }
        if lists.len() > MAX_CHAIN {
            self.errors.push(SyntaxError::new(span, "a list of lists of too many levels", "this one"));
            lists.truncate(1);
        }
        let core = parts.next()?;
        let core_span = self.span(&core);
        let mut ty = if core.as_rule() == Rule::ty_name {
            let mut inner = kids(core);
            let name = self.name(inner.next()?);
            let kind = match inner.next() {
                Some(dims) => TypeKind::Tensor(name, self.dims(dims)?),
                None => TypeKind::Name(name),
            };
            Type { span: core_span, kind }
        } else {
            let mut fields = self.ty_fields(core)?;
            if fields.len() == 1 && fields[0].0.is_none() {
                let (_, ty) = fields.pop()?;
                Type { span: core_span, kind: ty.kind }
            } else {
                Type { span: core_span, kind: TypeKind::Record(fields) }
            }
        };
        for start in lists.into_iter().rev() {
            ty = Type { span: start.to(ty.span), kind: TypeKind::List(Box::new(ty)) };
        }
        Some(ty)
    }

    fn ty_fields(&mut self, node: Node<'_>) -> Option<Vec<(Option<Name>, Type)>> {
        let mut fields = Vec::new();
        for field in kids(node) {
            let mut parts = kids(field);
            let name = parts.next_if(|p| p.as_rule() == Rule::arg_name).map(|n| self.name(n));
            fields.push((name, self.ty(parts.next()?)?));
        }
        Some(fields)
    }

    fn dims(&mut self, node: Node<'_>) -> Option<Vec<DimItem>> {
        let mut dims = Vec::new();
        for part in kids(node) {
            let span = self.span(&part);
            dims.push(match part.as_rule() {
                Rule::any_dim => DimItem::Any(span),
                Rule::rest => DimItem::Rest(kids(part).next().map(|n| self.name(n)), span),
                _ => DimItem::Expr(self.expr(part)?),
            });
        }
        Some(dims)
    }
}
