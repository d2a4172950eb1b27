//! Running a bound entry on the CPU.
//!
//! In: a bound entry, the memory of stored tensors, input values. Out: output values. Invariants: all memory is taken when the
//! executor is made; [`Executor::run`] allocates nothing; the same inputs give the same bits for any number of threads.
//! Imports: `uad-plan`, `uad-kernels`, memory.

use std::sync::Arc;

use uad_kernels::cpu::program::KernelTime;
use uad_kernels::cpu::{Isa, Pool, Program};
use uad_plan::tensor::Tensor;
use uad_plan::{Bound, BufferPlace, DType, Port};

use super::memory::Memory;

/// Where the bytes of stored tensors are: in a mapped bundle, or in memory.
pub trait StoredBytes: Send + Sync {
    /// The bytes of a stored tensor, little-endian, row-major.
    fn bytes(&self, path: &str) -> Option<&[u8]>;

    /// They were read and may leave memory, if they can be loaded again.
    fn release(&self) {}
}

/// What draws depend on, beside their site.
#[derive(Clone, Copy, Debug, Default)]
pub struct Draw {
    /// The run's seed.
    pub seed: u64,
    /// The step of the run.
    pub step: u64,
    /// The number of the first sample of the batch.
    pub sample: u64,
}

/// A bound entry with its memory, ready to run.
pub struct Executor {
    bound: Bound,
    program: Program,
    pool: Arc<Pool>,
    /// Keeps what `pointers` of stored tensors point to.
    stored: Arc<dyn StoredBytes>,
    inputs: Vec<Memory>,
    outputs: Vec<Memory>,
    /// Stored tensors that the entry writes: copies of their own.
    written: Vec<(usize, Memory)>,
    _arena: Memory,
    _persistent: Memory,
    pointers: Vec<Pointer>,
    bytes: usize,
}

/// The address of a buffer. The memory it points into belongs to the same executor.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct Pointer(*mut u8);

// SAFETY: the memory belongs to the executor and is used by one run at a time (`run` takes `&mut self`).
unsafe impl Send for Pointer {}
// SAFETY: shared references to an executor read outputs only.
unsafe impl Sync for Pointer {}

impl Executor {
    /// Takes memory, compiles the kernels, runs what needs to run once.
    pub fn new(bound: Bound, stored: Arc<dyn StoredBytes>, pool: Arc<Pool>, isa: Isa) -> Result<Executor, String> {
        let mut bytes = 0;
        let mut take = |n: usize| -> Result<Memory, String> {
            bytes += n;
            Memory::zeroed(n).ok_or_else(|| format!("this machine has no {n} bytes of memory to give"))
        };
        let ports = |ports: &[Port], take: &mut dyn FnMut(usize) -> Result<Memory, String>| {
            ports.iter().map(|p| take(size(p))).collect::<Result<Vec<Memory>, String>>()
        };
        let mut inputs = ports(&bound.inputs, &mut take)?;
        let mut outputs = ports(&bound.outputs, &mut take)?;
        let (mut arena, mut persistent) = (take(bound.arena)?, take(bound.persistent)?);
        let mut written = Vec::new();
        let mut pointers = Vec::with_capacity(bound.places.len());
        for (i, place) in bound.places.iter().enumerate() {
            let at = |memory: &mut Memory, offset: usize| -> Result<*mut u8, String> {
                let room = memory.len().checked_sub(offset).is_some_and(|r| r >= bound.buffer_bytes(i));
                // SAFETY: `offset` is inside the memory, which is checked here again.
                if room { Ok(unsafe { memory.as_mut_ptr().add(offset) }) } else { Err("a place is outside".to_owned()) }
            };
            let missing = || format!("buffer {i} has no memory");
            let pointer = match place {
                BufferPlace::Input(n) => at(inputs.get_mut(*n).ok_or_else(missing)?, 0)?,
                BufferPlace::Output(n) => at(outputs.get_mut(*n).ok_or_else(missing)?, 0)?,
                BufferPlace::Arena(offset) => at(&mut arena, *offset)?,
                BufferPlace::Persistent(offset) => at(&mut persistent, *offset)?,
                BufferPlace::Stored => {
                    let port = bound.stored.iter().find(|p| p.buffer.0 as usize == i).ok_or_else(missing)?;
                    let content = stored.bytes(&port.name).filter(|b| b.len() == size(port));
                    let content = content.ok_or_else(|| format!("`{}` has no values", port.name))?;
                    if port.written {
                        let mut copy = take(content.len())?;
                        copy.bytes_mut().copy_from_slice(content);
                        let pointer = copy.as_mut_ptr();
                        written.push((i, copy));
                        pointer
                    } else if content.as_ptr().align_offset(port.dtype.bytes()) == 0 {
                        // Only read: no kernel writes a buffer that is not marked as written.
                        content.as_ptr().cast_mut()
                    } else {
                        return Err(format!("`{}` is not aligned in its file", port.name));
                    }
                }
            };
            pointers.push(Pointer(pointer));
        }
        let program = Program::compile(&bound, isa)?;
        let mut made = Executor {
            bound,
            program,
            pool,
            stored,
            inputs,
            outputs,
            written,
            _arena: arena,
            _persistent: persistent,
            pointers,
            bytes,
        };
        made.setup()?;
        Ok(made)
    }

    fn raw(&self) -> &[*mut u8] {
        // SAFETY: `Pointer` is transparent over `*mut u8`.
        unsafe { std::slice::from_raw_parts(self.pointers.as_ptr().cast(), self.pointers.len()) }
    }

    /// Runs what depends on stored tensors only.
    fn setup(&mut self) -> Result<(), String> {
        let pointers: Vec<*mut u8> = self.raw().to_vec();
        // SAFETY: one pointer per buffer, each valid for its buffer's bytes; `Bound` proves that kernels stay inside.
        unsafe { self.program.prepare(&self.pool, &pointers)? };
        // What setup kernels made of stored tensors stands beside them, and will stand beside the packed operands.
        self.stored.release();
        // SAFETY: as above.
        unsafe { self.program.pack(&self.pool, &pointers) };
        self.stored.release();
        Ok(())
    }

    /// The entry as bound.
    pub fn bound(&self) -> &Bound {
        &self.bound
    }

    /// Bytes taken, beside packed weights.
    pub fn memory(&self) -> usize {
        self.bytes
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
        let port = self.bound.inputs.iter().find(|p| p.name == name);
        let port = port.ok_or_else(|| format!("no input `{name}`"))?;
        if (port.dtype, port.shape.as_slice()) != (value.dtype(), value.shape()) {
            let (want, have) = (&port.shape, value.shape());
            return Err(format!("`{name}` is {}{want:?}, not {}{have:?}", port.dtype, value.dtype()));
        }
        let content = value.to_bytes();
        match self.input_mut(name) {
            Some(bytes) if bytes.len() == content.len() => bytes.copy_from_slice(&content),
            _ => return Err(format!("no input `{name}`")),
        }
        Ok(())
    }

    /// One run. Allocates nothing.
    pub fn run(&mut self, draw: Draw) {
        // SAFETY: as in `setup`; `&mut self` keeps every other run and reader away.
        unsafe { self.program.run(&self.pool, self.raw(), (draw.seed, draw.step, draw.sample)) }
    }

    /// The bytes of an output of the last run.
    pub fn output_bytes(&self, name: &str) -> Option<&[u8]> {
        let n = self.bound.outputs.iter().position(|p| p.name == name)?;
        Some(self.outputs.get(n)?.bytes())
    }

    /// An output of the last run.
    pub fn output(&self, name: &str) -> Option<Tensor> {
        let port = self.bound.outputs.iter().find(|p| p.name == name)?;
        Tensor::from_bytes(port.dtype, &port.shape, self.output_bytes(name)?).ok()
    }

    /// Stored tensors as the entry has left them, of those that it writes.
    pub fn written(&self) -> Vec<(String, Tensor)> {
        let value = |(i, memory): &(usize, Memory)| {
            let port = self.bound.stored.iter().find(|p| p.buffer.0 as usize == *i)?;
            Some((port.name.clone(), Tensor::from_bytes(port.dtype, &port.shape, memory.bytes()).ok()?))
        };
        self.written.iter().filter_map(value).collect()
    }

    /// The compiled entry.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// The time of every kernel in one run.
    pub fn profile(&mut self) -> Vec<KernelTime> {
        // SAFETY: as in `run`.
        unsafe { self.program.profile(&self.pool, self.raw(), (0, 0, 0)) }
    }
}

fn size(port: &Port) -> usize {
    port.shape.iter().product::<usize>() * port.dtype.bytes()
}
