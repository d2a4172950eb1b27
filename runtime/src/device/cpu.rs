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

/// A bound entry with its memory.
pub(super) struct CpuFrame {
    bound: Bound,
    program: Program,
    pool: Arc<Pool>,
    inputs: Vec<Memory>,
    outputs: Vec<Memory>,
    scratch: Arc<Piece>,
    _persistent: Memory,
    pointers: Vec<Pointer>,
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
        let scratch = match scratch.filter(|s| s.bytes() >= bound.arena) {
            Some(s) => s,
            None => Arc::new(Piece::Host(host(bound.arena)?)),
        };
        let persistent = host(bound.persistent)?;
        let mut pointers = Vec::with_capacity(bound.places.len());
        for (i, place) in bound.places.iter().enumerate() {
            let at = |start: *mut u8, bytes: usize, offset: usize| -> Result<Pointer, DeviceError> {
                let room = bytes.checked_sub(offset).is_some_and(|r| r >= bound.buffer_bytes(i));
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
        let program = Program::compile(&bound, isa)?;
        let own = |m: &[Memory]| m.iter().map(Memory::len).sum::<usize>();
        let bytes = own(&inputs) + own(&outputs) + bound.arena + bound.persistent;
        Ok(CpuFrame { bound, program, pool, inputs, outputs, scratch, _persistent: persistent, pointers, bytes })
    }

    fn raw(&self) -> &[*mut u8] {
        // SAFETY: `Pointer` is transparent over `*mut u8`.
        unsafe { std::slice::from_raw_parts(self.pointers.as_ptr().cast(), self.pointers.len()) }
    }

    /// What is odd in a buffer, while no kernel runs.
    fn odd(&self, b: usize) -> Option<&'static str> {
        let pointer = self.pointers.get(b).filter(|_| may_be_odd(&self.bound, b))?.0.cast::<f32>();
        // SAFETY: the buffer has that many elements, and no kernel runs while it is read.
        odd(unsafe { std::slice::from_raw_parts(pointer, self.bound.buffer_elements(b)) })
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
        let pointers: Vec<*mut u8> = self.raw().to_vec();
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
        // SAFETY: as in `setup`.
        unsafe { self.program.run(&self.pool, self.raw(), (draw.seed, draw.step, draw.sample)) };
        Ok(())
    }

    unsafe fn birth(&mut self, draw: Draw) -> Result<Option<Birth>, DeviceError> {
        let mut watch = Watch::new(&self.bound);
        let mut odd = |b: usize| Ok(self.odd(b));
        if watch.before(&mut odd)? {
            // A look at memory of the host cannot fail.
            let mut look = |n: usize| watch.after(n, &mut odd).unwrap_or(false);
            // SAFETY: as in `run`.
            unsafe { self.program.watch(&self.pool, self.raw(), (draw.seed, draw.step, draw.sample), &mut look) };
        }
        Ok(watch.found())
    }

    unsafe fn profile(&mut self) -> Vec<KernelTime> {
        // SAFETY: as in `run`.
        unsafe { self.program.profile(&self.pool, self.raw(), (0, 0, 0)) }
    }
}
