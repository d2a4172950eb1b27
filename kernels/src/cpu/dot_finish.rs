//! The common epilogues of a contraction, recognised so that they run on registers.
//!
//! In: the `out` hole. Out: [`Native`] if it is `act(clamp(sum + bias[n] + residual[m][n]))` with parts left out.
//! Invariants: sums may be taken in another order than written, nothing else changes. Imports: `uad-plan`.

use super::activation::Activation;
use uad_plan::{Hole, Inst, Reg, ScalarOp};

/// `act(clamp(sum + vector[n] + matrix[m][n], low, high))`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Native {
    /// Operand that changes along N only.
    pub bias: Option<u32>,
    /// Operand that changes along M and N.
    pub residual: Option<u32>,
    /// Minus infinity for none.
    pub low: f32,
    /// Infinity for none.
    pub high: f32,
    /// Applied last.
    pub act: Option<Activation>,
}

#[derive(Clone, Copy)]
enum Value {
    Sum(Native),
    Load(u32),
    Number(f32),
    Other,
}

/// Recognises the hole. `kind(n)` says what operand `n` is: `Some(true)` a bias, `Some(false)` a residual.
pub fn recognise(out: &Hole<i64>, kind: impl Fn(u32) -> Option<bool>) -> Option<Native> {
    let start = Native { bias: None, residual: None, low: f32::NEG_INFINITY, high: f32::INFINITY, act: None };
    let mut values: Vec<Value> = Vec::new();
    for inst in &out.code {
        let value = match inst {
            Inst::Slot(0) => Value::Sum(start),
            Inst::Load(n) => Value::Load(*n),
            Inst::F32(v) => Value::Number(*v),
            Inst::Op(op, args) => {
                let arg = |i: usize| args.get(i).and_then(|r| values.get(r.0 as usize)).copied();
                match (op, arg(0), arg(1)) {
                    (ScalarOp::Add, Some(Value::Sum(s)), Some(Value::Load(n)))
                    | (ScalarOp::Add, Some(Value::Load(n)), Some(Value::Sum(s))) => add(s, n, &kind),
                    (ScalarOp::Max, Some(Value::Sum(s)), Some(Value::Number(v)))
                    | (ScalarOp::Max, Some(Value::Number(v)), Some(Value::Sum(s)))
                        if !v.is_nan() && s.act.is_none() =>
                    {
                        Value::Sum(Native { low: s.low.max(v), high: s.high.max(v), ..s })
                    }
                    (ScalarOp::Min, Some(Value::Sum(s)), Some(Value::Number(v)))
                    | (ScalarOp::Min, Some(Value::Number(v)), Some(Value::Sum(s)))
                        if !v.is_nan() && s.act.is_none() =>
                    {
                        Value::Sum(Native { low: s.low.min(v), high: s.high.min(v), ..s })
                    }
                    (ScalarOp::Div | ScalarOp::Mul, ..) => activated(out, *op, args, &values).unwrap_or(Value::Other),
                    _ => Value::Other,
                }
            }
            _ => Value::Other,
        };
        values.push(value);
    }
    match out.results.as_slice() {
        [r] => match values.get(r.0 as usize)? {
            Value::Sum(s) => Some(*s),
            _ => None,
        },
        _ => None,
    }
}

fn add(s: Native, n: u32, kind: &impl Fn(u32) -> Option<bool>) -> Value {
    let open = s.low == f32::NEG_INFINITY && s.high == f32::INFINITY && s.act.is_none();
    match kind(n) {
        Some(true) if open && s.bias.is_none() => Value::Sum(Native { bias: Some(n), ..s }),
        // A second vector is a matrix whose rows are all the same.
        Some(_) if open && s.residual.is_none() => Value::Sum(Native { residual: Some(n), ..s }),
        _ => Value::Other,
    }
}

/// A quotient or product that is an activation of an earlier sum.
fn activated(out: &Hole<i64>, op: ScalarOp, args: &[Reg], values: &[Value]) -> Option<Value> {
    let &[a, b] = args else { return None };
    let code = |r: Reg| out.code.get(r.0 as usize);
    let is = |r: Reg, v: f32| matches!(code(r), Some(Inst::F32(x)) if *x == v);
    let pair = |r: Reg, wanted: ScalarOp| match code(r) {
        Some(Inst::Op(op, args)) if *op == wanted => match args.as_slice() {
            [a, b] => Some((*a, *b)),
            _ => None,
        },
        _ => None,
    };
    // The other side of a commutative pair with a number.
    let beside = |p: (Reg, Reg), v: f32| {
        if is(p.0, v) {
            Some(p.1)
        } else if is(p.1, v) {
            Some(p.0)
        } else {
            None
        }
    };
    let single = |r: Reg, wanted: ScalarOp| match code(r) {
        Some(Inst::Op(op, args)) if *op == wanted => args.first().copied(),
        _ => None,
    };
    // `x` of `1 + exp(-x)`.
    let logistic = |r: Reg| {
        let e = single(beside(pair(r, ScalarOp::Add)?, 1.0)?, ScalarOp::Exp)?;
        single(e, ScalarOp::Neg).or_else(|| beside(pair(e, ScalarOp::Mul)?, -1.0))
    };
    let sum = |x: Reg, act: Activation| match values.get(x.0 as usize)? {
        Value::Sum(s) if s.act.is_none() => Some(Value::Sum(Native { act: Some(act), ..*s })),
        _ => None,
    };
    if op == ScalarOp::Div {
        let x = logistic(b)?;
        return if a == x {
            sum(x, Activation::Silu)
        } else if is(a, 1.0) {
            sum(x, Activation::Sigmoid)
        } else {
            None
        };
    }
    // x * sigmoid(x)
    for (x, s) in [(a, b), (b, a)] {
        if pair(s, ScalarOp::Div).is_some_and(|(n, d)| is(n, 1.0) && logistic(d) == Some(x)) {
            return sum(x, Activation::Silu);
        }
    }
    // 0.5 * x * (1 + erf(x * 0.7071...)), with the factor 0.5 in any place of the product.
    for (left, right) in [(a, b), (b, a)] {
        let inner = |r: Reg| {
            let e = single(beside(pair(r, ScalarOp::Add)?, 1.0)?, ScalarOp::Erf)?;
            beside(pair(e, ScalarOp::Mul)?, std::f32::consts::FRAC_1_SQRT_2)
        };
        let halved = pair(left, ScalarOp::Mul).and_then(|p| beside(p, 0.5));
        if let Some(x) = inner(right).filter(|x| halved == Some(*x)) {
            return sum(x, Activation::Gelu);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bias_residual_and_clamp() {
        let mut h: Hole<i64> = Hole::default();
        let s = h.push(Inst::Slot(0));
        let b = h.push(Inst::Load(2));
        let r = h.push(Inst::Load(3));
        let zero = h.push(Inst::F32(0.0));
        let six = h.push(Inst::F32(6.0));
        let x = h.push(Inst::Op(ScalarOp::Add, vec![b, s]));
        let y = h.push(Inst::Op(ScalarOp::Add, vec![x, r]));
        let z = h.push(Inst::Op(ScalarOp::Max, vec![zero, y]));
        let w = h.push(Inst::Op(ScalarOp::Min, vec![z, six]));
        h.results = vec![w];
        let kind = |n| Some(n == 2);
        let found = recognise(&h, kind);
        assert_eq!(found, Some(Native { bias: Some(2), residual: Some(3), low: 0.0, high: 6.0, act: None }));
        h.results = vec![w, Reg(0)];
        assert_eq!(recognise(&h, kind), None);
        let late = h.push(Inst::Op(ScalarOp::Add, vec![w, b]));
        h.results = vec![late];
        assert_eq!(recognise(&h, kind), None);
    }

    #[test]
    fn activations() {
        let mut h: Hole<i64> = Hole::default();
        let s = h.push(Inst::Slot(0));
        let b = h.push(Inst::Load(2));
        let x = h.push(Inst::Op(ScalarOp::Add, vec![s, b]));
        let one = h.push(Inst::F32(1.0));
        let n = h.push(Inst::Op(ScalarOp::Neg, vec![x]));
        let e = h.push(Inst::Op(ScalarOp::Exp, vec![n]));
        let d = h.push(Inst::Op(ScalarOp::Add, vec![one, e]));
        let silu = h.push(Inst::Op(ScalarOp::Div, vec![x, d]));
        let sigmoid = h.push(Inst::Op(ScalarOp::Div, vec![one, d]));
        let product = h.push(Inst::Op(ScalarOp::Mul, vec![sigmoid, x]));
        let other = h.push(Inst::Op(ScalarOp::Div, vec![s, d]));
        let c = h.push(Inst::F32(std::f32::consts::FRAC_1_SQRT_2));
        let half = h.push(Inst::F32(0.5));
        let y = h.push(Inst::Op(ScalarOp::Mul, vec![x, c]));
        let y = h.push(Inst::Op(ScalarOp::Erf, vec![y]));
        let y = h.push(Inst::Op(ScalarOp::Add, vec![one, y]));
        let z = h.push(Inst::Op(ScalarOp::Mul, vec![half, x]));
        let gelu = h.push(Inst::Op(ScalarOp::Mul, vec![z, y]));
        for (r, act) in [
            (silu, Some(Activation::Silu)),
            (sigmoid, Some(Activation::Sigmoid)),
            (product, Some(Activation::Silu)),
            (gelu, Some(Activation::Gelu)),
            (other, None),
        ] {
            h.results = vec![r];
            assert_eq!(recognise(&h, |_| Some(true)).and_then(|n| n.act), act);
        }
    }
}
