//! Running a bound entry alone, with stored tensors that stay as they are.
//!
//! In: a bound entry, the bytes of stored tensors, input values, a device. Out: output values. Invariants: all memory is taken when the
//! executor is made; on the processor [`Executor::run`] allocates nothing; what the entry writes is a copy of the executor's own;
//! tensors that are only read are on the device once, for all executors that read them. Imports: stores.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use uad_kernels::cpu::program::KernelTime;
use uad_plan::tensor::Tensor;
use uad_plan::{Bound, Port};

use super::error::DeviceError;
pub use super::frame::Draw;
use super::frame::size;
use super::place::Device;
use super::store::{Store, StoreExecutor};

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

/// The content of a stored tensor, of its size and aligned for its elements.
pub(super) fn content<'a>(stored: &'a dyn StoredBytes, port: &Port) -> Result<&'a [u8], String> {
    let content = stored.bytes(&port.name).filter(|b| b.len() == size(port));
    let content = content.ok_or_else(|| format!("`{}` has no values", port.name))?;
    if content.as_ptr().align_offset(port.dtype.bytes()) == 0 {
        Ok(content)
    } else {
        Err(format!("`{}` is not aligned in its file", port.name))
    }
}

/// A bound entry with its memory, ready to run.
pub struct Executor {
    store: Store,
    entry: StoreExecutor,
}

impl Deref for Executor {
    type Target = StoreExecutor;
    fn deref(&self) -> &StoreExecutor {
        &self.entry
    }
}

impl DerefMut for Executor {
    fn deref_mut(&mut self) -> &mut StoreExecutor {
        &mut self.entry
    }
}

impl Executor {
    /// Takes memory, compiles the kernels or finds their code, runs what needs to run once.
    pub fn new(bound: Bound, stored: Arc<dyn StoredBytes>, device: &Device) -> Result<Executor, DeviceError> {
        let written = bound.stored.iter().filter(|p| p.written);
        let changing: Vec<_> = written.map(|p| (p.name.clone(), p.dtype, p.shape.clone())).collect();
        let mut store = Store::new(changing, stored, device)?;
        let entry = store.executor(bound)?;
        Ok(Executor { store, entry })
    }

    /// One run.
    pub fn run(&mut self, draw: Draw) -> Result<(), DeviceError> {
        self.entry.run(&mut self.store, draw)
    }

    /// Stored tensors as the entry has left them, of those that it writes.
    pub fn written(&self) -> Result<Vec<(String, Tensor)>, DeviceError> {
        self.entry.written(&self.store)
    }

    /// The time of every kernel in one run, where the device tells.
    pub fn profile(&mut self) -> Result<Vec<KernelTime>, DeviceError> {
        self.entry.profile(&mut self.store)
    }
}
