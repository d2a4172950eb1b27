//! The templates, one function each.
//!
//! In: kernels, memory. Out: memory changed. Invariants: points in row-major order of the axes; what is summed is
//! summed in an order that depends on shapes alone. Imports: [`super`], [`crate::plan`].

use ndarray::{Array2, ArrayView2};

use super::matrix::{cholesky, eigh};
use super::memory::Memory;
use super::points::Points;
use super::program::{Program, Slot};
use super::reduce::Running;
use super::whole::whole_op;
use super::{Draw, InterpError};
use crate::dtype::DType;
use crate::plan::*;
use crate::scalar::ScalarOp;

/// Points that a hole is evaluated at together.
const STRIP: usize = 1024;
/// Elements of a block of a product's operand.
const BLOCK: usize = 1 << 18;

/// A kernel with its holes made ready, in the order of [`Body::holes`].
pub(super) struct Compiled<'a> {
    kernel: &'a Kernel<i64>,
    programs: Vec<Program>,
    /// Dtype of the target of the first write.
    target: DType,
    inner: Vec<Compiled<'a>>,
}

impl<'a> Compiled<'a> {
    pub fn new(entry: &Entry<i64>, kernel: &'a Kernel<i64>) -> Result<Compiled<'a>, InterpError> {
        let dtype = |a: &Access<i64>| entry.buffers.get(a.buffer.0 as usize).map_or(DType::F32, |b| b.dtype);
        let loads: Vec<DType> = kernel.reads.iter().map(dtype).collect();
        let target = kernel.writes.first().map_or(DType::F32, dtype);
        let mut programs: Vec<Program> = Vec::new();
        let mut slots: Vec<DType> = Vec::new();
        for (n, hole) in kernel.body.holes().into_iter().enumerate() {
            match &kernel.body {
                // The slot of the last hole is what the first two are multiplied to.
                Body::Dot { .. } if n == 2 => slots = programs.iter().take(1).map(|p| p.result_type(0)).collect(),
                Body::Attention { .. } => slots = if n == 2 || n == 4 { vec![DType::F32] } else { vec![] },
                _ => {}
            }
            let program = Program::new(hole, &loads, &slots)?;
            if let Body::Rows { stages, .. } = &kernel.body
                && let Some(RowStage::Reduce(op, _)) = stages.get(n)
            {
                slots.push(op.result(program.result_type(0)));
            }
            programs.push(program);
        }
        let inner = match &kernel.body {
            Body::Loop { body, .. } => body.iter().map(|k| Compiled::new(entry, k)).collect::<Result<_, _>>()?,
            _ => Vec::new(),
        };
        Ok(Compiled { kernel, programs, target, inner })
    }
}

/// Runs kernels.
pub(super) struct Machine {
    pub memory: Memory,
    draw: Draw,
    points: Points,
    registers: Vec<Vec<f64>>,
}

/// Number of points of some axes.
fn count(extents: &[i64], axes: &[usize]) -> usize {
    axes.iter().map(|a| extents[*a] as usize).product()
}

/// Coordinates of point number `at` over the axes, row-major.
fn place(extents: &[i64], axes: &[usize], mut at: usize, base: &mut [i64]) {
    for a in axes.iter().rev() {
        let e = (extents[*a] as usize).max(1);
        base[*a] = (at % e) as i64;
        at /= e;
    }
}

/// Consecutive parts of at most `size`.
fn parts(total: usize, size: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..total).step_by(size.max(1)).map(move |start| (start, size.max(1).min(total - start)))
}

fn with_role<R: Copy>(roles: &[R], want: impl Fn(R) -> bool) -> Vec<usize> {
    (0..roles.len()).filter(|i| want(roles[*i])).collect()
}

fn joined(a: &[usize], b: &[usize]) -> Vec<usize> {
    a.iter().chain(b).copied().collect()
}

impl Machine {
    pub fn new(memory: Memory, draw: Draw) -> Machine {
        Machine { memory, draw, points: Points::default(), registers: Vec::new() }
    }

    pub fn run(&mut self, c: &Compiled<'_>) {
        let k = c.kernel;
        let axes: Vec<usize> = (0..k.axes.len()).collect();
        match &k.body {
            Body::Map(_) => self.store_all(c, 0, &axes, &vec![0; axes.len()], 0, count(&k.axes, &axes), None),
            Body::Rows { inner, stages } => self.rows(c, axes.len() - *inner as usize, stages),
            Body::Dot { roles, .. } => self.dot(c, roles),
            Body::Attention { roles, .. } => self.attention(c, roles),
            Body::ScatterAdd(_) => {
                for (start, len) in parts(count(&k.axes, &axes), STRIP) {
                    self.eval(c, 0, &axes, &vec![0; axes.len()], start, len, &[]);
                    let values = &self.registers[c.programs[0].results[0]];
                    self.memory.add(&k.reads, &k.writes[0], &self.points, values, c.target);
                }
            }
            Body::ArgSort { falling, .. } => self.per_row(c, |keys| {
                let mut order: Vec<usize> = (0..keys.len()).collect();
                order.sort_by(|i, j| {
                    let (a, b) = (keys[*i], keys[*j]);
                    let by_value = if *falling { b.partial_cmp(&a) } else { a.partial_cmp(&b) };
                    by_value.unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
                });
                order.into_iter().map(|i| i as f64).collect()
            }),
            Body::Scan { op, .. } => {
                let dtype = c.target;
                self.per_row(c, |values| {
                    let mut running = Running::new(*op, dtype);
                    let mut step = |v: &f64| {
                        running.push(*v);
                        running.result()
                    };
                    values.iter().map(&mut step).collect()
                });
            }
            Body::Loop { count, index, carried, until, .. } => self.rounds(c, *count, *index, carried, *until),
            Body::Eigh | Body::Cholesky => self.matrices(c),
        }
    }

    /// Evaluates hole `n` at `len` points (at most a strip) from number `start` on; results are in the registers.
    fn eval(
        &mut self,
        c: &Compiled<'_>,
        n: usize,
        moving: &[usize],
        base: &[i64],
        start: usize,
        len: usize,
        slots: &[Slot<'_>],
    ) {
        self.points.set(&c.kernel.axes, moving, base, start, len);
        c.programs[n].eval(&self.memory, &c.kernel.reads, &self.points, slots, self.draw, &mut self.registers);
    }

    /// Values of hole `n` with one result.
    fn values(
        &mut self,
        c: &Compiled<'_>,
        n: usize,
        moving: &[usize],
        base: &[i64],
        start: usize,
        len: usize,
        each: Option<&[f64]>,
    ) -> Vec<f64> {
        let mut out = Vec::with_capacity(len);
        for (at, part) in parts(len, STRIP) {
            let slot = each.map(|v| Slot::Each(&v[at..at + part]));
            self.eval(c, n, moving, base, start + at, part, slot.as_slice());
            out.extend_from_slice(&self.registers[c.programs[n].results[0]]);
        }
        out
    }

    /// Stores the results of hole `n` to the writes in order.
    fn store_all(
        &mut self,
        c: &Compiled<'_>,
        n: usize,
        moving: &[usize],
        base: &[i64],
        start: usize,
        len: usize,
        each: Option<&[f64]>,
    ) {
        for (at, part) in parts(len, STRIP) {
            let slot = each.map(|v| Slot::Each(&v[at..at + part]));
            self.eval(c, n, moving, base, start + at, part, slot.as_slice());
            for (r, a) in c.programs[n].results.iter().zip(&c.kernel.writes) {
                self.memory.store(a, &self.points, &self.registers[*r]);
            }
        }
    }

    fn rows(&mut self, c: &Compiled<'_>, outer: usize, stages: &[RowStage<i64>]) {
        let k = c.kernel;
        let outer_axes: Vec<usize> = (0..outer).collect();
        let row_axes: Vec<usize> = (outer..k.axes.len()).collect();
        let row = count(&k.axes, &row_axes);
        let mut base = vec![0; k.axes.len()];
        let mut slots: Vec<Slot<'static>> = Vec::new();
        for at in 0..count(&k.axes, &outer_axes) {
            place(&k.axes, &outer_axes, at, &mut base);
            slots.clear();
            for (n, stage) in stages.iter().enumerate() {
                let program = &c.programs[n];
                match stage {
                    RowStage::Reduce(op, _) => {
                        let mut running = Running::new(*op, program.result_type(0));
                        for (start, len) in parts(row, STRIP) {
                            self.eval(c, n, &row_axes, &base, start, len, &slots);
                            self.registers[program.results[0]].iter().for_each(|v| running.push(*v));
                        }
                        slots.push(Slot::One(running.result()));
                    }
                    RowStage::Map(w, _) => {
                        for (start, len) in parts(row, STRIP) {
                            self.eval(c, n, &row_axes, &base, start, len, &slots);
                            let values = &self.registers[program.results[0]];
                            self.memory.store(&k.writes[*w as usize], &self.points, values);
                        }
                    }
                    RowStage::Emit(w, _) => {
                        self.eval(c, n, &[], &base, 0, 1, &slots);
                        let values = &self.registers[program.results[0]];
                        self.memory.store(&k.writes[*w as usize], &self.points, values);
                    }
                }
            }
        }
    }

    fn dot(&mut self, c: &Compiled<'_>, roles: &[DotRole]) {
        let extents = &c.kernel.axes;
        let [batch, m, n, k] =
            [DotRole::Batch, DotRole::M, DotRole::N, DotRole::K].map(|r| with_role(roles, |x| x == r));
        let (am, bn, mn) = (joined(&m, &k), joined(&n, &k), joined(&m, &n));
        let [rows, columns, depth] = [&m, &n, &k].map(|a| count(extents, a));
        let whole = c.programs[0].result_type(0) == DType::I32;
        let mut base = vec![0; extents.len()];
        for at in 0..count(extents, &batch) {
            place(extents, &batch, at, &mut base);
            let b = self.values(c, 1, &bn, &base, 0, columns * depth, None);
            // Blocks of rows: their size depends on shapes alone.
            for (start, some) in parts(rows, (BLOCK / depth.max(columns).max(1)).max(1)) {
                let a = self.values(c, 0, &am, &base, start * depth, some * depth, None);
                let sums = product(&a, &b, some, columns, depth, whole);
                self.store_all(c, 2, &mn, &base, start * columns, some * columns, Some(&sums));
            }
        }
    }

    fn attention(&mut self, c: &Compiled<'_>, roles: &[AttentionRole]) {
        use AttentionRole as R;
        let extents = &c.kernel.axes;
        let [batch, t, s, d, e] = [R::Batch, R::T, R::S, R::D, R::E].map(|r| with_role(roles, |x| x == r));
        let (td, sd, ts) = (joined(&t, &d), joined(&s, &d), joined(&t, &s));
        let (es, te) = (joined(&e, &s), joined(&t, &e));
        let [queries, keys, depth, width] = [&t, &s, &d, &e].map(|a| count(extents, a));
        let mut base = vec![0; extents.len()];
        for at in 0..count(extents, &batch) {
            place(extents, &batch, at, &mut base);
            let k = self.values(c, 1, &sd, &base, 0, keys * depth, None);
            // Transposed: a row for each feature.
            let v = self.values(c, 3, &es, &base, 0, width * keys, None);
            for (start, some) in parts(queries, (BLOCK / keys.max(1)).max(1)) {
                let q = self.values(c, 0, &td, &base, start * depth, some * depth, None);
                let dots = product(&q, &k, some, keys, depth, false);
                let mut scores = self.values(c, 2, &ts, &base, start * keys, some * keys, Some(&dots));
                scores.chunks_mut(keys.max(1)).for_each(softmax);
                let mixed = product(&scores, &v, some, width, keys, false);
                self.store_all(c, 4, &te, &base, start * width, some * width, Some(&mixed));
            }
        }
    }

    /// Evaluates the hole along the last axis, and writes what `f` makes of each row.
    fn per_row(&mut self, c: &Compiled<'_>, mut f: impl FnMut(&[f64]) -> Vec<f64>) {
        let extents = &c.kernel.axes;
        let last = extents.len() - 1;
        let outer: Vec<usize> = (0..last).collect();
        let mut base = vec![0; extents.len()];
        for at in 0..count(extents, &outer) {
            place(extents, &outer, at, &mut base);
            let row = extents[last] as usize;
            let values = self.values(c, 0, &[last], &base, 0, row, None);
            self.points.set(extents, &[last], &base, 0, row);
            self.memory.store(&c.kernel.writes[0], &self.points, &f(&values));
        }
    }

    fn rounds(
        &mut self,
        c: &Compiled<'_>,
        count: i64,
        index: Option<BufferId>,
        carried: &[(BufferId, BufferId, BufferId)],
        until: Option<(BufferId, i64)>,
    ) {
        for (first, to, _) in carried {
            self.copy(*first, *to);
        }
        for round in 0..count {
            if let Some(id) = index {
                self.memory.buffers[id.0 as usize].fill(round as f64);
            }
            c.inner.iter().for_each(|k| self.run(k));
            for (_, to, next) in carried {
                self.copy(*next, *to);
            }
            if let Some((id, every)) = until
                && (round + 1) % every.max(1) == 0
                && self.memory.buffers[id.0 as usize].first().is_some_and(|v| *v != 0.0)
            {
                break;
            }
        }
    }

    fn copy(&mut self, from: BufferId, to: BufferId) {
        if from != to {
            self.memory.buffers[to.0 as usize] = self.memory.buffers[from.0 as usize].clone();
        }
    }

    fn matrices(&mut self, c: &Compiled<'_>) {
        let k = c.kernel;
        let n = k.axes.len();
        let (outer, inner): (Vec<usize>, Vec<usize>) = ((0..n - 2).collect(), (n - 2..n).collect());
        let size = k.axes[n - 1] as usize;
        let mut base = vec![0; n];
        for at in 0..count(&k.axes, &outer) {
            place(&k.axes, &outer, at, &mut base);
            self.points.set(&k.axes, &inner, &base, 0, size * size);
            let mut a = vec![0.0; size * size];
            self.memory.fetch(&k.reads, 0, &self.points, &mut a);
            let a = Array2::from_shape_fn((size, size), |(i, j)| a[i * size + j]);
            let flat = |m: &Array2<f64>| m.iter().copied().collect::<Vec<f64>>();
            if matches!(k.body, Body::Cholesky) {
                self.memory.store(&k.writes[0], &self.points, &flat(&cholesky(&a)));
                continue;
            }
            let (values, vectors) = eigh(&a);
            self.memory.store(&k.writes[1], &self.points, &flat(&vectors));
            self.points.set(&k.axes, &[n - 1], &base, 0, size);
            self.memory.store(&k.writes[0], &self.points, &values.to_vec());
        }
    }
}

/// `a[rows, depth] * b[columns, depth]^T`, row-major.
fn product(a: &[f64], b: &[f64], rows: usize, columns: usize, depth: usize, whole: bool) -> Vec<f64> {
    let views = (ArrayView2::from_shape((rows, depth), a), ArrayView2::from_shape((columns, depth), b));
    if let (Ok(a), Ok(b), false, false) = (views.0, views.1, whole, depth == 0) {
        // Row-major, as the product of two arrays is unless one of them is column-major.
        return a.dot(&b.t()).as_standard_layout().iter().copied().collect();
    }
    let mut out = vec![0.0; rows * columns];
    for (at, o) in out.iter_mut().enumerate() {
        for i in 0..depth {
            let term = whole_op(ScalarOp::Mul, a[at / columns * depth + i], b[at % columns * depth + i]);
            *o = whole_op(ScalarOp::Add, *o, term);
        }
    }
    out
}

/// A row's softmax; NaN if all of it is -inf.
fn softmax(row: &mut [f64]) {
    let greatest = row.iter().fold(f64::NEG_INFINITY, |m, v| ScalarOp::Max.eval(&[m, *v]));
    row.iter_mut().for_each(|v| *v = libm::exp(*v - greatest));
    let sum: f64 = row.iter().sum();
    row.iter_mut().for_each(|v| *v /= sum);
}
