//! Decompositions of small matrices in f64.
//!
//! In: square matrices. Out: eigenvalues and eigenvectors, Cholesky factors. Invariants: a fixed order of operations.
//! Imports: nothing of this project.

use ndarray::{Array1, Array2};

/// Sweeps of Jacobi rotations; convergence takes about ten.
const SWEEPS: usize = 60;

/// Eigenvalues, rising, and unit eigenvectors as columns, of the symmetric part of `a`. In each vector the entry of
/// largest magnitude (the first of equals) is positive.
pub(super) fn eigh(a: &Array2<f64>) -> (Array1<f64>, Array2<f64>) {
    let n = a.nrows();
    let mut a = (a + &a.t()) * 0.5;
    let mut v = Array2::<f64>::eye(n);
    for _ in 0..SWEEPS {
        let off: f64 = a.indexed_iter().filter(|((i, j), _)| i != j).map(|(_, x)| x * x).sum();
        let all: f64 = a.iter().map(|x| x * x).sum();
        // Also ends where a NaN makes the comparison fail.
        if off.partial_cmp(&(1e-32 * all)) != Some(std::cmp::Ordering::Greater) {
            break;
        }
        for p in 0..n {
            for q in p + 1..n {
                rotate(&mut a, &mut v, p, q);
            }
        }
    }
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|i, j| a[[*i, *i]].total_cmp(&a[[*j, *j]]));
    let values = order.iter().map(|i| a[[*i, *i]]).collect();
    let mut vectors = Array2::zeros((n, n));
    for (to, from) in order.into_iter().enumerate() {
        let column = v.column(from);
        let largest = column.iter().fold(0.0f64, |m, x| if x.abs() > m.abs() { *x } else { m });
        let sign = if largest < 0.0 { -1.0 } else { 1.0 };
        vectors.column_mut(to).assign(&(&column * sign));
    }
    (values, vectors)
}

/// The Jacobi rotation that makes `a[p, q]` zero.
fn rotate(a: &mut Array2<f64>, v: &mut Array2<f64>, p: usize, q: usize) {
    if a[[p, q]] == 0.0 {
        return;
    }
    let theta = (a[[q, q]] - a[[p, p]]) / (2.0 * a[[p, q]]);
    let t = if theta < 0.0 { -1.0 } else { 1.0 } / (theta.abs() + libm::sqrt(theta * theta + 1.0));
    let c = 1.0 / libm::sqrt(t * t + 1.0);
    let s = t * c;
    let n = a.nrows();
    for k in 0..n {
        let (x, y) = (a[[k, p]], a[[k, q]]);
        (a[[k, p]], a[[k, q]]) = (c * x - s * y, s * x + c * y);
        let (x, y) = (v[[k, p]], v[[k, q]]);
        (v[[k, p]], v[[k, q]]) = (c * x - s * y, s * x + c * y);
    }
    for k in 0..n {
        let (x, y) = (a[[p, k]], a[[q, k]]);
        (a[[p, k]], a[[q, k]]) = (c * x - s * y, s * x + c * y);
    }
}

/// The lower triangular factor of a positive definite matrix, of which the lower triangle is read; NaN from where the
/// matrix is not positive definite.
pub(super) fn cholesky(a: &Array2<f64>) -> Array2<f64> {
    let n = a.nrows();
    let mut l = Array2::<f64>::zeros((n, n));
    for i in 0..n {
        for j in 0..=i {
            let inner: f64 = (0..j).map(|k| l[[i, k]] * l[[j, k]]).sum();
            let rest = a[[i, j]] - inner;
            l[[i, j]] = if i == j { libm::sqrt(rest) } else { rest / l[[j, j]] };
        }
    }
    l
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn decompositions_give_the_matrix_again() {
        let a = array![[4.0, 1.0, -2.0], [1.0, 2.0, 0.5], [-2.0, 0.5, 3.0]];
        let (values, vectors) = eigh(&a);
        let again = vectors.dot(&Array2::from_diag(&values)).dot(&vectors.t());
        assert!((&again - &a).iter().all(|d| d.abs() < 1e-13));
        assert!((vectors.t().dot(&vectors) - Array2::<f64>::eye(3)).iter().all(|d| d.abs() < 1e-13));
        assert!(values.windows(2).into_iter().all(|w| w[0] <= w[1]));
        let l = cholesky(&a);
        assert!((l.dot(&l.t()) - &a).iter().all(|d| d.abs() < 1e-13));
        assert_eq!(l[[0, 2]], 0.0);
        assert!(cholesky(&array![[-1.0]])[[0, 0]].is_nan());
        assert_eq!(eigh(&array![[2.0, 0.0], [0.0, 1.0]]).1, array![[0.0, 1.0], [1.0, 0.0]]);
        eigh(&array![[f64::NAN, 0.0], [0.0, 1.0]]);
    }
}
