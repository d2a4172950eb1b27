//! Expressions of the tree.
//!
//! In: pairs of expressions, flat. Out: [`Expr`] with precedence settled. Invariants: recursion only through brackets,
//! precedence levels and a bounded number of prefixes; no tree deeper than the bound in [`super`].
//! Imports: the other builders.

use super::{Builder, kids};
use crate::SyntaxError;
use crate::ast::{Arg, BinaryOp, Expr, ExprKind, IndexItem, Span, ViewAxis, ViewSide};
use crate::rules::{Node, Rule};

const PIPE: u8 = 1;
const OR: u8 = 2;
const AND: u8 = 3;
const COMPARE: u8 = 5;
const RANGE: u8 = 6;
const ADD: u8 = 7;
const MULTIPLY: u8 = 8;
const TIGHTEST: u8 = 9;

/// More prefixes than this before one operand are refused.
const MAX_PREFIXES: usize = 16;

/// How tight an infix operator binds, and the operator if it makes a `Binary`.
fn infix(rule: Rule) -> Option<(u8, Option<BinaryOp>)> {
    Some(match rule {
        Rule::pipe => (PIPE, None),
        Rule::or => (OR, Some(BinaryOp::Or)),
        Rule::and => (AND, Some(BinaryOp::And)),
        Rule::eq => (COMPARE, Some(BinaryOp::Eq)),
        Rule::ne => (COMPARE, Some(BinaryOp::Ne)),
        Rule::lt => (COMPARE, Some(BinaryOp::Lt)),
        Rule::le => (COMPARE, Some(BinaryOp::Le)),
        Rule::gt => (COMPARE, Some(BinaryOp::Gt)),
        Rule::ge => (COMPARE, Some(BinaryOp::Ge)),
        Rule::dots => (RANGE, None),
        Rule::plus => (ADD, Some(BinaryOp::Add)),
        Rule::minus => (ADD, Some(BinaryOp::Sub)),
        Rule::times => (MULTIPLY, Some(BinaryOp::Mul)),
        Rule::over => (MULTIPLY, Some(BinaryOp::Div)),
        Rule::rem => (MULTIPLY, Some(BinaryOp::Rem)),
        Rule::matmul => (MULTIPLY, Some(BinaryOp::MatMul)),
        _ => return None,
    })
}

/// Operands and operators of one `expr` in turn, taken from the end.
struct Chain<'t> {
    parts: Vec<Node<'t>>,
}

impl<'t> Chain<'t> {
    fn operator(&self) -> Option<(u8, Rule, bool)> {
        let inner = self.parts.last()?.clone().into_inner().next()?;
        let rule = inner.as_rule();
        let train = rule == Rule::pipe && inner.into_inner().next().is_some();
        Some((infix(rule)?.0, rule, train))
    }
}

impl Builder<'_> {
    pub(super) fn expr(&mut self, node: Node<'_>) -> Option<Expr> {
        let mut parts: Vec<_> = kids(node).collect();
        parts.reverse();
        self.climb(&mut Chain { parts }, 0)
    }

    fn climb(&mut self, chain: &mut Chain<'_>, least: u8) -> Option<Expr> {
        let operand = chain.parts.pop()?;
        let mut parts = kids(operand);
        let mut prefixes = Vec::new();
        while let Some(prefix) = parts.next_if(|p| p.as_rule() == Rule::prefix) {
            let span = self.span(&prefix);
            prefixes.push((span, kids(prefix).next()?));
        }
        if prefixes.len() > MAX_PREFIXES {
            let span = prefixes[0].0;
            self.errors.push(SyntaxError::new(span, "too many prefixes before one operand", "begins here"));
            prefixes.truncate(1);
        }
        // `frozen`, `each` and `repeat` take the calls that follow; a name given with `as` is the whole's.
        let signs = prefixes.iter().take_while(|(_, p)| matches!(p.as_rule(), Rule::minus | Rule::not)).count();
        let takers = prefixes.split_off(signs);
        if let Some((span, sign)) = takers.iter().find(|(_, p)| matches!(p.as_rule(), Rule::minus | Rule::not)) {
            let message = format!("`{}` after `{}`", sign.as_str(), takers[0].1.as_str());
            self.errors.push(SyntaxError::new(*span, message, "expected what it applies to, perhaps in parentheses"));
        }
        let mut value = self.primary(parts.next()?)?;
        if !takers.is_empty() {
            while let Some(postfix) = parts.next_if(|p| p.as_rule() != Rule::naming) {
                value = self.postfix(value, postfix)?;
            }
            for (span, taker) in takers.into_iter().rev() {
                value = self.taker(span, taker, value)?;
            }
        }
        for postfix in parts {
            value = self.postfix(value, postfix)?;
        }
        let inner = value;
        let mut value = self.signed(chain, prefixes, inner)?;
        self.operators(chain, least, &mut value)?;
        Some(value)
    }

    /// `-` binds tighter than all operators, `not` looser than comparisons.
    fn signed(&mut self, chain: &mut Chain<'_>, signs: Vec<(Span, Node<'_>)>, mut value: Expr) -> Option<Expr> {
        for (span, sign) in signs.into_iter().rev() {
            let kind: fn(Box<Expr>) -> ExprKind = if sign.as_rule() == Rule::not {
                self.operators(chain, COMPARE, &mut value)?;
                ExprKind::Not
            } else {
                ExprKind::Neg
            };
            let depth = self.depth;
            value = self.wrap(span.to(value.span), kind(Box::new(value)), depth);
        }
        Some(value)
    }

    /// Takes the operators that bind at least as tight as `least`.
    fn operators(&mut self, chain: &mut Chain<'_>, least: u8, left: &mut Expr) -> Option<()> {
        let mut compared = false;
        while let Some((power, rule, train)) = chain.operator().filter(|(power, ..)| *power >= least) {
            let operator = chain.parts.pop()?;
            let depth = self.depth;
            if power == COMPARE {
                if compared {
                    let span = self.span(&operator);
                    self.errors.push(
                        SyntaxError::new(span, "comparisons do not chain", "the second comparison")
                            .help("write `a < b and b < c`"),
                    );
                }
                compared = true;
            }
            let right = self.climb(chain, (power + 1).min(TIGHTEST))?;
            let depth = depth.max(self.depth);
            let span = left.span.to(right.span);
            let value = std::mem::replace(left, Expr { span, kind: ExprKind::Error });
            let (value, into) = (Box::new(value), Box::new(right));
            let kind = match infix(rule)? {
                (_, Some(op)) => ExprKind::Binary(op, value, into),
                (RANGE, None) => ExprKind::Range(Some(value), Some(into)),
                _ => ExprKind::Pipe { value, train, into },
            };
            *left = self.wrap(span, kind, depth);
        }
        Some(())
    }

    fn taker(&mut self, span: Span, taker: Node<'_>, value: Expr) -> Option<Expr> {
        let depth = self.depth;
        let whole = span.to(value.span);
        let value = Box::new(value);
        Some(match taker.as_rule() {
            Rule::frozen => self.wrap(whole, ExprKind::Frozen(value), depth),
            Rule::each => self.wrap(whole, ExprKind::Each(value), depth),
            Rule::repeat => {
                let count = self.expr(kids(taker).next()?)?;
                let depth = depth.max(self.depth);
                self.wrap(whole, ExprKind::Repeat(Box::new(count), value), depth)
            }
            _ => Expr { span: whole, kind: ExprKind::Error },
        })
    }

    fn postfix(&mut self, value: Expr, node: Node<'_>) -> Option<Expr> {
        let rule = node.as_rule();
        let start = node.as_span().start();
        let span = value.span.to(self.span(&node));
        let before = self.depth;
        let value = Box::new(value);
        let (kind, depth) = match rule {
            Rule::call => {
                let (args, depth) = self.args(node)?;
                (ExprKind::Call(value, args), depth)
            }
            Rule::member => (ExprKind::Dot(value, self.name(kids(node).next()?)), 0),
            Rule::naming => {
                let name = kids(node).next()?;
                let name = if name.as_rule() == Rule::string { self.string(name) } else { self.name(name) };
                (ExprKind::As(value, name), 0)
            }
            Rule::view => {
                let mut sides = kids(node);
                let left = self.side(sides.next()?)?;
                (ExprKind::View(value, left, self.side(sides.next()?)?), 0)
            }
            Rule::index => {
                let mut depth = 0;
                let mut items = Vec::new();
                for item in kids(node) {
                    items.push(self.index_item(item)?);
                    depth = depth.max(self.depth);
                }
                (ExprKind::Index(value, items), depth)
            }
            Rule::variant => {
                // Values of fields lie behind a brace and count on their own.
                (ExprKind::Variant(value, self.fields(node)?), self.depth)
            }
            _ => return self.mismatch(start),
        };
        Some(self.wrap(span, kind, before.max(depth)))
    }

    fn args(&mut self, node: Node<'_>) -> Option<(Vec<Arg>, usize)> {
        let (mut args, mut depth) = (Vec::new(), 0);
        for arg in kids(node) {
            let mut parts = kids(arg);
            let name = parts.next_if(|p| p.as_rule() == Rule::arg_name).map(|n| self.name(n));
            let value = self.expr(parts.next()?)?;
            depth = depth.max(self.depth);
            args.push(Arg { name, value });
        }
        Some((args, depth))
    }

    fn index_item(&mut self, node: Node<'_>) -> Option<IndexItem> {
        let span = self.span(&node);
        let rule = node.as_rule();
        self.depth = 0;
        let mut parts = kids(node);
        Some(match rule {
            Rule::full => IndexItem::Full(span),
            Rule::fresh => IndexItem::New(span),
            Rule::rest => IndexItem::Rest(parts.next().map(|n| self.name(n)), span),
            Rule::like => IndexItem::Like(self.expr(parts.next()?)?),
            Rule::until_end => {
                let value = self.expr(parts.next()?)?;
                if parts.next().is_none() {
                    return Some(IndexItem::Expr(value));
                }
                let depth = self.depth;
                IndexItem::Expr(self.wrap(span, ExprKind::Range(Some(Box::new(value)), None), depth))
            }
            _ => {
                parts.next()?;
                let to = match parts.next() {
                    Some(to) => Some(Box::new(self.expr(to)?)),
                    None => None,
                };
                let depth = self.depth;
                IndexItem::Expr(self.wrap(span, ExprKind::Range(None, to), depth))
            }
        })
    }

    fn side(&mut self, node: Node<'_>) -> Option<ViewSide> {
        let span = self.span(&node);
        Some(ViewSide { axes: self.axes(node)?, span })
    }

    fn axes(&mut self, node: Node<'_>) -> Option<Vec<ViewAxis>> {
        let mut axes = Vec::new();
        for axis in kids(node) {
            let span = self.span(&axis);
            axes.push(match axis.as_rule() {
                Rule::axis_name => ViewAxis::Name(self.name(axis)),
                Rule::axis_rest => ViewAxis::Rest(span),
                Rule::int => ViewAxis::Int(self.int(&axis), span),
                _ => ViewAxis::Group(self.axes(axis)?, span),
            });
        }
        Some(axes)
    }

    fn int(&mut self, node: &Node<'_>) -> i64 {
        node.as_str().parse().unwrap_or_else(|_| {
            let span = self.span(node);
            self.errors.push(
                SyntaxError::new(span, "a whole number that is too large", "does not fit 64 bits")
                    .help("write it as a float, such as `1e20`"),
            );
            0
        })
    }

    fn primary(&mut self, node: Node<'_>) -> Option<Expr> {
        let span = self.span(&node);
        let start = node.as_span().start();
        let kind = match node.as_rule() {
            Rule::int => ExprKind::Int(self.int(&node)),
            Rule::float => {
                let value: f64 = node.as_str().parse().unwrap_or(f64::INFINITY);
                if !value.is_finite() {
                    self.errors.push(SyntaxError::new(span, "a number that is too large", "does not fit 64 bits"));
                }
                ExprKind::Float(value, node.as_str().to_string())
            }
            Rule::string => ExprKind::Str(self.string(node).text),
            Rule::value => match node.as_str() {
                "true" => ExprKind::Bool(true),
                "false" => ExprKind::Bool(false),
                name => ExprKind::Name(name.to_string()),
            },
            Rule::hole => ExprKind::Error,
            Rule::paren => {
                let (mut args, depth) = self.args(node)?;
                if args.len() == 1 && args[0].name.is_none() {
                    self.depth = depth;
                    return args.pop().map(|arg| Expr { span, kind: arg.value.kind });
                }
                return Some(self.wrap(span, ExprKind::Record(args), depth));
            }
            Rule::list => return self.list(node, span),
            Rule::contraction => {
                let mut sides = kids(node).map(|s| self.side(s)).collect::<Option<Vec<_>>>()?;
                let result = sides.pop()?;
                ExprKind::Contraction(sides, result)
            }
            Rule::lambda => {
                let mut parts = kids(node);
                let params = self.params(parts.next()?)?;
                let body = self.body(parts.next()?)?;
                ExprKind::Lambda(params, Box::new(body))
            }
            Rule::choice => {
                let mut parts = kids(node);
                let cond = self.expr(parts.next()?)?;
                let then = self.body(parts.next()?)?;
                let Some(otherwise) = parts.next() else {
                    self.errors.push(
                        SyntaxError::new(span, "a value needs both cases of `if`", "has no `else`")
                            .help("add `else { … }`"),
                    );
                    return Some(Expr { span, kind: ExprKind::Error });
                };
                ExprKind::If(Box::new(cond), Box::new(then), Box::new(self.body(otherwise)?))
            }
            _ => return self.mismatch(start),
        };
        Some(self.wrap(span, kind, 0))
    }

    fn list(&mut self, node: Node<'_>, span: Span) -> Option<Expr> {
        let mut values = Vec::new();
        let mut clauses = Vec::new();
        let mut depth = 0;
        for part in kids(node) {
            if part.as_rule() == Rule::for_clause {
                let mut inner = kids(part);
                let pattern = self.pattern(inner.next()?)?;
                clauses.push((pattern, self.expr(inner.next()?)?));
            } else {
                values.push(self.expr(part)?);
            }
            depth = depth.max(self.depth);
        }
        if clauses.is_empty() {
            return Some(self.wrap(span, ExprKind::List(values), depth));
        }
        let value = Box::new(values.pop()?);
        Some(self.wrap(span, ExprKind::Comprehension(value, clauses), depth))
    }
}
