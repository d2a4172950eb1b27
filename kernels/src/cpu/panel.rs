//! The right side of a product as panels: some vectors of columns for every k, one after the other.
//!
//! In: a hole over column and summed axes. Out: panels, columns beyond the last filled with zeros.
//! Invariants: a panel's contents depend on nothing but the operand; panels are as even as they can be.
//! Imports: [`super::axes`], [`super::hole_strip`], [`super::gemm`].

use super::axes::{Point, Walk, along};
use super::gemm::panel_width;
use super::hole_jit::HoleCompiler;
use super::hole_strip::{HoleStrip, StripContext};
use super::isa::Isa;
use super::strip::{Move, Port, StripOperand};
use uad_plan::{Access, Buffer, DType, Hole};

/// Columns, and elements of the summed axis, that are transposed at a time: a cache line each way.
const TRANSPOSED: usize = 16;

/// A group of columns.
#[derive(Clone, Copy, Debug)]
pub struct Panel {
    /// First column.
    pub first: usize,
    /// Columns.
    pub columns: usize,
    /// Vectors: the columns rounded up.
    pub width: usize,
    /// Elements of the panels before it.
    pub at: usize,
}

/// Cuts `n` columns into panels of `k` rows; gives them and their length together.
pub fn panels(isa: Isa, n: usize, k: usize) -> (Vec<Panel>, usize) {
    let lanes = isa.lanes();
    let vectors = n.div_ceil(lanes);
    let many = vectors.div_ceil(panel_width(isa));
    let mut all = Vec::with_capacity(many);
    let (mut vector, mut at) = (0, 0);
    for p in 0..many {
        let width = vectors / many + usize::from(p < vectors % many);
        let first = vector * lanes;
        all.push(Panel { first, columns: (n - first).min(width * lanes), width, at });
        vector += width;
        at += width * lanes * k;
    }
    (all, at)
}

/// How panels are filled.
#[derive(Clone, Debug)]
pub struct Packer {
    strip: HoleStrip,
    /// Strips run along the innermost column axis, else along the innermost summed axis.
    by_columns: bool,
    cols: Walk,
    outer: Walk,
    segments: usize,
    inner: Option<usize>,
    depth: usize,
    /// An operand that only has to be transposed: its column and summed strides are uniform.
    transposed: Option<(Access<i64>, isize)>,
    /// An operand whose columns are neighbours in memory.
    lines: Option<Access<i64>>,
    lanes: usize,
}

impl Packer {
    /// A packer for `hole` over the columns `cols` and the summed axes: `outer`, then `inner` of extent `depth`.
    pub fn compile(
        hole: &Hole<i64>,
        reads: &[Access<i64>],
        buffers: &[Buffer<i64>],
        cols: &Walk,
        outer: &Walk,
        inner: Option<usize>,
        depth: usize,
        isa: Isa,
        holes: &mut HoleCompiler,
    ) -> Result<Packer, String> {
        let lanes = isa.lanes();
        let last = (!cols.extents.is_empty()).then(|| cols.first + cols.extents.len() - 1);
        let load = hole.as_load().and_then(|i| reads.get(i as usize));
        let by_columns = match (last, load) {
            (Some(a), Some(r)) => r.strides[a] == 1 || inner.is_none(),
            (Some(_), None) => cols.extents.last().is_some_and(|e| *e as usize >= depth),
            (None, _) => false,
        };
        let (axis, longest, moves) =
            if by_columns { (last, lanes * super::gemm::MAX_WIDTH, Move::Unit) } else { (inner, depth, Move::Strided) };
        let axis = axis.unwrap_or(usize::MAX);
        let results = vec![Port::new(DType::F32, moves)];
        let strip = HoleStrip::compile(hole, reads, buffers, axis, longest, Vec::new(), results, holes)?;
        let plain = |r: &&Access<i64>| {
            r.guards.is_empty() && r.via.is_empty() && buffers[r.buffer.0 as usize].dtype == DType::F32
        };
        let transposed = match (load.filter(plain), inner) {
            (Some(r), Some(a)) if r.strides[a] == 1 && !by_columns => {
                cols.uniform(&r.strides).map(|s| (r.clone(), s as isize))
            }
            _ => None,
        };
        let lines = load.filter(plain).filter(|r| by_columns && cols.uniform(&r.strides) == Some(1)).cloned();
        let segments = outer.extents.iter().product::<i64>() as usize;
        let (cols, outer) = (cols.clone(), outer.clone());
        Ok(Packer { strip, by_columns, cols, outer, segments, inner, depth, transposed, lines, lanes })
    }

    /// Bytes of scratch a call needs.
    pub fn scratch(&self) -> usize {
        self.strip.scratch()
    }

    /// Fills one panel, for the coordinates of `origin` on all other axes.
    ///
    /// # Safety
    /// The operands are valid; `to` has room for the panel.
    pub unsafe fn pack(&self, with: &StripContext<'_>, origin: &Point, p: &Panel, to: *mut f32) {
        // SAFETY: the caller's contract; the strips cover the panel.
        unsafe {
            let wide = p.width * self.lanes;
            let mut at = *origin;
            if p.columns < wide {
                for k in 0..self.segments * self.depth {
                    (p.columns..wide).for_each(|c| *to.add(k * wide + c) = 0.0);
                }
            }
            if let Some((access, column)) = &self.transposed {
                let from = with.pointers[access.buffer.0 as usize] as *const f32;
                for s in 0..self.segments {
                    self.outer.seek(s as i64, &mut at);
                    let from = from.offset((access.offset + along(&access.strides, &at)) as isize);
                    let from = from.offset(p.first as isize * column);
                    let to = to.add(s * self.depth * wide);
                    for k in (0..self.depth).step_by(TRANSPOSED) {
                        let ks = TRANSPOSED.min(self.depth - k);
                        for c in (0..p.columns).step_by(TRANSPOSED) {
                            let cs = TRANSPOSED.min(p.columns - c);
                            let from = from.offset(c as isize * column).add(k);
                            transpose(from, *column, to.add(k * wide + c), wide, (ks, cs));
                        }
                    }
                }
            } else if let Some(access) = &self.lines {
                let from = with.pointers[access.buffer.0 as usize] as *const f32;
                let step = self.inner.map_or(0, |a| access.strides[a]) as isize;
                for s in 0..self.segments {
                    self.outer.seek(s as i64, &mut at);
                    let from = from.offset((access.offset + along(&access.strides, &at)) as isize).add(p.first);
                    for k in 0..self.depth {
                        let line = to.add((s * self.depth + k) * wide);
                        std::ptr::copy_nonoverlapping(from.offset(k as isize * step), line, p.columns);
                    }
                }
            } else if self.by_columns {
                // Strips along the innermost column axis, for every k.
                let length = self.cols.extents.last().copied().unwrap_or(1);
                let axis = self.cols.first + self.cols.extents.len() - 1;
                for s in 0..self.segments {
                    self.outer.seek(s as i64, &mut at);
                    for k in 0..self.depth {
                        if let Some(a) = self.inner {
                            at[a] = k as i64;
                        }
                        let line = to.add((s * self.depth + k) * wide);
                        let mut c = 0;
                        while c < p.columns {
                            self.cols.seek((p.first + c) as i64, &mut at);
                            let n = ((length - at[axis]) as usize).min(p.columns - c);
                            self.strip.run(with, &at, n, &[], &[StripOperand::new(line.add(c), 1)]);
                            c += n;
                        }
                    }
                }
            } else {
                for s in 0..self.segments {
                    self.outer.seek(s as i64, &mut at);
                    for c in 0..p.columns {
                        self.cols.seek((p.first + c) as i64, &mut at);
                        let target = StripOperand::new(to.add(s * self.depth * wide + c), wide as isize);
                        self.strip.run(with, &at, self.depth, &[], &[target]);
                    }
                }
            }
        }
    }
}

/// Writes `cs` lines of `ks` neighbours, `column` apart, as `ks` lines of `cs` neighbours, `wide` apart.
#[inline(always)]
unsafe fn transpose(from: *const f32, column: isize, to: *mut f32, wide: usize, (ks, cs): (usize, usize)) {
    // SAFETY: the caller vouches for both.
    unsafe {
        if (ks, cs) == (TRANSPOSED, TRANSPOSED) {
            // Lines come into a buffer whole: far apart in memory, they would push one another out of the cache.
            let mut block = [[0f32; TRANSPOSED]; TRANSPOSED];
            for c in 0..TRANSPOSED {
                block[c] = from.offset(c as isize * column).cast::<[f32; TRANSPOSED]>().read_unaligned();
            }
            for k in 0..TRANSPOSED {
                let line: [f32; TRANSPOSED] = std::array::from_fn(|c| block[c][k]);
                to.add(k * wide).cast::<[f32; TRANSPOSED]>().write_unaligned(line);
            }
        } else {
            for k in 0..ks {
                for c in 0..cs {
                    *to.add(k * wide + c) = *from.offset(c as isize * column).add(k);
                }
            }
        }
    }
}
