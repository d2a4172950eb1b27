//! Statements of the tree.
//!
//! In: pairs of bodies. Out: [`Body`], [`Stmt`] and their kin. Invariants: a statement that stands where it may not is
//! reported and becomes an `Error`. Imports: the other builders.

use super::{Builder, kids};
use crate::SyntaxError;
use crate::ast::{Body, Expr, ExprKind, Group, Iterate, Name, Pattern, ScorePart, Span, StagePart, Stmt, StmtKind};
use crate::rules::{Node, Rule};

/// A statement as the grammar sees it, before its place is known.
enum Part {
    Stmt(StmtKind),
    Minimise(Expr, Vec<Group>),
    Setting(Name, Expr, bool),
    Output(Name, Expr),
}

struct Placed {
    docs: Vec<String>,
    span: Span,
    part: Part,
}

impl Builder<'_> {
    /// A body with a last expression.
    pub(super) fn body(&mut self, node: Node<'_>) -> Option<Body> {
        let parts = self.parts(node)?;
        Some(self.valued(parts))
    }

    fn valued(&mut self, parts: Vec<Placed>) -> Body {
        body_of(self.plain(parts))
    }

    /// A body of statements only.
    pub(super) fn stmts(&mut self, node: Node<'_>) -> Option<Vec<Stmt>> {
        let parts = self.parts(node)?;
        Some(self.plain(parts))
    }

    fn plain(&mut self, parts: Vec<Placed>) -> Vec<Stmt> {
        parts.into_iter().map(|placed| self.only_stmt(placed)).collect()
    }

    fn only_stmt(&mut self, placed: Placed) -> Stmt {
        let Placed { docs, span, part } = placed;
        let kind = match part {
            Part::Stmt(kind) => kind,
            Part::Minimise(..) => {
                self.misplaced(span, "`minimise` outside of a stage", "put it into `stage NAME { … }`")
            }
            Part::Setting(name, ..) => {
                let message = format!("a setting `{}:` outside of a stage", name.text);
                self.misplaced(name.span, message, "a value is named with `let NAME = …`")
            }
            Part::Output(name, _) => {
                let message = format!("`{} = …` outside of `score`", name.text);
                let help = format!("name a value with `let {0} = …`; change a state with `{0} <- …`", name.text);
                self.misplaced(name.span, message, help)
            }
        };
        Stmt { docs, span, kind }
    }

    fn misplaced(&mut self, span: Span, message: impl Into<String>, help: impl Into<String>) -> StmtKind {
        self.errors.push(SyntaxError::new(span, message, "does not belong here").help(help));
        StmtKind::Expr(Expr { span, kind: ExprKind::Error })
    }

    fn parts(&mut self, node: Node<'_>) -> Option<Vec<Placed>> {
        self.boundary = self.span(&node).start as usize;
        let mut parts = Vec::new();
        for statement in kids(node) {
            let span = self.span(&statement);
            let docs = self.docs_before(span.start as usize);
            let first = parts.len();
            self.statement(statement, span, &mut parts)?;
            if let Some(part) = parts.get_mut(first) {
                part.docs = docs;
            }
            self.boundary = span.end as usize;
        }
        Some(parts)
    }

    /// One statement of the text; more of the tree where declarations are joined by commas.
    fn statement(&mut self, node: Node<'_>, span: Span, out: &mut Vec<Placed>) -> Option<()> {
        let rule = node.as_rule();
        let start = node.as_span().start();
        let mut add = |span, part| out.push(Placed { docs: Vec::new(), span, part });
        let mut parts = kids(node);
        match rule {
            Rule::hole => add(span, Part::Stmt(StmtKind::Expr(Expr { span, kind: ExprKind::Error }))),
            Rule::param_stmt | Rule::weight_stmt | Rule::state_stmt => {
                for (n, one) in parts.enumerate() {
                    let here = self.span(&one);
                    let here = if n == 0 { span.to(here) } else { here };
                    let here = if n == 0 { Span { end: self.span(&one).end, ..here } } else { here };
                    let param = self.param(one)?;
                    let kind = match rule {
                        Rule::param_stmt => StmtKind::Param(param, n > 0),
                        Rule::weight_stmt => StmtKind::Weight(param, n > 0),
                        _ => StmtKind::State(param, n > 0),
                    };
                    add(here, Part::Stmt(kind));
                }
            }
            Rule::let_stmt => {
                for (n, one) in parts.enumerate() {
                    let here = self.span(&one);
                    let here = if n == 0 { Span { start: span.start, ..here } } else { here };
                    let mut inner = kids(one);
                    let pattern = self.pattern(inner.next()?)?;
                    let ty = match inner.next_if(|p| p.as_rule() == Rule::ty) {
                        Some(ty) => Some(self.ty(ty)?),
                        None => None,
                    };
                    let value = self.expr(inner.next()?)?;
                    add(here, Part::Stmt(StmtKind::Let { pattern, ty, value, joined: n > 0 }));
                }
            }
            Rule::slot_stmt => {
                let name = self.name(parts.next()?);
                let ty = self.ty(parts.next()?)?;
                let value = match parts.next() {
                    Some(value) => Some(self.expr(value)?),
                    None => None,
                };
                add(span, Part::Stmt(StmtKind::Slot { name, ty, value }));
            }
            Rule::input_stmt => {
                let name = self.name(parts.next()?);
                let ty = self.ty(parts.next()?)?;
                let from = self.expr(parts.next()?)?;
                add(span, Part::Stmt(StmtKind::Input { name, ty, from }));
            }
            Rule::require_stmt => {
                let cond = self.expr(parts.next()?)?;
                let why = parts.next().map(|s| self.string(s));
                add(span, Part::Stmt(StmtKind::Require { cond, why }));
            }
            Rule::iterate_stmt => add(span, Part::Stmt(StmtKind::Iterate(self.iterate(parts)?))),
            Rule::stage_stmt => {
                let name = self.name(parts.next()?);
                let inner = self.parts(parts.next()?)?;
                let parts = inner.into_iter().map(|placed| self.stage_part(placed)).collect();
                add(span, Part::Stmt(StmtKind::Stage { name, parts }));
            }
            Rule::score_stmt => {
                let inner = self.parts(parts.next()?)?;
                let parts = inner.into_iter().map(|placed| self.score_part(placed)).collect();
                add(span, Part::Stmt(StmtKind::Score { parts }));
            }
            Rule::minimise_stmt => {
                let loss = self.expr(parts.next()?)?;
                let mut groups = Vec::new();
                for group in parts {
                    let mut over = Vec::new();
                    let mut with = None;
                    for part in kids(group) {
                        if part.as_rule() == Rule::path {
                            over.push(self.name(part));
                        } else {
                            with = Some(self.expr(part)?);
                        }
                    }
                    groups.push(Group { over, with: with? });
                }
                add(span, Part::Minimise(loss, groups));
            }
            Rule::settings => {
                for (n, one) in parts.enumerate() {
                    let here = self.span(&one);
                    let mut inner = kids(one);
                    let name = self.name(inner.next()?);
                    let value = self.expr(inner.next()?)?;
                    add(here, Part::Setting(name, value, n > 0));
                }
            }
            Rule::output => {
                let name = self.name(parts.next()?);
                let value = self.expr(parts.next()?)?;
                add(span, Part::Output(name, value));
            }
            Rule::expr_stmt => {
                let first = parts.next()?;
                let kind = match (parts.next(), sole_choice(&first)) {
                    (Some(value), _) => StmtKind::Become { target: self.expr(first)?, value: self.expr(value)? },
                    (None, Some(choice)) => self.if_stmt(choice)?,
                    (None, None) => StmtKind::Expr(self.expr(first)?),
                };
                add(span, Part::Stmt(kind));
            }
            _ => return self.mismatch(start),
        }
        Some(())
    }

    fn if_stmt(&mut self, choice: Node<'_>) -> Option<StmtKind> {
        let mut parts = kids(choice);
        let cond = self.expr(parts.next()?)?;
        let then = self.stmts(parts.next()?)?;
        let otherwise = match parts.next() {
            Some(body) => self.stmts(body)?,
            None => Vec::new(),
        };
        Some(StmtKind::If { cond, then, otherwise })
    }

    fn stage_part(&mut self, placed: Placed) -> StagePart {
        match placed.part {
            Part::Minimise(loss, groups) => StagePart::Minimise { loss, groups, span: placed.span },
            Part::Setting(name, value, joined) => StagePart::Setting { name, value, joined },
            Part::Output(ref name, _) if placed.docs.is_empty() => {
                let message = format!("`{} = …` in a stage", name.text);
                let help = format!("a setting is `{0}: …`, a new value of a state is `{0} <- …`", name.text);
                let (span, here) = (placed.span, name.span);
                let kind = self.misplaced(here, message, help);
                StagePart::Stmt(Stmt { docs: placed.docs, span, kind })
            }
            _ => StagePart::Stmt(self.only_stmt(placed)),
        }
    }

    fn score_part(&mut self, placed: Placed) -> ScorePart {
        match placed.part {
            Part::Output(name, value) => ScorePart::Output { name, value },
            Part::Setting(ref name, ..) => {
                let help = format!("an output is written `{} = …`", name.text);
                let (span, here) = (placed.span, name.span);
                let kind = self.misplaced(here, "`:` where an output has `=`", help);
                ScorePart::Stmt(Stmt { docs: placed.docs, span, kind })
            }
            _ => ScorePart::Stmt(self.only_stmt(placed)),
        }
    }

    pub(super) fn pattern(&mut self, node: Node<'_>) -> Option<Pattern> {
        let inner = kids(node).next()?;
        if inner.as_rule() == Rule::name {
            return Some(Pattern::Name(self.name(inner)));
        }
        let span = self.span(&inner);
        let parts = kids(inner).map(|p| self.pattern(p)).collect::<Option<_>>()?;
        Some(Pattern::Record(parts, span))
    }

    fn iterate<'t>(&mut self, parts: impl Iterator<Item = Node<'t>>) -> Option<Iterate> {
        let mut heads = Vec::new();
        let (mut index, mut carried, mut body) = (None, Vec::new(), Vec::new());
        for part in parts {
            match part.as_rule() {
                Rule::index_name => index = Some(self.name(part)),
                Rule::head => heads.push(self.expr(part)?),
                Rule::carrying => {
                    for one in kids(part) {
                        let mut inner = kids(one);
                        let name = self.name(inner.next()?);
                        carried.push((name, self.expr(inner.next()?)?));
                    }
                }
                _ => body = self.stmts(part)?,
            }
        }
        let mut heads = heads.into_iter();
        let bound = heads.next()?;
        Some(Iterate { index, bound, carried, until: heads.next(), every: heads.next(), body })
    }
}

/// Statements of which the last may be the value: an expression, or an `if` whose sides both end in one.
fn body_of(mut stmts: Vec<Stmt>) -> Body {
    let value = if ends_in_value(&stmts) { stmts.pop().and_then(value_of) } else { None };
    Body { stmts, value: value.map(Box::new) }
}

fn ends_in_value(stmts: &[Stmt]) -> bool {
    stmts.last().is_some_and(|s| match &s.kind {
        StmtKind::Expr(_) => s.docs.is_empty(),
        StmtKind::If { then, otherwise, .. } => s.docs.is_empty() && ends_in_value(then) && ends_in_value(otherwise),
        _ => false,
    })
}

fn value_of(stmt: Stmt) -> Option<Expr> {
    match stmt.kind {
        StmtKind::Expr(value) => Some(value),
        StmtKind::If { cond, then, otherwise } => {
            let kind = ExprKind::If(Box::new(cond), Box::new(body_of(then)), Box::new(body_of(otherwise)));
            Some(Expr { span: stmt.span, kind })
        }
        _ => None,
    }
}

/// The `if` that an expression consists of, if it does.
fn sole_choice<'t>(expr: &Node<'t>) -> Option<Node<'t>> {
    let mut parts = kids(expr.clone());
    let operand = parts.next()?;
    let mut inner = kids(operand);
    let choice = inner.next().filter(|p| p.as_rule() == Rule::choice)?;
    (parts.next().is_none() && inner.next().is_none()).then_some(choice)
}
