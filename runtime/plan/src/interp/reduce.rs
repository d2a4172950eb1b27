//! Reductions, one element after another.
//!
//! In: values in row-major order. Out: their reduction. Invariants: in order; i32 wraps; NaN wins in max and min and
//! counts as largest and as smallest in argmax and argmin; the first of equals has the position.
//! Imports: [`crate::plan`], [`super::whole`].

use super::whole::whole_op;
use crate::dtype::DType;
use crate::plan::ReduceOp;
use crate::scalar::ScalarOp;

/// A reduction under way.
pub(super) struct Running {
    op: ReduceOp,
    dtype: DType,
    /// The result so far; of arg-reductions the best element.
    value: f64,
    best: usize,
    seen: usize,
}

impl Running {
    /// Of nothing yet, over elements of `dtype`.
    pub fn new(op: ReduceOp, dtype: DType) -> Running {
        let least = match dtype {
            DType::F32 => f64::NEG_INFINITY,
            DType::I32 => f64::from(i32::MIN),
            DType::Bool => 0.0,
        };
        let greatest = match dtype {
            DType::F32 => f64::INFINITY,
            DType::I32 => f64::from(i32::MAX),
            DType::Bool => 1.0,
        };
        let value = match op {
            ReduceOp::Sum => 0.0,
            ReduceOp::Prod => 1.0,
            ReduceOp::Max | ReduceOp::ArgMax => least,
            ReduceOp::Min | ReduceOp::ArgMin => greatest,
        };
        Running { op, dtype, value, best: 0, seen: 0 }
    }

    /// Takes one more element.
    pub fn push(&mut self, v: f64) {
        let whole = self.dtype == DType::I32;
        match self.op {
            ReduceOp::Sum if whole => self.value = whole_op(ScalarOp::Add, self.value, v),
            ReduceOp::Prod if whole => self.value = whole_op(ScalarOp::Mul, self.value, v),
            ReduceOp::Sum => self.value += v,
            ReduceOp::Prod => self.value *= v,
            ReduceOp::Max => self.value = ScalarOp::Max.eval(&[self.value, v]),
            ReduceOp::Min => self.value = ScalarOp::Min.eval(&[self.value, v]),
            ReduceOp::ArgMax | ReduceOp::ArgMin => {
                let beats = if self.op == ReduceOp::ArgMax { v > self.value } else { v < self.value };
                if self.seen == 0 || (!self.value.is_nan() && (beats || v.is_nan())) {
                    (self.value, self.best) = (v, self.seen);
                }
            }
        }
        self.seen += 1;
    }

    /// The result so far.
    pub fn result(&self) -> f64 {
        match self.op {
            ReduceOp::ArgMax | ReduceOp::ArgMin => self.best as f64,
            ReduceOp::Sum | ReduceOp::Prod | ReduceOp::Max | ReduceOp::Min => self.value,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reduce(op: ReduceOp, dtype: DType, values: &[f64]) -> f64 {
        let mut r = Running::new(op, dtype);
        values.iter().for_each(|v| r.push(*v));
        r.result()
    }

    #[test]
    fn as_the_table_says() {
        use ReduceOp as R;
        let nan = f64::NAN;
        assert_eq!(reduce(R::Max, DType::F32, &[]), f64::NEG_INFINITY);
        assert_eq!(reduce(R::Min, DType::I32, &[]), f64::from(i32::MAX));
        assert_eq!(reduce(R::Max, DType::Bool, &[]), 0.0);
        assert!(reduce(R::Max, DType::F32, &[1.0, nan, 2.0]).is_nan());
        assert_eq!(reduce(R::ArgMax, DType::F32, &[1.0, 3.0, 3.0]), 1.0);
        assert_eq!(reduce(R::ArgMax, DType::F32, &[1.0, nan, nan, 9.0]), 1.0);
        assert_eq!(reduce(R::ArgMin, DType::F32, &[1.0, -2.0, nan]), 2.0);
        assert_eq!(reduce(R::ArgMax, DType::F32, &[f64::NEG_INFINITY; 2]), 0.0);
        assert_eq!(reduce(R::ArgMin, DType::F32, &[]), 0.0);
        assert_eq!(reduce(R::Sum, DType::I32, &[f64::from(i32::MAX), 1.0]), f64::from(i32::MIN));
        assert_eq!(reduce(R::Prod, DType::F32, &[2.0, 3.5]), 7.0);
    }
}
