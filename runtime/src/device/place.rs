//! Devices by what executors and stores need of them, and pieces of their memory.
//!
//! In: sizes, bytes, bound entries. Out: [`Device`], pieces of memory on it, frames. Invariants: the only place where devices are told
//! apart; whatever stores and executors do, they do alike on all. Imports: frames, memory, the devices.

use std::borrow::Cow;
use std::sync::Arc;

use uad_kernels::cpu::{Isa, Pool};
use uad_plan::Bound;

use super::cpu::CpuFrame;
use super::cuda::driver;
use super::cuda::frame::CudaFrame;
use super::cuda::gpu::Gpu;
use super::error::DeviceError;
use super::frame::{Frame, Places, Pointer};
use super::memory::Memory;

/// Where entries run.
#[derive(Clone)]
pub enum Device {
    /// This processor.
    Cpu {
        /// Its threads.
        pool: Arc<Pool>,
        /// Its instruction set.
        isa: Isa,
    },
    /// A GPU, or what stands for one.
    Cuda(Arc<Gpu>),
}

impl Device {
    /// What its bits may depend on, in words: results of two devices of one kind are the same.
    pub fn kind(&self) -> String {
        match self {
            Device::Cpu { .. } => "cpu".to_owned(),
            Device::Cuda(gpu) => gpu.kind(),
        }
    }

    /// So many bytes.
    pub(super) fn take(&self, bytes: usize) -> Result<Piece, DeviceError> {
        match self {
            Device::Cpu { .. } => Ok(Piece::Host(host(bytes)?)),
            Device::Cuda(gpu) => Ok(Piece::Device(driver::Memory::new(gpu.driver(), bytes)?)),
        }
    }

    /// A stored tensor that no entry changes, on the device; `None` where it is used where it lies.
    pub(super) fn resident(&self, content: &[u8]) -> Result<Option<Arc<Piece>>, DeviceError> {
        match self {
            Device::Cpu { .. } => Ok(None),
            Device::Cuda(gpu) => gpu.resident(content).map(Some),
        }
    }

    /// A bound entry with its memory; `scratch` is used where it is large enough.
    pub(super) fn frame(
        &self,
        bound: Bound,
        scratch: Option<Arc<Piece>>,
        stored: Places<'_>,
    ) -> Result<Box<dyn Frame>, DeviceError> {
        Ok(match self {
            Device::Cpu { pool, isa } => Box::new(CpuFrame::new(bound, pool.clone(), *isa, scratch, stored)?),
            Device::Cuda(gpu) => Box::new(CudaFrame::new(bound, gpu, scratch, stored)?),
        })
    }
}

/// Memory of the host.
pub(super) fn host(bytes: usize) -> Result<Memory, DeviceError> {
    let none = || DeviceError::Other(format!("this machine has no {bytes} bytes of memory to give"));
    Memory::zeroed(bytes).ok_or_else(none)
}

/// A piece of a device's memory.
pub(super) enum Piece {
    /// The processor's.
    Host(Memory),
    /// A GPU's.
    Device(driver::Memory),
}

impl Piece {
    /// Its first byte.
    pub(super) fn start(&self) -> Pointer {
        match self {
            Piece::Host(memory) => Pointer(memory.pointer()),
            Piece::Device(memory) => Pointer(std::ptr::without_provenance_mut(memory.address as usize)),
        }
    }

    /// Its size.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Piece::Host(memory) => memory.len(),
            Piece::Device(memory) => memory.bytes,
        }
    }

    /// What is in it: where it lies, or a copy that the device gave.
    ///
    /// # Safety
    /// Nobody writes to it while what is given back lives.
    pub(super) unsafe fn read(&self) -> Result<Cow<'_, [u8]>, DeviceError> {
        match self {
            Piece::Host(memory) => Ok(Cow::Borrowed(memory.bytes())),
            Piece::Device(memory) => {
                let mut copy = vec![0; memory.bytes];
                memory.download(0, &mut copy)?;
                Ok(Cow::Owned(copy))
            }
        }
    }

    /// Gives it another content, of its size.
    ///
    /// # Safety
    /// Nobody reads or writes it meanwhile.
    pub(super) unsafe fn write(&self, bytes: &[u8]) -> Result<(), DeviceError> {
        if bytes.len() != self.bytes() {
            return Err(DeviceError::Other(format!("{} bytes do not fill {}", bytes.len(), self.bytes())));
        }
        match self {
            // SAFETY: as many bytes as the memory holds, which the caller keeps others away from.
            Piece::Host(memory) => unsafe {
                std::ptr::copy_nonoverlapping(bytes.as_ptr(), memory.pointer(), bytes.len());
            },
            Piece::Device(memory) => memory.upload(0, bytes)?,
        }
        Ok(())
    }
}
