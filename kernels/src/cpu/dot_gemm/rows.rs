//! The rows of a tile: where they are read, how they are packed, how an epilogue goes over them.
//!
//! In: a plan and a task's part of it. Out: tables of pointers, packed rows, finished rows. Invariants: a pointer leads
//! to as many values as the tile reads from it; a row outside the operand is a row of zeros. Imports: [`super`].

// The tables here are indexed side by side.
#![allow(clippy::needless_range_loop)]

use super::{GemmPlan, Left, Piece};
use crate::cpu::axes::{Point, along};
use crate::cpu::gemm::MAX_ROWS;
use crate::cpu::hole_strip::{HoleStrip, StripContext};
use crate::cpu::panel::Panel;
use crate::cpu::run::RunContext;
use crate::cpu::strip::StripOperand;
use uad_plan::Access;

impl GemmPlan {
    /// Packs the rows of a task, if rows are packed.
    pub(super) unsafe fn pack_rows(
        &self,
        ctx: &RunContext<'_>,
        with: &StripContext<'_>,
        left: *mut f32,
        origin: Point,
        r0: usize,
        r1: usize,
    ) {
        // SAFETY: the caller's contract; `left` has room for a block.
        unsafe {
            let mut at = origin;
            let segments: i64 = self.outer.extents.iter().product();
            match &self.left {
                Left::Direct { .. } => {}
                Left::Rows(strip) => {
                    for r in r0..r1 {
                        self.rows.seek(r as i64, &mut at);
                        for s in 0..segments {
                            self.outer.seek(s, &mut at);
                            let to = left.add((r - r0) * self.k + s as usize * self.depth);
                            strip.run(with, &at, self.depth, &[], &[StripOperand::new(to, 1)]);
                        }
                    }
                }
                Left::Lines(access, row) => {
                    let length = self.rows.extents.last().copied().unwrap_or(1);
                    let axis = self.rows.first + self.rows.extents.len() - 1;
                    let base = self.source(ctx, access);
                    let step = self.inner.map_or(0, |a| access.strides[a]) as isize;
                    for s in 0..segments {
                        self.outer.seek(s, &mut at);
                        let to = left.add(s as usize * self.depth * row);
                        let mut r = r0;
                        while r < r1 {
                            self.rows.seek(r as i64, &mut at);
                            let n = ((length - at[axis]) as usize).min(r1 - r);
                            let from = base.offset((access.offset + along(&access.strides, &at)) as isize);
                            for k in 0..self.depth {
                                let line = to.add(k * row + r - r0);
                                std::ptr::copy_nonoverlapping(from.offset(k as isize * step), line, n);
                            }
                            r += n;
                        }
                    }
                }
                Left::Columns(strip, row) => {
                    let length = self.rows.extents.last().copied().unwrap_or(1);
                    let axis = self.rows.first + self.rows.extents.len() - 1;
                    for s in 0..segments {
                        self.outer.seek(s, &mut at);
                        for k in 0..self.depth {
                            if let Some(a) = self.inner {
                                at[a] = k as i64;
                            }
                            let line = left.add((s as usize * self.depth + k) * row);
                            let mut r = r0;
                            while r < r1 {
                                self.rows.seek(r as i64, &mut at);
                                let n = ((length - at[axis]) as usize).min(r1 - r);
                                strip.run(with, &at, n, &[], &[StripOperand::new(line.add(r - r0), 1)]);
                                r += n;
                            }
                        }
                    }
                }
            }
        }
    }

    /// Writes the pointers of a tile; gives the number of segments and the step along k.
    pub(super) unsafe fn fill_table(
        &self,
        ctx: &RunContext<'_>,
        table: *mut *const f32,
        left: *const f32,
        origin: &Point,
        (r0, _): (usize, usize),
        (t0, t1): (usize, usize),
        piece: &Piece,
        b: *const f32,
        b_step: isize,
    ) -> (usize, isize) {
        let rows = t1 - t0;
        // SAFETY: the table has room for all segments; offsets come from verified accesses.
        unsafe {
            let (access, offsets, guards, step, uniform) = match &self.left {
                Left::Rows(_) | Left::Columns(..) | Left::Lines(..) => {
                    let (row, step) = match &self.left {
                        Left::Columns(_, step) | Left::Lines(_, step) => (1, *step),
                        _ => (self.k, 1),
                    };
                    *table = b.offset(piece.from as isize * b_step);
                    for i in 0..rows {
                        *table.add(1 + i) = left.add((t0 - r0 + i) * row + piece.from * step);
                    }
                    return (1, step as isize);
                }
                Left::Direct { access, offsets, guards, step, row } => (access, offsets, guards, *step, *row),
            };
            let base = self.source(ctx, access);
            let from = piece.from as isize * step;
            let segment = |s: usize| b.offset((s * self.depth + piece.from) as isize * b_step);
            let mut at = *origin;
            if let Some(row) = uniform {
                let start = access.offset as isize + along(&access.strides, &at) as isize + row * t0 as isize + from;
                let mut entry = table;
                for s in piece.first..piece.first + piece.count {
                    *entry = segment(s);
                    let p = base.wrapping_offset(start + offsets[s]);
                    for i in 0..rows {
                        *entry.add(1 + i) = p.wrapping_offset(row * i as isize);
                    }
                    entry = entry.add(1 + rows);
                }
                return (piece.count, step);
            }
            let checks = access.guards.len();
            let mut starts = [0isize; MAX_ROWS];
            let mut values = [[0i64; 4]; MAX_ROWS];
            self.rows.seek(t0 as i64, &mut at);
            let last = self.rows.first + self.rows.extents.len().max(1) - 1;
            for i in 0..rows {
                if i > 0 && at[last] > 0 {
                    // One step along the innermost row axis.
                    starts[i] = starts[i - 1] + access.strides[last] as isize;
                    for (g, guard) in access.guards.iter().enumerate() {
                        values[i][g] = values[i - 1][g] + guard.strides[last];
                    }
                } else {
                    starts[i] = (access.offset + along(&access.strides, &at)) as isize + from;
                    for (g, v) in access.guards.iter().zip(&mut values[i]) {
                        *v = g.offset + along(&g.strides, &at);
                    }
                }
                self.rows.next(&mut at);
            }
            let mut entry = table;
            if checks == 0 {
                for s in piece.first..piece.first + piece.count {
                    *entry = segment(s);
                    let p = base.wrapping_offset(offsets[s]);
                    for i in 0..rows {
                        *entry.add(1 + i) = p.wrapping_offset(starts[i]);
                    }
                    entry = entry.add(1 + rows);
                }
                return (piece.count, step);
            }
            let mut count = 0;
            for s in piece.first..piece.first + piece.count {
                let here = &guards[s * checks..(s + 1) * checks];
                *entry = segment(s);
                let mut any = false;
                for i in 0..rows {
                    let inside = access
                        .guards
                        .iter()
                        .enumerate()
                        .all(|(g, guard)| ((values[i][g] + here[g]) as u64) < guard.extent as u64);
                    any |= inside;
                    *entry.add(1 + i) =
                        if inside { base.wrapping_offset(starts[i] + offsets[s]) } else { self.zeros.as_ptr() };
                }
                // A piece of the sum that is zero for all rows is left out.
                if any {
                    entry = entry.add(1 + rows);
                    count += 1;
                }
            }
            (count, step)
        }
    }

    /// Applies the `out` hole to a tile of sums, row by row.
    pub(super) unsafe fn finish_rows(
        &self,
        ctx: &RunContext<'_>,
        with: &StripContext<'_>,
        strip: &HoleStrip,
        axis: Option<usize>,
        writes: &[(Access<i64>, usize)],
        sums: *const f32,
        origin: Point,
        p: &Panel,
        t0: usize,
        rows: usize,
    ) {
        let mut at = origin;
        let wide = p.width * self.isa.lanes();
        for i in 0..rows {
            self.rows.seek((t0 + i) as i64, &mut at);
            let mut c = 0;
            while c < p.columns {
                self.cols.seek((p.first + c) as i64, &mut at);
                let n =
                    axis.map_or(1, |a| (self.cols.extents[a - self.cols.first] - at[a]) as usize).min(p.columns - c);
                let mut results = [StripOperand::NONE; 8];
                for (r, (w, size)) in results.iter_mut().zip(writes) {
                    let o = (w.offset + along(&w.strides, &at)) as isize * *size as isize;
                    r.pointer = ctx.pointers[w.buffer.0 as usize].wrapping_offset(o);
                    r.stride = axis.map_or(0, |a| w.strides[a] as isize);
                }
                // SAFETY: the strip stays inside the tile and the results.
                unsafe {
                    let slot = StripOperand::new(sums.add(i * wide + c), 1);
                    strip.run(with, &at, n, &[slot], &results);
                }
                c += n;
            }
        }
    }

    /// Where the left operand is read: its buffer or the padded copy.
    fn source(&self, ctx: &RunContext<'_>, access: &Access<i64>) -> *const f32 {
        match &self.pad {
            Some(_) => ctx.shared.cast(),
            None => ctx.pointers[access.buffer.0 as usize].cast(),
        }
    }
}
