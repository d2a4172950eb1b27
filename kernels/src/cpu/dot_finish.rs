//! The common epilogues of a contraction, recognised so that they run on registers.
//!
//! In: the `out` hole. Out: [`Native`] if it is `clamp(sum + bias[n] + residual[m][n])` with parts left out.
//! Invariants: sums may be taken in another order than written, nothing else changes. Imports: `uad-plan`.

use uad_plan::{Hole, Inst, ScalarOp};

/// `clamp(sum + vector[n] + matrix[m][n], low, high)`.
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
    let start = Native { bias: None, residual: None, low: f32::NEG_INFINITY, high: f32::INFINITY };
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
                        if !v.is_nan() =>
                    {
                        Value::Sum(Native { low: s.low.max(v), high: s.high.max(v), ..s })
                    }
                    (ScalarOp::Min, Some(Value::Sum(s)), Some(Value::Number(v)))
                    | (ScalarOp::Min, Some(Value::Number(v)), Some(Value::Sum(s)))
                        if !v.is_nan() =>
                    {
                        Value::Sum(Native { low: s.low.min(v), high: s.high.min(v), ..s })
                    }
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
    let open = s.low == f32::NEG_INFINITY && s.high == f32::INFINITY;
    match kind(n) {
        Some(true) if open && s.bias.is_none() => Value::Sum(Native { bias: Some(n), ..s }),
        // A second vector is a matrix whose rows are all the same.
        Some(_) if open && s.residual.is_none() => Value::Sum(Native { residual: Some(n), ..s }),
        _ => Value::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uad_plan::Reg;

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
        assert_eq!(found, Some(Native { bias: Some(2), residual: Some(3), low: 0.0, high: 6.0 }));
        h.results = vec![w, Reg(0)];
        assert_eq!(recognise(&h, kind), None);
        let late = h.push(Inst::Op(ScalarOp::Add, vec![w, b]));
        h.results = vec![late];
        assert_eq!(recognise(&h, kind), None);
    }
}
