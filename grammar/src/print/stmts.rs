//! Statements, stages and scores.
//!
//! In: statements. Out: entries of a body. Invariants: declarations joined by commas share a line while they fit.
//! Imports: the printer.

use super::types::quoted;
use super::{Entry, Printer, Tail, WIDTH, end_column, pad, width};
use crate::ast::{Body, Expr, ExprKind, Group, Iterate, Pattern, ScorePart, StagePart, Stmt, StmtKind};

/// One of several declarations joined by commas.
struct Declared<'f> {
    text: String,
    value: Option<&'f Expr>,
}

impl<'f> Printer<'f> {
    pub(super) fn body_entries(&self, body: &'f Body) -> Vec<Entry<'f>> {
        let mut entries = self.stmts(&body.stmts);
        if let Some(value) = &body.value {
            entries.push(self.value_entry(value));
        }
        entries
    }

    /// A value that stands where a statement might: an `if` without values would be read as one.
    fn value_entry(&self, value: &'f Expr) -> Entry<'f> {
        let bare = match &value.kind {
            ExprKind::If(_, then, otherwise) => then.value.is_some() && otherwise.value.is_some(),
            _ => true,
        };
        let (start, end) = (value.span.start as usize, value.span.end as usize);
        let least = if bare { 0 } else { u8::MAX };
        Entry {
            docs: &[],
            start,
            end,
            kind: None,
            cells: Vec::new(),
            flat: self.flat(value, least),
            tail: Box::new(move |printer, indent, column| printer.expr(value, least, indent, column)),
        }
    }

    pub(super) fn stmts(&self, stmts: &'f [Stmt]) -> Vec<Entry<'f>> {
        let mut entries = Vec::new();
        let mut first = 0;
        while first < stmts.len() {
            let mut next = first + 1;
            while next < stmts.len() && is_joined(&stmts[next]) && same_word(&stmts[first], &stmts[next]) {
                next += 1;
            }
            entries.push(if next == first + 1 { self.stmt(&stmts[first]) } else { self.group(&stmts[first..next]) });
            first = next;
        }
        entries
    }

    fn declared(&self, stmt: &'f Stmt) -> Declared<'f> {
        match &stmt.kind {
            StmtKind::Param(param, _) | StmtKind::Weight(param, _) | StmtKind::State(param, _) => {
                let ty = param.ty.as_ref().map_or(String::new(), |ty| format!(": {}", self.ty(ty)));
                Declared { text: format!("{}{ty}", param.name.text), value: param.default.as_ref() }
            }
            StmtKind::Let { pattern, ty, value, .. } => {
                let ty = ty.as_ref().map_or(String::new(), |ty| format!(": {}", self.ty(ty)));
                Declared { text: format!("{}{ty}", pattern_text(pattern)), value: Some(value) }
            }
            _ => Declared { text: String::new(), value: None },
        }
    }

    /// Declarations joined by commas.
    fn group(&self, stmts: &'f [Stmt]) -> Entry<'f> {
        let word = word(&stmts[0]);
        let flat = |declared: &Declared<'f>| match declared.value {
            Some(value) => Some(format!("{} = {}", declared.text, self.flat(value, 0)?)),
            None => Some(declared.text.clone()),
        };
        let all: Vec<Declared<'f>> = stmts.iter().map(|stmt| self.declared(stmt)).collect();
        let flats: Vec<Option<String>> = all.iter().map(flat).collect();
        let one_line: Option<Vec<String>> = flats.iter().cloned().collect();
        let (start, end) = ends(stmts);
        let commented = self.has_comment(start, end);
        let tail: Tail<'f> = Box::new(move |printer, indent, column| {
            let inner = column + word.len() + 1;
            let mut text = format!("{word} ");
            let mut at = inner;
            for (n, (declared, flat)) in all.iter().zip(&flats).enumerate() {
                let comma = usize::from(n + 1 < all.len());
                let needed = flat.as_ref().map_or(WIDTH, |f| width(f) + comma);
                if n > 0 {
                    if at + 2 + needed <= WIDTH {
                        text.push_str("  ");
                        at += 2;
                    } else {
                        text.push('\n');
                        text.push_str(&pad(inner));
                        at = inner;
                    }
                }
                let piece = match (flat, declared.value) {
                    (Some(flat), _) if at + needed <= WIDTH => flat.clone(),
                    (_, None) => declared.text.clone(),
                    (_, Some(value)) => {
                        let head = format!("{} = ", declared.text);
                        let value = printer.expr(value, 0, indent + 2, at + width(&head));
                        head + &value
                    }
                };
                text.push_str(&piece);
                at = end_column(&piece, at);
                if comma == 1 {
                    text.push(',');
                    at += 1;
                }
            }
            text
        });
        Entry {
            docs: &stmts[0].docs,
            start,
            end,
            kind: None,
            cells: Vec::new(),
            flat: one_line.filter(|_| !commented).map(|parts| format!("{word} {}", parts.join(",  "))),
            tail,
        }
    }

    fn stmt(&self, stmt: &'f Stmt) -> Entry<'f> {
        let (start, end) = (stmt.span.start as usize, stmt.span.end as usize);
        let entry = |kind, cells, flat, tail| Entry { docs: &stmt.docs, start, end, kind, cells, flat, tail };
        let valued = |kind, cells: Vec<String>, value: &'f Expr| {
            let tail: Tail<'f> = Box::new(move |printer, indent, column| printer.expr(value, 0, indent, column));
            entry(kind, cells, self.flat(value, 0), tail)
        };
        let columns = |kind, mut cells: Vec<String>, value: &'f Option<Expr>| match value {
            Some(value) => {
                cells.push("=".to_string());
                valued(kind, cells, value)
            }
            None => entry(kind, cells, Some(String::new()), Box::new(|_, _, _| String::new())),
        };
        match &stmt.kind {
            StmtKind::Param(param, _) | StmtKind::Weight(param, _) | StmtKind::State(param, _) => {
                let word = word(stmt);
                let ty = param.ty.as_ref().map_or(String::new(), |ty| self.ty(ty));
                columns(Some(word), vec![format!("{word} {}:", param.name.text), ty], &param.default)
            }
            StmtKind::Slot { name, ty, value } => {
                columns(Some("slot"), vec![format!("slot {}:", name.text), self.ty(ty)], value)
            }
            StmtKind::Input { name, ty, from } => {
                let cells = vec![format!("input {}:", name.text), self.ty(ty), "from".to_string()];
                valued(Some("input"), cells, from)
            }
            StmtKind::Let { pattern, ty, value, .. } => match ty {
                Some(ty) => {
                    let cells = vec![format!("let {}: {}", pattern_text(pattern), self.ty(ty)), "=".to_string()];
                    valued(None, cells, value)
                }
                None => valued(Some("let"), vec![format!("let {}", pattern_text(pattern)), "=".to_string()], value),
            },
            StmtKind::Require { cond, why } => {
                let why = why.as_ref().map_or(String::new(), |why| format!(", {}", quoted(&why.text)));
                let flat = self.flat(cond, 0).map(|cond| format!("require {cond}{why}"));
                let tail: Tail<'f> = Box::new(move |printer, indent, column| {
                    format!("require {}{why}", printer.expr(cond, 0, indent, column + 8))
                });
                entry(None, Vec::new(), flat, tail)
            }
            StmtKind::Become { target, value } => {
                valued(Some("<-"), vec![self.forced(target), "<-".to_string()], value)
            }
            StmtKind::Iterate(iterate) => {
                let opener = iterate
                    .every
                    .as_ref()
                    .or(iterate.until.as_ref())
                    .map_or_else(|| iterate.carried.last().map_or(iterate.bound.span, |(_, e)| e.span), |e| e.span);
                let opener = opener.end as usize;
                let head = self.iterate_head(iterate);
                let flat = self.flat_block(&self.stmts(&iterate.body), opener, end).map(|body| head.clone() + &body);
                let tail: Tail<'f> = Box::new(move |printer, indent, column| {
                    let entries = printer.stmts(&iterate.body);
                    let column = column + width(&head);
                    head.clone() + &printer.block(entries, opener, end, indent, column)
                });
                entry(None, Vec::new(), flat, tail)
            }
            StmtKind::If { cond, then, otherwise } => self.if_entry(stmt, cond, then, otherwise),
            StmtKind::Stage { name, parts } => {
                let head = format!("stage {} ", name.text);
                let opener = name.span.end as usize;
                let body = self.flat_block(&self.stage_parts(parts), opener, end);
                let flat = body.map(|body| head.clone() + &body);
                let tail: Tail<'f> = Box::new(move |printer, indent, column| {
                    let entries = printer.stage_parts(parts);
                    let column = column + width(&head);
                    head.clone() + &printer.block(entries, opener, end, indent, column)
                });
                entry(None, Vec::new(), flat, tail)
            }
            StmtKind::Score { parts } => {
                let flat = self.flat_block(&self.score_parts(parts), start, end).map(|b| format!("score {b}"));
                let tail: Tail<'f> = Box::new(move |printer, indent, column| {
                    let entries = printer.score_parts(parts);
                    format!("score {}", printer.block(entries, start, end, indent, column + 6))
                });
                entry(None, Vec::new(), flat, tail)
            }
            StmtKind::Expr(value) => {
                let mut inner = self.value_entry(value);
                if matches!(value.kind, ExprKind::If(..)) {
                    inner.flat = self.flat(value, u8::MAX);
                    inner.tail = Box::new(move |printer, indent, column| printer.expr(value, u8::MAX, indent, column));
                }
                Entry { docs: &stmt.docs, start, end, ..inner }
            }
        }
    }

    fn if_entry(&self, stmt: &'f Stmt, cond: &'f Expr, then: &'f [Stmt], otherwise: &'f [Stmt]) -> Entry<'f> {
        let (start, end) = (stmt.span.start as usize, stmt.span.end as usize);
        let head = format!("if {} ", self.head(cond));
        let opener = cond.span.end as usize;
        let flat = if self.has_comment(start, end) {
            None
        } else {
            let (first, second) = (self.stmts(then), self.stmts(otherwise));
            let first = self.flat_block(&first, opener, if otherwise.is_empty() { end } else { first_end(then, end) });
            let second = if otherwise.is_empty() {
                Some(String::new())
            } else {
                self.flat_block(&second, first_end(then, end), end).map(|b| format!(" else {b}"))
            };
            first.zip(second).map(|(first, second)| format!("{head}{first}{second}"))
        };
        let tail: Tail<'f> = Box::new(move |printer, indent, _| {
            let middle = otherwise.first().map_or(end, |s| s.span.start as usize);
            let first_ends = first_end(then, middle);
            let entries = printer.stmts(then);
            let until = if otherwise.is_empty() { end } else { first_ends };
            let mut text = head.clone() + &printer.block_lines(entries, opener, until, indent);
            if !otherwise.is_empty() {
                let entries = printer.stmts(otherwise);
                text.push_str(" else ");
                text.push_str(&printer.block_lines(entries, first_ends, end, indent));
            }
            text
        });
        Entry { docs: &stmt.docs, start, end, kind: None, cells: Vec::new(), flat, tail }
    }

    /// A body on lines of its own.
    pub(super) fn block_lines(&mut self, entries: Vec<Entry<'f>>, opener: usize, end: usize, indent: usize) -> String {
        if entries.is_empty() && self.comments_in(opener, end).is_empty() {
            return "{ }".to_string();
        }
        let lines = self.sequence(entries, Some(opener), end, indent + 2);
        format!("{{{}\n{}}}", lines.join("\n"), pad(indent))
    }

    fn iterate_head(&self, iterate: &'f Iterate) -> String {
        let mut head = String::from("iterate ");
        if let Some(index) = &iterate.index {
            head.push_str(&format!("{} in ", index.text));
        }
        head.push_str(&self.head(&iterate.bound));
        for (n, (name, value)) in iterate.carried.iter().enumerate() {
            head.push_str(if n == 0 { " with " } else { ", " });
            head.push_str(&format!("{} = {}", name.text, self.head(value)));
        }
        if let Some(until) = &iterate.until {
            head.push_str(&format!(" until {}", self.head(until)));
        }
        if let Some(every) = &iterate.every {
            head.push_str(&format!(" every {}", self.head(every)));
        }
        head + " "
    }

    fn stage_parts(&self, parts: &'f [StagePart]) -> Vec<Entry<'f>> {
        let mut entries: Vec<Entry<'f>> = Vec::new();
        let mut n = 0;
        while n < parts.len() {
            match &parts[n] {
                StagePart::Stmt(_) => {
                    // Neighbouring statements may be joined declarations: they are printed together.
                    let count = parts[n..].iter().take_while(|p| matches!(p, StagePart::Stmt(_))).count();
                    for run in runs(&parts[n..n + count], |p| match p {
                        StagePart::Stmt(stmt) => Some(stmt),
                        _ => None,
                    }) {
                        entries.push(self.run(run));
                    }
                    n += count;
                }
                StagePart::Minimise { loss, groups, span } => {
                    entries.push(self.minimise(loss, groups, span.start as usize, span.end as usize));
                    n += 1;
                }
                StagePart::Setting { .. } => {
                    let joined = |p: &StagePart| matches!(p, StagePart::Setting { joined: true, .. });
                    let count = 1 + parts[n + 1..].iter().take_while(|p| joined(p)).count();
                    entries.push(self.settings(&parts[n..n + count]));
                    n += count;
                }
            }
        }
        entries
    }

    /// Statements that share a line, if there are several.
    fn run(&self, run: Vec<&'f Stmt>) -> Entry<'f> {
        match run.as_slice() {
            [one] => self.stmt(one),
            several => {
                // A run of references: rendered one by one and put together.
                let mut flats = Vec::new();
                for stmt in several {
                    let declared = self.declared(stmt);
                    let value = declared.value.map(|v| format!(" = {}", self.forced(v))).unwrap_or_default();
                    flats.push(declared.text + &value);
                }
                let first = several[0];
                let word = word(first);
                let text = format!("{word} {}", flats.join(",  "));
                let broken = format!("{word} {}", flats.join(&format!(",\n{}", pad(8))));
                let end = several[several.len() - 1].span.end as usize;
                Entry {
                    docs: &first.docs,
                    start: first.span.start as usize,
                    end,
                    kind: None,
                    cells: Vec::new(),
                    flat: Some(text),
                    tail: Box::new(move |_, _, _| broken.clone()),
                }
            }
        }
    }

    fn settings(&self, parts: &'f [StagePart]) -> Entry<'f> {
        let mut texts = Vec::new();
        let (mut start, mut end) = (usize::MAX, 0);
        for part in parts {
            if let StagePart::Setting { name, value, .. } = part {
                start = start.min(name.span.start as usize);
                end = end.max(value.span.end as usize);
                texts.push(format!("{}: {}", name.text, self.forced(value)));
            }
        }
        let flat = texts.join(",  ");
        Entry {
            docs: &[],
            start,
            end,
            kind: None,
            cells: Vec::new(),
            flat: Some(flat),
            tail: Box::new(move |_, indent, _| texts.join(&format!(",\n{}", pad(indent)))),
        }
    }

    fn minimise(&self, loss: &'f Expr, groups: &'f [Group], start: usize, end: usize) -> Entry<'f> {
        let over = |group: &Group| {
            let paths: Vec<&str> = group.over.iter().map(|n| n.text.as_str()).collect();
            if paths.is_empty() { String::new() } else { format!("over {} ", paths.join(", ")) }
        };
        let flat = match groups {
            [group] => self
                .flat(loss, 0)
                .and_then(|loss| Some(format!("minimise {loss} {}with {}", over(group), self.flat(&group.with, 0)?))),
            _ => None,
        };
        let flat = flat.or_else(|| {
            self.forcing().then(|| {
                let groups: Vec<String> =
                    groups.iter().map(|g| format!("{}with {}", over(g), self.forced(&g.with))).collect();
                format!("minimise {} {}", self.forced(loss), groups.join(" "))
            })
        });
        let tail: Tail<'f> = Box::new(move |printer, indent, column| {
            let mut text = format!("minimise {}", printer.expr(loss, 0, indent, column + 9));
            let cells: Vec<String> = groups.iter().map(over).collect();
            let widest = cells.iter().map(|c| width(c)).max().unwrap_or(0);
            for (group, cell) in groups.iter().zip(&cells) {
                let cell = format!("{}{cell}{}with ", pad(indent + 2), pad(widest - width(cell)));
                let with = printer.expr(&group.with, 0, indent + 2, width(&cell));
                text.push_str(&format!("\n{cell}{with}"));
            }
            text
        });
        Entry { docs: &[], start, end, kind: None, cells: Vec::new(), flat, tail }
    }

    fn score_parts(&self, parts: &'f [ScorePart]) -> Vec<Entry<'f>> {
        let mut entries = Vec::new();
        let mut n = 0;
        while n < parts.len() {
            match &parts[n] {
                ScorePart::Stmt(_) => {
                    let count = parts[n..].iter().take_while(|p| matches!(p, ScorePart::Stmt(_))).count();
                    for run in runs(&parts[n..n + count], |p| match p {
                        ScorePart::Stmt(stmt) => Some(stmt),
                        ScorePart::Output { .. } => None,
                    }) {
                        entries.push(self.run(run));
                    }
                    n += count;
                }
                ScorePart::Output { name, value } => {
                    entries.push(Entry {
                        docs: &[],
                        start: name.span.start as usize,
                        end: value.span.end as usize,
                        kind: Some("output"),
                        cells: vec![name.text.clone(), "=".to_string()],
                        flat: self.flat(value, 0),
                        tail: Box::new(move |printer, indent, column| printer.expr(value, 0, indent, column)),
                    });
                    n += 1;
                }
            }
        }
        entries
    }
}

/// Statements in runs that are joined by commas.
fn runs<'f, T>(parts: &'f [T], stmt: impl Fn(&'f T) -> Option<&'f Stmt>) -> Vec<Vec<&'f Stmt>> {
    let mut runs: Vec<Vec<&'f Stmt>> = Vec::new();
    for stmt in parts.iter().filter_map(stmt) {
        match runs.last_mut() {
            Some(run) if is_joined(stmt) && same_word(run[0], stmt) => run.push(stmt),
            _ => runs.push(vec![stmt]),
        }
    }
    runs
}

fn ends(stmts: &[Stmt]) -> (usize, usize) {
    let start = stmts.first().map_or(0, |s| s.span.start);
    (start as usize, stmts.last().map_or(start, |s| s.span.end) as usize)
}

fn first_end(then: &[Stmt], otherwise: usize) -> usize {
    then.last().map_or(otherwise, |s| s.span.end as usize + 1)
}

fn is_joined(stmt: &Stmt) -> bool {
    match &stmt.kind {
        StmtKind::Param(_, joined) | StmtKind::Weight(_, joined) | StmtKind::State(_, joined) => *joined,
        StmtKind::Let { joined, .. } => *joined,
        _ => false,
    }
}

fn word(stmt: &Stmt) -> &'static str {
    match &stmt.kind {
        StmtKind::Param(..) => "param",
        StmtKind::Weight(..) => "weight",
        StmtKind::State(..) => "state",
        StmtKind::Let { .. } => "let",
        _ => "",
    }
}

fn same_word(a: &Stmt, b: &Stmt) -> bool {
    word(a) == word(b)
}

pub(super) fn pattern_text(pattern: &Pattern) -> String {
    match pattern {
        Pattern::Name(name) => name.text.clone(),
        Pattern::Record(parts, _) => {
            format!("({})", parts.iter().map(pattern_text).collect::<Vec<_>>().join(", "))
        }
    }
}
