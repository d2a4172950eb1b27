//! Arithmetic of i32 on f64.
//!
//! In: whole numbers in f64. Out: whole numbers that fit i32. Invariants: wraps; division floors.
//! Imports: [`crate::scalar`].

use crate::scalar::ScalarOp;

/// Arithmetic of i32: wraps; division floors, and by 0 gives 0.
pub(super) fn whole_op(op: ScalarOp, a: f64, b: f64) -> f64 {
    let (x, y) = (a as i64, b as i64);
    let floor = |x: i64, y: i64| x.div_euclid(y) - i64::from(y < 0 && x.rem_euclid(y) != 0);
    let v = match op {
        ScalarOp::Add => x + y,
        ScalarOp::Sub => x - y,
        // Two i32 have a product of at most 62 bits and a sign.
        ScalarOp::Mul => x * y,
        ScalarOp::Div if y == 0 => 0,
        ScalarOp::Div => floor(x, y),
        ScalarOp::Rem if y == 0 => 0,
        ScalarOp::Rem => x - y * floor(x, y),
        ScalarOp::Neg => -x,
        ScalarOp::Abs => x.abs(),
        _ => return op.eval(&[a, b]),
    };
    f64::from(v as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_wrap_and_floor() {
        let (least, most) = (f64::from(i32::MIN), f64::from(i32::MAX));
        assert_eq!(whole_op(ScalarOp::Add, most, 1.0), least);
        assert_eq!(whole_op(ScalarOp::Mul, most, most), 1.0);
        assert_eq!(whole_op(ScalarOp::Neg, least, 0.0), least);
        assert_eq!(whole_op(ScalarOp::Abs, least, 0.0), least);
        assert_eq!(whole_op(ScalarOp::Div, least, -1.0), least);
        for (a, b, q, r) in [(7, 2, 3, 1), (-7, 2, -4, 1), (7, -2, -4, -1), (-7, -2, 3, -1), (5, 0, 0, 0)] {
            assert_eq!(whole_op(ScalarOp::Div, f64::from(a), f64::from(b)), f64::from(q));
            assert_eq!(whole_op(ScalarOp::Rem, f64::from(a), f64::from(b)), f64::from(r));
        }
    }
}
