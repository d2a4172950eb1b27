//! Items.
//!
//! In: items. Out: entries of the file. Invariants: as in [`super`]. Imports: the printer.

use super::types::quoted;
use super::{Entry, Printer, WIDTH, pad, width};
use crate::ast::{Attribute, Field, Function, Item, ItemKind, Name, Param};

impl<'f> Printer<'f> {
    pub(super) fn items(&mut self, items: &'f [Item]) -> Vec<Entry<'f>> {
        items.iter().map(|item| self.item(item)).collect()
    }

    fn item(&self, item: &'f Item) -> Entry<'f> {
        let (start, end) = (item.span.start as usize, item.span.end as usize);
        let text = |kind, cells: Vec<String>, tail: String| {
            let flat = Some(tail.clone());
            let tail: super::Tail<'f> = Box::new(move |_, _, _| tail.clone());
            Entry { docs: &item.docs, start, end, kind, cells, flat, tail }
        };
        match &item.kind {
            ItemKind::Use { path, names } => {
                let listed =
                    |names: &[Name], by: &str| names.iter().map(|n| n.text.as_str()).collect::<Vec<_>>().join(by);
                let path = listed(path, ".");
                let flat = match names.as_slice() {
                    [one] if path.is_empty() => format!("use {}", one.text),
                    [one] => format!("use {path}.{}", one.text),
                    _ => format!("use {path}.{{{}}}", listed(names, ", ")),
                };
                let mut entry = text(None, Vec::new(), flat);
                entry.tail = Box::new(move |_, _, _| {
                    let mut out = format!("use {path}.{{");
                    let mut column = WIDTH;
                    for name in names {
                        if column + name.text.len() + 2 > WIDTH {
                            out.truncate(out.trim_end_matches(' ').len());
                            out.push_str("\n  ");
                            column = 2;
                        }
                        out.push_str(&name.text);
                        out.push_str(", ");
                        column += name.text.len() + 2;
                    }
                    out.truncate(out.trim_end_matches(", ").len());
                    out.push_str("\n}");
                    out
                });
                entry
            }
            ItemKind::Type { name, ty } => {
                text(Some("type"), vec![format!("type {}", name.text), "=".to_string()], self.ty(ty))
            }
            ItemKind::Unit { name, dtype, range } => {
                let range = range
                    .as_ref()
                    .map_or(String::new(), |(low, high)| format!(" in [{}, {}]", self.forced(low), self.forced(high)));
                text(Some("unit"), vec![format!("unit {}:", name.text)], format!("{}{range}", dtype.text))
            }
            ItemKind::Source { name, args, ty } => {
                let args = if args.is_empty() { String::new() } else { format!("({})", self.flat_params(args)) };
                text(Some("source"), vec![format!("source {}{args}:", name.text)], self.ty(ty))
            }
            ItemKind::Fn(function) => self.function("fn", function, item),
            ItemKind::Block(function) => self.function("block", function, item),
            ItemKind::Detector { name, body } => {
                let head = format!("detector {} ", name.text);
                let opener = name.span.end as usize;
                let flat = self.flat_block(&self.stmts(body), opener, end).map(|body| head.clone() + &body);
                Entry {
                    docs: &item.docs,
                    start,
                    end,
                    kind: None,
                    cells: Vec::new(),
                    flat,
                    tail: Box::new(move |printer, indent, column| {
                        let column = column + width(&head);
                        let entries = printer.stmts(body);
                        head.clone() + &printer.block(entries, opener, end, indent, column)
                    }),
                }
            }
            ItemKind::Variant { name, base, fields } => {
                let head = format!("detector {} = {} ", name.text, base.text);
                let flat = self.flat_fields(fields).map(|fields| head.clone() + &fields);
                Entry {
                    docs: &item.docs,
                    start,
                    end,
                    kind: None,
                    cells: Vec::new(),
                    flat: flat.filter(|_| !self.has_comment(start, end)),
                    tail: Box::new(move |printer, indent, _| {
                        head.clone() + &printer.broken_fields(fields, end, indent)
                    }),
                }
            }
            ItemKind::Error => text(None, Vec::new(), String::new()),
        }
    }

    fn function(&self, word: &str, function: &'f Function, item: &'f Item) -> Entry<'f> {
        let (start, end) = (item.span.start as usize, item.span.end as usize);
        let mut before = String::new();
        for attribute in &function.attributes {
            before.push_str(&attribute_text(attribute));
            let together = self.same_line(attribute.name.span.start as usize, function.name.span.end as usize, true);
            before.push(if together { ' ' } else { '\n' });
        }
        let head = format!("{word} {}", function.name.text);
        let result = function.result.as_ref().map_or(String::new(), |ty| format!("-> {} ", self.ty(ty)));
        let lists: Vec<&'f [Param]> = function.hyper.iter().chain([&function.args]).map(Vec::as_slice).collect();
        let mut signature = head.clone();
        for list in &lists {
            signature.push_str(&format!("({})", self.flat_params(list)));
        }
        signature.push(' ');
        signature.push_str(&result);
        let opener = function
            .result
            .as_ref()
            .map_or_else(|| function.args.last().map_or(function.name.span, |p| p.name.span), |ty| ty.span);
        let opener = opener.end as usize;
        let entries = self.body_entries(&function.body);
        let one_line = self.flat_block(&entries, opener, end);
        let has_comment = self.has_comment(start, end);
        let flat = one_line.filter(|_| !has_comment).map(|body| format!("{before}{signature}{body}"));
        let flat = flat.filter(|f| !f.contains('\n'));
        let last_line = before.rsplit('\n').next().unwrap_or("").len();
        Entry {
            docs: &item.docs,
            start,
            end,
            kind: None,
            cells: Vec::new(),
            flat,
            tail: Box::new(move |printer, indent, _| {
                let mut text = before.clone();
                if last_line + width(&signature) < WIDTH {
                    text.push_str(&signature);
                } else {
                    text.push_str(&head);
                    for (n, list) in lists.iter().enumerate() {
                        let flat = format!("({})", printer.flat_params(list));
                        let last = n + 1 == lists.len();
                        if !last && super::end_column(&text, 0) + width(&flat) < WIDTH {
                            text.push_str(&flat);
                        } else {
                            text.push_str(&printer.broken_params(list, indent));
                        }
                    }
                    text.push(' ');
                    text.push_str(&result);
                }
                let column = super::end_column(&text, 0);
                let entries = printer.body_entries(&function.body);
                text + &printer.block(entries, opener, end, indent, column)
            }),
        }
    }

    pub(super) fn param(&self, param: &Param) -> String {
        let mut text = param.name.text.clone();
        if let Some(ty) = &param.ty {
            text.push_str(": ");
            text.push_str(&self.ty(ty));
        }
        if let Some(default) = &param.default {
            text.push_str(" = ");
            text.push_str(&self.forced(default));
        }
        text
    }

    pub(super) fn flat_params(&self, params: &[Param]) -> String {
        params.iter().map(|p| self.param(p)).collect::<Vec<_>>().join(", ")
    }

    fn broken_params(&self, params: &[Param], indent: usize) -> String {
        if params.is_empty() {
            return "()".to_string();
        }
        let flat = self.flat_params(params);
        if indent + 2 + width(&flat) <= WIDTH {
            return format!("(\n{}{flat}\n{})", pad(indent + 2), pad(indent));
        }
        let mut text = String::from("(");
        for param in params {
            text.push_str(&format!("\n{}{},", pad(indent + 2), self.param(param)));
        }
        format!("{text}\n{})", pad(indent))
    }

    pub(super) fn flat_fields(&self, fields: &[Field]) -> Option<String> {
        let field = |field: &Field| match &field.value {
            Some(value) => Some(format!("{}: {}", field.name.text, self.flat(value, 0)?)),
            None => Some(field.name.text.clone()),
        };
        let fields: Vec<String> = fields.iter().map(field).collect::<Option<_>>()?;
        Some(if fields.is_empty() { "{ }".to_string() } else { format!("{{ {} }}", fields.join(", ")) })
    }

    pub(super) fn broken_fields(&mut self, fields: &'f [Field], end: usize, indent: usize) -> String {
        let mut parts = Vec::new();
        for field in fields {
            let start = field.name.span.start as usize;
            let end = field.value.as_ref().map_or(field.name.span.end, |v| v.span.end) as usize;
            let name = field.name.text.as_str();
            parts.push((start, end, name, field.value.as_ref()));
        }
        self.broken_list("{", parts, "}", end, indent)
    }
}

fn attribute_text(attribute: &Attribute) -> String {
    match &attribute.text {
        Some(text) => format!("@{}({})", attribute.name.text, quoted(&text.text)),
        None => format!("@{}", attribute.name.text),
    }
}
