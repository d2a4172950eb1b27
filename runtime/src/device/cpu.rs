//! A bound entry on the processor: compiled kernels, inputs, outputs, scratch, constants.
//!
//! In: a bound entry, where its stored tensors are. Out: [`CpuFrame`]. Invariants: all memory is taken when a frame is made; a call
//! allocates nothing; the same inputs give the same bits for any number of threads. Imports: frames, memory, `uad-kernels`.

use std::sync::Arc;

use uad_kernels::cpu::program::KernelTime;
use uad_kernels::cpu::{Isa, Pool, Program};
use uad_plan::{Bound, BufferPlace, Port};

use super::error::DeviceError;
use super::frame::{Birth, Draw, Frame, Places, Pointer, Watch, may_be_odd, odd, size};
use super::memory::Memory;
use super::place::{Piece, host};

/// A bound entry with its memory. Where the entry is bound in slices, a call goes through them.
pub(super) struct CpuFrame {
    bound: Bound,
    program: Program,
    pool: Arc<Pool>,
    inputs: Vec<Memory>,
    outputs: Vec<Memory>,
    scratch: Arc<Piece>,
    _persistent: Memory,
    pointers: Vec<Pointer>,
    /// Pointers to inputs and outputs that a call moves on by so many bytes from part to part, with where they begin.
    moving: Vec<(usize, Pointer, usize)>,
    bytes: usize,
}

impl CpuFrame {
    /// Takes memory and compiles the kernels.
    pub(super) fn new(
        bound: Bound,
        pool: Arc<Pool>,
        isa: Isa,
        scratch: Option<Arc<Piece>>,
        stored: Places<'_>,
    ) -> Result<CpuFrame, DeviceError> {
        let ports = |ports: &[Port]| ports.iter().map(|p| host(size(p))).collect::<Result<Vec<Memory>, _>>();
        let (inputs, outputs) = (ports(&bound.inputs)?, ports(&bound.outputs)?);
        let part = part(&bound);
        let scratch = match scratch.filter(|s| s.bytes() >= part.arena) {
            Some(s) => s,
            None => Arc::new(Piece::Host(host(part.arena)?)),
        };
        let persistent = host(part.persistent)?;
        let mut pointers = Vec::with_capacity(part.places.len());
        for (i, place) in part.places.iter().enumerate() {
            let at = |start: *mut u8, bytes: usize, offset: usize| -> Result<Pointer, DeviceError> {
                let room = bytes.checked_sub(offset).is_some_and(|r| r >= part.buffer_bytes(i));
                let outside = || DeviceError::Other("a place is outside".to_owned());
                // SAFETY: `offset` is inside the memory, which is checked here again.
                if room { Ok(Pointer(unsafe { start.add(offset) })) } else { Err(outside()) }
            };
            let missing = || DeviceError::Other(format!("buffer {i} has no memory"));
            let whole = |m: &Memory| at(m.pointer(), m.len(), 0);
            pointers.push(match place {
                BufferPlace::Input(n) => whole(inputs.get(*n).ok_or_else(missing)?)?,
                BufferPlace::Output(n) => whole(outputs.get(*n).ok_or_else(missing)?)?,
                BufferPlace::Arena(offset) => at(scratch.start().0, scratch.bytes(), *offset)?,
                BufferPlace::Persistent(offset) => at(persistent.pointer(), persistent.len(), *offset)?,
                BufferPlace::Stored => {
                    let port = bound.stored.iter().find(|p| p.buffer.0 as usize == i).ok_or_else(missing)?;
                    stored(i, port)?
                }
            });
        }
        let moving = moving(&bound, &pointers)?;
        let program = Program::compile(part, isa)?;
        let own = |m: &[Memory]| m.iter().map(Memory::len).sum::<usize>();
        let bytes = own(&inputs) + own(&outputs) + part.arena + part.persistent;
        Ok(CpuFrame {
            bound,
            program,
            pool,
            inputs,
            outputs,
            scratch,
            _persistent: persistent,
            pointers,
            moving,
            bytes,
        })
    }

    /// How many parts a call has.
    fn parts(&self) -> usize {
        self.bound.slice.as_ref().map_or(1, |s| s.parts)
    }

    /// Moves on to a part; what it draws from.
    fn enter(&mut self, part: usize, draw: Draw) -> (u64, u64, u64) {
        for (i, start, bytes) in &self.moving {
            // SAFETY: `moving` has checked that all parts lie in the memory that begins at `start`.
            self.pointers[*i] = Pointer(unsafe { start.0.add(part * bytes) });
        }
        let before = self.bound.slice.as_ref().map_or(0, |s| s.samples.wrapping_mul(part as u64));
        (draw.seed, draw.step, draw.sample.wrapping_add(before))
    }

    /// What is odd in a buffer, while no kernel runs.
    fn odd(&self, b: usize) -> Option<&'static str> {
        let bound = part(&self.bound);
        let pointer = self.pointers.get(b).filter(|_| may_be_odd(bound, b))?.0.cast::<f32>();
        // SAFETY: the buffer has that many elements, and no kernel runs while it is read.
        odd(unsafe { std::slice::from_raw_parts(pointer, bound.buffer_elements(b)) })
    }
}

impl Frame for CpuFrame {
    fn bound(&self) -> &Bound {
        &self.bound
    }

    fn memory(&self) -> usize {
        self.bytes
    }

    fn scratch(&self) -> &Arc<Piece> {
        &self.scratch
    }

    fn input_mut(&mut self, n: usize) -> Option<&mut [u8]> {
        Some(self.inputs.get_mut(n)?.bytes_mut())
    }

    fn output(&self, n: usize) -> Option<&[u8]> {
        Some(self.outputs.get(n)?.bytes())
    }

    unsafe fn setup(&mut self, release: &dyn Fn()) -> Result<(), DeviceError> {
        let pointers: Vec<*mut u8> = raw(&self.pointers).to_vec();
        // SAFETY: one pointer per buffer, each valid for its buffer's bytes; `Bound` proves that kernels stay inside.
        unsafe { self.program.prepare(&self.pool, &pointers)? };
        // What setup kernels made of stored tensors stands beside them, and will stand beside the packed operands.
        release();
        // SAFETY: as above.
        unsafe { self.program.pack(&self.pool, &pointers) };
        release();
        Ok(())
    }

    unsafe fn run(&mut self, draw: Draw) -> Result<(), DeviceError> {
        for part in 0..self.parts() {
            let draw = self.enter(part, draw);
            // SAFETY: as in `setup`.
            unsafe { self.program.run(&self.pool, raw(&self.pointers), draw) };
        }
        Ok(())
    }

    unsafe fn birth(&mut self, draw: Draw) -> Result<Option<Birth>, DeviceError> {
        for n in 0..self.parts() {
            let draw = self.enter(n, draw);
            let mut watch = Watch::new(part(&self.bound));
            let mut odd = |b: usize| Ok(self.odd(b));
            if watch.before(&mut odd)? {
                // A look at memory of the host cannot fail.
                let mut look = |n: usize| watch.after(n, &mut odd).unwrap_or(false);
                // SAFETY: as in `run`.
                unsafe { self.program.watch(&self.pool, raw(&self.pointers), draw, &mut look) };
            }
            if let Some(birth) = watch.found() {
                return Ok(Some(birth));
            }
        }
        Ok(None)
    }

    unsafe fn profile(&mut self) -> Vec<KernelTime> {
        let mut all: Vec<KernelTime> = Vec::new();
        for part in 0..self.parts() {
            let draw = self.enter(part, Draw::default());
            // SAFETY: as in `run`.
            let times = unsafe { self.program.profile(&self.pool, raw(&self.pointers), draw) };
            if all.is_empty() {
                all = times;
            } else {
                all.iter_mut().zip(times).for_each(|(a, t)| a.seconds += t.seconds);
            }
        }
        all
    }
}

/// What a call runs, once or several times.
fn part(bound: &Bound) -> &Bound {
    bound.slice.as_ref().map_or(bound, |s| &s.bound)
}

/// The inputs and outputs of an entry in slices that hold one part after another: number of the buffer, address of the first
/// part, bytes of each.
fn moving(bound: &Bound, pointers: &[Pointer]) -> Result<Vec<(usize, Pointer, usize)>, DeviceError> {
    let Some(slice) = &bound.slice else { return Ok(Vec::new()) };
    let parts = slice.bound.inputs.iter().chain(&slice.bound.outputs);
    let mut all = Vec::new();
    for (whole, part) in bound.inputs.iter().chain(&bound.outputs).zip(parts) {
        if part.shape != whole.shape {
            let start = pointers.get(whole.buffer.0 as usize).filter(|_| size(part) * slice.parts == size(whole));
            let none = || DeviceError::Other(format!("`{}` is not made of its parts", whole.name));
            all.push((whole.buffer.0 as usize, *start.ok_or_else(none)?, size(part)));
        }
    }
    Ok(all)
}

fn raw(pointers: &[Pointer]) -> &[*mut u8] {
    // SAFETY: `Pointer` is transparent over `*mut u8`.
    unsafe { std::slice::from_raw_parts(pointers.as_ptr().cast(), pointers.len()) }
}
