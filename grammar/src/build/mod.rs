//! Pest's pairs to the syntax tree.
//!
//! In: pairs of chunks that parse, and the comment table. Out: [`crate::ast::File`] and the errors that the grammar
//! leaves to the builder (a statement in the wrong place, a number out of range, a tree too deep). Invariants: no
//! recursion that the text's brackets do not bound; a function returns `None` only if the grammar changed and this did
//! not, which is reported. Imports: tree, comment table, errors.

mod exprs;
mod items;
mod stmts;
mod types;

use pest::iterators::Pairs;

use crate::ast::{Comment, Expr, ExprKind, File, Item, Name, Span};
use crate::error::SyntaxError;
use crate::layout::{CommentKind, RawComment};
use crate::rules::{Node, Rule};

/// Trees are at most this deep, so that whoever walks them may recurse.
const MAX_DEPTH: usize = 250;

/// Builds the tree of one file, chunk by chunk in source order.
pub(crate) struct Builder<'s> {
    source: &'s str,
    comments: &'s [RawComment],
    /// Index in `comments` of the next one that may document something.
    next_comment: usize,
    /// Where documentation of the next item may begin.
    boundary: usize,
    /// Comments that document nothing.
    plain: Vec<Comment>,
    docs: Vec<String>,
    /// Where the chunk at hand begins in the source.
    base: usize,
    /// Depth of the expression built last.
    depth: usize,
    pub(crate) errors: Vec<SyntaxError>,
}

impl<'s> Builder<'s> {
    pub(crate) fn new(source: &'s str, comments: &'s [RawComment]) -> Builder<'s> {
        Builder {
            source,
            comments,
            next_comment: 0,
            boundary: 0,
            plain: Vec::new(),
            docs: Vec::new(),
            base: 0,
            depth: 0,
            errors: Vec::new(),
        }
    }

    /// The item of a chunk that begins at `base`.
    pub(crate) fn item(&mut self, base: usize, pair: Node<'_>) -> Option<Item> {
        self.base = base;
        let node = kids(pair).next()?;
        let span = self.span(&node);
        let docs = self.docs_before(span.start as usize);
        let kind = self.item_kind(node)?;
        self.boundary = span.end as usize;
        Some(Item { docs, span, kind })
    }

    /// The expression of a chunk that is nothing else.
    pub(crate) fn only_expr(&mut self, pair: Node<'_>) -> Option<Expr> {
        let node = kids(pair).next()?;
        self.expr(node)
    }

    /// The file, when all its items are built.
    pub(crate) fn finish(mut self, items: Vec<Item>) -> (File, Vec<SyntaxError>) {
        self.docs_before(usize::MAX);
        let newlines = self.source.bytes().enumerate().filter(|(_, b)| *b == b'\n');
        let lines = std::iter::once(0).chain(newlines.map(|(at, _)| at as u32 + 1)).collect();
        (File { docs: self.docs, items, comments: self.plain, lines }, self.errors)
    }

    /// Takes all comments before `start`; those since the boundary that are documentation are returned.
    fn docs_before(&mut self, start: usize) -> Vec<String> {
        let mut docs = Vec::new();
        while let Some(comment) = self.comments.get(self.next_comment) {
            if comment.span.start as usize >= start {
                break;
            }
            self.next_comment += 1;
            let text = &self.source[comment.span.start as usize..comment.span.end as usize];
            match comment.kind {
                CommentKind::FileDoc => self.docs.push(doc_text(text)),
                CommentKind::Doc if start != usize::MAX && comment.span.start as usize >= self.boundary => {
                    docs.push(doc_text(text));
                }
                _ => {
                    // What documents nothing is a plain comment: elsewhere it might document something.
                    let text = match text.as_bytes().get(2..4) {
                        Some([b'/', after]) if *after != b'/' => &text[3..],
                        Some([b'!', _]) => &text[3..],
                        None if text.len() == 3 => text[2..].trim_matches(['/', '!']),
                        _ => &text[2..],
                    };
                    let own_line = comment.own_line;
                    self.plain.push(Comment { text: text.to_string(), span: comment.span, own_line });
                }
            }
        }
        docs
    }

    fn span(&self, node: &Node<'_>) -> Span {
        let span = node.as_span();
        let end = self.source.len();
        Span::new((self.base + span.start()).min(end), (self.base + trimmed_end(node)).min(end))
    }

    fn name(&self, node: Node<'_>) -> Name {
        Name { text: node.as_str().to_string(), span: self.span(&node) }
    }

    /// The text of a string, escapes undone.
    fn string(&mut self, node: Node<'_>) -> Name {
        let span = self.span(&node);
        let raw = node.as_str();
        let inner = raw.get(1..raw.len().saturating_sub(1)).unwrap_or("");
        let mut text = String::with_capacity(inner.len());
        let mut chars = inner.chars();
        while let Some(c) = chars.next() {
            if c != '\\' {
                text.push(c);
                continue;
            }
            match chars.next() {
                Some('n') => text.push('\n'),
                Some('t') => text.push('\t'),
                Some(c @ ('"' | '\\')) => text.push(c),
                other => {
                    let shown = other.map_or(String::new(), String::from);
                    self.errors.push(
                        SyntaxError::new(span, format!("`\\{shown}` is no escape"), "in this text")
                            .help("the escapes are `\\\"`, `\\\\`, `\\n` and `\\t`"),
                    );
                    text.push_str(&shown);
                }
            }
        }
        Name { text, span }
    }

    /// An expression around parts of which the deepest is `inner` deep.
    fn wrap(&mut self, span: Span, kind: ExprKind, inner: usize) -> Expr {
        self.depth = inner + 1;
        if self.depth > MAX_DEPTH {
            if self.depth == MAX_DEPTH + 1 {
                self.errors.push(
                    SyntaxError::new(span, format!("an expression more than {MAX_DEPTH} steps deep"), "this one")
                        .help("name parts of it with `let`"),
                );
            }
            self.depth = 1;
            return Expr { span, kind: ExprKind::Error };
        }
        Expr { span, kind }
    }
}

/// Where a node ends, blanks not counted: pest's rules that end in something optional may have eaten blanks.
fn trimmed_end(node: &Node<'_>) -> usize {
    node.as_span().start() + node.as_str().trim_end().len()
}

fn doc_text(text: &str) -> String {
    let text = &text[3..];
    text.strip_prefix(' ').unwrap_or(text).to_string()
}

/// The children that are not mere tokens.
fn kids<'t>(node: Node<'t>) -> std::iter::Peekable<impl Iterator<Item = Node<'t>> + use<'t>> {
    meaningful(node.into_inner())
}

fn meaningful<'t>(pairs: Pairs<'t, Rule>) -> std::iter::Peekable<impl Iterator<Item = Node<'t>> + use<'t>> {
    pairs.filter(|pair| !is_token(pair.as_rule())).peekable()
}

fn is_token(rule: Rule) -> bool {
    use Rule::*;
    matches!(
        rule,
        EOI | comma
            | colon
            | equals
            | arrow
            | becomes
            | dot
            | at
            | open
            | close
            | left
            | right
            | begin
            | finish
            | separator
            | k_use
            | k_from
            | k_type
            | k_unit
            | k_source
            | k_fn
            | k_block
            | k_detector
            | k_param
            | k_slot
            | k_input
            | k_weight
            | k_state
            | k_let
            | k_stage
            | k_minimise
            | k_over
            | k_with
            | k_score
            | k_iterate
            | k_until
            | k_every
            | k_in
            | k_if
            | k_else
            | k_for
            | k_new
            | k_as
            | k_require
            | k_like
            | k_repeat
    )
}
