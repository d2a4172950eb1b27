//! Parsing with recovery: a chunk that does not parse becomes a hole, and parsing goes on.
//!
//! In: source text. Out: the tree and all errors, in source order. Invariants: a part of the text is parsed once per
//! brace around it at most; every error lies in the source. Imports: layout, build, the generated parser.

use pest::Parser;

use crate::ast::{Expr, File, Item, ItemKind, Span};
use crate::build::Builder;
use crate::error::SyntaxError;
use crate::explain::{Failure, stray_help};
use crate::layout::{ITEM_WORDS, Layout, Mark, REPORTED, lay_out};
use crate::rules::{Grammar, Rule};

/// A chunk in which this many statements fail only where they stand is given up.
const MAX_TRIES: usize = 16;

/// Bodies nested deeper than this are not mended statement by statement.
const MAX_LEVEL: usize = 8;

/// Later errors of a file are not told.
const MOST_ERRORS: usize = 1000;

/// Stands for text that could not be parsed.
const HOLE: u8 = 1;

/// Parses a file. All errors of the file are found, and the first thousand told; where one was, the tree has an `Error` node.
pub fn parse(source: &str) -> (File, Vec<SyntaxError>) {
    if source.len() > 1 << 28 {
        let error = SyntaxError::new(Span::new(0, 0), "the file is larger than 256 MiB", "not read");
        return (File::default(), vec![error]);
    }
    let mut layout = lay_out(source);
    let comments = std::mem::take(&mut layout.comments);
    let mut mender = Mender { source, layout };
    let mut builder = Builder::new(source, &comments);
    let mut items = Vec::new();
    let mut after_junk = false;
    for (start, end) in mender.chunks(0, mender.layout.text.len()) {
        let text = &mender.layout.text[start..end];
        let length = text.iter().position(|b| !b.is_ascii_alphanumeric()).unwrap_or(text.len());
        let begins = text.first() == Some(&b'@') || ITEM_WORDS.iter().any(|w| w.as_bytes() == &text[..length]);
        if !begins && after_junk {
            continue;
        }
        after_junk = !begins;
        let item = if begins {
            mender.item(&mut builder, start, end)
        } else {
            mender.stray(start, end);
            None
        };
        let span = Span::new(start, end);
        items.push(item.unwrap_or(Item { docs: Vec::new(), span, kind: ItemKind::Error }));
    }
    builder.errors.append(&mut mender.layout.errors);
    let (file, mut errors) = builder.finish(items);
    errors.sort_by_key(|e| e.span);
    errors.dedup();
    errors.truncate(MOST_ERRORS);
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
            mender.report(0, text.len(), place(&error), &error);
            let fallback = SyntaxError::new(Span::new(0, source.len()), "expected an expression", "here");
            Err(mender.layout.errors.pop().unwrap_or(fallback))
        }
    }
}

/// Where in the chunk pest gave up.
fn place(error: &pest::error::Error<Rule>) -> usize {
    match error.location {
        pest::error::InputLocation::Pos(at) => at,
        pest::error::InputLocation::Span((at, _)) => at,
    }
}

struct Mender<'s> {
    source: &'s str,
    layout: Layout,
}

impl Mender<'_> {
    /// The item of a chunk, mended if need be.
    fn item(&mut self, builder: &mut Builder<'_>, start: usize, end: usize) -> Option<Item> {
        let sound = match Grammar::parse(Rule::one_item, self.chunk(start, end)) {
            Ok(mut pairs) => return builder.item(start, pairs.next()?),
            Err(_) => self.mend(Rule::one_item, start, end, 0),
        };
        match Grammar::parse(Rule::one_item, self.chunk(start, end)) {
            Ok(mut pairs) if sound => builder.item(start, pairs.next()?),
            _ => None,
        }
    }

    fn chunk(&self, start: usize, end: usize) -> &str {
        // U+0002 parses as nothing; a chunk is cut on character boundaries, so it never comes to that.
        std::str::from_utf8(&self.layout.text[start..end]).unwrap_or("\u{2}")
    }

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
        if depth > 0 {
            bodies.push((from, end));
        }
        bodies
    }

    /// Makes the chunk one that parses, by making holes of the statements in it that do not; false if that fails.
    fn mend(&mut self, rule: Rule, start: usize, end: usize, level: usize) -> bool {
        let Err(error) = self.attempt(rule, start, end) else { return true };
        // What begins with a brace is not worth looking into; nor is what lies so deep that time would run away.
        let bodies = if place(&error) == 0 || level > MAX_LEVEL { Vec::new() } else { self.bodies(start, end) };
        for (from, to) in bodies {
            for (first, last) in self.chunks(from, to) {
                if !self.mend(Rule::one_chunk, first, last, level + 1) {
                    self.layout.text[first..last].fill(HOLE);
                }
            }
        }
        // Even where no whole chunk became a hole, something inside one may have. And a chunk that parses alone may not
        // where it stands.
        let mut tries = 0;
        loop {
            let Err(error) = self.attempt(rule, start, end) else { return true };
            let at = start + place(&error);
            match self.chunk_at(start, end, at) {
                Some((first, last)) if tries < MAX_TRIES && self.layout.text[first] != HOLE => {
                    self.report(first, last, at, &error);
                    self.layout.text[first..last].fill(HOLE);
                    tries += 1;
                }
                _ => {
                    self.report(start, end, at, &error);
                    return false;
                }
            }
        }
    }

    /// The innermost chunk of a body in `start..end` that holds the place.
    fn chunk_at(&self, mut start: usize, mut end: usize, at: usize) -> Option<(usize, usize)> {
        let holds = |(first, last): &(usize, usize)| *first <= at && at <= *last;
        let mut found = None;
        while let Some((from, to)) = self.bodies(start, end).into_iter().find(holds) {
            let Some(chunk) = self.chunks(from, to).into_iter().find(holds) else { break };
            found = Some(chunk);
            (start, end) = chunk;
        }
        found
    }

    fn attempt(&self, rule: Rule, start: usize, end: usize) -> Result<(), Box<pest::error::Error<Rule>>> {
        Grammar::parse(rule, self.chunk(start, end)).map(|_| ()).map_err(Box::new)
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

    fn report(&mut self, base: usize, end: usize, at: usize, error: &pest::error::Error<Rule>) {
        let at = at.min(end);
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
