//! The `rows` template: reductions over the row axes, and what is made of them.
//!
//! Two ways of walking: *along*, where the strip lies in the row and a row gives one result, and *across*, where the
//! strip lies over neighbouring rows that are reduced side by side (channels-last pooling).
//!
//! In: a bound kernel. Out: [`Rows`]. Invariants: the order in which a row is reduced depends on its shape alone; few
//! long rows are cut into parts whose results are joined in order. Imports: [`super::nest`], [`super::reduce`],
//! [`super::run`], [`super::map`], [`super::strip`], `uad-plan`.

use super::accumulate::{Accumulators, How};
use super::hole_split::{arguments, is_call};
use super::map::{Site, by_stride, cost_of};
use super::nest::{FETCH, Nest, PointTable, Walk, block_of, indices, loads};
use super::reduce::{self, Fold};
use super::run::{Bump, Compiled, RunContext, tasks_of};
use super::strip::{Move, Port, StripId, StripOperand, StripSpec};
use std::ops::Range;
use uad_plan::{Access, DType, Hole, Inst, ReduceOp, RowStage};

/// Sums over neighbouring rows are kept apart for this many points, then added to the whole: the error stays small.
const SPELL: usize = 32;

enum Stage {
    Reduce {
        how: How,
        /// Dtype of the values.
        dtype: DType,
        /// The read operand that is the value as it lies.
        direct: Option<usize>,
        strip: Option<StripId>,
        /// Where the points of the row are, if the value lies as it is and guards only leave points out.
        table: Option<PointTable>,
        /// Number of the kept row, if later stages read the values again.
        keep: Option<usize>,
        slot: usize,
    },
    Write {
        write: usize,
        strip: StripId,
        /// At every point, or once per row.
        every: bool,
        /// Does the hole read operands?
        loads: bool,
    },
}

/// A compiled `rows`.
pub struct Rows {
    nest: Nest,
    along: bool,
    /// Nest axes before these are outer; the strip is the last.
    row: Range<usize>,
    length: usize,
    block: usize,
    blocks: usize,
    stages: Vec<Stage>,
    slots: usize,
    kept: usize,
    /// Results per slot: 1 along, a block across.
    width: usize,
    cells: usize,
    items: usize,
    parts: usize,
    tasks: usize,
    acc: Accumulators,
}

/// The part of a strip that an item covers.
struct Item {
    first: usize,
    n: usize,
    /// Row-major position of its first point in the row.
    position: usize,
}

fn dtype_of(hole: &Hole<i64>, reads: &[Port], slots: &[DType]) -> Result<DType, String> {
    let mut dtypes: Vec<DType> = Vec::new();
    for inst in &hole.code {
        dtypes.push(match inst {
            Inst::Load(n) => reads.get(*n as usize).ok_or("a hole loads an operand that is not there")?.dtype,
            Inst::Slot(n) => *slots.get(*n as usize).ok_or("a hole reads a slot that is not there")?,
            Inst::Index(_) | Inst::I32(_) | Inst::Size(_) => DType::I32,
            Inst::F32(_) | Inst::Draw { .. } => DType::F32,
            Inst::Bool(_) => DType::Bool,
            Inst::Op(op, args) => {
                let args: Option<Vec<DType>> = args.iter().map(|a| dtypes.get(a.0 as usize).copied()).collect();
                args.and_then(|a| op.result(&a)).ok_or("a hole does not type")?
            }
        });
    }
    let r = hole.results.first().ok_or("a hole without result")?;
    dtypes.get(r.0 as usize).copied().ok_or_else(|| "a hole without result".to_owned())
}

/// Which register of `hole` is the value of `whole`, if one is.
fn find_value(hole: &Hole<i64>, whole: &Hole<i64>) -> Option<usize> {
    // same[i] = the register of `whole` that instruction i of `hole` equals.
    let mut same: Vec<Option<u32>> = Vec::new();
    for inst in &hole.code {
        let args = arguments(inst);
        let mapped: Option<Vec<u32>> = args.iter().map(|a| same[a.0 as usize]).collect();
        let twin = mapped.and_then(|mapped| {
            whole.code.iter().position(|w| {
                let wide = arguments(w);
                let alike = match (inst, w) {
                    (Inst::Op(a, _), Inst::Op(b, _)) => a == b,
                    (Inst::Draw { .. }, _) | (_, Inst::Draw { .. }) => false,
                    (a, b) => a == b,
                };
                alike && wide.len() == mapped.len() && wide.iter().zip(&mapped).all(|(x, y)| x.0 == *y)
            })
        });
        same.push(twin.map(|t| t as u32));
    }
    let result = whole.results.first()?.0;
    same.iter().position(|s| *s == Some(result))
}

/// Should the strip run along the row?
fn runs_along(axes: &[i64], outer: usize, reads: &[Access<i64>], used: &[usize]) -> bool {
    let points = |r: Range<usize>| axes[r].iter().product::<i64>();
    let (mut inside, mut outside) = (0i64, 0i64);
    for r in used {
        for (a, stride) in reads[*r].strides.iter().enumerate() {
            if *stride == 1 && axes[a] > 1 && reads[*r].via.is_empty() {
                let size: i64 =
                    axes.iter().zip(&reads[*r].strides).filter(|(_, s)| **s != 0).map(|(e, _)| *e).product();
                if a >= outer {
                    inside = inside.max(size);
                } else if axes[a] >= 4 {
                    outside = outside.max(size);
                }
            }
        }
    }
    if inside == 0 && outside == 0 {
        return points(outer..axes.len()) >= points(0..outer).min(64);
    }
    inside >= outside
}

impl Rows {
    /// Compiles a kernel: the last `inner` axes are the row.
    pub fn new(
        site: &mut Site<'_>,
        axes: &[i64],
        reads: &[Access<i64>],
        writes: &[Access<i64>],
        inner: usize,
        stages: &[RowStage<i64>],
    ) -> Result<Rows, String> {
        let outer_axes = axes.len().checked_sub(inner).ok_or("more row axes than axes")?;
        let holes: Vec<&Hole<i64>> = stages
            .iter()
            .map(|s| match s {
                RowStage::Reduce(_, h) | RowStage::Map(_, h) | RowStage::Emit(_, h) => h,
            })
            .collect();
        let mut used: Vec<usize> = holes.iter().flat_map(|h| loads(h)).collect();
        used.sort_unstable();
        used.dedup();
        let pinned: Vec<usize> = holes.iter().flat_map(|h| indices(h)).collect();
        let along = runs_along(axes, outer_axes, reads, &used);
        let main = used
            .iter()
            .map(|r| &reads[*r])
            .max_by_key(|a| a.strides.iter().zip(axes).filter(|(s, _)| **s != 0).map(|(_, e)| *e).product::<i64>());
        let mut outer: Vec<usize> = (0..outer_axes).collect();
        let mut row: Vec<usize> = (outer_axes..axes.len()).collect();
        let positions = stages.iter().any(|s| matches!(s, RowStage::Reduce(ReduceOp::ArgMax | ReduceOp::ArgMin, _)));
        if let Some(main) = main {
            outer = by_stride(&outer, main);
            if !positions {
                row = by_stride(&row, main);
            }
        }
        let groups: Vec<Vec<usize>> = if along {
            vec![outer, row]
        } else {
            // The strip is the outer axis of the smallest stride that moves the main operand.
            let strip =
                main.and_then(|m| (0..outer.len()).rev().find(|i| m.strides[outer[*i]] != 0 && axes[outer[*i]] > 1));
            let strip = strip.or(outer.len().checked_sub(1)).ok_or("rows without outer axes")?;
            // Axes that go on contiguously from the strip join it.
            let mut last = vec![outer.remove(strip)];
            while let (Some(p), Some(m)) = (outer.last().copied(), main) {
                if strip == outer.len() && m.strides[p] == m.strides[last[0]] * axes[last[0]] && !pinned.contains(&p) {
                    last.insert(0, p);
                    outer.pop();
                } else {
                    break;
                }
            }
            vec![outer, row, last]
        };
        let (mut nest, ends) = Nest::new(&site.dtypes, axes, reads, writes, &groups, &pinned, &used)?;
        // Of a last group of several axes only the last is the strip; across, the others walk with the outer ones.
        if !along && ends[1] + 1 != nest.extents.len() {
            let mut groups = groups;
            let last = groups.pop().unwrap_or_default();
            let (head, tail) = last.split_at(last.len() - 1);
            groups[0].extend(head);
            groups.push(tail.to_vec());
            nest = Nest::new(&site.dtypes, axes, reads, writes, &groups, &pinned, &used)?.0;
            let ends = Nest::new(&site.dtypes, axes, reads, writes, &groups, &pinned, &used)?.1;
            return Rows::finish(site, nest, along, ends[0]..ends[1], stages, reads.len());
        }
        let row = if along { ends[0]..nest.strip() } else { ends[0]..ends[1] };
        Rows::finish(site, nest, along, row, stages, reads.len())
    }

    fn finish(
        site: &mut Site<'_>,
        mut nest: Nest,
        along: bool,
        row: Range<usize>,
        stages: &[RowStage<i64>],
        reads: usize,
    ) -> Result<Rows, String> {
        let length = nest.points(nest.strip()..nest.strip() + 1);
        let block = block_of(length, FETCH);
        let blocks = length.div_ceil(block).max(1);
        let outer = nest.points(0..row.start);
        let row_points = nest.points(row.clone());
        let (cells, items) = if along { (outer, row_points * blocks) } else { (outer * blocks, row_points) };
        let width = if along { 1 } else { block };
        let total = outer.saturating_mul(row_points).saturating_mul(length);
        let per_cell = total / cells.max(1);
        let parts = if cells >= 16 || total < 131_072 { 1 } else { (per_cell / 32_768).min(items).clamp(1, 64) };
        let ports = nest.read_ports();
        let mut ports_all = ports.clone();
        let slot_moves = if along { Move::Fixed } else { Move::Unit };
        let (mut compiled, mut slots): (Vec<Stage>, Vec<DType>) = (Vec::new(), Vec::new());
        let mut kept: Vec<(Hole<i64>, usize)> = Vec::new();
        let mut cost = 1;
        let moving = nest.moving();
        for (n, stage) in stages.iter().enumerate() {
            let original = match stage {
                RowStage::Reduce(_, h) | RowStage::Map(_, h) | RowStage::Emit(_, h) => h,
            };
            let mut hole = original.clone();
            if !matches!(stage, RowStage::Emit(..)) {
                for (value, number) in &kept {
                    if let Some(r) = find_value(&hole, value) {
                        hole.code[r] = Inst::Load((reads + number) as u32);
                    }
                }
            }
            cost += cost_of(&hole);
            let slot_ports: Vec<Port> = slots.iter().map(|d| Port::new(*d, slot_moves)).collect();
            let mut request = |hole: &Hole<i64>, ports: &[Port], result: Port| {
                let spec =
                    StripSpec { hole, reads: ports.to_vec(), slots: slot_ports.clone(), results: vec![result], moving };
                site.holes.request(&spec)
            };
            match stage {
                RowStage::Reduce(op, _) => {
                    let dtype = dtype_of(&hole, &ports_all, &slots)?;
                    let how = match Fold::of(*op) {
                        Some(fold) => How::Fold(fold),
                        None => How::Position(*op == ReduceOp::ArgMax),
                    };
                    let direct = hole
                        .as_load()
                        .map(|r| r as usize)
                        .filter(|r| *r < reads && ports[*r].moves == Move::Unit && ports[*r].dtype == dtype);
                    let strip = match direct {
                        Some(_) => None,
                        None => Some(request(&hole, &ports_all, Port::new(dtype, Move::Unit))?),
                    };
                    // Values that cost a call are kept for later stages, where the whole row is one strip.
                    let again = stages[n + 1..].iter().any(|s| match s {
                        RowStage::Reduce(_, h) | RowStage::Map(_, h) => find_value(h, original).is_some(),
                        RowStage::Emit(..) => false,
                    });
                    let costly = original.code.iter().any(is_call);
                    let keep = (along && items == 1 && dtype == DType::F32 && costly && again && strip.is_some())
                        .then_some(kept.len());
                    if let Some(k) = keep {
                        kept.push((original.clone(), k));
                        ports_all.push(Port::new(DType::F32, Move::Unit));
                    }
                    let leaves_out = |r: &usize| match how {
                        How::Fold(f) => nest.reads[*r].fills(f.nothing()),
                        How::Position(_) => false,
                    };
                    let table = direct
                        .filter(|r| !along && dtype == DType::F32 && leaves_out(r))
                        .and_then(|r| nest.table(r, row.clone()));
                    compiled.push(Stage::Reduce { how, dtype, direct, strip, table, keep, slot: slots.len() });
                    slots.push(op.result(dtype));
                }
                RowStage::Map(w, _) | RowStage::Emit(w, _) => {
                    let every = matches!(stage, RowStage::Map(..));
                    let write = *w as usize;
                    if write >= nest.writes.len() {
                        return Err("a stage writes an operand that is not there".to_owned());
                    }
                    let strip = request(&hole, &ports_all, nest.write_port(write))?;
                    compiled.push(Stage::Write { write, strip, every, loads: !loads(&hole).is_empty() });
                }
            }
        }
        nest.extra = kept.len();
        let tasks = tasks_of(total, cost, cells);
        let acc = Accumulators { along, width };
        let acc_bytes = acc.bytes();
        let slot_bytes = slots.len() * (4 * width).next_multiple_of(64);
        site.need(
            nest.scratch()
                + slot_bytes
                + 2 * acc_bytes
                + 4 * width
                + 4 * FETCH * (1 + kept.len())
                + 64 * (12 + kept.len())
                + 8 * SPELL,
        );
        if parts > 1 {
            site.need_shared(cells * parts * acc_bytes + cells * slot_bytes + 256);
        }
        let kept = kept.len();
        let slots = slots.len();
        Ok(Rows {
            nest,
            along,
            row,
            length,
            block,
            blocks,
            stages: compiled,
            slots,
            kept,
            width,
            cells,
            items,
            parts,
            tasks,
            acc,
        })
    }

    /// Goes to a cell; gives the first point of its strip and their number (across) or 0 and 0 (along).
    fn enter(&self, walk: &mut Walk<'_>, cell: usize) -> (usize, usize) {
        let (outer, block) = if self.along { (cell, 0) } else { (cell / self.blocks, cell % self.blocks) };
        self.nest.seek(walk, 0..self.row.start, outer);
        self.nest.seek(walk, self.row.clone(), 0);
        if self.along {
            (0, 0)
        } else {
            let first = block * self.block;
            (first, self.block.min(self.length - first))
        }
    }

    /// Calls `f` for the items `range` of a cell, in order.
    fn items(
        &self,
        walk: &mut Walk<'_>,
        (cell_first, cell_n): (usize, usize),
        range: Range<usize>,
        mut f: impl FnMut(&mut Walk<'_>, Item),
    ) {
        if range.is_empty() {
            return;
        }
        let per = if self.along { self.blocks } else { 1 };
        self.nest.seek(walk, self.row.clone(), range.start / per);
        let mut block = range.start % per;
        for i in range {
            let item = if self.along {
                let first = block * self.block;
                let position = (i / per) * self.length + first;
                Item { first, n: self.block.min(self.length - first), position }
            } else {
                Item { first: cell_first, n: cell_n, position: i }
            };
            f(walk, item);
            block += 1;
            if block == per {
                block = 0;
                self.nest.next(walk, self.row.clone());
            }
        }
    }

    /// Makes a stage's values at an item's points; gives where they are.
    unsafe fn values(
        &self,
        cx: &RunContext<'_>,
        walk: &mut Walk<'_>,
        (values, kept): (*mut u8, &[*mut u8]),
        stage: &Stage,
        item: &Item,
        slots: &[StripOperand],
    ) -> *const u8 {
        let Stage::Reduce { direct, strip, keep, .. } = stage else { return values };
        // SAFETY: the context's contract; an item's points are points of the nest.
        unsafe {
            self.nest.fetch(walk, cx, item.first, item.n);
            if let Some(r) = direct {
                return walk.operands[*r].pointer;
            }
            let Some(strip) = strip else { return values };
            let result = StripOperand::new(keep.map_or(values, |k| kept[k]), 1);
            walk.call(cx.code.get(*strip), item.n, slots, std::slice::from_ref(&result), &cx.draw);
            if let Some(k) = keep {
                let at = self.nest.reads.len() + k;
                walk.operands[at] = result;
            }
            result.pointer
        }
    }

    /// Reduces a row that is one strip, if it is; the same bits as by accumulators.
    unsafe fn reduce_whole(
        &self,
        cx: &RunContext<'_>,
        work: &mut Work<'_>,
        stage: &Stage,
        items: usize,
        slots: &[StripOperand],
    ) -> bool {
        let Stage::Reduce { how: How::Fold(fold), dtype: DType::F32, slot, .. } = stage else { return false };
        if !self.along || items != 1 {
            return false;
        }
        let item = Item { first: 0, n: self.length, position: 0 };
        // SAFETY: the context's contract.
        unsafe {
            let v = self.values(cx, &mut work.walk, (work.values, &*work.kept), stage, &item, slots);
            *slots[*slot].pointer.cast::<f32>() = reduce::whole(cx.isa, v.cast(), item.n, *fold);
        }
        true
    }

    /// Folds the items `range` of a cell into `acc`.
    unsafe fn reduce_items(
        &self,
        cx: &RunContext<'_>,
        work: &mut Work<'_>,
        stage: &Stage,
        cell: (usize, usize),
        range: Range<usize>,
        acc: *mut u8,
        slots: &[StripOperand],
    ) {
        let Stage::Reduce { how, dtype, table, .. } = stage else { return };
        let (how, dtype) = (*how, *dtype);
        self.acc.clear(acc, how, dtype);
        if let (Some(table), How::Fold(fold)) = (table, how) {
            // The last items left the row at its first point, where the table starts.
            self.nest.seek(&mut work.walk, self.row.clone(), 0);
            let list = work.list.as_mut_ptr();
            let (mut from, to) = (range.start, range.end);
            while from < to {
                let next = (from + SPELL).min(to);
                // SAFETY: the context's contract; points of the table at which the guards hold are inside the buffer.
                unsafe {
                    let count = self.nest.list(table, &work.walk, cx, cell.0, from..next, list);
                    reduce::gather(cx.isa, acc.cast(), list, count, cell.1, fold);
                }
                from = next;
            }
            return;
        }
        let spells = !self.along && matches!((how, dtype), (How::Fold(Fold::Sum), DType::F32)) && range.len() > SPELL;
        let spell = work.spell.as_mut_ptr();
        if spells {
            work.spell.fill(0.0);
        }
        let mut count = 0;
        let (values, kept) = (work.values, &*work.kept);
        self.items(&mut work.walk, cell, range, |walk, item| {
            // SAFETY: the context's contract; an item's points are points of the nest.
            unsafe {
                let v = self.values(cx, walk, (values, kept), stage, &item, slots);
                if spells {
                    self.acc.fold(cx.isa, spell.cast(), how, dtype, v, item.n, item.position);
                    count += 1;
                    if count == SPELL {
                        count = 0;
                        reduce::across(cx.isa, acc.cast(), spell, item.n, Fold::Sum);
                        (0..item.n).for_each(|i| *spell.add(i) = 0.0);
                    }
                } else {
                    self.acc.fold(cx.isa, acc, how, dtype, v, item.n, item.position);
                }
            }
        });
        if spells && count > 0 {
            // SAFETY: both hold `width` values.
            unsafe { reduce::across(cx.isa, acc.cast(), spell, self.width, Fold::Sum) };
        }
    }

    /// Runs a writing stage over the items `range` of a cell.
    unsafe fn write_items(
        &self,
        cx: &RunContext<'_>,
        work: &mut Work<'_>,
        (write, strip, every, loads): (usize, StripId, bool, bool),
        cell: (usize, usize),
        range: Range<usize>,
        slots: &[StripOperand],
    ) {
        let function = cx.code.get(strip);
        let range = if every { range } else { 0..1 };
        self.items(&mut work.walk, cell, range, |walk, item| {
            let n = if every || !self.along { item.n } else { 1 };
            // SAFETY: the context's contract; an item's points are points of the nest.
            unsafe {
                if loads {
                    self.nest.fetch(walk, cx, item.first, n);
                } else {
                    self.nest.start(walk, item.first);
                }
                let result = self.nest.target(walk, cx, write, item.first);
                walk.call(function, n, slots, std::slice::from_ref(&result), &cx.draw);
            }
        });
    }

    fn slot_bytes(&self) -> usize {
        (4 * self.width).next_multiple_of(64)
    }

    /// Operands of the slots that lie at `memory`.
    fn slot_operands<'a>(&self, bump: &mut Bump<'a>, memory: *mut u8) -> &'a mut [StripOperand] {
        let all = bump.take(self.slots, StripOperand::NONE);
        for (k, slot) in all.iter_mut().enumerate() {
            // SAFETY: the memory has room for every slot.
            *slot = StripOperand::new(unsafe { memory.add(k * self.slot_bytes()) }, 1);
        }
        all
    }
}

/// A worker's scratch.
struct Work<'a> {
    walk: Walk<'a>,
    values: *mut u8,
    spell: &'a mut [f32],
    kept: &'a mut [*mut u8],
    list: &'a mut [*const f32],
}

impl<'a> Work<'a> {
    fn new(rows: &Rows, bump: &mut Bump<'a>) -> Work<'a> {
        let walk = rows.nest.walk(bump);
        let values = bump.space::<f32>(FETCH).cast();
        let spell = bump.take(rows.width, 0f32);
        let kept = bump.take(rows.kept, std::ptr::null_mut());
        kept.iter_mut().for_each(|k| *k = bump.space::<f32>(FETCH).cast());
        let list = bump.take(SPELL, std::ptr::null());
        Work { walk, values, spell, kept, list }
    }
}

impl Compiled for Rows {
    unsafe fn run(&self, cx: &RunContext<'_>) {
        if self.cells == 0 || (!self.along && self.length == 0) {
            return;
        }
        if self.parts > 1 {
            // SAFETY: the caller's contract.
            return unsafe { self.run_parts(cx) };
        }
        cx.pool.run(self.tasks, &|worker, task| {
            let mut bump = cx.bump(worker);
            let mut work = Work::new(self, &mut bump);
            let acc = bump.raw(self.acc.bytes()).as_mut_ptr();
            let memory = bump.raw(self.slots * self.slot_bytes()).as_mut_ptr();
            let slots = self.slot_operands(&mut bump, memory);
            let items = if self.length == 0 { 0 } else { self.items };
            for cell in self.cells * task / self.tasks..self.cells * (task + 1) / self.tasks {
                let place = self.enter(&mut work.walk, cell);
                for stage in &self.stages {
                    // SAFETY: the caller's contract; scratch as asked for.
                    unsafe {
                        match stage {
                            Stage::Reduce { how, dtype, slot, .. } => {
                                if self.reduce_whole(cx, &mut work, stage, items, slots) {
                                    continue;
                                }
                                self.reduce_items(cx, &mut work, stage, place, 0..items, acc, slots);
                                self.acc.settle(acc, slots[*slot].pointer, *how, *dtype);
                            }
                            Stage::Write { write, strip, every, loads } => {
                                self.write_items(
                                    cx,
                                    &mut work,
                                    (*write, *strip, *every, *loads),
                                    place,
                                    0..items,
                                    slots,
                                );
                            }
                        }
                    }
                }
            }
        });
    }
}

impl Rows {
    /// Few long rows: every stage is cut into parts.
    unsafe fn run_parts(&self, cx: &RunContext<'_>) {
        let mut shared = cx.shared();
        let accs = Shared(shared.raw(self.cells * self.parts * self.acc.bytes()).as_mut_ptr());
        let cell_bytes = self.slots * self.slot_bytes();
        let memory = Shared(shared.raw(self.cells * cell_bytes).as_mut_ptr());
        for stage in &self.stages {
            let every = !matches!(stage, Stage::Write { every: false, .. });
            let tasks = if every { self.cells * self.parts } else { 1 };
            cx.pool.run(tasks, &|worker, task| {
                let (accs, memory) = (&accs, &memory);
                let mut bump = cx.bump(worker);
                let mut work = Work::new(self, &mut bump);
                let cells = if every { task / self.parts..task / self.parts + 1 } else { 0..self.cells };
                let part = task % self.parts;
                let range = self.items * part / self.parts..self.items * (part + 1) / self.parts;
                let slots = bump.take(self.slots, StripOperand::NONE);
                for cell in cells {
                    // SAFETY: the caller's contract; every task writes accumulators and elements of its own.
                    unsafe {
                        for (k, slot) in slots.iter_mut().enumerate() {
                            *slot = StripOperand::new(memory.0.add(cell * cell_bytes + k * self.slot_bytes()), 1);
                        }
                        let place = self.enter(&mut work.walk, cell);
                        match stage {
                            Stage::Reduce { .. } => {
                                let acc = accs.0.add((cell * self.parts + part) * self.acc.bytes());
                                self.reduce_items(cx, &mut work, stage, place, range.clone(), acc, slots);
                            }
                            Stage::Write { write, strip, every, loads } => {
                                let what = (*write, *strip, *every, *loads);
                                self.write_items(cx, &mut work, what, place, range.clone(), slots);
                            }
                        }
                    }
                }
            });
            if let Stage::Reduce { how, dtype, slot, .. } = stage {
                for cell in 0..self.cells {
                    // SAFETY: all tasks are done; the memory is that of the cell.
                    unsafe {
                        let acc = accs.0.add(cell * self.parts * self.acc.bytes());
                        for part in 1..self.parts {
                            self.acc.merge(acc, acc.add(part * self.acc.bytes()), *how, *dtype);
                        }
                        let to = memory.0.add(cell * cell_bytes + slot * self.slot_bytes());
                        self.acc.settle(acc, to, *how, *dtype);
                    }
                }
            }
        }
    }
}

/// A pointer that tasks share.
struct Shared(*mut u8);
// SAFETY: tasks use disjoint pieces.
unsafe impl Sync for Shared {}
