//! Types, names and literals, on one line.
//!
//! In: parts of the tree. Out: text. Invariants: parses to the same part. Imports: the printer.

use super::Printer;
use crate::ast::{DimItem, Name, Type, TypeKind, ViewAxis};
use crate::reserved::RESERVED;

pub(super) fn is_plain_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && !RESERVED.contains(&text)
}

pub(super) fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

pub(super) fn rest(name: Option<&Name>) -> String {
    format!("...{}", name.map_or("", |n| &n.text))
}

pub(super) fn axes(axes: &[ViewAxis]) -> String {
    let axis = |axis: &ViewAxis| match axis {
        ViewAxis::Name(name) => name.text.clone(),
        ViewAxis::Int(value, _) => value.to_string(),
        ViewAxis::Group(inner, _) => format!("({})", self::axes(inner)),
        ViewAxis::Rest(_) => "...".to_string(),
    };
    axes.iter().map(axis).collect::<Vec<_>>().join(" ")
}

impl Printer<'_> {
    pub(super) fn ty(&self, ty: &Type) -> String {
        match &ty.kind {
            TypeKind::Name(name) => name.text.clone(),
            TypeKind::Tensor(name, dims) => format!("{}[{}]", name.text, self.dims(dims)),
            TypeKind::List(inner) if matches!(inner.kind, TypeKind::Signature(..)) => {
                format!("list ({})", self.ty(inner))
            }
            TypeKind::List(inner) => format!("list {}", self.ty(inner)),
            TypeKind::Record(fields) => format!("({})", self.ty_fields(fields)),
            TypeKind::Signature(args, result) => format!("({}) -> {}", self.ty_fields(args), self.ty(result)),
        }
    }

    fn ty_fields(&self, fields: &[(Option<Name>, Type)]) -> String {
        let field = |(name, ty): &(Option<Name>, Type)| match name {
            Some(name) => format!("{}: {}", name.text, self.ty(ty)),
            None => self.ty(ty),
        };
        fields.iter().map(field).collect::<Vec<_>>().join(", ")
    }

    fn dims(&self, dims: &[DimItem]) -> String {
        let dim = |dim: &DimItem| match dim {
            DimItem::Any(_) => "_".to_string(),
            DimItem::Rest(name, _) => rest(name.as_ref()),
            DimItem::Expr(expr) => self.tight(expr),
        };
        dims.iter().map(dim).collect::<Vec<_>>().join(", ")
    }
}
