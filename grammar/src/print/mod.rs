//! The one layout of a `.uad` file (`uadc fmt`).
//!
//! In: a tree. Out: text that parses to the same tree. Invariants: printing what was printed changes nothing; no
//! comment is lost; no line is longer than [`WIDTH`] if it can be broken after a comma, before `|>`, or after an
//! operator.
//! Imports: the tree, the parser.
//!
//! A sequence (the items of a file, the statements of a body) is a list of entries. An entry is some cells, which are
//! aligned with those of its neighbours of the same kind, and a tail, which is broken over lines if it must be.

mod exprs;
mod items;
mod stmts;
mod types;

use std::cell::Cell;

use crate::ast::{Comment, File};
use crate::parse::parse;

/// Longest line, in characters.
const WIDTH: usize = 120;

/// Neighbours whose cells differ by more than this are not aligned.
const RAGGED: usize = 16;

/// Prints a file. A tree with errors in it loses what could not be parsed.
pub fn print(file: &File) -> String {
    let (text, hoisted) = once(file);
    if !hoisted {
        return text;
    }
    // The statement that a comment was moved out of may now fit a line.
    match parse(&text) {
        (again, errors) if errors.is_empty() => once(&again).0,
        _ => text,
    }
}

/// The text, and whether a comment had to leave the middle of a statement.
fn once(file: &File) -> (String, bool) {
    let mut printer = Printer {
        lines: &file.lines,
        comments: &file.comments,
        used: vec![false; file.comments.len()],
        force: Cell::new(false),
        hoisted: false,
    };
    let mut out = String::new();
    for doc in &file.docs {
        out.push_str(format!("//! {doc}").trim_end());
        out.push('\n');
    }
    let entries = printer.items(&file.items);
    let first = entries.first().map_or(usize::MAX, |e| e.start);
    let first_comment = file.comments.first().map_or(usize::MAX, |c| c.span.start as usize);
    let docs = entries.first().filter(|e| e.start < first_comment).map_or(0, |e| e.docs.len());
    let begins = first.min(first_comment);
    if !file.docs.is_empty() && begins < usize::MAX && printer.line(begins) > docs + file.docs.len() {
        out.push('\n');
    }
    let text = printer.sequence(entries, None, usize::MAX, 0);
    for line in text {
        out.push_str(&line);
        out.push('\n');
    }
    (out, printer.hoisted)
}

struct Printer<'f> {
    lines: &'f [u32],
    comments: &'f [Comment],
    /// Which comments have been printed.
    used: Vec<bool>,
    /// All must go on one line now: in defaults, heads of loops and the like.
    force: Cell<bool>,
    /// A comment has left the middle of a statement.
    hoisted: bool,
}

/// Prints the tail of an entry at (indent, column).
type Tail<'f> = Box<dyn Fn(&mut Printer<'f>, usize, usize) -> String + 'f>;

/// One line or more of a sequence.
struct Entry<'f> {
    docs: &'f [String],
    start: usize,
    end: usize,
    /// Entries of one kind are aligned.
    kind: Option<&'static str>,
    cells: Vec<String>,
    /// The tail on one line, if it can be.
    flat: Option<String>,
    tail: Tail<'f>,
}

impl Entry<'_> {
    /// The entry on one line, not aligned.
    fn one_line(&self) -> Option<String> {
        if !self.docs.is_empty() {
            return None;
        }
        let mut text = self.cells.join(" ");
        let flat = self.flat.as_ref()?;
        if !text.is_empty() && !flat.is_empty() {
            text.push(' ');
        }
        text.push_str(flat);
        Some(text)
    }
}

struct Line {
    text: String,
    comment: Option<String>,
}

fn pad(width: usize) -> String {
    " ".repeat(width)
}

fn width(text: &str) -> usize {
    text.chars().count()
}

/// Width of the last line of a text that begins at a column.
fn end_column(text: &str, column: usize) -> usize {
    match text.rsplit_once('\n') {
        Some((_, last)) => width(last),
        None => column + width(text),
    }
}

impl<'f> Printer<'f> {
    /// Line number of a place, from 0.
    fn line(&self, at: usize) -> usize {
        self.lines.partition_point(|&start| start as usize <= at).saturating_sub(1)
    }

    /// Whether two places of the source were on one line; unknown counts as `guess`.
    fn same_line(&self, a: usize, b: usize, guess: bool) -> bool {
        if self.forcing() {
            return true;
        }
        if self.lines.is_empty() { guess } else { self.line(a) == self.line(b.saturating_sub(1).max(a)) }
    }

    /// Indices of the comments in a range that are not printed yet.
    fn comments_in(&self, start: usize, end: usize) -> Vec<usize> {
        let first = self.comments.partition_point(|c| (c.span.start as usize) < start);
        let here = self.comments[first..].iter().take_while(|c| (c.span.start as usize) < end);
        (first..first + here.count()).filter(|&n| !self.used[n]).collect()
    }

    fn forcing(&self) -> bool {
        self.force.get()
    }

    fn has_comment(&self, start: usize, end: usize) -> bool {
        if self.forcing() {
            return false;
        }
        let first = self.comments.partition_point(|c| (c.span.start as usize) < start);
        self.comments.get(first).is_some_and(|c| (c.span.start as usize) < end)
    }

    fn take_comment(&mut self, n: usize) -> String {
        self.used[n] = true;
        format!("//{}", self.comments[n].text).trim_end().to_string()
    }

    /// Prints entries that stand between `opener` (the place of a brace, on whose line the first comment may be) and
    /// `end`. The first line returned is what to add after the brace if there is one.
    fn sequence(&mut self, entries: Vec<Entry<'f>>, opener: Option<usize>, end: usize, indent: usize) -> Vec<String> {
        let mut lines: Vec<Line> = Vec::new();
        let mut previous = opener;
        if opener.is_some() {
            lines.push(Line { text: String::new(), comment: None });
        }
        let widths = self.cell_widths(&entries, indent);
        let last = lines.len();
        for (entry, widths) in entries.iter().zip(widths) {
            self.comments_before(entry.start, &mut previous, indent, last, &mut lines);
            if let Some(before) = previous
                && lines.len() > last
                && self.line(entry.start).saturating_sub(entry.docs.len()) > self.line(before) + 1
            {
                lines.push(Line { text: String::new(), comment: None });
            }
            let text = self.entry(entry, &widths, indent);
            for n in self.comments_in(entry.start, entry.end) {
                self.hoisted = true;
                let comment = self.take_comment(n);
                lines.push(Line { text: pad(indent) + &comment, comment: None });
            }
            for doc in entry.docs {
                let text = format!("{}/// {doc}", pad(indent)).trim_end().to_string();
                lines.push(Line { text, comment: None });
            }
            if !text.is_empty() {
                lines.extend(text.split('\n').map(|text| Line { text: text.to_string(), comment: None }));
            }
            previous = Some(entry.end.saturating_sub(1).max(entry.start));
        }
        self.comments_before(end, &mut previous, indent, last, &mut lines);
        joined(lines)
    }

    fn comments_before(
        &mut self,
        end: usize,
        previous: &mut Option<usize>,
        indent: usize,
        first: usize,
        lines: &mut Vec<Line>,
    ) {
        let start = previous.map_or(0, |p| p + 1);
        for n in self.comments_in(start, end) {
            let comment = &self.comments[n];
            let at = comment.span.start as usize;
            let trailing = !comment.own_line && previous.is_some_and(|p| self.line(p) == self.line(at));
            let blank = previous.is_some_and(|p| self.line(at) > self.line(p) + 1);
            *previous = Some((comment.span.end as usize).saturating_sub(1));
            let text = self.take_comment(n);
            match lines.last_mut() {
                Some(line) if trailing && line.comment.is_none() => line.comment = Some(text),
                _ => {
                    if blank && lines.len() > first {
                        lines.push(Line { text: String::new(), comment: None });
                    }
                    lines.push(Line { text: pad(indent) + &text, comment: None });
                }
            }
        }
    }

    /// How wide the cells of each entry are, by runs of neighbours of one kind.
    fn cell_widths(&self, entries: &[Entry<'f>], indent: usize) -> Vec<Vec<usize>> {
        let own = |e: &Entry<'f>| e.cells.iter().map(|c| width(c)).collect::<Vec<_>>();
        let mut widths: Vec<Vec<usize>> = entries.iter().map(own).collect();
        let fits = |e: &Entry<'f>| {
            let cells: usize = e.cells.iter().map(|c| width(c) + 1).sum();
            e.flat.as_ref().is_some_and(|flat| indent + cells + width(flat) <= WIDTH)
        };
        let mut first = 0;
        while first < entries.len() {
            let mut next = first + 1;
            while next < entries.len()
                && entries[first].kind.is_some()
                && entries[next].kind == entries[first].kind
                && entries[next].docs.is_empty()
                && !self.has_comment(entries[next].start, entries[next].end)
                && fits(&entries[next - 1])
                && fits(&entries[next])
                && self.line(entries[next].start) <= self.line(entries[next - 1].end.saturating_sub(1)) + 1
            {
                next += 1;
            }
            let columns = (first..next).map(|n| widths[n].len()).max().unwrap_or(0);
            for column in 0..columns {
                let of = |n: usize| widths[n].get(column).copied();
                let widest = (first..next).filter_map(of).max().unwrap_or(0);
                let narrowest = (first..next).filter_map(of).min().unwrap_or(0);
                if widest - narrowest > RAGGED {
                    break;
                }
                for cells in &mut widths[first..next] {
                    if let Some(cell) = cells.get_mut(column) {
                        *cell = widest;
                    }
                }
            }
            first = next;
        }
        widths
    }

    fn entry(&mut self, entry: &Entry<'f>, widths: &[usize], indent: usize) -> String {
        let mut text = pad(indent);
        for (cell, &wide) in entry.cells.iter().zip(widths) {
            text.push_str(cell);
            text.push_str(&pad(wide.saturating_sub(width(cell)) + 1));
        }
        let column = width(&text);
        match &entry.flat {
            Some(flat) if column + width(flat) <= WIDTH => text.push_str(flat),
            _ => text.push_str(&(entry.tail)(self, indent, column)),
        }
        text.trim_end().to_string()
    }

    /// ` {`, entries, `}`: on one line if they were and fit, else on lines of their own.
    fn block(&mut self, entries: Vec<Entry<'f>>, start: usize, end: usize, indent: usize, column: usize) -> String {
        if let Some(flat) = self.flat_block(&entries, start, end)
            && column + width(&flat) <= WIDTH
        {
            return flat;
        }
        let lines = self.sequence(entries, Some(start), end, indent + 2);
        format!("{{{}\n{}}}", lines.join("\n"), pad(indent))
    }

    fn flat_block(&self, entries: &[Entry<'f>], start: usize, end: usize) -> Option<String> {
        if self.has_comment(start, end) {
            return None;
        }
        let Some(first) = entries.first() else { return Some("{ }".to_string()) };
        if !self.same_line(first.start, end, entries.len() == 1) {
            return None;
        }
        let parts: Option<Vec<String>> = entries.iter().map(Entry::one_line).collect();
        Some(format!("{{ {} }}", parts?.join(";  ")))
    }
}

/// Puts trailing comments behind their lines, those of neighbouring lines under each other.
fn joined(lines: Vec<Line>) -> Vec<String> {
    let mut out: Vec<String> = Vec::with_capacity(lines.len());
    let mut first = 0;
    while first < lines.len() {
        let mut next = first + 1;
        if lines[first].comment.is_some() {
            while next < lines.len() && lines[next].comment.is_some() {
                next += 1;
            }
        }
        let widest = lines[first..next].iter().map(|l| width(&l.text)).max().unwrap_or(0);
        for line in &lines[first..next] {
            out.push(match &line.comment {
                None => line.text.clone(),
                Some(comment) => {
                    let aligned = widest - width(&line.text);
                    let gap = if widest + 2 + width(comment) > WIDTH { 0 } else { aligned };
                    format!("{}{}{comment}", line.text, pad(gap + 2))
                }
            });
        }
        first = next;
    }
    out
}
