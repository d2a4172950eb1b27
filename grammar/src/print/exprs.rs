//! Expressions: on one line, or broken.
//!
//! In: expressions. Out: text. Invariants: parentheses stand where precedence needs them and nowhere else; recursion
//! is bounded by the depth of the tree. Imports: the printer.

use super::stmts::pattern_text;
use super::types::{axes, is_plain_name, quoted, rest};
use super::{Entry, Printer, Tail, WIDTH, end_column, pad, width};
use crate::ast::{Arg, BinaryOp, Body, Expr, ExprKind, IndexItem, ViewSide};

const PIPE: u8 = 1;
const NOT: u8 = 4;
const COMPARE: u8 = 5;
const RANGE: u8 = 6;
const NEG: u8 = 9;
const TAKER: u8 = 10;
const POSTFIX: u8 = 11;
const PRIMARY: u8 = 12;

fn operator(op: BinaryOp) -> (&'static str, u8) {
    match op {
        BinaryOp::Or => ("or", 2),
        BinaryOp::And => ("and", 3),
        BinaryOp::Eq => ("==", COMPARE),
        BinaryOp::Ne => ("!=", COMPARE),
        BinaryOp::Lt => ("<", COMPARE),
        BinaryOp::Le => ("<=", COMPARE),
        BinaryOp::Gt => (">", COMPARE),
        BinaryOp::Ge => (">=", COMPARE),
        BinaryOp::Add => ("+", 7),
        BinaryOp::Sub => ("-", 7),
        BinaryOp::Mul => ("*", 8),
        BinaryOp::Div => ("/", 8),
        BinaryOp::Rem => ("%", 8),
        BinaryOp::MatMul => ("@", 8),
    }
}

/// What the left operand of an operator must be at least: comparisons do not chain.
fn left_least(power: u8) -> u8 {
    if power == COMPARE { COMPARE + 1 } else { power }
}

fn level(expr: &Expr) -> u8 {
    match &expr.kind {
        ExprKind::Pipe { .. } => PIPE,
        ExprKind::Binary(op, ..) => operator(*op).1,
        ExprKind::Not(_) => NOT,
        ExprKind::Range(..) => RANGE,
        ExprKind::Neg(_) => NEG,
        ExprKind::Frozen(_) | ExprKind::Each(_) | ExprKind::Repeat(..) => TAKER,
        ExprKind::Lambda(..) | ExprKind::If(..) => POSTFIX,
        _ => PRIMARY,
    }
}

/// Whether `as` stands in the chain of calls and indices: `frozen` would not reach over it.
fn is_named_inside(expr: &Expr) -> bool {
    match &expr.kind {
        ExprKind::As(..) => true,
        ExprKind::Call(inner, _) | ExprKind::Index(inner, _) | ExprKind::View(inner, ..) => is_named_inside(inner),
        ExprKind::Dot(inner, _) | ExprKind::Variant(inner, _) => is_named_inside(inner),
        _ => false,
    }
}

/// Whether a variant's brace stands outside of all brackets, where it would be taken for a body.
fn has_bare_variant(expr: &Expr) -> bool {
    match &expr.kind {
        ExprKind::Variant(..) => true,
        ExprKind::Call(inner, _) | ExprKind::Index(inner, _) | ExprKind::View(inner, ..) => has_bare_variant(inner),
        ExprKind::Dot(inner, _) | ExprKind::As(inner, _) => has_bare_variant(inner),
        ExprKind::Not(inner) | ExprKind::Neg(inner) | ExprKind::Frozen(inner) => has_bare_variant(inner),
        ExprKind::Each(inner) | ExprKind::Repeat(_, inner) => has_bare_variant(inner),
        ExprKind::Binary(_, a, b) => has_bare_variant(a) || has_bare_variant(b),
        ExprKind::Pipe { value, into, .. } => has_bare_variant(value) || has_bare_variant(into),
        ExprKind::Range(a, b) => [a, b].into_iter().flatten().any(|e| has_bare_variant(e)),
        _ => false,
    }
}

fn taker_least(inner: &Expr) -> u8 {
    if is_named_inside(inner) { u8::MAX } else { TAKER }
}

/// What the operand of `as` must be: a name may follow `frozen e`, an index may not.
fn postfix_least(expr: &Expr) -> u8 {
    if matches!(expr.kind, ExprKind::As(..)) { TAKER } else { PRIMARY }
}

fn side(side: &ViewSide) -> String {
    axes(&side.axes)
}

fn view(left: &ViewSide, right: &ViewSide) -> String {
    format!("{} -> {}", side(left), side(right)).trim().to_string()
}

impl<'f> Printer<'f> {
    /// The expression on one line, in parentheses if it binds looser than `least`; `None` if it cannot be.
    pub(super) fn flat(&self, expr: &Expr, least: u8) -> Option<String> {
        if !self.forcing() && self.has_comment(expr.span.start as usize, expr.span.end as usize) {
            return None;
        }
        self.flat_in(expr, least, false)
    }

    /// On one line whatever it takes.
    pub(super) fn forced(&self, expr: &Expr) -> String {
        let before = self.force.replace(true);
        let text = self.flat_in(expr, 0, false).unwrap_or_default();
        self.force.set(before);
        text
    }

    /// A dimension: no blanks around its operators.
    pub(super) fn tight(&self, expr: &Expr) -> String {
        let before = self.force.replace(true);
        let text = self.flat_in(expr, 0, true).unwrap_or_default();
        self.force.set(before);
        text
    }

    /// Before a body.
    pub(super) fn head(&self, expr: &Expr) -> String {
        let text = self.forced(expr);
        if has_bare_variant(expr) { format!("({text})") } else { text }
    }

    fn flat_in(&self, expr: &Expr, least: u8, tight: bool) -> Option<String> {
        let inner = |e: &Expr, least| self.flat_in(e, least, tight);
        let text = match &expr.kind {
            ExprKind::Int(value) => value.to_string(),
            ExprKind::Float(_, text) => text.clone(),
            ExprKind::Str(text) => quoted(text),
            ExprKind::Bool(value) => value.to_string(),
            ExprKind::Name(name) => name.clone(),
            ExprKind::Dot(value, name) => format!("{}.{}", inner(value, PRIMARY)?, name.text),
            ExprKind::Call(callee, args) => format!("{}({})", inner(callee, PRIMARY)?, self.flat_args(args)?),
            ExprKind::Index(value, items) => {
                let items: Option<Vec<String>> = items.iter().map(|item| self.index_item(item)).collect();
                format!("{}[{}]", inner(value, PRIMARY)?, items?.join(", "))
            }
            ExprKind::View(value, left, right) => format!("{}[{}]", inner(value, PRIMARY)?, view(left, right)),
            ExprKind::Contraction(sides, result) => {
                let sides: Vec<String> = sides.iter().map(side).collect();
                format!("[{} -> {}]", sides.join(", "), side(result)).replace("-> ]", "->]")
            }
            ExprKind::List(values) => {
                let values: Option<Vec<String>> = values.iter().map(|v| self.flat_in(v, 0, false)).collect();
                format!("[{}]", values?.join(", "))
            }
            ExprKind::Comprehension(value, clauses) => {
                let mut text = format!("[{}", self.flat_in(value, 0, false)?);
                for (pattern, list) in clauses {
                    text.push_str(&format!(" for {} in {}", pattern_text(pattern), self.flat_in(list, 0, false)?));
                }
                text + "]"
            }
            ExprKind::Record(args) => format!("({})", self.flat_args(args)?),
            ExprKind::Lambda(params, body) => {
                let span = expr.span;
                let opener = params.last().map_or(span.start, |p| p.name.span.end) as usize;
                format!("fn ({}) {}", self.flat_params(params), self.flat_body(body, opener, span.end as usize)?)
            }
            ExprKind::Neg(value) => format!("-{}", inner(value, NEG)?),
            ExprKind::Not(value) => format!("not {}", inner(value, NOT)?),
            ExprKind::Binary(op, left, right) => {
                let (sign, power) = operator(*op);
                let gap = if tight && power > COMPARE { "" } else { " " };
                let (left, right) = (inner(left, left_least(power))?, inner(right, power + 1)?);
                format!("{left}{gap}{sign}{gap}{right}")
            }
            ExprKind::Range(from, to) => {
                let end = |e: &Option<Box<Expr>>| match e {
                    Some(e) => self.flat_in(e, RANGE + 1, tight),
                    None => Some(String::new()),
                };
                format!("{}..{}", end(from)?, end(to)?)
            }
            ExprKind::Pipe { value, train, into } => {
                let train = if *train { "@train " } else { "" };
                format!("{} |> {train}{}", inner(value, PIPE)?, inner(into, PIPE + 1)?)
            }
            ExprKind::As(value, name) => {
                let name = if is_plain_name(&name.text) { name.text.clone() } else { quoted(&name.text) };
                format!("{} as {name}", inner(value, postfix_least(expr))?)
            }
            ExprKind::Repeat(count, value) => {
                format!("repeat({}) {}", self.flat_in(count, 0, false)?, inner(value, taker_least(value))?)
            }
            ExprKind::Each(value) => format!("each {}", inner(value, taker_least(value))?),
            ExprKind::Frozen(value) => format!("frozen {}", inner(value, taker_least(value))?),
            ExprKind::Variant(base, fields) => format!("{} {}", inner(base, PRIMARY)?, self.flat_fields(fields)?),
            ExprKind::If(cond, then, otherwise) => {
                let (from, middle, to) = self.if_places(cond, otherwise, expr);
                let then = self.flat_body(then, from, middle)?;
                format!("if {} {then} else {}", self.head(cond), self.flat_body(otherwise, middle, to)?)
            }
            ExprKind::Error => String::new(),
        };
        Some(if level(expr) < least { format!("({text})") } else { text })
    }

    fn if_places(&self, cond: &Expr, otherwise: &Body, whole: &Expr) -> (usize, usize, usize) {
        let first = otherwise.stmts.first().map(|s| s.span.start);
        let first = first.or(otherwise.value.as_ref().map(|v| v.span.start));
        let to = whole.span.end;
        // The `}` of the first body is on the line of the second's beginning, near enough.
        (cond.span.end as usize, first.unwrap_or(to) as usize, to as usize)
    }

    fn flat_body(&self, body: &Body, start: usize, end: usize) -> Option<String> {
        self.flat_block(&self.body_entries(body), start, end)
    }

    fn flat_args(&self, args: &[Arg]) -> Option<String> {
        let arg = |arg: &Arg| {
            let value = self.flat_in(&arg.value, 0, false)?;
            Some(match &arg.name {
                Some(name) => format!("{}: {value}", name.text),
                None => value,
            })
        };
        Some(args.iter().map(arg).collect::<Option<Vec<_>>>()?.join(", "))
    }

    fn index_item(&self, item: &IndexItem) -> Option<String> {
        Some(match item {
            IndexItem::Expr(expr) => self.flat_in(expr, 0, false)?,
            IndexItem::Full(_) => ":".to_string(),
            IndexItem::New(_) => "new".to_string(),
            IndexItem::Rest(name, _) => rest(name.as_ref()),
            IndexItem::Like(expr) => format!("like {}", self.flat_in(expr, 0, false)?),
        })
    }

    /// The expression from a column on, broken if it does not fit; further lines are indented more than `indent`.
    pub(super) fn expr(&mut self, expr: &'f Expr, least: u8, indent: usize, column: usize) -> String {
        if let Some(flat) = self.flat(expr, least)
            && column + width(&flat) <= WIDTH
        {
            return flat;
        }
        if level(expr) < least {
            let text = self.broken(expr, indent, column + 1);
            return format!("({text})");
        }
        self.broken(expr, indent, column)
    }

    fn broken(&mut self, expr: &'f Expr, indent: usize, column: usize) -> String {
        let (start, end) = (expr.span.start as usize, expr.span.end as usize);
        match &expr.kind {
            ExprKind::Pipe { .. } => self.broken_pipe(expr, indent, column),
            ExprKind::Binary(op, ..) => self.broken_binary(expr, operator(*op).1, indent, column),
            ExprKind::Call(callee, args) => {
                let head = self.expr(callee, PRIMARY, indent, column);
                if args.is_empty() {
                    return head + "()";
                }
                let at = end_column(&head, column) + 1;
                format!("{head}{}", self.broken_args("(", args, ")", (callee.span.end as usize, end), indent, at))
            }
            ExprKind::Record(args) => self.broken_args("(", args, ")", (start, end), indent, column + 1),
            ExprKind::List(values) => {
                let entries = values.iter().map(|v| self.element(String::new(), v, ",")).collect();
                self.bracketed("[", entries, "]", (start, end), indent)
            }
            ExprKind::Comprehension(value, clauses) => {
                let inner = indent + 2;
                let mut text = format!("[\n{}{}", pad(inner), self.expr(value, 0, inner, inner));
                for (pattern, list) in clauses {
                    let head = format!("{}for {} in ", pad(inner), pattern_text(pattern));
                    let list = self.expr(list, 0, inner, width(&head));
                    text.push_str(&format!("\n{head}{list}"));
                }
                format!("{text}\n{}]", pad(indent))
            }
            ExprKind::Index(value, items) => {
                let head = self.expr(value, PRIMARY, indent, column);
                let flat: Option<Vec<String>> = items.iter().map(|item| self.index_item(item)).collect();
                let flat = flat.map(|items| items.join(", "));
                match flat {
                    Some(items) if head.contains('\n') || column + width(&head) + width(&items) + 2 <= WIDTH => {
                        format!("{head}[{items}]")
                    }
                    _ => {
                        let mut text = format!("{head}[");
                        for item in items {
                            let item = match item {
                                IndexItem::Expr(e) => self.expr(e, 0, indent + 2, indent + 2),
                                IndexItem::Like(e) => {
                                    format!("like {}", self.expr(e, PRIMARY, indent + 2, indent + 7))
                                }
                                other => self.index_item(other).unwrap_or_default(),
                            };
                            text.push_str(&format!("\n{}{item},", pad(indent + 2)));
                        }
                        format!("{text}\n{}]", pad(indent))
                    }
                }
            }
            ExprKind::View(value, left, right) => {
                format!("{}[{}]", self.expr(value, PRIMARY, indent, column), view(left, right))
            }
            ExprKind::Dot(value, name) => format!("{}.{}", self.expr(value, PRIMARY, indent, column), name.text),
            ExprKind::As(value, name) => {
                let name = if is_plain_name(&name.text) { name.text.clone() } else { quoted(&name.text) };
                format!("{} as {name}", self.expr(value, postfix_least(expr), indent, column))
            }
            ExprKind::Neg(value) => format!("-{}", self.expr(value, NEG, indent, column + 1)),
            ExprKind::Not(value) => format!("not {}", self.expr(value, NOT, indent, column + 4)),
            ExprKind::Each(value) => format!("each {}", self.expr(value, taker_least(value), indent, column + 5)),
            ExprKind::Frozen(value) => format!("frozen {}", self.expr(value, taker_least(value), indent, column + 7)),
            ExprKind::Repeat(count, value) => {
                let head = format!("repeat({}) ", self.forced(count));
                let value = self.expr(value, taker_least(value), indent, column + width(&head));
                head + &value
            }
            ExprKind::Variant(base, fields) => {
                let head = self.expr(base, PRIMARY, indent, column);
                format!("{head} {}", self.broken_fields(fields, end, indent))
            }
            ExprKind::Lambda(params, body) => {
                let head = format!("fn ({}) ", self.flat_params(params));
                let opener = params.last().map_or(expr.span.start, |p| p.name.span.end) as usize;
                let entries = self.body_entries(body);
                let at = column + width(&head);
                head + &self.block(entries, opener, end, indent, at)
            }
            ExprKind::If(cond, then, otherwise) => {
                let (from, middle, to) = self.if_places(cond, otherwise, expr);
                let first_end = then.value.as_ref().map(|v| v.span.end);
                let first_end =
                    first_end.or(then.stmts.last().map(|s| s.span.end)).unwrap_or(cond.span.end) as usize + 1;
                let entries = self.body_entries(then);
                let head = format!("if {} ", self.head(cond));
                let then = self.block_lines(entries, from, first_end.min(middle), indent);
                let entries = self.body_entries(otherwise);
                let otherwise = self.block_lines(entries, first_end.min(middle), to, indent);
                format!("{head}{then} else {otherwise}")
            }
            ExprKind::Range(from, to) => {
                let from = from.as_ref().map_or(String::new(), |e| self.expr(e, RANGE + 1, indent, column));
                let to = to.as_ref().map_or(String::new(), |e| self.expr(e, RANGE + 1, indent, column));
                format!("{from}..{to}")
            }
            _ => self.forced(expr),
        }
    }

    /// Each `|>` on a line of its own.
    fn broken_pipe(&mut self, expr: &'f Expr, indent: usize, column: usize) -> String {
        let mut stages = Vec::new();
        let mut first = expr;
        while let ExprKind::Pipe { value, train, into } = &first.kind {
            stages.push((*train, into.as_ref()));
            first = value;
        }
        let head = self.expr(first, PIPE + 1, indent, column);
        let mut entries = Vec::new();
        for (train, into) in stages.into_iter().rev() {
            let sign = if train { "|> @train " } else { "|> " };
            let mut entry = self.element(sign.to_string(), into, "");
            // `|> a or b` is not `|> (a or b)`.
            entry.flat = self.flat(into, PIPE + 1).map(|flat| format!("{sign}{flat}"));
            entry.tail = Box::new(move |printer, indent, column| {
                format!("{sign}{}", printer.expr(into, PIPE + 1, indent, column + sign.len()))
            });
            entries.push(entry);
        }
        let lines = self.sequence(
            entries,
            Some((first.span.end as usize).saturating_sub(1)),
            expr.span.end as usize,
            indent + 2,
        );
        format!("{head}{}", lines.join("\n"))
    }

    /// Operands of equal precedence, broken after the operators.
    fn broken_binary(&mut self, expr: &'f Expr, power: u8, indent: usize, column: usize) -> String {
        let mut operands = Vec::new();
        let mut first = expr;
        while let ExprKind::Binary(op, left, right) = &first.kind {
            if operator(*op).1 != power || (power == COMPARE && !operands.is_empty()) {
                break;
            }
            operands.push((*op, right.as_ref()));
            first = left;
        }
        let inner = indent + 2;
        let mut text = self.expr(first, left_least(power), inner, column);
        let mut at = end_column(&text, column);
        for (op, right) in operands.into_iter().rev() {
            let sign = operator(op).0;
            text.push_str(&format!(" {sign}"));
            at += 1 + sign.len();
            let flat = self.flat(right, power + 1);
            if flat.as_ref().is_some_and(|flat| at + 1 + width(flat) <= WIDTH) {
                text.push(' ');
                at += 1;
            } else if flat.is_some() {
                text.push('\n');
                text.push_str(&pad(inner));
                at = inner;
            } else {
                text.push(' ');
                at += 1;
            }
            let right = self.expr(right, power + 1, inner, at);
            at = end_column(&right, at);
            text.push_str(&right);
        }
        text
    }

    /// One element of a broken list.
    fn element(&self, before: String, value: &'f Expr, after: &'static str) -> Entry<'f> {
        let flat = self.flat(value, 0).map(|flat| format!("{before}{flat}{after}"));
        let tail: Tail<'f> = Box::new(move |printer, indent, column| {
            let text = printer.expr(value, 0, indent, column + width(&before));
            format!("{before}{text}{after}")
        });
        let (start, end) = (value.span.start as usize, value.span.end as usize);
        Entry { docs: &[], start, end, kind: None, cells: Vec::new(), flat, tail }
    }

    fn broken_args(
        &mut self,
        open: &str,
        args: &'f [Arg],
        close: &str,
        (start, end): (usize, usize),
        indent: usize,
        column: usize,
    ) -> String {
        let name = |arg: &Arg| arg.name.as_ref().map_or(String::new(), |name| format!("{}: ", name.text));
        if let [arg] = args
            && arg.name.is_none()
            && matches!(arg.value.kind, ExprKind::List(_) | ExprKind::Comprehension(..) | ExprKind::Lambda(..))
            && !self.has_comment(start, arg.value.span.start as usize)
        {
            return format!("{open}{}{close}", self.expr(&arg.value, 0, indent, column));
        }
        let mut entries = Vec::new();
        for arg in args {
            let mut entry = self.element(name(arg), &arg.value, ",");
            if let Some(name) = &arg.name {
                entry.start = name.span.start as usize;
            }
            entries.push(entry);
        }
        self.bracketed(open, entries, close, (start, end), indent)
    }

    /// `name` and `name: value` pairs, one a line.
    pub(super) fn broken_list(
        &mut self,
        open: &str,
        parts: Vec<(usize, usize, &'f str, Option<&'f Expr>)>,
        close: &str,
        end: usize,
        indent: usize,
    ) -> String {
        let start = parts.first().map_or(end, |p| p.0);
        let mut entries = Vec::new();
        for (start, end, name, value) in parts {
            entries.push(match value {
                Some(value) => Entry { start, end, ..self.element(format!("{name}: "), value, ",") },
                None => Entry {
                    docs: &[],
                    start,
                    end,
                    kind: None,
                    cells: Vec::new(),
                    flat: Some(format!("{name},")),
                    tail: Box::new(move |_, _, _| format!("{name},")),
                },
            });
        }
        self.bracketed(open, entries, close, (start, end), indent)
    }

    fn bracketed(
        &mut self,
        open: &str,
        entries: Vec<Entry<'f>>,
        close: &str,
        (start, end): (usize, usize),
        indent: usize,
    ) -> String {
        let lines = self.sequence(entries, Some(start), end, indent + 2);
        format!("{open}{}\n{}{close}", lines.join("\n"), pad(indent))
    }
}
