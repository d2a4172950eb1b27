//! What executors need of a machine that runs CUDA kernels, and no more.
//!
//! In: sizes, bytes, programs, work in order. Out: the traits [`Driver`] and [`Queue`]; memory of a device and memory that it copies from,
//! each given back when its owner goes. Invariants: whatever fills the traits gets the same work in the same order, so that
//! what holds for one machine holds for another as far as their kernels agree. Imports: errors, `uad-kernels`.

use std::ptr::NonNull;
use std::sync::Arc;

use uad_kernels::cuda::Program;

use super::sidecar::Sidecar;
use crate::device::error::DeviceError;

/// An address in the memory of a device.
pub type Address = u64;

/// One thing that a queue does.
pub enum Work<'a> {
    /// Copies from pinned memory to the device.
    Up {
        /// To where.
        to: Address,
        /// From where.
        from: *const u8,
        /// How much.
        bytes: usize,
    },
    /// Copies from the device to pinned memory.
    Down {
        /// To where.
        to: *mut u8,
        /// From where.
        from: Address,
        /// How much.
        bytes: usize,
    },
    /// Writes zeros.
    Zero {
        /// Where.
        at: Address,
        /// How many.
        bytes: usize,
    },
    /// Starts a function of the program that the queue was made for.
    Launch {
        /// Which of its functions.
        function: usize,
        /// Blocks.
        grid: u32,
        /// One word per parameter, of which the parameter takes its first bytes.
        args: &'a [u64],
    },
}

/// A machine that runs CUDA kernels.
pub trait Driver: Send + Sync {
    /// What the bits of its results may depend on.
    fn kind(&self) -> &'static str;

    /// Memory of the device, with anything in it.
    fn take(&self, bytes: usize) -> Result<Address, DeviceError>;

    /// Gives memory back.
    ///
    /// # Safety
    /// It was taken from this driver, is given back once, and nothing uses it.
    unsafe fn give_back(&self, at: Address);

    /// Memory of the host that queues copy from and to: zeros, aligned for every element.
    fn pin(&self, bytes: usize) -> Result<NonNull<u8>, DeviceError>;

    /// Gives pinned memory back.
    ///
    /// # Safety
    /// As for [`Driver::give_back`].
    unsafe fn unpin(&self, at: NonNull<u8>);

    /// Copies to the device; done when this returns.
    ///
    /// # Safety
    /// The bytes fit into memory that was taken from this driver, and nothing uses it meanwhile.
    unsafe fn upload(&self, to: Address, bytes: &[u8]) -> Result<(), DeviceError>;

    /// Copies from the device; done when this returns.
    ///
    /// # Safety
    /// As for [`Driver::upload`].
    unsafe fn download(&self, from: Address, bytes: &mut [u8]) -> Result<(), DeviceError>;

    /// Finds or makes the code of a program, and gives a queue that starts its functions.
    fn load(&self, program: &Program, sidecar: Option<&Sidecar>) -> Result<Box<dyn Queue>, DeviceError>;
}

/// Work in order, with the functions of one program.
pub trait Queue: Send {
    /// Adds work, which begins when all before it is done; while recording, it is only noted.
    ///
    /// # Safety
    /// Addresses and sizes are of memory of the queue's driver that lives, and is used by nobody else, until all is done, or as long
    /// as a recording is replayed; arguments are those of the function.
    unsafe fn push(&mut self, work: &Work<'_>) -> Result<(), DeviceError>;

    /// Waits until all work is done.
    fn wait(&mut self) -> Result<(), DeviceError>;

    /// Begins to record.
    fn record(&mut self) -> Result<(), DeviceError>;

    /// Ends the recording, which is kept in place of the one before; must be called after [`Queue::record`] whatever failed between.
    fn recorded(&mut self) -> Result<(), DeviceError>;

    /// Adds all work that was recorded.
    ///
    /// # Safety
    /// As for [`Queue::push`] of everything that was recorded.
    unsafe fn replay(&mut self) -> Result<(), DeviceError>;
}

/// Memory of a device.
pub(in crate::device) struct Memory {
    driver: Arc<dyn Driver>,
    /// Its first byte.
    pub address: Address,
    /// Its size.
    pub bytes: usize,
}

impl Memory {
    /// So many bytes, with anything in them.
    pub fn new(driver: &Arc<dyn Driver>, bytes: usize) -> Result<Memory, DeviceError> {
        Ok(Memory { driver: driver.clone(), address: driver.take(bytes.max(1))?, bytes })
    }

    fn holds(&self, at: usize, bytes: usize) -> Result<Address, DeviceError> {
        let inside = at.checked_add(bytes).is_some_and(|end| end <= self.bytes);
        let outside = || DeviceError::Other("a copy goes beyond its memory".to_owned());
        if inside { Ok(self.address + at as Address) } else { Err(outside()) }
    }

    /// Copies to it, from byte `at` on. No queue may use it meanwhile.
    pub fn upload(&self, at: usize, bytes: &[u8]) -> Result<(), DeviceError> {
        let to = self.holds(at, bytes.len())?;
        // SAFETY: inside this memory, which its owners keep queues away from.
        unsafe { self.driver.upload(to, bytes) }
    }

    /// Copies from it, from byte `at` on. No queue may write it meanwhile.
    pub fn download(&self, at: usize, bytes: &mut [u8]) -> Result<(), DeviceError> {
        let from = self.holds(at, bytes.len())?;
        // SAFETY: as in `upload`.
        unsafe { self.driver.download(from, bytes) }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: taken in `new`; whoever owns it waits for its queue first.
        unsafe { self.driver.give_back(self.address) };
    }
}

/// Memory of the host that the device reads and writes itself.
pub(super) struct Pinned {
    driver: Arc<dyn Driver>,
    start: NonNull<u8>,
    bytes: usize,
}

// SAFETY: memory with one owner.
unsafe impl Send for Pinned {}
// SAFETY: shared references only read.
unsafe impl Sync for Pinned {}

impl Pinned {
    /// So many bytes, zero.
    pub fn new(driver: &Arc<dyn Driver>, bytes: usize) -> Result<Pinned, DeviceError> {
        Ok(Pinned { driver: driver.clone(), start: driver.pin(bytes.max(1))?, bytes })
    }

    /// The first byte, for queues.
    pub fn start(&self) -> *mut u8 {
        self.start.as_ptr()
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: the memory holds that many bytes; queues write it during calls only, which need `&mut` of the owner.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.bytes) }
    }

    /// The bytes, to write.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and `&mut self` keeps others away.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.bytes) }
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // SAFETY: taken in `new`.
        unsafe { self.driver.unpin(self.start) };
    }
}
