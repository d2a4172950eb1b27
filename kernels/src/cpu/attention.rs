//! Compiled attention: the `attention` template.
//!
//! In: a bound kernel with `Body::Attention`. Out: [`AttentionKernel`]. Keys and values are packed into panels once per
//! batch entry; then blocks of query rows go through scores, softmax and mixing while a block's scores stay in cache.
//! Invariants: a row's softmax is taken over all keys at once, in an order that depends on shapes alone; a row that is
//! all minus infinity gives NaN. Imports: [`super::gemm`], [`super::panel`], [`super::hole_strip`], [`super::softmax`].

use super::axes::{Point, Space, Walk, along, sees};
use super::gemm::{Finish, Tile, run_tile, tile_rows};
use super::hole_jit::HoleCompiler;
use super::hole_strip::{HoleStrip, StripContext, size_of};
use super::isa::Isa;
use super::panel::{Packer, Panel, panels};
use super::run::{Compiled, RunContext};
use super::scratch::{Scratch, round};
use super::softmax::{run_scale, run_softmax};
use super::strip::{Move, Port, StripOperand};
use uad_plan::{Access, AttentionRole, Body, Buffer, DType, Hole, Inst, Kernel, ScalarOp};

/// Floating point operations of one task.
const TASK_FLOPS: usize = 3_000_000;
/// Bytes of scores that a block of query rows should stay below.
const BLOCK_BYTES: usize = 64 << 10;

/// A compiled `attention`.
pub struct AttentionKernel {
    isa: Isa,
    batch: Walk,
    queries: Walk,
    keys: Walk,
    mixed: Walk,
    batches: usize,
    t: usize,
    s: usize,
    d: usize,
    /// Summed axes of q·k but the innermost, and the innermost.
    outer: Walk,
    segments: usize,
    q: Query,
    k: Packer,
    v: Packer,
    k_panels: Vec<Panel>,
    v_panels: Vec<Panel>,
    k_len: usize,
    v_len: usize,
    score: Score,
    ending: Ending,
    block: usize,
    chunks: usize,
    /// Elements of a row of scores and of a row of results in scratch.
    score_row: usize,
    out_row: usize,
    layout: Layout,
}

enum Query {
    Direct(Access<i64>),
    Packed(HoleStrip, usize),
}

enum Score {
    Scale(f32),
    Strip(HoleStrip, usize),
}

enum Ending {
    Rows(Access<i64>),
    Strip { strip: HoleStrip, axis: Option<usize>, writes: Vec<(Access<i64>, usize)> },
}

#[derive(Clone, Copy, Default)]
struct Layout {
    scores: usize,
    mixed: usize,
    sums: usize,
    query: usize,
    strip: usize,
    worker: usize,
}

/// The factor, if the hole multiplies the slot by a number or leaves it alone.
fn scale(hole: &Hole<i64>) -> Option<f32> {
    match (hole.code.as_slice(), hole.results.as_slice()) {
        ([Inst::Slot(0)], [_]) => Some(1.0),
        ([x, y, Inst::Op(op, args)], [r]) if r.0 == 2 => {
            let first = args.first().map(|a| a.0);
            match (x, y, op, first) {
                (Inst::Slot(0), Inst::F32(c), ScalarOp::Mul, _) | (Inst::F32(c), Inst::Slot(0), ScalarOp::Mul, _) => {
                    Some(*c)
                }
                (Inst::Slot(0), Inst::F32(c), ScalarOp::Div, Some(0)) if (1.0 / c) * c == 1.0 => Some(1.0 / c),
                _ => None,
            }
            // Folded into the exponent, where the largest score is subtracted: only for positive factors.
            .filter(|c| *c > 0.0 && args.len() == 2 && args[0] != args[1])
        }
        _ => None,
    }
}

impl AttentionKernel {
    /// Compiles a kernel whose body is `Body::Attention`.
    pub fn compile(
        kernel: &Kernel<i64>,
        buffers: &[Buffer<i64>],
        holes: &mut HoleCompiler,
        isa: Isa,
    ) -> Result<AttentionKernel, String> {
        use AttentionRole::{Batch, D, E, S, T};
        let Body::Attention { roles, q, k, score, v, out } = &kernel.body else {
            return Err("not an attention".to_owned());
        };
        let reads = &kernel.reads;
        let mut roles = roles.clone();
        for (axis, role) in roles.iter_mut().enumerate() {
            if *role == Batch && !sees(k, reads, axis) && !sees(v, reads, axis) {
                *role = T;
            }
        }
        let write = kernel.writes.first().ok_or("an attention without a result")?;
        let stride_of = |h: &Hole<i64>, axis: usize| h.as_load().map_or(0, |n| reads[n as usize].strides[axis].abs());
        let weight = |role: AttentionRole, axis: usize| match role {
            D => stride_of(q, axis),
            S => stride_of(k, axis),
            _ => write.strides[axis].abs(),
        };
        let space = Space::new(
            &kernel.axes,
            &roles,
            &[Batch, T, S, D, E],
            reads,
            &kernel.writes,
            &[q, k, score, v, out],
            weight,
        )?;
        let [q, k, score, v, out] = [q, k, score, v, out].map(|h| space.hole(h));
        let walk = |r| Walk::over(&space, space.range(r));
        let (batch, queries, keys, mixed) = (walk(Batch), walk(T), walk(S), walk(E));
        let count = |r| usize::try_from(space.points(r)).map_err(|_| "an extent below zero".to_owned());
        let (batches, t, s, d, e) = (count(Batch)?, count(T)?, count(S)?, count(D)?, count(E)?);
        let split = |r| {
            let range = space.range(r);
            let inner = range.clone().last();
            (Walk::over(&space, range.start..inner.unwrap_or(range.end)), inner)
        };
        let ((outer, inner), (key_outer, key_inner)) = (split(D), split(S));
        let depth = inner.map_or(1, |a| space.axes[a] as usize);
        let segments = outer.extents.iter().product::<i64>() as usize;
        let key_depth = key_inner.map_or(1, |a| space.axes[a] as usize);
        let dtype = |r: &Access<i64>| buffers[r.buffer.0 as usize].dtype;
        let plain = |r: &Access<i64>| r.guards.is_empty() && r.via.is_empty() && dtype(r) == DType::F32;

        let port = |moves| vec![Port::new(DType::F32, moves)];
        let direct = q
            .as_load()
            .map(|n| &space.reads[n as usize])
            .filter(|r| plain(r) && segments == 1 && (inner.is_none_or(|a| r.strides[a] == 1)));
        let q = match direct {
            Some(r) => Query::Direct(r.clone()),
            None => {
                let axis = inner.unwrap_or(usize::MAX);
                let strip =
                    HoleStrip::compile(&q, &space.reads, buffers, axis, depth, vec![], port(Move::Unit), holes)?;
                Query::Packed(strip, depth)
            }
        };
        let k = Packer::compile(&k, &space.reads, buffers, &keys, &outer, inner, depth, isa, holes)?;
        let v = Packer::compile(&v, &space.reads, buffers, &mixed, &key_outer, key_inner, key_depth, isa, holes)?;
        let (k_panels, k_len) = panels(isa, s, d);
        let (v_panels, v_len) = panels(isa, e, s);
        let score = match scale(&score) {
            Some(c) => Score::Scale(c),
            None => {
                let axis = key_inner.unwrap_or(usize::MAX);
                let (slots, results) = (port(Move::Unit), port(Move::Unit));
                let strip = HoleStrip::compile(&score, &space.reads, buffers, axis, key_depth, slots, results, holes)?;
                Score::Strip(strip, key_depth)
            }
        };
        let whole = out.code.as_slice() == [Inst::Slot(0)] && out.results.len() == 1;
        let ending = match space.writes.as_slice() {
            [w] if whole && plain(w) && mixed.uniform(&w.strides).is_some_and(|s| s == 1 || e == 1) => {
                Ending::Rows(w.clone())
            }
            writes => {
                let axis = space.range(E).last();
                let ports = writes.iter().map(|w| Port::new(dtype(w), Move::of(axis.map_or(0, |a| w.strides[a]))));
                let (ports, longest) = (ports.collect(), axis.map_or(1, |a| space.axes[a] as usize));
                let at = axis.unwrap_or(usize::MAX);
                let slots = port(Move::Unit);
                let strip = HoleStrip::compile(&out, &space.reads, buffers, at, longest, slots, ports, holes)?;
                let writes = writes.iter().map(|w| (w.clone(), size_of(dtype(w)))).collect();
                Ending::Strip { strip, axis, writes }
            }
        };

        let lanes = isa.lanes();
        let (score_row, out_row) = (s.next_multiple_of(lanes), e.next_multiple_of(lanes));
        let tile = k_panels.first().map_or(1, |p| tile_rows(isa, p.width));
        let fits = (BLOCK_BYTES / (score_row.max(1) * 4)) / tile * tile;
        let block = fits.clamp(tile, 24.max(tile)).min(t.max(1));
        let blocks = t.div_ceil(block);
        let flops = 2 * t * s * (d + e);
        let wanted = if flops * batches < 500_000 { 1 } else { 16usize.div_ceil(batches.max(1)) };
        let chunks = flops.div_ceil(TASK_FLOPS).max(wanted).clamp(1, blocks.max(1));
        let mut layout = Layout { scores: round((1 + super::gemm::MAX_ROWS) * 8), ..Default::default() };
        layout.mixed = layout.scores + round(block * score_row * 4);
        layout.sums = layout.mixed + round(block * out_row * 4);
        layout.query = layout.sums + round(block * 4);
        layout.strip = layout.query + if matches!(q, Query::Packed(..)) { round(block * d * 4) } else { 0 };
        let strips = [
            if let Query::Packed(s, _) = &q { s.scratch() } else { 0 },
            k.scratch(),
            v.scratch(),
            if let Score::Strip(s, _) = &score { s.scratch() } else { 0 },
            if let Ending::Strip { strip, .. } = &ending { strip.scratch() } else { 0 },
        ];
        layout.worker = layout.strip + round(strips.into_iter().max().unwrap_or(0));
        Ok(AttentionKernel {
            isa,
            batch,
            queries,
            keys,
            mixed,
            batches,
            t,
            s,
            d,
            outer,
            segments,
            q,
            k,
            v,
            k_panels,
            v_panels,
            k_len,
            v_len,
            score,
            ending,
            block,
            chunks,
            score_row,
            out_row,
            layout,
        })
    }

    /// Scratch of a call.
    pub fn scratch(&self) -> Scratch {
        Scratch { shared: self.batches * (self.k_len + self.v_len) * 4, worker: self.layout.worker }
    }

    fn strips<'a>(&self, ctx: &'a RunContext<'a>, worker: usize) -> StripContext<'a> {
        let scratch = ctx.scratch.wrapping_add(worker * ctx.scratch_bytes + self.layout.strip);
        StripContext { code: ctx.code, pointers: ctx.pointers, draw: &ctx.draw, scratch }
    }

    /// Computes the result.
    ///
    /// # Safety
    /// The context's pointers and scratch are valid.
    pub unsafe fn run(&self, ctx: &RunContext<'_>) {
        let (per_entry, k_count) = (self.k_panels.len() + self.v_panels.len(), self.k_panels.len());
        // SAFETY: the caller's contract; tasks write disjoint panels, then disjoint rows.
        unsafe {
            ctx.pool.run(self.batches * per_entry, &|worker, task| {
                let (entry, p) = (task / per_entry, task % per_entry);
                let with = self.strips(ctx, worker);
                let mut at: Point = Default::default();
                self.batch.seek(entry as i64, &mut at);
                let (keys, values) = self.panels(ctx, entry);
                if p < k_count {
                    let p = &self.k_panels[p];
                    self.k.pack(&with, &at, p, keys.add(p.at));
                } else {
                    let p = &self.v_panels[p - k_count];
                    self.v.pack(&with, &at, p, values.add(p.at));
                }
            });
            let blocks = self.t.div_ceil(self.block);
            ctx.pool.run(self.batches * self.chunks, &|worker, task| {
                let (entry, chunk) = (task / self.chunks, task % self.chunks);
                let cut = |i: usize| i * blocks / self.chunks;
                for b in cut(chunk)..cut(chunk + 1) {
                    let even = |i: usize| i * self.t / blocks;
                    self.rows(ctx, worker, entry, even(b), even(b + 1));
                }
            });
        }
    }

    unsafe fn panels(&self, ctx: &RunContext<'_>, entry: usize) -> (*mut f32, *mut f32) {
        let keys = ctx.shared.cast::<f32>().wrapping_add(entry * (self.k_len + self.v_len));
        (keys, keys.wrapping_add(self.k_len))
    }

    /// One block of query rows.
    unsafe fn rows(&self, ctx: &RunContext<'_>, worker: usize, entry: usize, t0: usize, t1: usize) {
        // SAFETY: as in `run`; the scratch has room for a block.
        unsafe {
            let mine = ctx.scratch.add(worker * ctx.scratch_bytes);
            let table: *mut *const f32 = mine.cast();
            let scores: *mut f32 = mine.add(self.layout.scores).cast();
            let mixed: *mut f32 = mine.add(self.layout.mixed).cast();
            let sums: *mut f32 = mine.add(self.layout.sums).cast();
            let packed: *mut f32 = mine.add(self.layout.query).cast();
            let with = self.strips(ctx, worker);
            let (keys, values) = self.panels(ctx, entry);
            let mut at: Point = Default::default();
            self.batch.seek(entry as i64, &mut at);
            let origin = at;
            let rows = t1 - t0;
            if let Query::Packed(strip, depth) = &self.q {
                for i in 0..rows {
                    self.queries.seek((t0 + i) as i64, &mut at);
                    for s in 0..self.segments {
                        self.outer.seek(s as i64, &mut at);
                        let to = packed.add(i * self.d + s * depth);
                        strip.run(&with, &at, *depth, &[], &[StripOperand::new(to, 1)]);
                    }
                }
                at = origin;
            }
            let query = |i: usize| match &self.q {
                Query::Packed(..) => packed.add(i * self.d) as *const f32,
                Query::Direct(r) => {
                    let mut p = origin;
                    self.queries.seek((t0 + i) as i64, &mut p);
                    let base = ctx.pointers[r.buffer.0 as usize] as *const f32;
                    base.offset((r.offset + along(&r.strides, &p)) as isize)
                }
            };
            let tiles = |panels: &[Panel],
                         b: *const f32,
                         depth: usize,
                         from: &dyn Fn(usize) -> *const f32,
                         to: *mut f32,
                         row| {
                for p in panels {
                    let height = tile_rows(self.isa, p.width);
                    let many = rows.div_ceil(height);
                    for tile in 0..many {
                        let (i0, i1) = (tile * rows / many, (tile + 1) * rows / many);
                        *table = b.add(p.at);
                        (i0..i1).for_each(|i| *table.add(1 + i - i0) = from(i));
                        let work = Tile {
                            table,
                            a_step: 1,
                            segments: 1,
                            depth,
                            b_step: (p.width * self.isa.lanes()) as isize,
                            carry: std::ptr::null(),
                            carry_row: 0,
                            out: to.add(i0 * row + p.first),
                            out_row: row as isize,
                            columns: p.columns,
                            finish: Finish::PLAIN,
                        };
                        run_tile(self.isa, i1 - i0, p.width, &work);
                    }
                }
            };
            tiles(&self.k_panels, keys, self.d, &query, scores, self.score_row);
            for i in 0..rows {
                let row = scores.add(i * self.score_row);
                let mut factor = 1.0;
                match &self.score {
                    Score::Scale(c) => factor = *c,
                    Score::Strip(strip, length) => {
                        self.queries.seek((t0 + i) as i64, &mut at);
                        for s in (0..self.s).step_by(*length) {
                            self.keys.seek(s as i64, &mut at);
                            let piece = StripOperand::new(row.add(s), 1);
                            strip.run(&with, &at, *length, &[piece], &[piece]);
                        }
                    }
                }
                *sums.add(i) = run_softmax(self.isa, row, self.s, factor);
            }
            let row_of_scores = |i: usize| scores.add(i * self.score_row) as *const f32;
            tiles(&self.v_panels, values, self.s, &row_of_scores, mixed, self.out_row);
            for i in 0..rows {
                let from = mixed.add(i * self.out_row);
                let mut at = origin;
                self.queries.seek((t0 + i) as i64, &mut at);
                let factor = 1.0 / *sums.add(i);
                let e: usize = self.mixed.extents.iter().product::<i64>() as usize;
                match &self.ending {
                    Ending::Rows(w) => {
                        let base = ctx.pointers[w.buffer.0 as usize].cast::<f32>();
                        run_scale(self.isa, from, base.offset((w.offset + along(&w.strides, &at)) as isize), e, factor);
                    }
                    Ending::Strip { strip, axis, writes } => {
                        run_scale(self.isa, from, from, e, factor);
                        let length = axis.map_or(1, |a| self.mixed.extents[a - self.mixed.first] as usize);
                        for c in (0..e).step_by(length.max(1)) {
                            self.mixed.seek(c as i64, &mut at);
                            let mut results = [StripOperand::NONE; 8];
                            for (r, (w, size)) in results.iter_mut().zip(writes) {
                                let o = (w.offset + along(&w.strides, &at)) as isize * *size as isize;
                                r.pointer = ctx.pointers[w.buffer.0 as usize].wrapping_offset(o);
                                r.stride = axis.map_or(0, |a| w.strides[a] as isize);
                            }
                            strip.run(&with, &at, length, &[StripOperand::new(from.add(c), 1)], &results);
                        }
                    }
                }
            }
        }
    }
}

impl Compiled for AttentionKernel {
    unsafe fn run(&self, cx: &RunContext<'_>) {
        // SAFETY: the caller's contract.
        unsafe { AttentionKernel::run(self, cx) }
    }
}
