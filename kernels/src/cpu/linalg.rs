//! The templates on small matrices: symmetric eigenproblems and Cholesky factors.
//!
//! In: bound kernels; f32 matrices. Out: f32 results, computed in f64 with the order of operations of the definition.
//! Invariants: matrices are split over tasks, never cut. Imports: [`super::nest`], [`super::run`], [`super::map`].

use super::map::Site;
use super::nest::Nest;
use super::run::{Compiled, RunContext, tasks_of};
use super::strip::Move;
use uad_plan::Access;

/// Sweeps of Jacobi rotations; about ten are needed.
const SWEEPS: usize = 60;

/// A compiled `eigh` or `cholesky`.
pub struct Matrices {
    nest: Nest,
    cholesky: bool,
    /// Nest axes of the matrix: rows and columns.
    rows: usize,
    n: usize,
    tasks: usize,
}

impl Matrices {
    /// Compiles a kernel; the last two axes are the matrix.
    pub fn new(
        site: &mut Site<'_>,
        axes: &[i64],
        reads: &[Access<i64>],
        writes: &[Access<i64>],
        cholesky: bool,
    ) -> Result<Matrices, String> {
        let outer = axes.len().checked_sub(2).ok_or("a matrix has two axes")?;
        if axes[outer] != axes[outer + 1] || reads.len() != 1 || writes.len() != if cholesky { 1 } else { 2 } {
            return Err("a kernel on matrices does not fit".to_owned());
        }
        let n = axes[outer].max(0) as usize;
        // Pinned axes stay apart, but an axis of one element would be dropped: those matrices have one row.
        let groups = [(0..outer).collect::<Vec<_>>(), vec![outer], vec![outer + 1]];
        let (nest, ends) = Nest::new(&site.dtypes, axes, reads, writes, &groups, &[outer, outer + 1], &[0])?;
        let matrices = nest.points(0..ends[0]);
        site.need(nest.scratch() + (2 * n * n + n) * 8 + 256);
        let tasks = tasks_of(matrices, 20 * n * n * n + 100, matrices);
        Ok(Matrices { nest, cholesky, rows: ends[0], n, tasks })
    }

    /// Goes to row `i` of the current matrix.
    fn row(&self, walk: &mut super::nest::Walk<'_>, i: usize) {
        if self.rows < self.nest.strip() {
            self.nest.place(walk, self.rows, i as i64);
        }
    }
}

/// The Jacobi rotation that makes `a[p][q]` zero.
fn rotate(a: &mut [f64], v: &mut [f64], n: usize, p: usize, q: usize) {
    let off = a[p * n + q];
    if off == 0.0 {
        return;
    }
    let theta = (a[q * n + q] - a[p * n + p]) / (2.0 * off);
    let t = if theta < 0.0 { -1.0 } else { 1.0 } / (theta.abs() + (theta * theta + 1.0).sqrt());
    let c = 1.0 / (t * t + 1.0).sqrt();
    let s = t * c;
    for k in 0..n {
        for m in [&mut *a, &mut *v] {
            let (x, y) = (m[k * n + p], m[k * n + q]);
            m[k * n + p] = c * x - s * y;
            m[k * n + q] = s * x + c * y;
        }
    }
    for k in 0..n {
        let (x, y) = (a[p * n + k], a[q * n + k]);
        a[p * n + k] = c * x - s * y;
        a[q * n + k] = s * x + c * y;
    }
}

/// Diagonalises the symmetric part of `a`: afterwards its diagonal holds the eigenvalues, the columns of `v` the vectors.
fn eigh(a: &mut [f64], v: &mut [f64], n: usize) {
    for i in 0..n {
        for j in 0..n {
            v[i * n + j] = f64::from(u8::from(i == j));
            if j > i {
                let mean = (a[i * n + j] + a[j * n + i]) * 0.5;
                a[i * n + j] = mean;
                a[j * n + i] = mean;
            }
        }
    }
    for _ in 0..SWEEPS {
        let (mut off, mut all) = (0.0, 0.0);
        for i in 0..n {
            for j in 0..n {
                let x = a[i * n + j] * a[i * n + j];
                all += x;
                off += if i == j { 0.0 } else { x };
            }
        }
        // Also ends where a NaN makes the comparison fail.
        if off.partial_cmp(&(1e-32 * all)) != Some(std::cmp::Ordering::Greater) {
            break;
        }
        for p in 0..n {
            for q in p + 1..n {
                rotate(a, v, n, p, q);
            }
        }
    }
}

fn cholesky(a: &mut [f64], n: usize) {
    for i in 0..n {
        for j in 0..n {
            if j > i {
                a[i * n + j] = 0.0;
                continue;
            }
            let inner: f64 = (0..j).map(|k| a[i * n + k] * a[j * n + k]).sum();
            let rest = a[i * n + j] - inner;
            a[i * n + j] = if i == j { rest.sqrt() } else { rest / a[j * n + j] };
        }
    }
}

impl Compiled for Matrices {
    unsafe fn run(&self, cx: &RunContext<'_>) {
        let (nest, n) = (&self.nest, self.n);
        let matrices = nest.points(0..self.rows);
        if n == 0 || matrices == 0 {
            return;
        }
        cx.pool.run(self.tasks, &|worker, task| {
            let mut bump = cx.bump(worker);
            let mut walk = nest.walk(&mut bump);
            let a = bump.take(n * n, 0f64);
            let v = bump.take(n * n, 0f64);
            let order = bump.take(n, 0usize);
            for matrix in matrices * task / self.tasks..matrices * (task + 1) / self.tasks {
                nest.seek(&mut walk, 0..self.rows, matrix);
                for i in 0..n {
                    self.row(&mut walk, i);
                    let mut first = 0;
                    while first < n {
                        let some = (n - first).min(super::nest::FETCH);
                        // SAFETY: the context's contract; the points are the nest's.
                        unsafe {
                            nest.fetch(&mut walk, cx, first, some);
                            let o = walk.operands[0];
                            let by = match nest.reads[0].moves {
                                Move::Fixed => 0,
                                Move::Unit => 1,
                                Move::Strided => o.stride,
                            };
                            for j in 0..some {
                                a[i * n + first + j] = f64::from(*o.pointer.cast::<f32>().offset(by * j as isize));
                            }
                        }
                        first += some;
                    }
                }
                if self.cholesky {
                    cholesky(a, n);
                } else {
                    eigh(a, v, n);
                    order.iter_mut().enumerate().for_each(|(i, o)| *o = i);
                    // Insertion sort: stable, in place, few elements.
                    for i in 1..n {
                        let mut j = i;
                        while j > 0 && a[order[j - 1] * (n + 1)].total_cmp(&a[order[j] * (n + 1)]).is_gt() {
                            order.swap(j - 1, j);
                            j -= 1;
                        }
                    }
                }
                for i in 0..n {
                    self.row(&mut walk, i);
                    // SAFETY: writes have an element for every point of the matrix.
                    unsafe {
                        if self.cholesky {
                            let to = nest.target(&walk, cx, 0, 0);
                            for j in 0..n {
                                *to.pointer.cast::<f32>().offset(to.stride * j as isize) = a[i * n + j] as f32;
                            }
                            continue;
                        }
                        if i == 0 {
                            let to = nest.target(&walk, cx, 0, 0);
                            for j in 0..n {
                                let value = a[order[j] * (n + 1)] as f32;
                                *to.pointer.cast::<f32>().offset(to.stride * j as isize) = value;
                            }
                        }
                        let to = nest.target(&walk, cx, 1, 0);
                        for j in 0..n {
                            let column = order[j];
                            let largest = (0..n)
                                .map(|k| v[k * n + column])
                                .fold(0f64, |m, x| if x.abs() > m.abs() { x } else { m });
                            let sign = if largest < 0.0 { -1.0 } else { 1.0 };
                            let value = (v[i * n + column] * sign) as f32;
                            *to.pointer.cast::<f32>().offset(to.stride * j as isize) = value;
                        }
                    }
                }
            }
        });
    }
}
