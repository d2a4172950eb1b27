//! The `scatter-add` template.
//!
//! In: a bound kernel whose write has data-dependent offsets. Out: [`Scatter`]. Invariants: what lands on one element
//! is added in the order of the points; only an axis along which targets are provably apart is split over tasks.
//! Imports: [`super::nest`], [`super::run`], [`super::map`], [`super::strip`], `uad-plan`.

use super::map::{Site, cost_of};
use super::nest::{FETCH, Nest, block_of, indices, loads};
use super::run::{Compiled, RunContext, tasks_of};
use super::strip::{Move, Port, StripId, StripOperand, StripSpec};
use uad_plan::{Access, DType, Hole};

/// A compiled `scatter-add`.
pub struct Scatter {
    nest: Nest,
    strip: StripId,
    dtype: DType,
    block: usize,
    blocks: usize,
    /// Per via of the write: read operand, elements per unit, extent.
    via: Vec<(usize, i64, i64)>,
    /// The nest axis that tasks split, and how many there are.
    split: Option<usize>,
    tasks: usize,
}

/// May different coordinates on `axis` never reach one element?
fn apart(axis: usize, axes: &[i64], write: &Access<i64>, reads: &[Access<i64>]) -> bool {
    if write.strides[axis] == 0 || write.via.iter().any(|v| reads[v.read as usize].strides[axis] != 0) {
        return false;
    }
    if write.via.iter().any(|v| {
        let r = &reads[v.read as usize];
        !r.via.is_empty() || r.guards.iter().any(|g| g.strides[axis] != 0)
    }) {
        return false;
    }
    // Every way of moving, as (step, how many): steps that nest like digits reach each element once.
    let mut digits: Vec<(i64, i64)> = write.via.iter().map(|v| (v.stride.abs(), v.extent)).collect();
    digits.extend(
        (0..axes.len()).filter(|a| write.strides[*a] != 0 && axes[*a] > 1).map(|a| (write.strides[a].abs(), axes[a])),
    );
    digits.sort_unstable();
    digits.windows(2).all(|w| w[1].0 >= w[0].0.saturating_mul(w[0].1))
}

impl Scatter {
    /// Compiles a kernel.
    pub fn new(
        site: &mut Site<'_>,
        axes: &[i64],
        reads: &[Access<i64>],
        writes: &[Access<i64>],
        hole: &Hole<i64>,
    ) -> Result<Scatter, String> {
        let write = writes.first().ok_or("a scatter writes nothing")?;
        let via: Vec<(usize, i64, i64)> = write.via.iter().map(|v| (v.read as usize, v.stride, v.extent)).collect();
        let mut used = loads(hole);
        used.extend(via.iter().map(|v| v.0));
        let order: Vec<usize> = (0..axes.len()).collect();
        let pinned = indices(hole);
        let (nest, _) = Nest::new(&site.dtypes, axes, reads, writes, &[order], &pinned, &used)?;
        let dtype = nest.writes[0].dtype;
        let spec = StripSpec {
            hole,
            reads: nest.read_ports(),
            slots: Vec::new(),
            results: vec![Port::new(dtype, Move::Unit)],
            moving: nest.moving(),
        };
        let strip = site.holes.request(&spec)?;
        let length = nest.points(nest.strip()..nest.strip() + 1);
        let block = block_of(length, FETCH);
        let safe = |a: &usize| nest.axis[*a].is_some_and(|k| apart(k as usize, axes, write, reads));
        let split = (0..nest.strip()).find(|a| safe(a) && nest.extents[*a] > 1);
        let points = nest.points(0..nest.extents.len());
        let tasks = split.map_or(1, |a| tasks_of(points, 4 + cost_of(hole), nest.extents[a] as usize));
        site.need(nest.scratch() + FETCH * 4 + 128);
        Ok(Scatter { nest, strip, dtype, block, blocks: length.div_ceil(block), via, split, tasks })
    }

    /// Adds the strip's values where they belong.
    unsafe fn add<T: Copy>(
        &self,
        target: StripOperand,
        values: *const T,
        operands: &[StripOperand],
        n: usize,
        plus: impl Fn(T, T) -> T,
    ) {
        let target_at = target.pointer.cast::<T>();
        for i in 0..n {
            let mut at = target.stride * i as isize;
            for (read, step, extent) in &self.via {
                let o = operands[*read];
                let by = match self.nest.reads[*read].moves {
                    Move::Fixed => 0,
                    Move::Unit => 1,
                    Move::Strided => o.stride,
                };
                // SAFETY: the operand was fetched for these points; indices are clamped to the extent as bound.
                let index = unsafe { o.pointer.cast::<i32>().offset(by * i as isize).read_unaligned() };
                at += i64::from(index).clamp(0, (extent - 1).max(0)) as isize * *step as isize;
            }
            // SAFETY: as above.
            unsafe {
                let t = target_at.offset(at);
                *t = plus(*t, *values.add(i));
            }
        }
    }
}

impl Compiled for Scatter {
    unsafe fn run(&self, cx: &RunContext<'_>) {
        let nest = &self.nest;
        let strip = nest.strip();
        let length = nest.points(strip..strip + 1);
        if nest.points(0..nest.extents.len()) == 0 {
            return;
        }
        let function = cx.code.get(self.strip);
        cx.pool.run(self.tasks, &|worker, task| {
            let mut bump = cx.bump(worker);
            let mut walk = nest.walk(&mut bump);
            let values: *mut u8 = bump.space::<f32>(FETCH).cast();
            let (before, over, after) = match self.split {
                Some(a) => {
                    let e = nest.extents[a] as usize;
                    (0..a, e * task / self.tasks..e * (task + 1) / self.tasks, a + 1..strip)
                }
                None => (0..0, 0..1, 0..strip),
            };
            let outer = nest.points(before.clone());
            let inner = nest.points(after.clone());
            for o in 0..outer {
                nest.seek(&mut walk, before.clone(), o);
                for s in over.clone() {
                    if let Some(a) = self.split {
                        nest.place(&mut walk, a, s as i64);
                    }
                    for i in 0..inner {
                        nest.seek(&mut walk, after.clone(), i);
                        for block in 0..self.blocks {
                            let first = block * self.block;
                            let n = self.block.min(length - first);
                            let result = StripOperand::new(values, 1);
                            // SAFETY: the context's contract; the points are the nest's.
                            unsafe {
                                nest.fetch(&mut walk, cx, first, n);
                                walk.call(function, n, &[], std::slice::from_ref(&result), &cx.draw);
                                let target = nest.target(&walk, cx, 0, first);
                                match self.dtype {
                                    DType::F32 => {
                                        self.add(target, values.cast::<f32>(), walk.operands, n, |a, b| a + b);
                                    }
                                    DType::I32 => {
                                        self.add(target, values.cast::<i32>(), walk.operands, n, i32::wrapping_add);
                                    }
                                    DType::Bool => self.add(target, values, walk.operands, n, |a, b| a | b),
                                }
                            }
                        }
                    }
                }
            }
        });
    }
}
