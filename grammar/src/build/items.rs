//! Items and functions of the tree.
//!
//! In: pairs of items. Out: [`ItemKind`]. Invariants: as in [`super`]. Imports: the other builders.

use super::{Builder, kids};
use crate::ast::{Attribute, Field, Function, ItemKind, Param};
use crate::rules::{Node, Rule};

impl Builder<'_> {
    pub(super) fn item_kind(&mut self, node: Node<'_>) -> Option<ItemKind> {
        let rule = node.as_rule();
        let is_fn = rule == Rule::function_item && node.clone().into_inner().any(|p| p.as_rule() == Rule::k_fn);
        let start = node.as_span().start();
        let mut parts = kids(node);
        Some(match rule {
            Rule::use_item => {
                let mut path = Vec::new();
                let mut names = Vec::new();
                for part in parts {
                    if part.as_rule() == Rule::use_names {
                        names = kids(part).map(|n| self.name(n)).collect();
                    } else {
                        path.push(self.name(part));
                    }
                }
                if names.is_empty() {
                    names.extend(path.pop());
                }
                ItemKind::Use { path, names }
            }
            Rule::type_item => {
                let name = self.name(parts.next()?);
                ItemKind::Type { name, ty: self.ty(parts.next()?)? }
            }
            Rule::unit_item => {
                let name = self.name(parts.next()?);
                let dtype = self.name(parts.next()?);
                let range = match parts.next() {
                    Some(range) => {
                        let mut ends = kids(range);
                        Some((self.expr(ends.next()?)?, self.expr(ends.next()?)?))
                    }
                    None => None,
                };
                ItemKind::Unit { name, dtype, range }
            }
            Rule::source_item => {
                let name = self.name(parts.next()?);
                let args = match parts.next_if(|p| p.as_rule() == Rule::params) {
                    Some(params) => self.params(params)?,
                    None => Vec::new(),
                };
                ItemKind::Source { name, args, ty: self.ty(parts.next()?)? }
            }
            Rule::function_item => {
                let mut attributes = Vec::new();
                while let Some(attribute) = parts.next_if(|p| p.as_rule() == Rule::attribute) {
                    let mut inner = kids(attribute);
                    let name = self.name(inner.next()?);
                    let text = inner.next().map(|s| self.string(s));
                    attributes.push(Attribute { name, text });
                }
                let name = self.name(parts.next()?);
                let first = self.params(parts.next()?)?;
                let (hyper, args) = match parts.next_if(|p| p.as_rule() == Rule::params) {
                    Some(second) => (Some(first), self.params(second)?),
                    None => (None, first),
                };
                let result = match parts.next_if(|p| p.as_rule() == Rule::result) {
                    Some(result) => Some(self.ty(kids(result).next()?)?),
                    None => None,
                };
                let body = self.body(parts.next()?)?;
                let function = Function { attributes, name, hyper, args, result, body };
                if is_fn { ItemKind::Fn(function) } else { ItemKind::Block(function) }
            }
            Rule::detector_item => {
                let name = self.name(parts.next()?);
                let next = parts.next()?;
                if next.as_rule() == Rule::body {
                    ItemKind::Detector { name, body: self.stmts(next)? }
                } else {
                    let base = self.name(next);
                    let fields = self.fields(parts.next()?)?;
                    ItemKind::Variant { name, base, fields }
                }
            }
            Rule::hole => ItemKind::Error,
            _ => return self.mismatch(start),
        })
    }

    /// The grammar gave something that the builder does not know.
    pub(super) fn mismatch<T>(&mut self, start: usize) -> Option<T> {
        let at = (self.base + start).min(self.source.len());
        let span = crate::ast::Span::new(at, at);
        self.errors.push(crate::SyntaxError::new(span, "this form is not understood", "here"));
        None
    }

    pub(super) fn params(&mut self, node: Node<'_>) -> Option<Vec<Param>> {
        kids(node).map(|param| self.param(param)).collect()
    }

    /// `name: type = default`, of a function, a declaration or a lambda.
    pub(super) fn param(&mut self, node: Node<'_>) -> Option<Param> {
        let mut parts = kids(node);
        let name = self.name(parts.next()?);
        let ty = match parts.next_if(|p| p.as_rule() == Rule::ty) {
            Some(ty) => Some(self.ty(ty)?),
            None => None,
        };
        let default = match parts.next() {
            Some(expr) => Some(self.expr(expr)?),
            None => None,
        };
        Some(Param { name, ty, default })
    }

    /// The fields of a variant.
    pub(super) fn fields(&mut self, node: Node<'_>) -> Option<Vec<Field>> {
        let mut fields = Vec::new();
        for part in kids(node) {
            if part.as_rule() != Rule::fields {
                continue;
            }
            for field in kids(part) {
                let mut name: Option<crate::ast::Name> = None;
                let mut value = None;
                for piece in kids(field) {
                    if piece.as_rule() == Rule::expr {
                        value = Some(self.expr(piece)?);
                    } else {
                        let next = self.name(piece);
                        name = Some(match name {
                            Some(mut whole) => {
                                whole.text = format!("{}.{}", whole.text, next.text);
                                whole.span = whole.span.to(next.span);
                                whole
                            }
                            None => next,
                        });
                    }
                }
                fields.push(Field { name: name?, value });
            }
        }
        Some(fields)
    }
}
