//! What a plan's extents, strides and offsets may be: symbolic before `bind`, integers after it.
//!
//! In: dims or integers. Out: [`Extent`], row-major and dense strides over both. Invariants: arithmetic that overflows
//! has no value. Imports: [`crate::dim`].

use std::fmt;

use crate::dim::Dim;

/// A [`Dim`] or an `i64`.
pub trait Extent: Clone + PartialEq + fmt::Display {
    /// A known integer.
    fn int(v: i64) -> Self;
    /// The product, if it has a value.
    fn times(&self, other: &Self) -> Option<Self>;
    /// Is it this integer?
    fn is(&self, v: i64) -> bool;
}

impl Extent for Dim {
    fn int(v: i64) -> Dim {
        Dim::int(v)
    }
    fn times(&self, other: &Dim) -> Option<Dim> {
        self.mul(other).ok()
    }
    fn is(&self, v: i64) -> bool {
        Dim::is(self, v)
    }
}

impl Extent for i64 {
    fn int(v: i64) -> i64 {
        v
    }
    fn times(&self, other: &i64) -> Option<i64> {
        self.checked_mul(*other)
    }
    fn is(&self, v: i64) -> bool {
        *self == v
    }
}

/// Row-major strides of a shape; `None` on overflow.
pub fn row_major<D: Extent>(shape: &[D]) -> Option<Vec<D>> {
    let mut strides = vec![D::int(1); shape.len()];
    for i in (1..shape.len()).rev() {
        strides[i - 1] = strides[i].times(&shape[i])?;
    }
    Some(strides)
}

/// Are the strides those of the shape in row-major order? Where the extent is 1 the stride does not matter.
pub fn is_row_major<D: Extent>(shape: &[D], strides: &[D]) -> bool {
    shape.len() == strides.len()
        && row_major(shape).is_some_and(|want| want.iter().zip(strides).zip(shape).all(|((w, s), e)| w == s || e.is(1)))
}

/// Are the strides row-major ones of the axes in some order? Where the extent is 1 the stride does not matter.
pub fn is_dense<D: Extent>(shape: &[D], strides: &[D]) -> bool {
    if shape.len() != strides.len() {
        return false;
    }
    let mut left: Vec<usize> = (0..shape.len()).filter(|i| !shape[*i].is(1)).collect();
    let mut expected = D::int(1);
    while !left.is_empty() {
        let Some(at) = left.iter().position(|i| strides[*i] == expected) else { return false };
        let axis = left.remove(at);
        let Some(next) = expected.times(&shape[axis]) else { return false };
        expected = next;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strides() {
        assert_eq!(row_major(&[2i64, 3, 4]), Some(vec![12, 4, 1]));
        assert!(is_dense(&[2i64, 3, 4], &[1, 8, 2]));
        assert!(!is_dense(&[2i64, 3], &[1, 3]));
        assert!(is_dense(&[2i64, 1, 3], &[3, 77, 1]));
        assert!(is_row_major(&[Dim::name("b"), Dim::int(3)], &[Dim::int(3), Dim::int(1)]));
        assert_eq!(row_major(&[1i64, i64::MAX, 2]), None);
    }
}
