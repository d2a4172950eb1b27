//! A bound entry with the memory of its calls: inputs, outputs, scratch, constants.
//!
//! In: a bound entry, where its stored tensors are. Out: [`Frame`], which executors are made of. Invariants: all memory is taken when
//! a frame is made; a call allocates nothing; who owns a frame decides what may run at the same time.
//! Imports: `uad-plan`, `uad-kernels`, memory.

use std::sync::Arc;

use uad_kernels::cpu::program::KernelTime;
use uad_kernels::cpu::{Isa, Pool, Program};
use uad_plan::tensor::Tensor;
use uad_plan::{Bound, BufferPlace, DType, Port};

use super::memory::Memory;

/// What draws depend on, beside their site.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Draw {
    /// The run's seed.
    pub seed: u64,
    /// The step of the run.
    pub step: u64,
    /// The number of the first sample of the batch.
    pub sample: u64,
}

/// The address of a buffer.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(super) struct Pointer(pub(super) *mut u8);

// SAFETY: an address; what it points to is guarded by the owner of the frame or store that it belongs to.
unsafe impl Send for Pointer {}
// SAFETY: as above.
unsafe impl Sync for Pointer {}

/// Memory for temporary buffers, which entries that never run at the same time may share.
pub(super) struct Scratch {
    _memory: Memory,
    start: Pointer,
    bytes: usize,
}

impl Scratch {
    pub(super) fn new(bytes: usize) -> Result<Scratch, String> {
        let mut memory = take(bytes)?;
        let start = Pointer(memory.as_mut_ptr());
        Ok(Scratch { _memory: memory, start, bytes })
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

fn take(n: usize) -> Result<Memory, String> {
    Memory::zeroed(n).ok_or_else(|| format!("this machine has no {n} bytes of memory to give"))
}

/// Where a call first made a number that is none, or one beyond f32.
#[derive(Clone, Debug, PartialEq)]
pub struct Birth {
    /// The kernel's scope, or the name of an input or stored tensor that was so before.
    pub place: String,
    /// Was it given, not computed?
    pub given: bool,
    /// `nan` or `inf`.
    pub what: &'static str,
}

/// A bound entry with its memory. Where the entry is bound in slices, a call goes through them.
pub struct Frame {
    bound: Bound,
    program: Program,
    pool: Arc<Pool>,
    inputs: Vec<Memory>,
    outputs: Vec<Memory>,
    scratch: Arc<Scratch>,
    _persistent: Memory,
    pointers: Vec<Pointer>,
    /// Pointers to inputs and outputs that a call moves on by so many bytes from part to part, with where they begin.
    moving: Vec<(usize, Pointer, usize)>,
    bytes: usize,
}

impl Frame {
    /// Takes memory and compiles the kernels. `stored` gives the address of each stored tensor, valid for its size for as long
    /// as the frame lives, and for writing where the entry writes it.
    pub(super) fn new(
        bound: Bound,
        pool: Arc<Pool>,
        isa: Isa,
        scratch: Option<Arc<Scratch>>,
        stored: &mut dyn FnMut(usize, &Port) -> Result<*mut u8, String>,
    ) -> Result<Frame, String> {
        let ports = |ports: &[Port]| ports.iter().map(|p| take(size(p))).collect::<Result<Vec<Memory>, String>>();
        let (mut inputs, mut outputs) = (ports(&bound.inputs)?, ports(&bound.outputs)?);
        let part = part(&bound);
        let scratch = match scratch.filter(|s| s.bytes >= part.arena) {
            Some(s) => s,
            None => Arc::new(Scratch::new(part.arena)?),
        };
        let mut persistent = take(part.persistent)?;
        let mut pointers = Vec::with_capacity(part.places.len());
        for (i, place) in part.places.iter().enumerate() {
            let at = |start: *mut u8, bytes: usize, offset: usize| -> Result<*mut u8, String> {
                let room = bytes.checked_sub(offset).is_some_and(|r| r >= part.buffer_bytes(i));
                // SAFETY: `offset` is inside the memory, which is checked here again.
                if room { Ok(unsafe { start.add(offset) }) } else { Err("a place is outside".to_owned()) }
            };
            let missing = || format!("buffer {i} has no memory");
            let whole = |m: &mut Memory| at(m.as_mut_ptr(), m.len(), 0);
            pointers.push(Pointer(match place {
                BufferPlace::Input(n) => whole(inputs.get_mut(*n).ok_or_else(missing)?)?,
                BufferPlace::Output(n) => whole(outputs.get_mut(*n).ok_or_else(missing)?)?,
                BufferPlace::Arena(offset) => at(scratch.start.0, scratch.bytes, *offset)?,
                BufferPlace::Persistent(offset) => at(persistent.as_mut_ptr(), persistent.len(), *offset)?,
                BufferPlace::Stored => {
                    let port = bound.stored.iter().find(|p| p.buffer.0 as usize == i).ok_or_else(missing)?;
                    stored(i, port)?
                }
            }));
        }
        let moving = moving(&bound, &pointers)?;
        let program = Program::compile(part, isa)?;
        let own = |m: &[Memory]| m.iter().map(Memory::len).sum::<usize>();
        let bytes = own(&inputs) + own(&outputs) + part.arena + part.persistent;
        Ok(Frame { bound, program, pool, inputs, outputs, scratch, _persistent: persistent, pointers, moving, bytes })
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

    /// Runs what depends on stored tensors only.
    /// `release` is called where stored tensors may leave memory.
    ///
    /// # Safety
    /// Nothing that shares memory with this frame runs or is read meanwhile.
    pub(super) unsafe fn setup(&mut self, release: &dyn Fn()) -> Result<(), String> {
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

    /// One call.
    ///
    /// # Safety
    /// As for [`Frame::setup`], which ran since the stored tensors that the entry does not write were changed.
    pub(super) unsafe fn run(&mut self, draw: Draw) {
        for part in 0..self.parts() {
            let draw = self.enter(part, draw);
            // SAFETY: as in `setup`.
            unsafe { self.program.run(&self.pool, raw(&self.pointers), draw) }
        }
    }

    /// The time of every kernel in one call.
    ///
    /// # Safety
    /// As for [`Frame::run`].
    pub(super) unsafe fn profile(&mut self) -> Vec<KernelTime> {
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

    /// One call, kernel by kernel, up to the first that makes a number that is none (or, where none does, the first that makes an
    /// infinite one that is not minus infinity: masks are made of those).
    ///
    /// # Safety
    /// As for [`Frame::run`].
    pub(super) unsafe fn birth(&mut self, draw: Draw) -> Option<Birth> {
        (0..self.parts()).find_map(|part| {
            let draw = self.enter(part, draw);
            // SAFETY: as in `run`.
            unsafe { self.birth_in_part(draw) }
        })
    }

    /// # Safety
    /// As for [`Frame::run`].
    unsafe fn birth_in_part(&mut self, draw: (u64, u64, u64)) -> Option<Birth> {
        let bound = part(&self.bound);
        let of = |b: usize| -> Option<&'static str> {
            let buffer = bound.entry.buffers.get(b).filter(|f| f.dtype == DType::F32)?;
            let _ = buffer;
            let pointer = self.pointers.get(b)?.0.cast::<f32>();
            // SAFETY: the buffer has that many elements, and no kernel runs while it is read.
            let values = unsafe { std::slice::from_raw_parts(pointer, bound.buffer_elements(b)) };
            if values.iter().any(|v| v.is_nan()) {
                Some("nan")
            } else {
                values.contains(&f32::INFINITY).then_some("inf")
            }
        };
        for port in bound.inputs.iter().chain(bound.stored.iter().filter(|p| p.read)) {
            if let Some(what) = of(port.buffer.0 as usize) {
                return Some(Birth { place: port.name.clone(), given: true, what });
            }
        }
        let kernels = &bound.entry.kernels;
        let (mut infinite, mut found) = (None, None);
        let mut look = |n: usize| -> bool {
            let Some(kernel) = kernels.get(n) else { return true };
            let written = kernel.writes.iter().filter_map(|w| of(w.buffer.0 as usize));
            let birth = |what| Birth { place: kernel.scope.clone(), given: false, what };
            for what in written {
                if what == "nan" {
                    found = Some(birth(what));
                    return false;
                }
                if infinite.is_none() {
                    infinite = Some(birth(what));
                }
            }
            true
        };
        // SAFETY: as in `run`.
        unsafe { self.program.watch(&self.pool, raw(&self.pointers), draw, &mut look) };
        found.or(infinite)
    }

    /// The entry as bound.
    pub fn bound(&self) -> &Bound {
        &self.bound
    }

    /// Bytes taken, beside packed weights and stored tensors.
    pub fn memory(&self) -> usize {
        self.bytes
    }

    /// The compiled entry.
    pub fn program(&self) -> &Program {
        &self.program
    }

    pub(super) fn scratch(&self) -> &Arc<Scratch> {
        &self.scratch
    }

    /// The bytes of an input, to be filled.
    pub fn input_mut(&mut self, name: &str) -> Option<&mut [u8]> {
        let n = self.bound.inputs.iter().position(|p| p.name == name)?;
        Some(self.inputs.get_mut(n)?.bytes_mut())
    }

    /// The values of an f32 input, to be filled.
    pub fn input_f32_mut(&mut self, name: &str) -> Option<&mut [f32]> {
        let port = self.bound.inputs.iter().find(|p| p.name == name)?;
        if port.dtype != DType::F32 {
            return None;
        }
        let bytes = self.input_mut(name)?;
        // SAFETY: memory begins on a 64-byte boundary and holds whole f32, for which every bit pattern is valid.
        Some(unsafe { std::slice::from_raw_parts_mut(bytes.as_mut_ptr().cast(), bytes.len() / 4) })
    }

    /// Sets an input.
    pub fn set_input(&mut self, name: &str, value: &Tensor) -> Result<(), String> {
        let content = content_for(&self.bound, name, value)?;
        match self.input_mut(name) {
            Some(bytes) if bytes.len() == content.len() => bytes.copy_from_slice(content),
            _ => return Err(format!("no input `{name}`")),
        }
        Ok(())
    }

    /// The bytes of an output of the last call.
    pub fn output_bytes(&self, name: &str) -> Option<&[u8]> {
        let n = self.bound.outputs.iter().position(|p| p.name == name)?;
        Some(self.outputs.get(n)?.bytes())
    }

    /// An output of the last call.
    pub fn output(&self, name: &str) -> Option<Tensor> {
        let port = self.bound.outputs.iter().find(|p| p.name == name)?;
        Tensor::from_bytes(port.dtype, &port.shape, self.output_bytes(name)?).ok()
    }
}

/// What a call runs, once or several times.
fn part(bound: &Bound) -> &Bound {
    bound.slice.as_ref().map_or(bound, |s| &s.bound)
}

/// The inputs and outputs of an entry in slices that hold one part after another: number of the buffer, address of the first
/// part, bytes of each.
fn moving(bound: &Bound, pointers: &[Pointer]) -> Result<Vec<(usize, Pointer, usize)>, String> {
    let Some(slice) = &bound.slice else { return Ok(Vec::new()) };
    let (whole, parts) =
        (bound.inputs.iter().chain(&bound.outputs), slice.bound.inputs.iter().chain(&slice.bound.outputs));
    let mut all = Vec::new();
    for (whole, part) in whole.zip(parts) {
        if part.shape != whole.shape {
            let start = pointers.get(whole.buffer.0 as usize).filter(|_| size(part) * slice.parts == size(whole));
            let start = start.ok_or_else(|| format!("`{}` is not made of its parts", whole.name))?;
            all.push((whole.buffer.0 as usize, *start, size(part)));
        }
    }
    Ok(all)
}

fn raw(pointers: &[Pointer]) -> &[*mut u8] {
    // SAFETY: `Pointer` is transparent over `*mut u8`.
    unsafe { std::slice::from_raw_parts(pointers.as_ptr().cast(), pointers.len()) }
}

/// Bytes of an input, output or stored tensor.
pub(super) fn size(port: &Port) -> usize {
    port.shape.iter().product::<usize>() * port.dtype.bytes()
}

/// The bytes of a value for an input: of its dtype and shape.
pub(super) fn content_for<'v>(bound: &Bound, name: &str, value: &'v Tensor) -> Result<&'v [u8], String> {
    let port = bound.inputs.iter().find(|p| p.name == name);
    let port = port.ok_or_else(|| format!("no input `{name}`"))?;
    if (port.dtype, port.shape.as_slice()) != (value.dtype(), value.shape()) {
        let (want, have) = (&port.shape, value.shape());
        return Err(format!("`{name}` is {}{want:?}, not {}{have:?}", port.dtype, value.dtype()));
    }
    Ok(value.as_bytes())
}
