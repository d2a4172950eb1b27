//! Parsing with recovery: a chunk that does not parse becomes a hole, and parsing goes on.
//!
//! In: source text. Out: the tree and all errors, in source order. Invariants: a part of the text is parsed once per
//! brace around it at most; every error lies in the source. Imports: layout, build, the generated parser.

use pest::Parser;
use pest::iterators::Pair;

use crate::ast::{Expr, File, Item, ItemKind, Span};
use crate::build::Builder;
use crate::error::SyntaxError;
use crate::explain::{Failure, stray_help};
use crate::layout::{ITEM_WORDS, Layout, Mark, REPORTED, lay_out};

/// The parser that pest makes from `uad.pest`.
#[derive(pest_derive::Parser)]
#[grammar = "../uad.pest"]
pub(crate) struct Grammar;

/// Stands for text that could not be parsed.
const HOLE: u8 = 1;

/// Parses a file. All errors of the file are found; where one was, the tree has an `Error` node.
pub fn parse(source: &str) -> (File, Vec<SyntaxError>) {
    if source.len() > 1 << 28 {
        let error = SyntaxError::new(Span::new(0, 0), "the file is larger than 256 MiB", "not read");
        return (File::default(), vec![error]);
    }
    let mut mender = Mender { source, layout: lay_out(source) };
    let chunks = mender.chunks(0, mender.layout.text.len());
    let mut kept = Vec::new();
    let mut after_junk = false;
    for (start, end) in chunks {
        let text = &mender.layout.text[start..end];
        let length = text.iter().position(|b| !b.is_ascii_alphanumeric()).unwrap_or(text.len());
        let begins = text.first() == Some(&b'@') || ITEM_WORDS.iter().any(|w| w.as_bytes() == &text[..length]);
        if begins {
            after_junk = false;
            kept.push((start, end, mender.mend(Rule::one_item, start, end)));
        } else if !after_junk {
            after_junk = true;
            mender.stray(start, end);
            kept.push((start, end, false));
        }
    }
    let Mender { layout, .. } = mender;
    let text = String::from_utf8_lossy(&layout.text);
    let mut builder = Builder::new(source, &layout.comments);
    builder.errors = layout.errors;
    let mut items = Vec::new();
    for (start, end, sound) in kept {
        let item = match Grammar::parse(Rule::one_item, text.get(start..end).unwrap_or("")) {
            Ok(pairs) if sound => pairs.into_iter().next().and_then(|pair| builder.item(start, pair)),
            _ => None,
        };
        items.push(item.unwrap_or_else(|| Item {
            docs: Vec::new(),
            span: Span::new(start, end.min(source.len())),
            kind: ItemKind::Error,
        }));
    }
    let (file, mut errors) = builder.finish(items);
    errors.sort_by_key(|e| e.span);
    errors.dedup();
    (file, errors)
}

/// Parses one expression, as after `--set name=`.
pub fn parse_expr(source: &str) -> Result<Expr, SyntaxError> {
    let layout = lay_out(source);
    if let Some(error) = layout.errors.first() {
        return Err(error.clone());
    }
    let text = String::from_utf8_lossy(&layout.text).into_owned();
    let mut mender = Mender { source, layout };
    let mut builder = Builder::new(source, &[]);
    match Grammar::parse(Rule::one_expr, &text) {
        Ok(mut pairs) => {
            let found = pairs.next().and_then(|pair| builder.only_expr(pair));
            match (found, builder.errors.pop()) {
                (_, Some(error)) => Err(error),
                (Some(expr), None) => Ok(expr),
                (None, None) => Err(SyntaxError::new(Span::new(0, source.len()), "expected an expression", "here")),
            }
        }
        Err(error) => {
            mender.report(0, text.len(), &error);
            let fallback = SyntaxError::new(Span::new(0, source.len()), "expected an expression", "here");
            Err(mender.layout.errors.pop().unwrap_or(fallback))
        }
    }
}

/// Where in the chunk pest gave up.
pub(crate) fn place(error: &pest::error::Error<Rule>) -> usize {
    match error.location {
        pest::error::InputLocation::Pos(at) => at,
        pest::error::InputLocation::Span((at, _)) => at,
    }
}

pub(crate) type Node<'t> = Pair<'t, Rule>;

struct Mender<'s> {
    source: &'s str,
    layout: Layout,
}

impl Mender<'_> {
    /// The trimmed chunks between the separators that stand directly in `start..end`.
    fn chunks(&self, start: usize, end: usize) -> Vec<(usize, usize)> {
        let marks = &self.layout.marks;
        let mut chunks = Vec::new();
        let (mut depth, mut from) = (0usize, start);
        let first = marks.partition_point(|m| m.0 < start);
        for &(at, mark) in marks[first..].iter().take_while(|m| m.0 < end) {
            match mark {
                Mark::Begin | Mark::Open => depth += 1,
                Mark::Finish | Mark::Close => depth = depth.saturating_sub(1),
                Mark::Separator if depth == 0 => {
                    chunks.push(self.trim(from, at));
                    from = at + 1;
                }
                Mark::Separator => {}
            }
        }
        chunks.push(self.trim(from, end));
        chunks.retain(|(start, end)| start < end);
        chunks
    }

    fn trim(&self, start: usize, end: usize) -> (usize, usize) {
        let text = self.layout.text[start..end].trim_ascii_end();
        let length = text.len();
        (start + length - text.trim_ascii_start().len(), start + length)
    }

    /// The insides of the outermost braces in `start..end`.
    fn bodies(&self, start: usize, end: usize) -> Vec<(usize, usize)> {
        let marks = &self.layout.marks;
        let first = marks.partition_point(|m| m.0 < start);
        let (mut depth, mut from) = (0usize, start);
        let mut bodies = Vec::new();
        for &(at, mark) in marks[first..].iter().take_while(|m| m.0 < end) {
            if mark == Mark::Begin {
                if depth == 0 {
                    from = at + 1;
                }
                depth += 1;
            } else if mark == Mark::Finish {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    bodies.push((from, at));
                }
            }
        }
        bodies
    }

    /// Makes the chunk one that parses, by making holes of the statements in it that do not; false if that fails.
    fn mend(&mut self, rule: Rule, start: usize, end: usize) -> bool {
        if self.attempt(rule, start, end).is_ok() {
            return true;
        }
        for (from, to) in self.bodies(start, end) {
            for (first, last) in self.chunks(from, to) {
                if !self.mend(Rule::one_chunk, first, last) {
                    self.layout.text[first..last].fill(HOLE);
                }
            }
        }
        // Even where no whole chunk became a hole, something inside one may have.
        let Err(error) = self.attempt(rule, start, end) else { return true };
        self.report(start, end, &error);
        false
    }

    fn attempt(&self, rule: Rule, start: usize, end: usize) -> Result<(), Box<pest::error::Error<Rule>>> {
        let text = std::str::from_utf8(&self.layout.text[start..end]).unwrap_or("\u{2}");
        Grammar::parse(rule, text).map(|_| ()).map_err(Box::new)
    }

    fn stray(&mut self, start: usize, end: usize) {
        let end = end.min(self.source.len());
        let text = &self.source[start..end];
        let line = text.find('\n').map_or(end, |n| start + n);
        let length = text.bytes().position(|b| !b.is_ascii_alphanumeric()).unwrap_or(text.len());
        let help = stray_help(&text[..length]);
        self.layout.errors.push(
            SyntaxError::new(Span::new(start, line), "expected an item", "stands outside of every item").help(help),
        );
    }

    fn report(&mut self, base: usize, end: usize, error: &pest::error::Error<Rule>) {
        let at = (base + place(error)).min(end);
        // What stands in a reported bracket's or a hole's place has had its message.
        if self.layout.text.get(at).is_some_and(|b| *b == REPORTED || *b == HOLE) {
            return;
        }
        let expected = match &error.variant {
            pest::error::ErrorVariant::ParsingError { positives, .. } => positives.as_slice(),
            pest::error::ErrorVariant::CustomError { .. } => &[],
        };
        let failure = Failure {
            source: self.source,
            text: &self.layout.text,
            chunk: (base, end),
            at,
            expected,
            marks: &self.layout.marks,
        };
        let error = failure.explain();
        self.layout.errors.push(error);
    }
}
