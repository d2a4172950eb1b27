//! Loop nests over the axes of a kernel: how a template walks points and finds its operands.
//!
//! In: a kernel's axes and accesses, in an order that the template chooses. Out: [`Nest`]: few axes, the last of which
//! is the strip; [`Walk`]: a position with the element offsets of every operand; operands of a strip with guards and
//! data-dependent offsets resolved. Invariants: neighbouring axes that behave as one are one; walking and fetching
//! allocate nothing. Imports: [`super::run`], [`super::strip`], `uad-plan`.

use super::run::{Bump, RunContext};
use super::strip::{DrawKey, Move, Port, StripArgs, StripFn, StripOperand};
use uad_plan::{Access, DType, Hole, Inst};

/// Most points of a strip that has fetched operands.
pub const FETCH: usize = 1024;

/// One operand of a nest. Everything per axis is in the order of [`Nest::extents`].
pub struct NestOperand {
    /// Number of the buffer.
    pub buffer: usize,
    /// Element type.
    pub dtype: DType,
    /// Elements per step.
    pub strides: Vec<i64>,
    offset: i64,
    /// `(offset, strides, extent)`; the current value of each is a number of the walk.
    guards: Vec<(i64, Vec<i64>, i64)>,
    /// `(read operand, elements per unit, extent)`.
    via: Vec<(usize, i64, i64)>,
    /// The value where a guard fails, as four bytes of the dtype.
    fill: [u8; 4],
    /// The first number of the walk that belongs to it: its offset, then its guards.
    at: usize,
    /// Is it fetched, rather than read where it lies?
    pub fetched: bool,
    /// How it moves along the strip, after fetching.
    pub moves: Move,
}

/// A loop nest.
pub struct Nest {
    /// Extents; the last axis is the strip.
    pub extents: Vec<i64>,
    /// For each axis the kernel axis whose index it is, if it is one.
    pub axis: Vec<Option<u32>>,
    /// Axes of the kernel.
    pub kernel_axes: usize,
    /// Read operands, by number.
    pub reads: Vec<NestOperand>,
    /// Written operands, by number.
    pub writes: Vec<NestOperand>,
    /// Operands that the template adds after those it reads.
    pub extra: usize,
    /// Read operands to resolve, those that others need first.
    order: Vec<usize>,
    /// Numbers of a walk.
    numbers: usize,
    /// Per axis: what a step adds to each number.
    steps: Vec<Vec<i64>>,
    /// The numbers at the origin.
    origin: Vec<i64>,
}

/// A position in a nest: coordinates, and the numbers that depend on them.
pub struct Walk<'a> {
    /// One per axis of the nest; the strip's stays 0.
    pub coordinates: &'a mut [i64],
    numbers: &'a mut [i64],
    /// One per axis of the kernel, for holes; the strip's is set by the template.
    pub base: &'a mut [i32],
    /// Resolved read operands.
    pub operands: &'a mut [StripOperand],
    /// Buffers of fetched operands, [`FETCH`] elements each.
    buffers: &'a mut [u8],
}

impl Walk<'_> {
    /// Calls a hole at the `n` points of the strip that were fetched.
    ///
    /// # Safety
    /// The operands fit what the hole was compiled from ([`StripFn`]).
    pub unsafe fn call(
        &self,
        hole: StripFn,
        n: usize,
        slots: &[StripOperand],
        results: &[StripOperand],
        draw: &DrawKey,
    ) {
        let args = StripArgs {
            n,
            reads: self.operands.as_ptr(),
            slots: slots.as_ptr(),
            results: results.as_ptr(),
            base: self.base.as_ptr(),
            draw,
        };
        // SAFETY: the caller's contract.
        unsafe { hole(&args) }
    }
}

/// An operand at the points of some axes: element offsets, and what the guards add, from the origin of those axes.
pub struct PointTable {
    read: usize,
    offsets: Vec<i64>,
    /// Per point, per guard.
    guards: Vec<i64>,
}

impl NestOperand {
    /// Is `value` what stands where a guard fails (or are there no guards)?
    pub fn fills(&self, value: f32) -> bool {
        self.guards.is_empty() || (self.dtype == DType::F32 && self.fill == value.to_ne_bytes())
    }
}

/// Read operands that a hole loads.
pub fn loads(hole: &Hole<i64>) -> Vec<usize> {
    let mut found: Vec<usize> =
        hole.code.iter().filter_map(|i| if let Inst::Load(n) = i { Some(*n as usize) } else { None }).collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// Kernel axes whose index a hole reads.
pub fn indices(hole: &Hole<i64>) -> Vec<usize> {
    hole.code.iter().filter_map(|i| if let Inst::Index(n) = i { Some(*n as usize) } else { None }).collect()
}

/// Operands that are read for the sake of these: those that index them too.
pub fn with_vias(reads: &[Access<i64>], mut used: Vec<usize>) -> Vec<usize> {
    let mut next = 0;
    while next < used.len() {
        for via in &reads[used[next]].via {
            if !used.contains(&(via.read as usize)) {
                used.push(via.read as usize);
            }
        }
        next += 1;
    }
    used
}

impl Nest {
    /// Builds a nest over `groups` of kernel axes: axes merge inside a group only, the last axis of the last group is
    /// the strip, and axes whose index is read (`pinned`) never merge.
    pub fn new(
        dtypes: &[DType],
        axes: &[i64],
        reads: &[Access<i64>],
        writes: &[Access<i64>],
        groups: &[Vec<usize>],
        pinned: &[usize],
        used: &[usize],
    ) -> Result<(Nest, Vec<usize>), String> {
        let used = with_vias(reads, used.to_vec());
        let watched: Vec<&Access<i64>> = used.iter().map(|r| &reads[*r]).chain(writes).collect();
        // Per nest axis: the kernel axes that it merges, outermost first.
        let mut merged: Vec<Vec<usize>> = Vec::new();
        let mut ends = Vec::new();
        for (g, group) in groups.iter().enumerate() {
            let start = merged.len();
            for a in group {
                if axes[*a] == 1 {
                    continue;
                }
                let joins = merged.len() > start && {
                    let p = merged[merged.len() - 1].last().copied().unwrap_or(*a);
                    let one = |s: &[i64]| s[p] == s[*a] * axes[*a];
                    !pinned.contains(&p)
                        && !pinned.contains(a)
                        && watched.iter().all(|x| one(&x.strides) && x.guards.iter().all(|g| one(&g.strides)))
                };
                match merged.last_mut() {
                    Some(last) if joins => last.push(*a),
                    _ => merged.push(vec![*a]),
                }
            }
            if g + 1 == groups.len() && merged.len() == start {
                merged.push(Vec::new());
            }
            ends.push(merged.len());
        }
        let extents: Vec<i64> = merged.iter().map(|m| m.iter().map(|a| axes[*a]).product()).collect();
        let axis = merged.iter().map(|m| if m.len() == 1 { Some(m[0] as u32) } else { None }).collect();
        let (mut numbers, strip) = (0, merged.len() - 1);
        let project = |s: &[i64]| -> Vec<i64> { merged.iter().map(|m| m.last().map_or(0, |a| s[*a])).collect() };
        let mut build = |access: &Access<i64>| -> Result<NestOperand, String> {
            let buffer = access.buffer.0 as usize;
            let dtype = *dtypes.get(buffer).ok_or("an access names a buffer that is not there")?;
            let strides = project(&access.strides);
            let guards: Vec<_> = access.guards.iter().map(|g| (g.offset, project(&g.strides), g.extent)).collect();
            let via = access.via.iter().map(|v| (v.read as usize, v.stride, v.extent)).collect();
            let mut fill = [0u8; 4];
            match dtype {
                DType::F32 => fill = (access.fill as f32).to_ne_bytes(),
                DType::I32 => fill = (access.fill as i32).to_ne_bytes(),
                DType::Bool => fill[0] = u8::from(access.fill != 0.0),
            }
            let at = numbers;
            numbers += 1 + guards.len();
            let moves = Move::of(strides[strip]);
            let offset = access.offset;
            Ok(NestOperand { buffer, dtype, strides, offset, guards, via, fill, at, fetched: false, moves })
        };
        let mut reads: Vec<NestOperand> = reads.iter().map(&mut build).collect::<Result<_, _>>()?;
        let writes: Vec<NestOperand> = writes.iter().map(&mut build).collect::<Result<_, _>>()?;
        // Those that index others come first; `used` lists them after, so its reverse may be wrong for diamonds.
        let mut order: Vec<usize> = Vec::new();
        fn visit(r: usize, reads: &[NestOperand], order: &mut Vec<usize>, depth: usize) -> Result<(), String> {
            if depth > reads.len() {
                return Err("operands index each other in a circle".to_owned());
            }
            for via in &reads[r].via {
                visit(via.0, reads, order, depth + 1)?;
            }
            if !order.contains(&r) {
                order.push(r);
            }
            Ok(())
        }
        for r in &used {
            visit(*r, &reads, &mut order, 0)?;
        }
        for r in &order {
            let moving = reads[*r].guards.iter().any(|g| g.1[strip] != 0)
                || reads[*r].via.iter().any(|v| reads[v.0].moves != Move::Fixed);
            let o = &reads[*r];
            let fetched = !o.guards.is_empty() || !o.via.is_empty();
            let still = o.moves == Move::Fixed && !moving;
            let o = &mut reads[*r];
            o.fetched = fetched;
            if fetched {
                o.moves = if still { Move::Fixed } else { Move::Unit };
            }
        }
        let all = || reads.iter().chain(&writes);
        let steps = (0..merged.len())
            .map(|a| {
                all().flat_map(|o| [o.strides[a]].into_iter().chain(o.guards.iter().map(move |g| g.1[a]))).collect()
            })
            .collect();
        let origin = all().flat_map(|o| [o.offset].into_iter().chain(o.guards.iter().map(|g| g.0))).collect();
        let nest =
            Nest { extents, axis, kernel_axes: axes.len(), reads, writes, extra: 0, order, numbers, steps, origin };
        Ok((nest, ends))
    }

    /// The number of the strip axis.
    pub fn strip(&self) -> usize {
        self.extents.len() - 1
    }

    /// The kernel axis along which the strip moves, if it is one.
    pub fn moving(&self) -> Option<u32> {
        self.axis[self.strip()]
    }

    /// Is any operand fetched? Then strips have at most [`FETCH`] points.
    pub fn fetches(&self) -> bool {
        self.order.iter().any(|r| self.reads[*r].fetched && self.reads[*r].moves == Move::Unit)
    }

    /// Ports of the read operands as holes see them along the strip.
    pub fn read_ports(&self) -> Vec<Port> {
        self.reads.iter().map(|o| Port::new(o.dtype, o.moves)).collect()
    }

    /// Points of the axes `range`.
    pub fn points(&self, range: std::ops::Range<usize>) -> usize {
        self.extents[range].iter().map(|e| (*e).max(0) as usize).product()
    }

    /// Bytes of scratch that a walk needs.
    pub fn scratch(&self) -> usize {
        let fetched = self.order.iter().filter(|r| self.reads[**r].fetched).count();
        8 * (self.extents.len() + self.numbers)
            + 4 * self.kernel_axes
            + 16 * (self.reads.len() + self.extra)
            + fetched * FETCH * 4
            + 5 * 64
    }

    /// A walk at the origin.
    pub fn walk<'a>(&self, bump: &mut Bump<'a>) -> Walk<'a> {
        let fetched = self.order.iter().filter(|r| self.reads[**r].fetched).count();
        let walk = Walk {
            coordinates: bump.take(self.extents.len(), 0i64),
            numbers: bump.take(self.numbers, 0i64),
            base: bump.take(self.kernel_axes, 0i32),
            operands: bump.take(self.reads.len() + self.extra, StripOperand::NONE),
            buffers: bump.raw(fetched * FETCH * 4),
        };
        walk.numbers.copy_from_slice(&self.origin);
        walk
    }

    /// Goes to the point `flat` (row-major) of the axes `range`; the other axes stay.
    pub fn seek(&self, walk: &mut Walk<'_>, range: std::ops::Range<usize>, mut flat: usize) {
        for a in range.rev() {
            let extent = self.extents[a].max(1) as usize;
            self.place(walk, a, (flat % extent) as i64);
            flat /= extent;
        }
    }

    /// Sets one coordinate.
    pub fn place(&self, walk: &mut Walk<'_>, axis: usize, to: i64) {
        let by = to - walk.coordinates[axis];
        walk.coordinates[axis] = to;
        if by != 0 {
            walk.numbers.iter_mut().zip(&self.steps[axis]).for_each(|(n, s)| *n += by * s);
        }
        if let Some(k) = self.axis[axis] {
            walk.base[k as usize] = to as i32;
        }
    }

    /// Steps to the next point of the axes `range`, row-major; back at the first it says false.
    pub fn next(&self, walk: &mut Walk<'_>, range: std::ops::Range<usize>) -> bool {
        for a in range.rev() {
            let here = walk.coordinates[a] + 1;
            if here < self.extents[a] {
                self.place(walk, a, here);
                return true;
            }
            self.place(walk, a, 0);
        }
        false
    }

    /// Tells holes the strip's first point, where no operand is read.
    pub fn start(&self, walk: &mut Walk<'_>, first: usize) {
        if let Some(k) = self.axis[self.strip()] {
            walk.base[k as usize] = first as i32;
        }
    }

    /// Resolves every read operand for the points `first..first + n` of the strip.
    ///
    /// # Safety
    /// The context's pointers are valid for the entry's buffers, and `n` is at most [`FETCH`] if anything is fetched.
    pub unsafe fn fetch(&self, walk: &mut Walk<'_>, cx: &RunContext<'_>, first: usize, n: usize) {
        self.start(walk, first);
        let mut buffer = 0;
        for r in &self.order {
            let o = &self.reads[*r];
            let stride = o.strides[self.strip()];
            let offset = walk.numbers[o.at] + stride * first as i64;
            let pointer = cx.pointers[o.buffer];
            if !o.fetched {
                // SAFETY: the element is inside the buffer, as bound.
                let pointer = unsafe { pointer.offset(offset as isize * o.dtype.bytes() as isize) };
                walk.operands[*r] = StripOperand { pointer, stride: stride as isize };
                continue;
            }
            let room = walk.buffers[buffer * FETCH * 4..].as_mut_ptr();
            buffer += 1;
            // SAFETY: the caller's contract; a buffer has room for `FETCH` elements.
            walk.operands[*r] = unsafe { self.fetch_one(o, walk, pointer, offset, first, n, room) };
        }
    }

    unsafe fn fetch_one(
        &self,
        o: &NestOperand,
        walk: &Walk<'_>,
        pointer: *mut u8,
        mut offset: i64,
        first: usize,
        n: usize,
        room: *mut u8,
    ) -> StripOperand {
        let strip = self.strip();
        // Points of this strip at which every guard holds.
        let (mut lo, mut hi) = (0i64, n as i64);
        for (g, (_, strides, extent)) in o.guards.iter().enumerate() {
            let s = strides[strip];
            let v = walk.numbers[o.at + 1 + g] + s * first as i64;
            if s == 0 {
                if v < 0 || v >= *extent {
                    hi = lo;
                }
            } else if s > 0 {
                lo = lo.max((-v).div_euclid(s) + i64::from((-v).rem_euclid(s) != 0));
                hi = hi.min((extent - 1 - v).div_euclid(s) + 1);
            } else {
                // 0 <= v + s*i < extent with s < 0: i <= v / -s and i > (v - extent) / -s.
                hi = hi.min(v.div_euclid(-s) + 1);
                lo = lo.max((v - extent).div_euclid(-s) + 1);
            }
        }
        let size = o.dtype.bytes() as isize;
        if hi <= lo && o.moves == Move::Fixed {
            return StripOperand::new(o.fill.as_ptr(), 0);
        }
        let (lo, hi) = if hi <= lo { (0, 0) } else { (lo as usize, hi as usize) };
        // SAFETY: bound: at points where the guards hold the element is inside the buffer; indices are clamped.
        unsafe {
            let mut gathers = false;
            if hi > lo {
                for (read, stride, extent) in &o.via {
                    let index = walk.operands[*read];
                    if self.reads[*read].moves == Move::Fixed {
                        let i = i64::from(index.pointer.cast::<i32>().read_unaligned());
                        offset += i.clamp(0, (extent - 1).max(0)) * stride;
                    } else {
                        gathers = true;
                    }
                }
            }
            let stride = o.strides[strip] as isize;
            let whole = lo == 0 && hi == n;
            if !gathers && (o.moves == Move::Fixed || (whole && stride == 1)) {
                return StripOperand { pointer: pointer.offset(offset as isize * size), stride: 1 };
            }
            let via = o.via.as_slice();
            match o.dtype {
                DType::Bool => {
                    let from = pointer.offset(offset as isize);
                    self.copy::<u8>(room, from, stride, (lo, hi, n), o.fill[0], gathers, via, walk);
                }
                DType::F32 | DType::I32 => {
                    let from = pointer.cast::<u32>().offset(offset as isize);
                    let fill = u32::from_ne_bytes(o.fill);
                    self.copy::<u32>(room.cast(), from, stride, (lo, hi, n), fill, gathers, via, walk);
                }
            }
        }
        StripOperand { pointer: room, stride: 1 }
    }

    #[inline(always)]
    unsafe fn copy<T: Copy>(
        &self,
        to: *mut T,
        from: *const T,
        stride: isize,
        (lo, hi, n): (usize, usize, usize),
        fill: T,
        gathers: bool,
        via: &[(usize, i64, i64)],
        walk: &Walk<'_>,
    ) {
        // SAFETY: as in `fetch_one`.
        unsafe {
            (0..lo).chain(hi..n).for_each(|i| *to.add(i) = fill);
            if gathers {
                for i in lo..hi {
                    let mut at = stride * i as isize;
                    for (read, step, extent) in via {
                        if self.reads[*read].moves == Move::Fixed {
                            continue;
                        }
                        let o = walk.operands[*read];
                        let by = if self.reads[*read].moves == Move::Unit { 1 } else { o.stride };
                        let index = o.pointer.cast::<i32>().offset(i as isize * by).read_unaligned();
                        at += i64::from(index).clamp(0, (extent - 1).max(0)) as isize * *step as isize;
                    }
                    *to.add(i) = *from.offset(at);
                }
            } else if stride == 1 {
                std::ptr::copy_nonoverlapping(from.add(lo), to.add(lo), hi - lo);
            } else {
                for i in lo..hi {
                    *to.add(i) = *from.offset(stride * i as isize);
                }
            }
        }
    }

    /// The table of read operand `read` over the axes `range`, if along the strip it lies element by element and no
    /// guard changes.
    pub fn table(&self, read: usize, range: std::ops::Range<usize>) -> Option<PointTable> {
        let o = &self.reads[read];
        let strip = self.strip();
        let points = self.points(range.clone());
        let simple = o.via.is_empty() && o.strides[strip] == 1 && o.guards.iter().all(|g| g.1[strip] == 0);
        if !simple || points > 4096 {
            return None;
        }
        let mut table = PointTable { read, offsets: Vec::new(), guards: Vec::new() };
        for p in 0..points {
            let mut rest = p as i64;
            let mut at = vec![0i64; self.extents.len()];
            for a in range.clone().rev() {
                at[a] = rest % self.extents[a];
                rest /= self.extents[a];
            }
            let dot = |s: &[i64]| at.iter().zip(s).map(|(c, s)| c * s).sum::<i64>();
            table.offsets.push(dot(&o.strides));
            table.guards.extend(o.guards.iter().map(|g| dot(&g.1)));
        }
        Some(table)
    }

    /// Writes to `list` where the strip from point `first` on lies for those points of a table at which the guards
    /// hold; gives how many.
    ///
    /// # Safety
    /// The context's pointers are valid, the walk is at the first point of the table's axes, and `list` has room.
    pub unsafe fn list(
        &self,
        table: &PointTable,
        walk: &Walk<'_>,
        cx: &RunContext<'_>,
        first: usize,
        points: std::ops::Range<usize>,
        list: *mut *const f32,
    ) -> usize {
        let o = &self.reads[table.read];
        let base = walk.numbers[o.at] + first as i64;
        let guards = &walk.numbers[o.at + 1..o.at + 1 + o.guards.len()];
        let from = cx.pointers[o.buffer].cast_const().cast::<f32>();
        let mut count = 0;
        for p in points {
            let added = &table.guards[p * guards.len()..(p + 1) * guards.len()];
            let fails = |g: usize| (guards[g] + added[g]) as u64 >= o.guards[g].2 as u64;
            if (0..guards.len()).any(fails) {
                continue;
            }
            // SAFETY: where the guards hold the element is inside the buffer, as bound.
            unsafe { *list.add(count) = from.offset((base + table.offsets[p]) as isize) };
            count += 1;
        }
        count
    }

    /// Where written operand `w` is at point `first` of the strip. Data-dependent offsets are not added.
    ///
    /// # Safety
    /// The context's pointers are valid for the entry's buffers.
    pub unsafe fn target(&self, walk: &Walk<'_>, cx: &RunContext<'_>, w: usize, first: usize) -> StripOperand {
        let o = &self.writes[w];
        let stride = o.strides[self.strip()];
        let offset = walk.numbers[o.at] + stride * first as i64;
        // SAFETY: the element is inside the buffer, as bound.
        let pointer = unsafe { cx.pointers[o.buffer].offset(offset as isize * o.dtype.bytes() as isize) };
        StripOperand { pointer, stride: stride as isize }
    }

    /// The movement of written operand `w` along the strip.
    pub fn write_port(&self, w: usize) -> Port {
        Port::new(self.writes[w].dtype, Move::of(self.writes[w].strides[self.strip()]))
    }
}

/// Cuts `total` points into blocks of at most `most`, a multiple of 16 but for the last.
pub fn block_of(total: usize, most: usize) -> usize {
    if total <= most {
        return total.max(1);
    }
    let blocks = total.div_ceil(most);
    total.div_ceil(blocks).next_multiple_of(16)
}
