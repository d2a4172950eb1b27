//! Contractions as tiles of a matrix product: linear layers, convolutions, batched products.
//!
//! In: a `dot` in normal form whose result has N as its fastest axis. Out: the result, finished. Rows of A are read in
//! place, through one pointer per row and piece of the summed axis (a convolution reads its input directly; rows of
//! zeros stand for padding), or packed per task when a hole or the layout asks for it. B is packed into panels: once
//! if it is constant, else at every call, or read in place where it lies as a panel would.
//! Invariants: tasks are cut by shape alone. Imports: [`super::gemm`], [`super::axes`], [`super::hole_strip`].

mod rows;

use super::activation::activate;
use super::axes::{Point, Space, Walk, along};
use super::dot_finish::{Native, recognise};
use super::dot_pad::Pad;
use super::gemm::{Finish, Tile, panel_width, run_tile, tile_rows};

use super::hole_jit::HoleCompiler;
use super::hole_strip::{HoleStrip, StripContext};
use super::isa::Isa;
use super::panel::{Packer, Panel, panels};
use super::run::RunContext;
use super::scratch::{Scratch, round};
use super::strip::{Move, Port};
use uad_plan::{Access, Buffer, DType, DotRole, Hole};

/// Floating point operations that make a task worth starting.
const TASK_FLOPS: f64 = 4e6;
/// A summed axis longer than this is cut, so that a panel's piece stays in the second-level cache.
const DEPTH_LIMIT: i64 = 6144;
const DEPTH_PIECE: i64 = 2048;
/// Most pieces of the summed axis that are read in place.
const MAX_SEGMENTS: i64 = 2048;

/// The sides of a contraction, ready to compile.
pub struct DotParts<'a> {
    /// Axes and accesses.
    pub space: &'a Space<DotRole>,
    /// Holes over `space`.
    pub a: &'a Hole<i64>,
    /// As `a`.
    pub b: &'a Hole<i64>,
    /// As `a`.
    pub out: &'a Hole<i64>,
    /// Does everything that `b` loads stay the same between calls?
    pub b_constant: bool,
    /// The copy that `a`'s operand is read from, if there is one.
    pub pad: Option<Pad>,
    /// Buffers of the entry.
    pub buffers: &'a [Buffer<i64>],
}

/// A compiled contraction.
pub struct GemmPlan {
    isa: Isa,
    m: usize,
    k: usize,
    batch: Walk,
    rows: Walk,
    cols: Walk,
    outer: Walk,
    /// The innermost summed axis, if there is any, and its extent.
    inner: Option<usize>,
    depth: usize,
    left: Left,
    pad: Option<Pad>,
    /// All read accesses.
    operands: Vec<Access<i64>>,
    right: Right,
    panels: Vec<Panel>,
    /// Elements of all panels of one batch entry.
    panels_len: usize,
    pieces: Vec<Piece>,
    finish: Ending,
    batches: usize,
    row_blocks: usize,
    groups: usize,
    rows_first: bool,
    layout: Layout,
    zeros: Vec<f32>,
    /// Where in the packed memory the panels of a constant B are.
    packed: usize,
}

enum Left {
    /// Read in place: offsets and guard values per segment.
    Direct { access: Access<i64>, offsets: Vec<isize>, guards: Vec<i64>, step: isize, row: Option<isize> },
    /// Rows of k packed by strips along the innermost summed axis.
    Rows(HoleStrip),
    /// For every k the rows of the block, packed by strips along the innermost row axis.
    Columns(HoleStrip, usize),
    /// As `Columns`, for an operand whose rows are neighbours in memory.
    Lines(Access<i64>, usize),
}

enum Right {
    /// Packed by [`GemmPlan::pack_task`].
    Constant(Packer),
    /// Packed at every call.
    PerCall(Packer),
    /// Read in place.
    Direct { access: Access<i64>, step: isize },
}

enum Ending {
    Registers { native: Native, write: Access<i64>, row: isize, residual_row: isize },
    Strip { strip: HoleStrip, axis: Option<usize>, writes: Vec<(Access<i64>, usize)> },
}

/// A part of the summed axis: segments `first..first + count`, of each the elements `from..from + depth`.
#[derive(Clone, Copy)]
struct Piece {
    first: usize,
    count: usize,
    from: usize,
    depth: usize,
}

/// Byte offsets in a worker's scratch; `panels`: in the shared scratch.
#[derive(Clone, Copy, Default)]
struct Layout {
    sums: usize,
    left: usize,
    strip: usize,
    worker: usize,
    panels: usize,
    shared: usize,
}

impl GemmPlan {
    /// Chooses how the contraction is done.
    pub fn compile(parts: DotParts<'_>, isa: Isa, holes: &mut HoleCompiler) -> Result<GemmPlan, String> {
        let s = parts.space;
        let walk = |r| Walk::over(s, s.range(r));
        let (batch, rows, cols) = (walk(DotRole::Batch), walk(DotRole::M), walk(DotRole::N));
        let summed = s.range(DotRole::K);
        let inner = summed.clone().last();
        let outer = Walk::over(s, summed.start..inner.unwrap_or(summed.end));
        let depth = inner.map_or(1, |a| s.axes[a]);
        let count = |r| usize::try_from(s.points(r)).map_err(|_| "an extent below zero".to_owned());
        let (batches, m, n, k) = (count(DotRole::Batch)?, count(DotRole::M)?, count(DotRole::N)?, count(DotRole::K)?);
        let segments: i64 = outer.extents.iter().product();

        let lanes = isa.lanes();
        let vectors = n.div_ceil(lanes);
        let (panels, panels_len) = panels(isa, n, k);
        let many = panels.len();

        // Tasks.
        let flops = 2.0 * (m * n * k * batches) as f64;
        let per_row = (2.0 * (n * k) as f64).max(1.0);
        let full = tile_rows(isa, panel_width(isa).min(vectors.max(1)));
        let mut block = ((TASK_FLOPS / per_row) as usize).clamp(48, 960).min(m.max(1));
        let wanted = if flops < 3e5 { 1 } else { ((flops / 5e5) as usize).clamp(2, 16) };
        let most = (block / full).max(1);
        let enough = |rows: usize| m.div_ceil(rows.max(1)) * batches >= wanted;
        for tiles in (1..=most).rev() {
            block = if tiles == most { block } else { tiles * full };
            if enough(block) || tiles * full <= 24 {
                break;
            }
        }
        let row_blocks = m.div_ceil(block.max(1));
        let block_rows = m.div_ceil(row_blocks.max(1));
        let by_size = (per_row * block_rows as f64 / TASK_FLOPS).ceil() as usize;
        let by_count = wanted.div_ceil((row_blocks * batches).max(1));
        let rows_first = n * k * 4 > 384 << 10;

        let left = Self::left(&parts, &rows, &outer, inner, depth, segments, block_rows, holes)?;
        // Rows that are packed serve all panels.
        let by_size = if matches!(left, Left::Direct { .. }) { by_size } else { 1 };
        let groups = by_size.max(by_count).clamp(1, many.max(1));
        if parts.pad.is_some() && !matches!(left, Left::Direct { .. } | Left::Lines(..)) {
            return Err("a padded copy would not be read in place".to_owned());
        }
        let right = Self::right(&parts, &cols, &outer, inner, depth, (m, k), isa, holes)?;

        let mut pieces = Vec::new();
        let direct_segments = if matches!(left, Left::Direct { .. }) { segments } else { 1 };
        let run = if direct_segments == segments { depth } else { k as i64 };
        let cut = |from: i64, to: i64, limit: i64| -> Vec<(i64, i64)> {
            let parts = if to - from > limit { (to - from + DEPTH_PIECE - 1) / DEPTH_PIECE } else { 1 };
            let at = |i: i64| from + (to - from) * i / parts;
            (0..parts).map(|i| (at(i), at(i + 1))).collect()
        };
        if k as i64 <= DEPTH_LIMIT {
            pieces.push(Piece { first: 0, count: direct_segments as usize, from: 0, depth: run as usize });
        } else if run >= DEPTH_PIECE {
            for s in 0..direct_segments {
                for (from, to) in cut(0, run, DEPTH_LIMIT) {
                    pieces.push(Piece {
                        first: s as usize,
                        count: 1,
                        from: from as usize,
                        depth: (to - from) as usize,
                    });
                }
            }
        } else {
            let each = (DEPTH_PIECE / run.max(1)).max(1);
            for first in (0..direct_segments).step_by(each as usize) {
                let count = each.min(direct_segments - first) as usize;
                pieces.push(Piece { first: first as usize, count, from: 0, depth: run as usize });
            }
        }

        let finish = Self::ending(&parts, &rows, &cols, holes)?;
        let widest = panels.iter().map(|p| p.width * lanes).max().unwrap_or(0);
        let mut layout = Layout::default();
        let table = (direct_segments as usize) * (1 + super::gemm::MAX_ROWS) * 8;
        layout.sums = round(table);
        let sums = pieces.len() > 1 || matches!(finish, Ending::Strip { .. });
        layout.left = layout.sums + if sums { round(block_rows * widest * 4) } else { 0 };
        let packs = !matches!(left, Left::Direct { .. });
        layout.strip = layout.left + if packs { round(block_rows * k * 4 + 64) } else { 0 };
        let strips = [
            match &left {
                Left::Rows(s) | Left::Columns(s, _) => s.scratch(),
                Left::Direct { .. } | Left::Lines(..) => 0,
            },
            match &right {
                Right::PerCall(p) | Right::Constant(p) => p.scratch(),
                Right::Direct { .. } => 0,
            },
            if let Ending::Strip { strip, .. } = &finish { strip.scratch() } else { 0 },
        ];
        layout.worker = layout.strip + round(strips.into_iter().max().unwrap_or(0));
        layout.panels = parts.pad.as_ref().map_or(0, |p| round(p.len as usize * 4));
        layout.shared = layout.panels + if matches!(right, Right::PerCall(..)) { batches * panels_len * 4 } else { 0 };
        Ok(GemmPlan {
            isa,
            m,
            k,
            batch,
            rows,
            cols,
            outer,
            inner,
            depth: depth as usize,
            left,
            pad: parts.pad,
            operands: s.reads.clone(),
            right,
            panels,
            panels_len,
            pieces,
            finish,
            batches,
            row_blocks,
            groups,
            rows_first,
            layout,
            zeros: vec![0.0; depth as usize],
            packed: 0,
        })
    }

    fn left(
        parts: &DotParts<'_>,
        rows: &Walk,
        outer: &Walk,
        inner: Option<usize>,
        depth: i64,
        segments: i64,
        block_rows: usize,
        holes: &mut HoleCompiler,
    ) -> Result<Left, String> {
        let s = parts.space;
        let is_f32 = |r: &Access<i64>| parts.buffers[r.buffer.0 as usize].dtype == DType::F32;
        if let Some(r) = parts.a.as_load().map(|n| &s.reads[n as usize]).filter(|r| is_f32(r) && r.via.is_empty()) {
            let step = inner.map_or(1, |a| r.strides[a]);
            let still = inner.is_none_or(|a| r.guards.iter().all(|g| g.strides[a] == 0));
            let guarded = !r.guards.is_empty();
            let few = s.points(DotRole::N) <= 64;
            let steps = step == 1 || depth == 1 || (few && !guarded);
            if still && steps && (!guarded || r.fill == 0.0) && segments <= MAX_SEGMENTS && r.guards.len() <= 4 {
                let mut at: Point = Default::default();
                let (mut offsets, mut guards) = (Vec::new(), Vec::new());
                for _ in 0..segments {
                    offsets.push(along(&r.strides, &at) as isize);
                    guards.extend(r.guards.iter().map(|g| along(&g.strides, &at)));
                    outer.next(&mut at);
                }
                let row = rows.uniform(&r.strides).filter(|_| !guarded).map(|v| v as isize);
                return Ok(Left::Direct { access: r.clone(), offsets, guards, step: step as isize, row });
            }
        }
        let last_row = s.range(DotRole::M).last();
        if let (Some(r), Some(a)) = (parts.a.as_load().map(|n| &s.reads[n as usize]), last_row) {
            let plain = is_f32(r) && r.via.is_empty() && r.guards.is_empty();
            if plain && r.strides[a] == 1 && inner.is_some_and(|i| r.strides[i] != 1) {
                return Ok(Left::Lines(r.clone(), block_rows));
            }
        }
        // The way of packing: along rows of k, unless the operand lies the other way round or k is short.
        let stride = |a: Option<usize>| match (a, parts.a.as_load()) {
            (Some(a), Some(n)) => s.reads[n as usize].strides[a],
            _ => 1,
        };
        let by_rows = inner.is_some() && (stride(inner) == 1 || stride(last_row) != 1) && depth >= 8;
        let mut strip = |axis: Option<usize>, longest, moves| {
            let axis = axis.unwrap_or(usize::MAX);
            let results = vec![Port::new(DType::F32, moves)];
            HoleStrip::compile(parts.a, &s.reads, parts.buffers, axis, longest, Vec::new(), results, holes)
        };
        if by_rows || last_row.is_none() {
            Ok(Left::Rows(strip(inner, depth as usize, Move::Unit)?))
        } else {
            Ok(Left::Columns(strip(last_row, block_rows, Move::Unit)?, block_rows))
        }
    }

    fn right(
        parts: &DotParts<'_>,
        cols: &Walk,
        outer: &Walk,
        inner: Option<usize>,
        depth: i64,
        (m, k): (usize, usize),
        isa: Isa,
        holes: &mut HoleCompiler,
    ) -> Result<Right, String> {
        let s = parts.space;
        let n = s.points(DotRole::N);
        let lanes = isa.lanes();
        let load = parts.b.as_load().map(|i| &s.reads[i as usize]);
        let is_f32 = |r: &Access<i64>| parts.buffers[r.buffer.0 as usize].dtype == DType::F32;
        if let Some(r) = load.filter(|r| is_f32(r) && r.via.is_empty() && r.guards.is_empty() && !parts.b_constant) {
            let steps = match inner {
                None => Some(1),
                Some(a) => {
                    let whole = Walk { first: outer.first, extents: [outer.extents.clone(), vec![s.axes[a]]].concat() };
                    whole.uniform(&r.strides)
                }
            };
            let unit = cols.uniform(&r.strides) == Some(1) && n % lanes as i64 == 0;
            if let (true, Some(step), true) = (unit, steps, m <= 48 || k as i64 * n <= 16 << 10) {
                return Ok(Right::Direct { access: r.clone(), step: step as isize });
            }
        }
        let packer = Packer::compile(parts.b, &s.reads, parts.buffers, cols, outer, inner, depth as usize, isa, holes)?;
        if parts.b_constant { Ok(Right::Constant(packer)) } else { Ok(Right::PerCall(packer)) }
    }

    fn ending(parts: &DotParts<'_>, rows: &Walk, cols: &Walk, holes: &mut HoleCompiler) -> Result<Ending, String> {
        let s = parts.space;
        let dtype = |r: &Access<i64>| parts.buffers[r.buffer.0 as usize].dtype;
        let single = cols.extents.len() <= 1;
        let unit = |r: &Access<i64>| {
            let plain = r.guards.is_empty() && r.via.is_empty() && dtype(r) == DType::F32;
            plain && cols.uniform(&r.strides).is_some_and(|v| v == 1 || cols.extents.is_empty())
        };
        let row = |r: &Access<i64>| rows.uniform(&r.strides).filter(|_| single && unit(r));
        let kind = |n: u32| {
            let r = s.reads.get(n as usize)?;
            match row(r) {
                Some(0) if s.range(DotRole::M).all(|a| r.strides[a] == 0) => Some(true),
                Some(_) => Some(false),
                None => None,
            }
        };
        let write =
            if let [write] = s.writes.as_slice() { row(write).map(|r| (write.clone(), r as isize)) } else { None };
        if let (Some((write, out_row)), Some(native)) = (write, recognise(parts.out, kind)) {
            let residual = native.residual.and_then(|n| row(&s.reads[n as usize])).unwrap_or(0) as isize;
            return Ok(Ending::Registers { native, write, row: out_row, residual_row: residual });
        }
        if s.writes.iter().any(|w| !w.via.is_empty()) {
            return Err("a contraction that scatters".to_owned());
        }
        let axis = s.range(DotRole::N).last();
        let stride = |w: &Access<i64>| axis.map_or(0, |a| w.strides[a]);
        let ports = s.writes.iter().map(|w| Port::new(dtype(w), Move::of(stride(w)))).collect();
        let slots = vec![Port::new(DType::F32, Move::Unit)];
        let longest = super::gemm::MAX_WIDTH * 16;
        let at = axis.unwrap_or(usize::MAX);
        let strip = HoleStrip::compile(parts.out, &s.reads, parts.buffers, at, longest, slots, ports, holes)?;
        let writes = s.writes.iter().map(|w| (w.clone(), super::hole_strip::size_of(dtype(w)))).collect();
        Ok(Ending::Strip { strip, axis, writes })
    }

    /// Scratch of a call.
    pub fn scratch(&self) -> Scratch {
        Scratch { shared: self.layout.shared, worker: self.layout.worker }
    }

    /// Bytes of the panels of a constant B.
    pub fn packed_bytes(&self) -> usize {
        if matches!(self.right, Right::Constant(_)) { self.batches * self.panels_len * 4 } else { 0 }
    }

    /// Where in the packed memory they are.
    pub fn place(&mut self, at: usize) {
        self.packed = at;
    }

    /// In how many tasks a constant B is packed.
    pub fn pack_tasks(&self) -> usize {
        if matches!(self.right, Right::Constant(_)) { self.batches * self.panels.len() } else { 0 }
    }

    /// Does one of them. The scratch of the context is used.
    ///
    /// # Safety
    /// The pointers of the context are valid for what `b` loads, and its packed memory for the panels.
    pub unsafe fn pack_task(&self, ctx: &RunContext<'_>, worker: usize, task: usize) {
        // SAFETY: the caller's contract; the memory has room for all panels.
        unsafe { self.pack_panel(ctx, worker, task, self.kept(ctx)) }
    }

    /// The panels of a constant B.
    unsafe fn kept(&self, ctx: &RunContext<'_>) -> *mut f32 {
        // SAFETY: the caller's contract.
        unsafe { ctx.packed.add(self.packed).cast() }
    }

    /// Packs the panel of this number to its place among all that begin at `to`.
    unsafe fn pack_panel(&self, ctx: &RunContext<'_>, worker: usize, number: usize, to: *mut f32) {
        if let Right::Constant(packer) | Right::PerCall(packer) = &self.right {
            let (batch, p) = (number / self.panels.len(), &self.panels[number % self.panels.len()]);
            let mut at: Point = Default::default();
            self.batch.seek(batch as i64, &mut at);
            // SAFETY: the caller's contract; each panel has a place of its own.
            unsafe { packer.pack(&self.strips(ctx, worker), &at, p, to.add(batch * self.panels_len + p.at)) };
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
    /// The pointers and the scratch of the context are valid; [`GemmPlan::pack_task`] ran for all tasks after `b` last changed if it is
    /// constant.
    pub unsafe fn run(&self, ctx: &RunContext<'_>) {
        // SAFETY: the caller's contract.
        unsafe {
            if let (Some(pad), Left::Direct { access, .. } | Left::Lines(access, _)) = (&self.pad, &self.left) {
                let source = access.buffer.0 as usize;
                let copy = |_, t| pad.copy(t, ctx.pointers[source] as *const f32, ctx.shared.cast());
                ctx.pool.run(pad.tasks(), &copy);
            }
            if matches!(self.right, Right::PerCall(..)) {
                let to = Shared(ctx.shared.add(self.layout.panels).cast());
                ctx.pool.run(self.batches * self.panels.len(), &|worker, n| self.pack_panel(ctx, worker, n, to.get()));
            }
            let tasks = self.batches * self.row_blocks * self.groups;
            ctx.pool.run(tasks, &|worker, t| {
                let (batch, rest) = (t / (self.row_blocks * self.groups), t % (self.row_blocks * self.groups));
                let (rows, group) = if self.rows_first {
                    (rest % self.row_blocks, rest / self.row_blocks)
                } else {
                    (rest / self.groups, rest % self.groups)
                };
                self.task(ctx, worker, batch, rows, group);
            });
        }
    }

    unsafe fn task(&self, ctx: &RunContext<'_>, worker: usize, batch: usize, block: usize, group: usize) {
        // SAFETY: tasks write disjoint parts of the result; the offsets come from accesses that were verified.
        unsafe {
            let cut = |i: usize, parts: usize, whole: usize| i * whole / parts;
            let (r0, r1) = (cut(block, self.row_blocks, self.m), cut(block + 1, self.row_blocks, self.m));
            let many = self.panels.len();
            let (p0, p1) = (cut(group, self.groups, many), cut(group + 1, self.groups, many));
            let mine = ctx.scratch.add(worker * ctx.scratch_bytes);
            let table: *mut *const f32 = mine.cast();
            let sums: *mut f32 = mine.add(self.layout.sums).cast();
            let left: *mut f32 = mine.add(self.layout.left).cast();
            let with = self.strips(ctx, worker);
            let mut at: Point = Default::default();
            self.batch.seek(batch as i64, &mut at);
            let origin = at;
            self.pack_rows(ctx, &with, left, origin, r0, r1);
            let panels: *const f32 = match &self.right {
                Right::Constant(..) => self.kept(ctx).cast_const().add(batch * self.panels_len),
                Right::PerCall(..) => (ctx.shared.add(self.layout.panels) as *const f32).add(batch * self.panels_len),
                Right::Direct { access, .. } => {
                    let base = ctx.pointers[access.buffer.0 as usize] as *const f32;
                    base.offset((access.offset + along(&access.strides, &origin)) as isize)
                }
            };
            let lanes = self.isa.lanes();
            for p in &self.panels[p0..p1] {
                let wide = p.width * lanes;
                let (b, b_step) = match &self.right {
                    Right::Direct { step, .. } => (panels.add(p.first), *step),
                    _ => (panels.add(p.at), wide as isize),
                };
                let height = tile_rows(self.isa, p.width);
                let tiles = (r1 - r0).div_ceil(height);
                for (number, piece) in self.pieces.iter().enumerate() {
                    let (starts, ends) = (number == 0, number + 1 == self.pieces.len());
                    for t in 0..tiles {
                        let (t0, t1) = (r0 + cut(t, tiles, r1 - r0), r0 + cut(t + 1, tiles, r1 - r0));
                        let rows = t1 - t0;
                        let (segments, step) =
                            self.fill_table(ctx, table, left, &origin, (r0, r1), (t0, t1), piece, b, b_step);
                        let held = sums.add((t0 - r0) * wide);
                        let mut tile = Tile {
                            table,
                            a_step: step,
                            segments,
                            depth: piece.depth,
                            b_step,
                            carry: if starts { std::ptr::null() } else { held },
                            carry_row: wide as isize,
                            out: held,
                            out_row: wide as isize,
                            columns: p.columns,
                            finish: Finish::PLAIN,
                        };
                        if let (true, Ending::Registers { native, write, row, residual_row }) = (ends, &self.finish) {
                            let place = |r: &Access<i64>, row: isize| {
                                let start = (r.offset + along(&r.strides, &origin)) as isize;
                                let base = ctx.pointers[r.buffer.0 as usize].cast::<f32>();
                                base.offset(start + row * t0 as isize).add(p.first)
                            };
                            tile.out = place(write, *row);
                            tile.out_row = *row;
                            let reads = |n: u32| self.reads(n);
                            tile.finish = Finish {
                                bias: native.bias.map_or(std::ptr::null(), |n| place(reads(n), 0)),
                                residual: native.residual.map_or(std::ptr::null(), |n| place(reads(n), *residual_row)),
                                residual_row: *residual_row,
                                low: native.low,
                                high: native.high,
                            };
                        }
                        run_tile(self.isa, rows, p.width, &tile);
                        if let (true, Ending::Registers { native: Native { act: Some(act), .. }, .. }) =
                            (ends, &self.finish)
                        {
                            activate(self.isa, *act, tile.out, tile.out_row, rows, p.columns);
                        }
                        if let (true, Ending::Strip { strip, axis, writes }) = (ends, &self.finish) {
                            self.finish_rows(ctx, &with, strip, *axis, writes, held, origin, p, t0, rows);
                        }
                    }
                }
            }
        }
    }

    fn reads(&self, n: u32) -> &Access<i64> {
        &self.operands[n as usize]
    }
}

#[derive(Clone, Copy)]
struct Shared(*mut f32);
// SAFETY: tasks write disjoint parts of what the pointer reaches.
unsafe impl Sync for Shared {}

impl Shared {
    fn get(&self) -> *mut f32 {
        self.0
    }
}
