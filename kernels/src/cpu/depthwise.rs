//! Contractions whose fastest axis is a batch axis: depthwise convolutions.
//!
//! In: a `dot` without N, in normal form, whose last batch axis is contiguous in `a` and in the result. Out: the
//! result, finished. Input rows are read in place; window rows of 3 or 5 taps slide over them with every input
//! vector read once. Weights are packed tap by tap. Invariants: tasks are cut by shape alone.
//! Imports: [`super::depthwise_tile`], [`super::axes`], [`super::hole_strip`].

use super::activation::activate;
use super::axes::{Point, Space, Walk, along};
use super::depthwise_tile::{Columns, run_slide, run_taps, slide_columns, taps_columns};
use super::dot_finish::{Native, recognise};
use super::dot_gemm::DotParts;
use super::gemm::Finish;
use super::hole_jit::HoleCompiler;
use super::hole_strip::{HoleStrip, StripContext, size_of};
use super::isa::Isa;
use super::run::RunContext;
use super::scratch::{Scratch, round};
use super::strip::{Move, Port, StripOperand};
use uad_plan::{Access, DType, DotRole};

/// Most taps of a window.
const MAX_TAPS: usize = 1024;
/// Multiply-adds that make a task worth starting.
const TASK_WORK: usize = 400_000;

/// A compiled depthwise contraction.
pub struct DepthwisePlan {
    isa: Isa,
    channels: usize,
    /// The channel axis.
    axis: usize,
    /// All row axes but the last.
    lines: Walk,
    line_count: usize,
    /// The last row axis, if there is one, and its extent.
    column: Option<usize>,
    columns: usize,
    /// Summed axes: all but the last when sliding, else all.
    taps: Walk,
    tap_count: usize,
    slide: Option<Slide>,
    a: Access<i64>,
    operands: Vec<Access<i64>>,
    weights: HoleStrip,
    all_taps: Walk,
    constant: bool,
    ending: Ending,
    tasks: usize,
    zeros: Vec<f32>,
    /// Where in the packed memory constant weights are.
    packed: usize,
    layout: Layout,
}

#[derive(Clone, Copy)]
struct Slide {
    size: usize,
    stride: usize,
    /// Elements between input columns.
    column: isize,
    /// The guard on input columns, if there is one.
    guard: Option<usize>,
    axis: usize,
}

enum Ending {
    Registers { native: Native, write: Access<i64> },
    Strip { strip: HoleStrip, writes: Vec<(Access<i64>, usize)> },
}

#[derive(Clone, Copy, Default)]
struct Layout {
    weights: usize,
    sums: usize,
    strip: usize,
    worker: usize,
}

#[derive(Clone, Copy)]
struct Shared(*mut f32);
// SAFETY: tasks read what the pointer reaches.
unsafe impl Sync for Shared {}

impl Shared {
    fn get(&self) -> *const f32 {
        self.0
    }
}

impl DepthwisePlan {
    /// A plan, or `None` if the contraction is of another kind.
    pub fn compile(parts: &DotParts<'_>, isa: Isa, holes: &mut HoleCompiler) -> Result<Option<DepthwisePlan>, String> {
        let s: &Space<DotRole> = parts.space;
        let dtype = |r: &Access<i64>| parts.buffers[r.buffer.0 as usize].dtype;
        let (batch, rows, summed) = (s.range(DotRole::Batch), s.range(DotRole::M), s.range(DotRole::K));
        let taps = s.points(DotRole::K);
        if batch.len() != 1 || !s.range(DotRole::N).is_empty() || taps as usize > MAX_TAPS || s.axes.contains(&0) {
            return Ok(None);
        }
        let axis = batch.start;
        let channels = s.axes[axis] as usize;
        let Some(a) = parts.a.as_load().map(|n| &s.reads[n as usize]) else { return Ok(None) };
        let zero_fill = a.guards.is_empty() || a.fill == 0.0;
        let plain = dtype(a) == DType::F32 && a.via.is_empty() && a.guards.iter().all(|g| g.strides[axis] == 0);
        let unit = |w: &Access<i64>| w.strides[axis] == 1 && w.via.is_empty();
        if !plain || !zero_fill || a.strides[axis] != 1 || channels < isa.lanes() || !s.writes.iter().all(unit) {
            return Ok(None);
        }

        let column = rows.clone().last();
        let inner = summed.clone().last();
        let slide = match (column, inner) {
            (Some(c), Some(k)) => Self::slide(a, s, c, k),
            _ => None,
        };
        let lines = Walk::over(s, rows.start..column.unwrap_or(rows.end));
        let columns = column.map_or(1, |c| s.axes[c] as usize);
        let all_taps = Walk::over(s, summed.clone());
        let taps = if slide.is_some() { Walk::over(s, summed.start..summed.end - 1) } else { all_taps.clone() };
        let line_count = lines.extents.iter().product::<i64>() as usize;
        let tap_count = taps.extents.iter().product::<i64>() as usize;

        let unit_port = || vec![Port::new(DType::F32, Move::Unit)];
        let weights =
            HoleStrip::compile(parts.b, &s.reads, parts.buffers, axis, channels, Vec::new(), unit_port(), holes)?;
        let kind = |n: u32| {
            let r = s.reads.get(n as usize)?;
            let plain = r.guards.is_empty() && r.via.is_empty() && dtype(r) == DType::F32 && r.strides[axis] == 1;
            plain.then(|| rows.clone().all(|m| r.strides[m] == 0))
        };
        let native = match s.writes.as_slice() {
            [w] if dtype(w) == DType::F32 => recognise(parts.out, kind).map(|n| (n, w.clone())),
            _ => None,
        };
        let ending = match native {
            Some((native, write)) => Ending::Registers { native, write },
            None => {
                let ports = s.writes.iter().map(|w| Port::new(dtype(w), Move::Unit)).collect();
                let strip =
                    HoleStrip::compile(parts.out, &s.reads, parts.buffers, axis, channels, unit_port(), ports, holes)?;
                let writes = s.writes.iter().map(|w| (w.clone(), size_of(dtype(w)))).collect();
                Ending::Strip { strip, writes }
            }
        };
        let all = all_taps.extents.iter().product::<i64>() as usize;
        let work = line_count * columns * channels * all;
        let tasks = (work / TASK_WORK).max(usize::from(work > TASK_WORK / 8) * 2).clamp(1, line_count.min(256));
        let mut layout =
            Layout { weights: round(tap_count * super::depthwise_tile::MAX_COLUMNS * 8), ..Default::default() };
        layout.sums = layout.weights + round(tap_count * 8);
        let strips = matches!(ending, Ending::Strip { .. });
        let block = super::depthwise_tile::MAX_COLUMNS * channels * 4;
        layout.strip = layout.sums + if strips { round(block) } else { 0 };
        let needs = weights.scratch().max(if let Ending::Strip { strip, .. } = &ending { strip.scratch() } else { 0 });
        layout.worker = layout.strip + round(needs);
        Ok(Some(DepthwisePlan {
            isa,
            channels,
            axis,
            lines,
            line_count,
            column,
            columns,
            taps,
            tap_count,
            slide,
            a: a.clone(),
            operands: s.reads.clone(),
            weights,
            all_taps,
            constant: parts.b_constant,
            ending,
            tasks,
            zeros: vec![0.0; channels],
            packed: 0,
            layout,
        }))
    }

    fn slide(a: &Access<i64>, s: &Space<DotRole>, c: usize, k: usize) -> Option<Slide> {
        let (size, step) = (s.axes[k], a.strides[k]);
        let stride = if step != 0 { a.strides[c] / step } else { 0 };
        if !matches!(size, 3 | 5) || !matches!(stride, 1 | 2) || a.strides[c] != stride * step {
            return None;
        }
        let mut on_columns = None;
        for (n, g) in a.guards.iter().enumerate() {
            if g.strides[c] == 0 && g.strides[k] == 0 {
                continue;
            }
            // Input column `j` of the window is tap `j - stride * t` of output column `t`.
            if on_columns.is_some() || g.strides[k] <= 0 || g.strides[c] != stride * g.strides[k] {
                return None;
            }
            on_columns = Some(n);
        }
        Some(Slide { size: size as usize, stride: stride as usize, column: step as isize, guard: on_columns, axis: k })
    }

    /// Scratch of a call.
    pub fn scratch(&self) -> Scratch {
        let shared = if self.constant { 0 } else { self.weights_len() * 4 };
        Scratch { shared, worker: self.layout.worker }
    }

    fn weights_len(&self) -> usize {
        self.all_taps.extents.iter().product::<i64>() as usize * self.channels
    }

    /// Bytes of constant weights.
    pub fn packed_bytes(&self) -> usize {
        if self.constant { self.weights_len() * 4 } else { 0 }
    }

    /// Where in the packed memory they are.
    pub fn place(&mut self, at: usize) {
        self.packed = at;
    }

    /// In how many tasks constant weights are packed.
    pub fn pack_tasks(&self) -> usize {
        usize::from(self.constant)
    }

    /// Packs constant weights.
    ///
    /// # Safety
    /// The context's pointers, scratch and packed memory are valid.
    pub unsafe fn pack_task(&self, ctx: &RunContext<'_>, worker: usize, _: usize) {
        // SAFETY: the caller's contract; the memory has room for all taps.
        unsafe { self.pack_weights(ctx, worker, self.kept(ctx)) };
    }

    /// Constant weights, packed.
    unsafe fn kept(&self, ctx: &RunContext<'_>) -> *mut f32 {
        // SAFETY: the caller's contract.
        unsafe { ctx.packed.add(self.packed).cast() }
    }

    unsafe fn pack_weights(&self, ctx: &RunContext<'_>, worker: usize, to: *mut f32) {
        let mut at: Point = Default::default();
        // SAFETY: the caller's contract.
        unsafe {
            let with = self.strips(ctx, worker);
            for k in 0..self.weights_len() / self.channels {
                self.all_taps.seek(k as i64, &mut at);
                let to = StripOperand::new(to.add(k * self.channels), 1);
                self.weights.run(&with, &at, self.channels, &[], &[to]);
            }
        }
    }

    unsafe fn strips<'a>(&self, ctx: &'a RunContext<'a>, worker: usize) -> StripContext<'a> {
        // SAFETY: the scratch of a worker is as long as `scratch` says.
        let scratch = unsafe { ctx.scratch.add(worker * ctx.scratch_bytes + self.layout.strip) };
        StripContext { code: ctx.code, pointers: ctx.pointers, draw: &ctx.draw, scratch }
    }

    /// Computes the contraction.
    ///
    /// # Safety
    /// The context's pointers and scratch are valid; [`DepthwisePlan::pack_task`] ran since constant weights changed.
    pub unsafe fn run(&self, ctx: &RunContext<'_>) {
        // SAFETY: the caller's contract; tasks write disjoint lines.
        unsafe {
            let weights = Shared(if self.constant {
                self.kept(ctx)
            } else {
                self.pack_weights(ctx, 0, ctx.shared.cast());
                ctx.shared.cast()
            });
            ctx.pool.run(self.tasks, &|worker, t| {
                let cut = |i: usize| i * self.line_count / self.tasks;
                (cut(t)..cut(t + 1)).for_each(|line| self.line(ctx, worker, line, weights.get()));
            });
        }
    }

    /// One line of output columns.
    unsafe fn line(&self, ctx: &RunContext<'_>, worker: usize, line: usize, weights: *const f32) {
        // SAFETY: as in `run`; the tables have room for all taps of a few columns.
        unsafe {
            let mine = ctx.scratch.add(worker * ctx.scratch_bytes);
            let inputs: *mut *const f32 = mine.cast();
            let table: *mut *const f32 = mine.add(self.layout.weights).cast();
            let sums: *mut f32 = mine.add(self.layout.sums).cast();
            let base = ctx.pointers[self.a.buffer.0 as usize] as *const f32;
            let mut at: Point = Default::default();
            self.lines.seek(line as i64, &mut at);
            let origin = at;
            let step = self.column.map_or(0, |c| self.a.strides[c]) as isize;
            let mut first = 0;
            while first < self.columns {
                let left = self.columns - first;
                let columns = if self.slide.is_some() { slide_columns(left) } else { taps_columns(left) };
                at = origin;
                if let Some(c) = self.column {
                    at[c] = first as i64;
                }
                let here = at;
                let mut work = Columns {
                    inputs,
                    weights: table,
                    count: 0,
                    column: 0,
                    low: 0,
                    high: 0,
                    channels: self.channels,
                    out: sums,
                    out_column: self.channels as isize,
                    finish: Finish::PLAIN,
                };
                if let Ending::Registers { native, write } = &self.ending {
                    let place = |r: &Access<i64>| {
                        let p = ctx.pointers[r.buffer.0 as usize].cast::<f32>();
                        p.offset((r.offset + along(&r.strides, &here)) as isize)
                    };
                    let column = |r: &Access<i64>| self.column.map_or(0, |c| r.strides[c] as isize);
                    let bias = native.bias.map(|n| &self.operands[n as usize]);
                    let residual = native.residual.map(|n| &self.operands[n as usize]);
                    work.out = place(write);
                    work.out_column = column(write);
                    work.finish = Finish {
                        bias: bias.map_or(std::ptr::null(), |r| place(r)),
                        residual: residual.map_or(std::ptr::null(), |r| place(r)),
                        residual_row: residual.map_or(0, column),
                        low: native.low,
                        high: native.high,
                    };
                }
                if let Some(slide) = &self.slide {
                    let under = (columns - 1) * slide.stride + slide.size;
                    let (mut low, mut high) = (0, under as i64);
                    if let Some(g) = slide.guard.map(|g| &self.a.guards[g]) {
                        let v = g.offset + along(&g.strides, &here);
                        let s = g.strides[slide.axis];
                        low = low.max((-v + s - 1).div_euclid(s));
                        high = high.min((g.extent - 1 - v).div_euclid(s) + 1);
                    }
                    for k in 0..self.tap_count {
                        self.taps.seek(k as i64, &mut at);
                        let inside = self.a.guards.iter().enumerate().all(|(n, g)| {
                            slide.guard == Some(n) || (0..g.extent).contains(&(g.offset + along(&g.strides, &at)))
                        });
                        if inside {
                            let o = self.a.offset + along(&self.a.strides, &at);
                            *inputs.add(work.count) = base.wrapping_offset(o as isize);
                            *table.add(work.count) = weights.add(k * slide.size * self.channels);
                            work.count += 1;
                        }
                    }
                    (work.column, work.low, work.high) = (slide.column, low as isize, high as isize);
                    let check = low > 0 || high < under as i64;
                    run_slide(self.isa, slide.size, slide.stride, columns, check, &work);
                } else {
                    for k in 0..self.tap_count {
                        self.taps.seek(k as i64, &mut at);
                        *table.add(k) = weights.add(k * self.channels);
                        let o = (self.a.offset + along(&self.a.strides, &at)) as isize;
                        for t in 0..columns {
                            let inside = self.a.guards.iter().all(|g| {
                                let per = self.column.map_or(0, |c| g.strides[c]);
                                let v = g.offset + along(&g.strides, &at) + per * t as i64;
                                (0..g.extent).contains(&v)
                            });
                            *inputs.add(k * columns + t) =
                                if inside { base.wrapping_offset(o + step * t as isize) } else { self.zeros.as_ptr() };
                        }
                    }
                    work.count = self.tap_count;
                    run_taps(self.isa, columns, &work);
                }
                if let Ending::Registers { native: Native { act: Some(act), .. }, .. } = &self.ending {
                    activate(self.isa, *act, work.out, work.out_column, columns, self.channels);
                }
                if let Ending::Strip { strip, writes } = &self.ending {
                    let with = self.strips(ctx, worker);
                    let mut p = here;
                    for t in 0..columns {
                        if let Some(c) = self.column {
                            p[c] = (first + t) as i64;
                        }
                        p[self.axis] = 0;
                        let mut results = [StripOperand::NONE; 8];
                        for (r, (w, size)) in results.iter_mut().zip(writes) {
                            let o = (w.offset + along(&w.strides, &p)) as isize * *size as isize;
                            *r = StripOperand {
                                pointer: ctx.pointers[w.buffer.0 as usize].wrapping_offset(o),
                                stride: 1,
                            };
                        }
                        let slot = StripOperand::new(sums.add(t * self.channels), 1);
                        strip.run(&with, &p, self.channels, &[slot], &results);
                    }
                }
                first += columns;
            }
        }
    }
}
