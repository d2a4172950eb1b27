//! The layout pass: which newlines end a statement, where comments are, which brackets belong together.
//!
//! In: source text. Out: [`Layout`], whose text has the same bytes at the same places except that comments are blank,
//! and that tabs and newlines that end nothing are spaces. Invariants: linear time, no recursion; brackets of the new text are
//! balanced and nest at most [`MAX_NESTING`] deep; U+0002 stands where a bracket was that has been reported.
//! Imports: the tree's spans and the error type.

use std::collections::HashSet;

use crate::SyntaxError;
use crate::ast::Span;

/// Brackets and braces nest at most this deep: the parser recurses once per level.
pub(crate) const MAX_NESTING: usize = 100;

/// Stands for a bracket that has been reported.
pub(crate) const REPORTED: u8 = 2;

/// Stands for all the braces that should be closed there, and a newline.
pub(crate) const CLOSED: u8 = 3;

/// Words that begin an item.
pub(crate) const ITEM_WORDS: [&str; 7] = ["use", "type", "unit", "source", "fn", "block", "detector"];

/// Words that begin a statement and nothing else.
pub(crate) const STATEMENT_WORDS: [&str; 10] =
    ["param", "slot", "input", "weight", "state", "let", "require", "stage", "minimise", "score"];

/// From this many errors on, messages tell no lines.
const MANY: usize = 200;

/// A line that begins with one of these words continues the line before it.
const CONTINUING_WORDS: [&str; 4] = ["over", "with", "until", "else"];

/// What a comment is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CommentKind {
    /// `//`, also a doc comment at a place where nothing follows.
    Plain,
    /// `///` on its own line.
    Doc,
    /// `//!` before the first item.
    FileDoc,
}

/// A comment of any kind.
#[derive(Clone, Debug)]
pub(crate) struct RawComment {
    pub(crate) span: Span,
    pub(crate) kind: CommentKind,
    pub(crate) own_line: bool,
}

/// What a mark marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// `{`
    Begin,
    /// `}`
    Finish,
    /// `(` or `[`
    Open,
    /// `)` or `]`
    Close,
    /// A newline or `;` that ends a statement.
    Separator,
}

/// What the layout pass found.
#[derive(Debug, Default)]
pub(crate) struct Layout {
    /// The new text.
    pub(crate) text: Vec<u8>,
    /// All comments in order.
    pub(crate) comments: Vec<RawComment>,
    /// Brackets and separators in order.
    pub(crate) marks: Vec<(usize, Mark)>,
    /// Errors found.
    pub(crate) errors: Vec<SyntaxError>,
}

struct Opened {
    byte: u8,
    at: usize,
    muted: bool,
}

/// Which of the three kinds of brackets.
fn kind(byte: u8) -> usize {
    match byte {
        b'(' => 0,
        b'[' => 1,
        _ => 2,
    }
}

struct Scanner<'a> {
    source: &'a str,
    bytes: &'a [u8],
    at: usize,
    stack: Vec<Opened>,
    /// Places in the stack by kind of bracket: `(`, `[`, `{`; those that have gone are taken out when they are met.
    places: [Vec<usize>; 3],
    /// The first newline since the last token: whether it ends a statement shows at the next token.
    pending: Option<usize>,
    /// One past the last token.
    last_end: usize,
    /// The current top-level chunk is only attributes so far.
    attributes: bool,
    too_deep: bool,
    /// Brackets that were marked and then found to be never closed.
    dropped: HashSet<usize>,
    out: Layout,
}

/// Runs the pass.
pub(crate) fn lay_out(source: &str) -> Layout {
    let out = Layout { text: source.as_bytes().to_vec(), ..Layout::default() };
    let mut scanner = Scanner {
        source,
        bytes: source.as_bytes(),
        at: 0,
        stack: Vec::new(),
        places: Default::default(),
        pending: None,
        last_end: 0,
        attributes: false,
        too_deep: false,
        dropped: HashSet::new(),
        out,
    };
    scanner.run();
    let Scanner { mut out, dropped, .. } = scanner;
    out.marks.retain(|(at, _)| !dropped.contains(at));
    out
}

fn is_letter(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

impl<'a> Scanner<'a> {
    fn run(&mut self) {
        if self.bytes.starts_with(&[0xef, 0xbb, 0xbf]) {
            self.blank(0, 3);
            self.at = 3;
        }
        while self.at < self.bytes.len() {
            match self.bytes[self.at] {
                b' ' => self.at += 1,
                b'\t' | b'\r' => {
                    self.out.text[self.at] = b' ';
                    self.at += 1;
                }
                b'\n' => {
                    self.out.text[self.at] = b' ';
                    self.pending.get_or_insert(self.at);
                    self.at += 1;
                }
                b'/' if self.bytes.get(self.at + 1) == Some(&b'/') => self.comment(),
                _ => self.token(),
            }
        }
        if self.stack.is_empty() {
            if let Some(newline) = self.pending {
                self.out.text[newline] = b'\n';
            }
        } else {
            let end = self.bytes.len();
            self.unclosed(0, end);
        }
    }

    fn blank(&mut self, start: usize, end: usize) {
        self.out.text[start..end].fill(b' ');
    }

    fn comment(&mut self) {
        let start = self.at;
        let end = self.source[start..].find('\n').map_or(self.bytes.len(), |n| start + n);
        let line = self.source[..start].rfind('\n').map_or(0, |n| n + 1);
        let own_line = self.last_end <= line;
        let text = self.source[start..end].trim_end();
        let kind = if own_line && text.starts_with("///") && !text.starts_with("////") {
            CommentKind::Doc
        } else if self.last_end == 0 && text.starts_with("//!") {
            CommentKind::FileDoc
        } else {
            CommentKind::Plain
        };
        self.out.comments.push(RawComment { span: Span::new(start, start + text.len()), kind, own_line });
        self.blank(start, end);
        self.at = end;
    }

    fn token(&mut self) {
        let start = self.at;
        let begins_line = self.pending.is_some() || self.last_end == 0;
        if begins_line {
            self.close_before(start);
        }
        if let Some(newline) = self.pending.take()
            && !self.opens_instead(newline, start)
            && self.newline_ends(start)
        {
            self.out.text[newline] = b'\n';
            self.mark(newline, Mark::Separator);
        }
        let first = self.bytes[start];
        match first {
            b'"' => self.string(),
            b'(' | b'[' | b'{' => self.open(first),
            b')' | b']' | b'}' => self.close(first),
            b';' => {
                self.mark(start, Mark::Separator);
                self.at += 1;
            }
            _ if is_letter(first) => {
                while self.at < self.bytes.len() && is_letter(self.bytes[self.at]) {
                    self.at += 1;
                }
                if self.attributes && self.stack.is_empty() && matches!(&self.source[start..self.at], "fn" | "block") {
                    self.attributes = false;
                }
            }
            0..0x20 | 0x7f => {
                let is_one = |b: &&u8| matches!(b, 0..=0x8 | 0xb | 0xc | 0xe..0x20 | 0x7f);
                // A run of them is one error.
                self.at += self.bytes[start..].iter().take_while(is_one).count().max(1);
                let message = format!("control character U+{first:04X}");
                let error = SyntaxError::new(Span::new(start, self.at), message, "not part of the language");
                self.out.errors.push(error);
                self.out.text[start..self.at].fill(REPORTED);
            }
            _ => self.at += self.source[start..].chars().next().map_or(1, char::len_utf8),
        }
        if self.stack.is_empty() && first == b'@' && begins_line {
            self.attributes = true;
        }
        self.last_end = self.at;
    }

    fn mark(&mut self, at: usize, mark: Mark) {
        self.out.marks.push((at, mark));
    }

    fn word_at(&self, start: usize) -> &'a str {
        let rest = &self.bytes[start..];
        let length = rest.iter().position(|&b| !is_letter(b)).unwrap_or(rest.len());
        &self.source[start..start + length]
    }

    /// A line that is only the head of a body, before one that is not its brace: the newline stands for the brace.
    fn opens_instead(&mut self, newline: usize, next: usize) -> bool {
        let from = self.source[..self.last_end].rfind('\n').map_or(0, |n| n + 1);
        let line = self.source[from..self.last_end].trim_start();
        let mut words = line.split_ascii_whitespace();
        let inside = match (words.next(), words.next(), words.next()) {
            (Some("score"), None, None) => true,
            (Some("stage"), Some(name), None) if name.bytes().all(is_letter) => true,
            (Some("detector"), Some(name), None) if name.bytes().all(is_letter) => false,
            _ => return false,
        };
        let fits = if inside { self.stack.last().is_some_and(|o| o.byte == b'{') } else { self.stack.is_empty() };
        let outside = ITEM_WORDS.contains(&self.word_at(next)) || self.bytes[next] == b'@';
        if !fits || outside || b"{}=".contains(&self.bytes[next]) || self.stack.len() >= MAX_NESTING {
            return false;
        }
        let span = Span::new(self.last_end - line.len(), self.last_end);
        let error = SyntaxError::new(span, format!("`{line}` without `{{`"), "its body begins after this");
        self.out.errors.push(error.help(format!("write `{line} {{`")));
        self.out.text[newline] = b'{';
        self.mark(newline, Mark::Begin);
        self.places[kind(b'{')].push(self.stack.len());
        self.stack.push(Opened { byte: b'{', at: newline, muted: false });
        true
    }

    /// Whether a newline between the last token and the one at `next` ends a statement.
    fn newline_ends(&self, next: usize) -> bool {
        if self.stack.last().is_some_and(|o| o.byte != b'{') {
            return false;
        }
        let word = self.word_at(next);
        if STATEMENT_WORDS.contains(&word) || (self.stack.is_empty() && ITEM_WORDS.contains(&word)) {
            return !(self.attributes && self.stack.is_empty() && (word == "fn" || word == "block"));
        }
        let line = &self.bytes[next..];
        if CONTINUING_WORDS.contains(&word) || line.starts_with(b"|>") || line.starts_with(b"->") || line[0] == b'{' {
            return false;
        }
        if line[0] == b'}' {
            return true;
        }
        if self.attributes && line[0] == b'@' {
            return false;
        }
        let before = &self.bytes[..self.last_end];
        let last = before.last().copied().unwrap_or(b'\n');
        let length = before.iter().rev().take(4).take_while(|&&b| is_letter(b)).count();
        let last_word = &before[before.len() - length..];
        !(b"+-*/%@,=<>:".contains(&last) || [&b"and"[..], b"or", b"not"].contains(&last_word))
    }

    /// A line that can only begin an item or a statement closes what is still open.
    fn close_before(&mut self, start: usize) {
        if self.stack.is_empty() {
            return;
        }
        let word = self.word_at(start);
        let column = start - self.source[..start].rfind('\n').map_or(0, |n| n + 1);
        let item = ITEM_WORDS.contains(&word) || self.bytes[start] == b'@';
        if column == 0 && item {
            self.unclosed(0, start);
        } else if STATEMENT_WORDS.contains(&word) {
            let keep = self.innermost(b'{').map_or(0, |n| n + 1);
            // `weight: 3` in an argument list is a mistake of another kind.
            let rest = self.source[start + word.len()..].trim_start();
            if keep < self.stack.len() && !rest.starts_with([':', ',', ')', ']', '.']) {
                self.unclosed(keep, start);
            }
        }
    }

    fn string(&mut self) {
        let start = self.at;
        self.at += 1;
        while self.at < self.bytes.len() {
            match self.bytes[self.at] {
                b'"' => {
                    self.at += 1;
                    return;
                }
                b'\n' => break,
                b'\\' if self.bytes.get(self.at + 1).is_some_and(|&b| b != b'\n') => self.at += 2,
                _ => self.at += 1,
            }
            while !self.source.is_char_boundary(self.at) {
                self.at += 1;
            }
        }
        let text = self.source[start..self.at].trim_end();
        self.out.errors.push(
            SyntaxError::new(Span::new(start, start + text.len()), "a text is not closed", "begins here")
                .help("end it with `\"` on the same line"),
        );
        self.blank(start, self.at);
        self.out.text[start] = REPORTED;
    }

    fn open(&mut self, byte: u8) {
        let muted = self.stack.len() >= MAX_NESTING;
        if muted {
            self.out.text[self.at] = REPORTED;
            if !self.too_deep {
                self.too_deep = true;
                self.out.errors.push(
                    SyntaxError::new(
                        Span::new(self.at, self.at + 1),
                        format!("nested more than {MAX_NESTING} brackets deep"),
                        "one too many",
                    )
                    .help("name inner parts with `let`"),
                );
            }
        } else {
            self.mark(self.at, if byte == b'{' { Mark::Begin } else { Mark::Open });
        }
        self.places[kind(byte)].push(self.stack.len());
        self.stack.push(Opened { byte, at: self.at, muted });
        self.at += 1;
    }

    /// Where in the stack the innermost such bracket is. Looking through the stack would take too long where there is nothing else.
    fn innermost(&mut self, byte: u8) -> Option<usize> {
        let places = &mut self.places[kind(byte)];
        while let Some(&n) = places.last() {
            if self.stack.get(n).is_some_and(|o| o.byte == byte) {
                return Some(n);
            }
            places.pop();
        }
        None
    }

    fn close(&mut self, byte: u8) {
        let at = self.at;
        self.at += 1;
        let opener = match byte {
            b')' => b'(',
            b']' => b'[',
            _ => b'{',
        };
        let reachable = match byte {
            b'}' => 0,
            _ => self.innermost(b'{').map_or(0, |n| n + 1),
        };
        let found = self.innermost(opener).filter(|&n| n >= reachable);
        if let Some(found) = found {
            if found + 1 < self.stack.len() {
                self.unclosed(found + 1, at);
            }
        } else if self.stack.len() > reachable {
            let top = &self.stack[self.stack.len() - 1];
            let right = if top.byte == b'(' { b')' } else { b']' };
            let opened = self.show(top.at);
            self.out.errors.push(SyntaxError::new(
                Span::new(at, at + 1),
                format!("expected `{}`, not `{}`", right as char, byte as char),
                format!("closes the `{}` {opened}", top.byte as char),
            ));
            self.out.text[at] = right;
        } else {
            self.out.errors.push(SyntaxError::new(
                Span::new(at, at + 1),
                format!("`{}` closes nothing", byte as char),
                "no bracket is open here",
            ));
            self.out.text[at] = b' ';
            return;
        }
        match self.stack.pop() {
            Some(opened) if opened.muted => self.out.text[at] = b' ',
            _ => self.mark(at, if byte == b'}' { Mark::Finish } else { Mark::Close }),
        }
    }

    /// `on line 3`. Counting lines again and again would take too long in a file of nothing but errors.
    fn show(&self, at: usize) -> String {
        if self.out.errors.len() > MANY {
            return "before it".to_string();
        }
        format!("on line {}", self.source[..at].matches('\n').count() + 1)
    }

    /// Reports and closes all brackets from stack index `from` on; `next` is the token that made it plain.
    fn unclosed(&mut self, from: usize, next: usize) {
        let opened: Vec<Opened> = self.stack.drain(from..).collect();
        let broken = opened.iter().position(|o| o.byte != b'{' || o.muted).unwrap_or(opened.len());
        for opened in opened.iter().skip(broken) {
            self.out.text[opened.at] = REPORTED;
            self.dropped.insert(opened.at);
        }
        // Braces are closed in the newline before `next`, so that the statements in them are still read.
        if broken > 0 {
            let at = self.pending.take().unwrap_or(next);
            if let Some(byte) = self.out.text.get_mut(at) {
                *byte = CLOSED;
            }
            for _ in 0..broken {
                self.mark(at, Mark::Finish);
            }
            self.mark(at, Mark::Separator);
        }
        if !opened.is_empty() {
            let close = |byte| match byte {
                b'(' => ')',
                b'[' => ']',
                _ => '}',
            };
            let place = if next >= self.bytes.len() {
                "the end of the file".to_string()
            } else {
                self.show(next).replacen("on ", "", 1)
            };
            let many = opened.len();
            for (n, one) in opened.iter().enumerate() {
                if n + 1 == many || one.byte == b'{' {
                    self.out.errors.push(
                        SyntaxError::new(
                            Span::new(one.at, one.at + 1),
                            format!("`{}` is never closed", one.byte as char),
                            "opened here",
                        )
                        .help(format!("a `{}` is missing before {place}", close(one.byte))),
                    );
                }
            }
        }
    }
}
