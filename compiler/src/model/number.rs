//! Arithmetic on what is known while compiling: integers (perhaps symbolic), exact quotients, numbers, truths.
//!
//! In: static values. Out: static values, or `None` where only a tensor can hold the result. Invariants: integer
//! arithmetic is exact; a quotient is floored only where an integer is needed. Imports: values, dims.

use std::rc::Rc;

use uad_grammar::ast::BinaryOp;
use uad_plan::{Dim, DimError};

use crate::diag::{Diagnostic, Place};

use super::Ev;
use super::value::{Bad, R, Value};

fn gcd(a: i64, b: i64) -> i64 {
    let (mut a, mut b) = (a.unsigned_abs(), b.unsigned_abs());
    while b != 0 {
        (a, b) = (b, a % b);
    }
    i64::try_from(a).unwrap_or(1).max(1)
}

/// Could multiplying these make a polynomial that nobody can wait for?
fn heavy(a: &Dim, b: &Dim) -> bool {
    a.as_int().is_none() && b.as_int().is_none() && {
        let n = a.to_string().len().saturating_mul(b.to_string().len());
        n > 100_000
    }
}

/// A static number as f64, if it has no open dim.
pub(crate) fn as_f64(v: &Value) -> Option<f64> {
    match v {
        Value::Int(d) => d.as_int().map(|i| i as f64),
        Value::Ratio(q) => Some(q.0.as_int()? as f64 / q.1.as_int()? as f64),
        Value::Float(x) => Some(*x),
        _ => None,
    }
}

fn as_ratio(v: &Value) -> Option<(Dim, Dim)> {
    match v {
        Value::Int(d) => Some((d.clone(), Dim::int(1))),
        Value::Ratio(q) => Some((**q).clone()),
        _ => None,
    }
}

fn ratio<'a>(a: Dim, b: Dim) -> Result<Value<'a>, DimError> {
    if b.is(0) {
        return Err(DimError::DivisionByZero);
    }
    if let (Some(x), Some(y)) = (a.as_int(), b.as_int()) {
        let g = gcd(x, y);
        let (mut x, mut y) = (x / g, y / g);
        if y < 0 {
            (x, y) = (x.checked_neg().ok_or(DimError::Overflow)?, y.checked_neg().ok_or(DimError::Overflow)?);
        }
        return Ok(if y == 1 { Value::int(x) } else { Value::Ratio(Rc::new((Dim::int(x), Dim::int(y)))) });
    }
    if !b.is(-1)
        && let Some(q) = a.exact_div(&b)
    {
        return Ok(Value::Int(q));
    }
    Ok(Value::Ratio(Rc::new((a, b))))
}

/// Integer value of a number: a quotient is floored.
pub(crate) fn floored(v: &Value) -> Option<Result<Dim, DimError>> {
    match v {
        Value::Int(d) => Some(Ok(d.clone())),
        Value::Ratio(q) => Some(q.0.floor_div(&q.1)),
        _ => None,
    }
}

fn compare(op: BinaryOp, o: std::cmp::Ordering) -> Option<bool> {
    Some(match op {
        BinaryOp::Eq => o.is_eq(),
        BinaryOp::Ne => o.is_ne(),
        BinaryOp::Lt => o.is_lt(),
        BinaryOp::Le => o.is_le(),
        BinaryOp::Gt => o.is_gt(),
        BinaryOp::Ge => o.is_ge(),
        _ => return None,
    })
}

fn exact<'a>(op: BinaryOp, a: &Value<'a>, b: &Value<'a>) -> Result<Option<Value<'a>>, DimError> {
    if let (Value::Int(x), Value::Int(y)) = (a, b) {
        let v = match op {
            BinaryOp::Add => x.add(y)?,
            BinaryOp::Sub => x.sub(y)?,
            BinaryOp::Mul => x.mul(y)?,
            BinaryOp::Rem => {
                if y.is(0) {
                    return Err(DimError::DivisionByZero);
                }
                x.rem(y)?
            }
            BinaryOp::Div => return ratio(x.clone(), y.clone()).map(Some),
            _ => {
                let d = x.sub(y)?;
                return Ok(d.as_int().and_then(|d| compare(op, d.cmp(&0))).map(Value::Bool));
            }
        };
        return Ok(Some(Value::Int(v)));
    }
    let (Some((an, ad)), Some((bn, bd))) = (as_ratio(a), as_ratio(b)) else { return Ok(None) };
    Ok(match op {
        BinaryOp::Add => Some(ratio(an.mul(&bd)?.add(&bn.mul(&ad)?)?, ad.mul(&bd)?)?),
        BinaryOp::Sub => Some(ratio(an.mul(&bd)?.sub(&bn.mul(&ad)?)?, ad.mul(&bd)?)?),
        BinaryOp::Mul => Some(ratio(an.mul(&bn)?, ad.mul(&bd)?)?),
        BinaryOp::Div => Some(ratio(an.mul(&bd)?, ad.mul(&bn)?)?),
        BinaryOp::Rem => None,
        _ => {
            let d = an.mul(&bd)?.sub(&bn.mul(&ad)?)?;
            d.as_int().and_then(|d| compare(op, d.cmp(&0))).map(Value::Bool)
        }
    })
}

impl<'a> Ev<'a> {
    /// Reports what is wrong with a dimension.
    pub(crate) fn dim_error(&mut self, e: DimError, place: Place) -> Bad {
        let code = match e {
            DimError::Overflow => "E0215",
            DimError::DivisionByZero | DimError::Unbound(_) => "E0214",
        };
        self.err(Diagnostic::new(code, e.to_string(), place, "here"));
        Bad
    }

    /// A static result, or `None` where a tensor is needed.
    pub(crate) fn fold(&mut self, op: BinaryOp, a: &Value<'a>, b: &Value<'a>, place: Place) -> R<Option<Value<'a>>> {
        match (a, b) {
            (Value::Bool(x), Value::Bool(y)) => {
                return Ok(match op {
                    BinaryOp::And => Some(Value::Bool(*x && *y)),
                    BinaryOp::Or => Some(Value::Bool(*x || *y)),
                    BinaryOp::Eq => Some(Value::Bool(x == y)),
                    BinaryOp::Ne => Some(Value::Bool(x != y)),
                    _ => None,
                });
            }
            (Value::Text(x), Value::Text(y)) => {
                return Ok(compare(op, x.cmp(y)).map(Value::Bool));
            }
            (Value::Int(x), Value::Int(y)) if op == BinaryOp::Mul && heavy(x, y) => {
                self.err(Diagnostic::new("E0215", "this dimension has too many terms", place, "too large"));
                return Err(Bad);
            }
            _ => {}
        }
        if !a.is_number() || !b.is_number() {
            return Ok(None);
        }
        if !matches!(a, Value::Float(_)) && !matches!(b, Value::Float(_)) {
            match exact(op, a, b) {
                Ok(Some(v)) => return Ok(Some(v)),
                Ok(None) => {}
                Err(e) => return Err(self.dim_error(e, place)),
            }
        }
        let (Some(x), Some(y)) = (as_f64(a), as_f64(b)) else { return Ok(None) };
        Ok(match op {
            BinaryOp::Add => Some(Value::Float(x + y)),
            BinaryOp::Sub => Some(Value::Float(x - y)),
            BinaryOp::Mul => Some(Value::Float(x * y)),
            BinaryOp::Div => Some(Value::Float(x / y)),
            BinaryOp::Rem => Some(Value::Float(x - y * (x / y).floor())),
            BinaryOp::Eq => Some(Value::Bool(x == y)),
            BinaryOp::Ne => Some(Value::Bool(x != y)),
            BinaryOp::Lt => Some(Value::Bool(x < y)),
            BinaryOp::Le => Some(Value::Bool(x <= y)),
            BinaryOp::Gt => Some(Value::Bool(x > y)),
            BinaryOp::Ge => Some(Value::Bool(x >= y)),
            BinaryOp::MatMul | BinaryOp::And | BinaryOp::Or => None,
        })
    }

    /// `round`, `floor`, `ceil`, and the elementwise functions of static numbers.
    pub(crate) fn fold_unary(&mut self, name: &str, v: &Value<'a>, place: Place) -> R<Option<Value<'a>>> {
        let dim = |r: Result<Dim, DimError>, ev: &mut Ev<'a>| match r {
            Ok(d) => Ok(Some(Value::Int(d))),
            Err(e) => Err(ev.dim_error(e, place)),
        };
        if let (Some((a, b)), "round" | "floor" | "ceil") = (as_ratio(v), name) {
            return match name {
                "floor" => dim(a.floor_div(&b), self),
                "ceil" => dim(a.ceil_div(&b), self),
                _ => match (a.as_int(), b.as_int()) {
                    // Halves to even, as the tensor operation does.
                    (Some(x), Some(y)) if y > 0 => {
                        let (q, r) = (x.div_euclid(y), i128::from(x.rem_euclid(y)) * 2);
                        let up = r > i128::from(y) || (r == i128::from(y) && q % 2 != 0);
                        Ok(Some(Value::int(q + i64::from(up))))
                    }
                    _ => {
                        let two = Dim::int(2);
                        let r = a.mul(&two).and_then(|x| x.add(&b)).and_then(|x| x.floor_div(&b.mul(&two)?));
                        dim(r, self)
                    }
                },
            };
        }
        if let (Value::Int(d), "abs") = (v, name)
            && let Some(i) = d.as_int().and_then(i64::checked_abs)
        {
            return Ok(Some(Value::int(i)));
        }
        let Some(x) = as_f64(v) else { return Ok(None) };
        let whole = |y: f64| if y.abs() < 9e15 { Value::int(y as i64) } else { Value::Float(y) };
        Ok(match name {
            "round" => Some(whole(x.round_ties_even())),
            "floor" => Some(whole(x.floor())),
            "ceil" => Some(whole(x.ceil())),
            "abs" => Some(Value::Float(x.abs())),
            "exp" => Some(Value::Float(x.exp())),
            "log" => Some(Value::Float(x.ln())),
            "sqrt" => Some(Value::Float(x.sqrt())),
            "sin" => Some(Value::Float(x.sin())),
            "cos" => Some(Value::Float(x.cos())),
            "tanh" => Some(Value::Float(x.tanh())),
            _ => None,
        })
    }

    /// `-x` of a static number.
    pub(crate) fn fold_neg(&mut self, v: &Value<'a>, place: Place) -> R<Option<Value<'a>>> {
        match v {
            Value::Float(x) => Ok(Some(Value::Float(-x))),
            Value::Int(_) | Value::Ratio(_) => self.fold(BinaryOp::Mul, &Value::int(-1), v, place),
            _ => Ok(None),
        }
    }

    /// `min` and `max` of two static numbers.
    pub(crate) fn fold_extreme(&mut self, largest: bool, a: &Value<'a>, b: &Value<'a>) -> Option<Value<'a>> {
        if let (Value::Int(x), Value::Int(y)) = (a, b) {
            return Some(Value::Int(if largest { x.greater(y) } else { x.lesser(y) }));
        }
        let (x, y) = (as_f64(a)?, as_f64(b)?);
        let first = if largest { x >= y } else { x <= y };
        Some(if first { a.clone() } else { b.clone() })
    }

    /// An integer, with quotients floored.
    pub(crate) fn whole(&mut self, v: &Value<'a>, place: Place, what: &str) -> R<Dim> {
        match v {
            Value::Poison => Err(Bad),
            Value::Float(x) if x.fract() == 0.0 && x.abs() < 9e15 => Ok(Dim::int(*x as i64)),
            _ => match floored(v) {
                Some(Ok(d)) => Ok(d),
                Some(Err(e)) => Err(self.dim_error(e, place)),
                None => {
                    let (code, why) = match v {
                        Value::Tensor(_) => ("E0210", "is computed in a run"),
                        _ => ("E0201", v.kind()),
                    };
                    let text = if code == "E0210" { why.to_string() } else { format!("this is {why}") };
                    self.err(Diagnostic::new(code, format!("{what} must be a known integer"), place, text));
                    Err(Bad)
                }
            },
        }
    }

    /// An integer without open dims.
    pub(crate) fn closed(&mut self, v: &Value<'a>, place: Place, what: &str) -> R<i64> {
        let d = self.whole(v, place, what)?;
        match d.as_int() {
            Some(i) => Ok(i),
            None => {
                self.err(Diagnostic::new(
                    "E0210",
                    format!("{what} must be known while compiling"),
                    place,
                    format!("is `{d}`, known when a program is bound"),
                ));
                Err(Bad)
            }
        }
    }
}
