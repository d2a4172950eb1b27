//! The templates that go along the last axis in order: `argsort` and `scan`.
//!
//! In: bound kernels. Out: [`Along`]. Invariants: sorting is stable, NaN last; a scan folds in order; rows are split
//! over tasks, never cut. Imports: [`super::nest`], [`super::reduce`], [`super::run`], [`super::map`], `uad-plan`.

use super::map::{Site, cost_of};
use super::nest::{FETCH, Nest, block_of, indices, loads};
use super::reduce::Fold;
use super::run::{Compiled, RunContext, tasks_of};
use super::strip::{Move, Port, StripId, StripOperand, StripSpec};
use uad_plan::{Access, DType, Hole, ReduceOp};

/// What is done along the axis.
#[derive(Clone, Copy)]
pub enum Work {
    /// Positions in rising (or falling) order.
    Sort {
        /// Largest first.
        falling: bool,
    },
    /// A running reduction.
    Scan(ReduceOp),
}

/// A compiled `argsort` or `scan`.
pub struct Along {
    nest: Nest,
    strip: StripId,
    work: Work,
    /// Dtype of the hole's values.
    dtype: DType,
    length: usize,
    block: usize,
    tasks: usize,
}

impl Along {
    /// Compiles a kernel; `dtype` is that of the hole's result.
    pub fn new(
        site: &mut Site<'_>,
        axes: &[i64],
        reads: &[Access<i64>],
        writes: &[Access<i64>],
        hole: &Hole<i64>,
        dtype: DType,
        work: Work,
    ) -> Result<Along, String> {
        let last = axes.len().checked_sub(1).ok_or("a kernel along no axis")?;
        let groups = [(0..last).collect::<Vec<_>>(), vec![last]];
        let (nest, _) = Nest::new(&site.dtypes, axes, reads, writes, &groups, &indices(hole), &loads(hole))?;
        if nest.writes.is_empty() {
            return Err("a kernel writes nothing".to_owned());
        }
        let spec = StripSpec {
            hole,
            reads: nest.read_ports(),
            slots: Vec::new(),
            results: vec![Port::new(dtype, Move::Unit)],
            moving: nest.moving(),
        };
        let strip = site.holes.request(&spec)?;
        let length = axes[last].max(0) as usize;
        let rows = nest.points(0..nest.strip());
        let cost = cost_of(hole) + if matches!(work, Work::Sort { .. }) { 40 } else { 4 };
        let keys = if matches!(work, Work::Sort { .. }) { 8 * length } else { 0 };
        site.need(nest.scratch() + FETCH * 4 + keys + 128);
        let tasks = tasks_of(rows * length, cost, rows);
        Ok(Along { nest, strip, work, dtype, length, block: block_of(length, FETCH), tasks })
    }

    /// A number that sorts as the value does: rising, NaN last.
    unsafe fn key(&self, values: *const u8, i: usize, falling: bool) -> u32 {
        // SAFETY: the caller vouches for the values.
        unsafe {
            let rising = match self.dtype {
                DType::F32 => {
                    let x = *values.cast::<f32>().add(i);
                    if x.is_nan() {
                        return u32::MAX;
                    }
                    // Both zeros are one value.
                    let bits = if x == 0.0 { 0 } else { x.to_bits() };
                    if bits >> 31 == 1 { !bits } else { bits | 1 << 31 }
                }
                DType::I32 => (*values.cast::<i32>().add(i) as u32) ^ 1 << 31,
                DType::Bool => u32::from(*values.add(i)),
            };
            if falling { !rising } else { rising }
        }
    }
}

impl Compiled for Along {
    unsafe fn run(&self, cx: &RunContext<'_>) {
        let nest = &self.nest;
        let strip = nest.strip();
        let rows = nest.points(0..strip);
        if rows == 0 || self.length == 0 {
            return;
        }
        let function = cx.code.get(self.strip);
        cx.pool.run(self.tasks, &|worker, task| {
            let mut bump = cx.bump(worker);
            let mut walk = nest.walk(&mut bump);
            let values: *mut u8 = bump.space::<f32>(FETCH).cast();
            let keys: &mut [u64] = match self.work {
                Work::Sort { .. } => bump.take(self.length, 0u64),
                Work::Scan(_) => &mut [],
            };
            let result = StripOperand::new(values, 1);
            for row in rows * task / self.tasks..rows * (task + 1) / self.tasks {
                nest.seek(&mut walk, 0..strip, row);
                let mut whole = 0i32;
                let mut float = 0f32;
                let mut first = 0;
                while first < self.length {
                    let n = self.block.min(self.length - first);
                    // SAFETY: the context's contract; the points are the nest's.
                    unsafe {
                        nest.fetch(&mut walk, cx, first, n);
                        walk.call(function, n, &[], std::slice::from_ref(&result), &cx.draw);
                        match self.work {
                            Work::Sort { falling } => {
                                for i in 0..n {
                                    let at = (first + i) as u64;
                                    keys[first + i] = u64::from(self.key(values, i, falling)) << 32 | at;
                                }
                            }
                            Work::Scan(op) => {
                                let fold = Fold::of(op).unwrap_or(Fold::Sum);
                                let to = nest.target(&walk, cx, 0, first);
                                for i in 0..n {
                                    let at = to.stride * i as isize;
                                    match self.dtype {
                                        DType::F32 => {
                                            let x = *values.cast::<f32>().add(i);
                                            float = if first + i == 0 { x } else { fold.join(float, x) };
                                            *to.pointer.cast::<f32>().offset(at) = float;
                                        }
                                        DType::I32 => {
                                            let x = *values.cast::<i32>().add(i);
                                            whole = if first + i == 0 { x } else { fold.join_i32(whole, x, false) };
                                            *to.pointer.cast::<i32>().offset(at) = whole;
                                        }
                                        DType::Bool => {
                                            let x = i32::from(*values.add(i));
                                            whole = if first + i == 0 { x } else { fold.join_i32(whole, x, true) };
                                            *to.pointer.offset(at) = whole as u8;
                                        }
                                    }
                                }
                            }
                        }
                    }
                    first += n;
                }
                if matches!(self.work, Work::Sort { .. }) {
                    // Keys are distinct through their positions, so that this sort is stable; it allocates nothing.
                    keys.sort_unstable();
                    // SAFETY: the write has an element for every point of the axis.
                    unsafe {
                        let to = nest.target(&walk, cx, 0, 0);
                        for (i, k) in keys.iter().enumerate() {
                            *to.pointer.cast::<i32>().offset(to.stride * i as isize) = *k as u32 as i32;
                        }
                    }
                }
            }
        });
    }
}
