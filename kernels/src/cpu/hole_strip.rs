//! A hole evaluated along strips of a contraction: packing operands, finishing results.
//!
//! In: a hole, the accesses it loads, the axis the strips run along. Out: values at the results' places.
//! Invariants: an operand whose guards fail gives its fill; indices of gathers are held to their extent; nothing is
//! read where a guard fails; nothing is allocated at a call. A hole that only loads needs no compiled code.
//! Imports: [`super::axes`], [`super::strip`], [`super::hole_jit`], `uad-plan`.

use super::axes::{MAX_AXES, Point, along, loads};
use super::hole_jit::{HoleCode, HoleCompiler};
use super::strip::{DrawKey, Move, Port, StripArgs, StripId, StripOperand, StripSpec};
use uad_plan::{Access, Buffer, DType, Hole};

/// Most read operands of a kernel.
const MAX_READS: usize = 32;
/// Most results of a hole.
const MAX_RESULTS: usize = 8;

/// What a strip is evaluated with.
#[derive(Clone, Copy)]
pub struct StripContext<'a> {
    /// Compiled holes.
    pub code: &'a HoleCode,
    /// One per buffer of the entry.
    pub pointers: &'a [*mut u8],
    /// What draws depend on.
    pub draw: &'a DrawKey,
    /// [`HoleStrip::scratch`] bytes, aligned for f32.
    pub scratch: *mut u8,
}

/// A hole that can be evaluated along one axis.
#[derive(Clone, Debug)]
pub struct HoleStrip {
    how: How,
    axis: usize,
    reads: Vec<Access<i64>>,
    dtypes: Vec<DType>,
    /// Loaded operands, and whether each is fetched into a buffer.
    used: Vec<(u32, bool)>,
    longest: usize,
}

#[derive(Clone, Copy, Debug)]
enum How {
    /// One f32 operand as it is.
    Copy,
    Compiled(StripId),
}

/// Bytes of one element.
pub fn size_of(d: DType) -> usize {
    match d {
        DType::Bool => 1,
        DType::F32 | DType::I32 => 4,
    }
}

impl HoleStrip {
    /// Prepares strips of at most `longest` points along `axis`. The reads are those of the kernel's [`super::axes::Space`].
    pub fn compile(
        hole: &Hole<i64>,
        reads: &[Access<i64>],
        buffers: &[Buffer<i64>],
        axis: usize,
        longest: usize,
        slots: Vec<Port>,
        results: Vec<Port>,
        holes: &mut HoleCompiler,
    ) -> Result<HoleStrip, String> {
        if reads.len() > MAX_READS || results.len() > MAX_RESULTS {
            return Err("a contraction with too many operands".to_owned());
        }
        let dtype = |r: &Access<i64>| buffers.get(r.buffer.0 as usize).map(|b| b.dtype).ok_or("no such buffer");
        let dtypes = reads.iter().map(dtype).collect::<Result<Vec<_>, _>>()?;
        let used: Vec<(u32, bool)> = loads(hole)
            .into_iter()
            .map(|n| {
                let r = reads.get(n as usize).ok_or("no such operand")?;
                Ok::<_, String>((n, !r.guards.is_empty() || !r.via.is_empty()))
            })
            .collect::<Result<_, _>>()?;
        let plain = hole.as_load().is_some_and(|n| dtypes[n as usize] == DType::F32);
        let how = if plain && results.len() == 1 && results[0].dtype == DType::F32 {
            How::Copy
        } else {
            let ports = reads.iter().enumerate().map(|(n, r)| {
                let buffered = used.iter().any(|u| u.0 as usize == n && u.1);
                let stride = r.strides.get(axis).copied().unwrap_or(0);
                Port::new(dtypes[n], if buffered { Move::Unit } else { Move::of(stride) })
            });
            let spec = StripSpec {
                hole,
                reads: ports.collect(),
                slots,
                results,
                moving: (axis < MAX_AXES).then_some(axis as u32),
            };
            How::Compiled(holes.request(&spec)?)
        };
        Ok(HoleStrip { how, axis, reads: reads.to_vec(), dtypes, used, longest })
    }

    /// Bytes of scratch a call needs.
    pub fn scratch(&self) -> usize {
        self.used.iter().filter(|u| u.1).count() * self.longest * 4
    }

    /// Evaluates `n` points from `at` on.
    ///
    /// # Safety
    /// Buffers, slots and results are valid for the points; `n` is at most what was asked for.
    pub unsafe fn run(
        &self,
        ctx: &StripContext<'_>,
        at: &Point,
        n: usize,
        slots: &[StripOperand],
        results: &[StripOperand],
    ) {
        // SAFETY: the caller's contract.
        unsafe {
            match self.how {
                How::Copy => {
                    let r = results[0];
                    self.copy::<f32>(ctx, self.used[0].0, at, n, r.pointer.cast(), r.stride);
                }
                How::Compiled(id) => {
                    let mut operands = [StripOperand::NONE; MAX_READS];
                    let mut buffer = ctx.scratch;
                    for &(number, buffered) in &self.used {
                        let r = &self.reads[number as usize];
                        operands[number as usize] = if buffered {
                            match self.dtypes[number as usize] {
                                DType::F32 => self.copy::<f32>(ctx, number, at, n, buffer.cast(), 1),
                                DType::I32 => self.copy::<i32>(ctx, number, at, n, buffer.cast(), 1),
                                DType::Bool => self.copy::<u8>(ctx, number, at, n, buffer, 1),
                            }
                            let held = StripOperand { pointer: buffer, stride: 1 };
                            buffer = buffer.add(self.longest * 4);
                            held
                        } else {
                            let size = size_of(self.dtypes[number as usize]) as isize;
                            let offset = (r.offset + along(&r.strides, at)) as isize;
                            StripOperand {
                                pointer: ctx.pointers[r.buffer.0 as usize].offset(offset * size),
                                stride: r.strides.get(self.axis).copied().unwrap_or(0) as isize,
                            }
                        };
                    }
                    let base: [i32; MAX_AXES] = std::array::from_fn(|i| at[i] as i32);
                    let args = StripArgs {
                        n,
                        reads: operands.as_ptr(),
                        slots: slots.as_ptr(),
                        results: results.as_ptr(),
                        base: base.as_ptr(),
                        draw: ctx.draw,
                    };
                    ctx.code.get(id)(&args);
                }
            }
        }
    }

    /// Copies an operand's elements along the strip, with fills and gathers.
    unsafe fn copy<T: Element>(
        &self,
        ctx: &StripContext<'_>,
        number: u32,
        at: &Point,
        n: usize,
        to: *mut T,
        step: isize,
    ) {
        // SAFETY: the caller of `run` vouches for the buffers; guards keep the reads inside.
        unsafe {
            let r = &self.reads[number as usize];
            let from = ctx.pointers[r.buffer.0 as usize] as *const T;
            let (low, high) = valid(r, self.axis, at, n);
            let fill = T::of(r.fill);
            (0..low).chain(high..n).for_each(|i| *to.offset(i as isize * step) = fill);
            let mut base = r.offset + along(&r.strides, at);
            let stride = r.strides.get(self.axis).copied().unwrap_or(0) as isize;
            let moving = |v: &uad_plan::Via<i64>| super::axes::moves(&self.reads, v.read, self.axis);
            for v in r.via.iter().filter(|v| !moving(v)) {
                base += self.index(ctx, v.read, at).clamp(0, (v.extent - 1).max(0)) * v.stride;
            }
            if r.via.iter().any(moving) {
                let mut p = *at;
                for i in low..high {
                    p[self.axis] = at[self.axis] + i as i64;
                    let mut o = base;
                    for v in r.via.iter().filter(|v| moving(v)) {
                        o += self.index(ctx, v.read, &p).clamp(0, (v.extent - 1).max(0)) * v.stride;
                    }
                    *to.offset(i as isize * step) = *from.offset(o as isize + i as isize * stride);
                }
            } else {
                let from = from.wrapping_offset(base as isize);
                if stride == 1 && step == 1 {
                    let count = high.saturating_sub(low);
                    std::ptr::copy_nonoverlapping(from.wrapping_add(low), to.add(low.min(n)), count);
                } else {
                    for i in low..high {
                        *to.offset(i as isize * step) = *from.wrapping_offset(i as isize * stride);
                    }
                }
            }
        }
    }

    /// The value of an index operand at one point.
    unsafe fn index(&self, ctx: &StripContext<'_>, number: u32, at: &Point) -> i64 {
        // SAFETY: as in `copy`.
        unsafe {
            let r = &self.reads[number as usize];
            let (low, high) = valid(r, self.axis, at, 1);
            if low >= high {
                return r.fill as i64;
            }
            let mut o = r.offset + along(&r.strides, at);
            for v in r.via.iter().filter(|v| v.read != number) {
                o += self.index(ctx, v.read, at).clamp(0, (v.extent - 1).max(0)) * v.stride;
            }
            i64::from(*(ctx.pointers[r.buffer.0 as usize] as *const i32).offset(o as isize))
        }
    }
}

/// An element as it lies in memory.
trait Element: Copy {
    fn of(fill: f64) -> Self;
}
impl Element for f32 {
    fn of(fill: f64) -> f32 {
        fill as f32
    }
}
impl Element for i32 {
    fn of(fill: f64) -> i32 {
        fill as i32
    }
}
impl Element for u8 {
    fn of(fill: f64) -> u8 {
        u8::from(fill != 0.0)
    }
}

/// The part `low..high` of `n` points from `at` along `axis` where all guards hold.
pub fn valid(r: &Access<i64>, axis: usize, at: &Point, n: usize) -> (usize, usize) {
    let (mut low, mut high) = (0i64, n as i64);
    for g in &r.guards {
        let v = g.offset + along(&g.strides, at);
        match g.strides.get(axis).copied().unwrap_or(0) {
            0 => {
                if v < 0 || v >= g.extent {
                    return (n, n);
                }
            }
            s if s > 0 => {
                // v + s*i >= 0 and v + s*i <= extent - 1
                low = low.max((-v + s - 1).div_euclid(s));
                high = high.min((g.extent - 1 - v).div_euclid(s) + 1);
            }
            s => {
                let t = -s;
                low = low.max((v - g.extent + 1 + t - 1).div_euclid(t));
                high = high.min(v.div_euclid(t) + 1);
            }
        }
    }
    if low >= high { (n, n) } else { (low as usize, high as usize) }
}
