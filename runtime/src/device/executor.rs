//! Running a bound entry on the CPU, with stored tensors that stay as they are.
//!
//! In: a bound entry, the memory of stored tensors, input values. Out: output values. Invariants: all memory is taken when the
//! executor is made; [`Executor::run`] allocates nothing; the same inputs give the same bits for any number of threads; what the
//! entry writes is a copy of the executor's own. Imports: frames.

use std::ops::Deref;
use std::sync::Arc;

use uad_kernels::cpu::program::KernelTime;
use uad_kernels::cpu::{Isa, Pool};
use uad_plan::tensor::Tensor;
use uad_plan::{Bound, Port};

pub use super::frame::Draw;
use super::frame::{Frame, size};
use super::memory::Memory;

/// Where the bytes of stored tensors are: in a mapped bundle, or in memory.
pub trait StoredBytes: Send + Sync {
    /// The bytes of a stored tensor, little-endian, row-major.
    fn bytes(&self, path: &str) -> Option<&[u8]>;

    /// They were read and may leave memory, if they can be loaded again.
    fn release(&self) {}

    /// The shape of a stored tensor: the values of the open dims that it has in the plan.
    fn shape(&self, path: &str) -> Option<Vec<usize>> {
        let _ = path;
        None
    }
}

/// A bound entry with its memory, ready to run.
pub struct Executor {
    frame: Frame,
    /// Keeps what the frame's pointers to stored tensors point to.
    _stored: Arc<dyn StoredBytes>,
    /// Stored tensors that the entry writes: copies of their own.
    written: Vec<(usize, Memory)>,
}

impl Deref for Executor {
    type Target = Frame;
    fn deref(&self) -> &Frame {
        &self.frame
    }
}

/// The content of a stored tensor, of its size and aligned for its elements.
pub(super) fn content<'a>(stored: &'a dyn StoredBytes, port: &Port) -> Result<&'a [u8], String> {
    let content = stored.bytes(&port.name).filter(|b| b.len() == size(port));
    let content = content.ok_or_else(|| format!("`{}` has no values", port.name))?;
    if content.as_ptr().align_offset(port.dtype.bytes()) == 0 || port.written {
        Ok(content)
    } else {
        Err(format!("`{}` is not aligned in its file", port.name))
    }
}

impl Executor {
    /// Takes memory, compiles the kernels, runs what needs to run once.
    pub fn new(bound: Bound, stored: Arc<dyn StoredBytes>, pool: Arc<Pool>, isa: Isa) -> Result<Executor, String> {
        let mut written = Vec::new();
        let mut place = |i: usize, port: &Port| {
            let content = content(&*stored, port)?;
            if !port.written {
                // Only read: no kernel writes a buffer that is not marked as written.
                return Ok(content.as_ptr().cast_mut());
            }
            let copy = Memory::zeroed(content.len());
            let mut copy = copy.ok_or_else(|| format!("this machine has no {} bytes to give", content.len()))?;
            copy.bytes_mut().copy_from_slice(content);
            let pointer = copy.as_mut_ptr();
            written.push((i, copy));
            Ok(pointer)
        };
        let mut frame = Frame::new(bound, pool, isa, None, &mut place)?;
        // SAFETY: the frame's memory, and the copies in `written`, belong to this executor alone.
        unsafe { frame.setup(&|| stored.release())? };
        Ok(Executor { frame, _stored: stored, written })
    }

    /// The bytes of an input, to be filled.
    pub fn input_mut(&mut self, name: &str) -> Option<&mut [u8]> {
        self.frame.input_mut(name)
    }

    /// The values of an f32 input, to be filled.
    pub fn input_f32_mut(&mut self, name: &str) -> Option<&mut [f32]> {
        self.frame.input_f32_mut(name)
    }

    /// Sets an input.
    pub fn set_input(&mut self, name: &str, value: &Tensor) -> Result<(), String> {
        self.frame.set_input(name, value)
    }

    /// One run. Allocates nothing.
    pub fn run(&mut self, draw: Draw) {
        // SAFETY: all memory that is written belongs to this executor, and `&mut self` keeps every other run and reader away.
        unsafe { self.frame.run(draw) }
    }

    /// Stored tensors as the entry has left them, of those that it writes.
    pub fn written(&self) -> Vec<(String, Tensor)> {
        let value = |(i, memory): &(usize, Memory)| {
            let port = self.frame.bound().stored.iter().find(|p| p.buffer.0 as usize == *i)?;
            Some((port.name.clone(), Tensor::from_bytes(port.dtype, &port.shape, memory.bytes()).ok()?))
        };
        self.written.iter().filter_map(value).collect()
    }

    /// The time of every kernel in one run.
    pub fn profile(&mut self) -> Vec<KernelTime> {
        // SAFETY: as in `run`.
        unsafe { self.frame.profile() }
    }
}
