//! What stands for a GPU where there is none, for tests: kernels run on the host, compiled by the C++ compiler.
//!
//! In: programs, work in order. Out: [`Emulated`], a driver. Invariants: the text that runs is the one that NVRTC takes; memory is
//! poisoned when it is taken and has margins that kernels must leave alone; a copy outside of what was taken is an error; what
//! is recorded is run again word by word, as a device does it; everything is done when it is given to the queue.
//! Imports: drivers, `uad-kernels`.

use std::collections::{BTreeMap, HashMap};
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use uad_kernels::cuda::emulate::{Emulation, Order, Piece};
use uad_kernels::cuda::{Named, Program};

use super::driver::{Address, Driver, Queue, Work};
use super::sidecar::Sidecar;
use crate::device::error::DeviceError;
use crate::device::memory::Memory;
use crate::device::place::host;

/// Pieces of memory by their first byte.
#[derive(Clone, Default)]
struct Pieces(Arc<Mutex<BTreeMap<Address, Piece>>>);

impl Pieces {
    fn table(&self) -> MutexGuard<'_, BTreeMap<Address, Piece>> {
        // Whoever broke off while holding the table left it whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives bytes of one piece to be read or written.
    fn with(&self, at: Address, bytes: usize, use_it: impl FnOnce(&mut [u8])) -> Result<(), DeviceError> {
        let mut table = self.table();
        let outside = || DeviceError::Lost("a copy goes beyond memory that was taken".to_owned());
        let (start, piece) = table.range_mut(..=at).next_back().ok_or_else(outside)?;
        let from = usize::try_from(at - start).map_err(|_| outside())?;
        let end = from.checked_add(bytes).ok_or_else(outside)?;
        use_it(piece.bytes().get_mut(from..end).ok_or_else(outside)?);
        Ok(())
    }
}

/// A machine that runs CUDA kernels on the host.
pub struct Emulated {
    compiler: String,
    device: Pieces,
    pinned: Mutex<HashMap<usize, Memory>>,
    /// What was compiled, by its text.
    known: Mutex<HashMap<String, Arc<Emulation>>>,
}

impl Emulated {
    /// With a C++ compiler by its name or path.
    pub fn new(compiler: &str) -> Emulated {
        let compiler = compiler.to_owned();
        Emulated { compiler, device: Pieces::default(), pinned: Mutex::default(), known: Mutex::default() }
    }
}

impl Driver for Emulated {
    fn kind(&self) -> &'static str {
        "emulation"
    }

    fn take(&self, bytes: usize) -> Result<Address, DeviceError> {
        let mut piece = Piece::new(bytes);
        let at = piece.bytes().as_mut_ptr().expose_provenance() as Address;
        self.device.table().insert(at, piece);
        Ok(at)
    }

    unsafe fn give_back(&self, at: Address) {
        self.device.table().remove(&at);
    }

    fn pin(&self, bytes: usize) -> Result<NonNull<u8>, DeviceError> {
        let memory = host(bytes)?;
        let start = NonNull::new(memory.pointer());
        let start = start.ok_or_else(|| DeviceError::Other("memory without a place".to_owned()))?;
        self.pinned.lock().unwrap_or_else(PoisonError::into_inner).insert(start.addr().get(), memory);
        Ok(start)
    }

    unsafe fn unpin(&self, at: NonNull<u8>) {
        self.pinned.lock().unwrap_or_else(PoisonError::into_inner).remove(&at.addr().get());
    }

    unsafe fn upload(&self, to: Address, bytes: &[u8]) -> Result<(), DeviceError> {
        self.device.with(to, bytes.len(), |piece| piece.copy_from_slice(bytes))
    }

    unsafe fn download(&self, from: Address, bytes: &mut [u8]) -> Result<(), DeviceError> {
        self.device.with(from, bytes.len(), |piece| bytes.copy_from_slice(piece))
    }

    fn load(&self, program: &Program, _: Option<&Sidecar>) -> Result<Box<dyn Queue>, DeviceError> {
        let text = program.text();
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&text).cloned();
        let emulation = match known {
            Some(e) => e,
            None => Arc::new(Emulation::new(&self.compiler, &[program]).map_err(DeviceError::NoCompiler)?),
        };
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(text, emulation.clone());
        let functions = program.functions.clone();
        Ok(Box::new(Steps { emulation, functions, device: self.device.clone(), noted: Vec::new(), recording: false }))
    }
}

/// Work that owns what it needs.
enum Noted {
    Up(Address, *const u8, usize),
    Down(*mut u8, Address, usize),
    Zero(Address, usize),
    Launch(usize, u32, Vec<u64>),
}

impl Noted {
    fn of(work: &Work<'_>) -> Noted {
        match work {
            Work::Up { to, from, bytes } => Noted::Up(*to, *from, *bytes),
            Work::Down { to, from, bytes } => Noted::Down(*to, *from, *bytes),
            Work::Zero { at, bytes } => Noted::Zero(*at, *bytes),
            Work::Launch { function, grid, args } => Noted::Launch(*function, *grid, args.to_vec()),
        }
    }

    fn work(&self) -> Work<'_> {
        match self {
            Noted::Up(to, from, bytes) => Work::Up { to: *to, from: *from, bytes: *bytes },
            Noted::Down(to, from, bytes) => Work::Down { to: *to, from: *from, bytes: *bytes },
            Noted::Zero(at, bytes) => Work::Zero { at: *at, bytes: *bytes },
            Noted::Launch(function, grid, args) => Work::Launch { function: *function, grid: *grid, args },
        }
    }
}

/// A queue that does its work at once.
struct Steps {
    emulation: Arc<Emulation>,
    functions: Vec<Named>,
    device: Pieces,
    noted: Vec<Noted>,
    recording: bool,
}

// SAFETY: noted pointers are of memory that whoever pushed them guards.
unsafe impl Send for Steps {}

impl Steps {
    /// Does one thing.
    ///
    /// # Safety
    /// As for [`Queue::push`].
    unsafe fn now(&self, work: &Work<'_>) -> Result<(), DeviceError> {
        match work {
            Work::Up { to, from, bytes } => {
                // SAFETY: the caller's contract.
                let from = unsafe { std::slice::from_raw_parts(*from, *bytes) };
                self.device.with(*to, *bytes, |piece| piece.copy_from_slice(from))
            }
            Work::Down { to, from, bytes } => {
                // SAFETY: the caller's contract.
                let to = unsafe { std::slice::from_raw_parts_mut(*to, *bytes) };
                self.device.with(*from, *bytes, |piece| to.copy_from_slice(piece))
            }
            Work::Zero { at, bytes } => self.device.with(*at, *bytes, |piece| piece.fill(0)),
            Work::Launch { function, grid, args } => {
                let found = self.functions.get(*function);
                let f = found.ok_or_else(|| "a launch of a function that is not there".to_owned())?;
                // SAFETY: the caller's contract.
                unsafe { self.emulation.start(f, *grid, args, Order::Normal) }.map_err(DeviceError::Lost)
            }
        }
    }
}

impl Queue for Steps {
    unsafe fn push(&mut self, work: &Work<'_>) -> Result<(), DeviceError> {
        if self.recording {
            self.noted.push(Noted::of(work));
            return Ok(());
        }
        // SAFETY: the caller's contract.
        unsafe { self.now(work) }
    }

    fn wait(&mut self) -> Result<(), DeviceError> {
        if self.device.table().values_mut().all(Piece::whole) {
            return Ok(());
        }
        Err(DeviceError::Lost("a kernel has written outside of its memory".to_owned()))
    }

    fn record(&mut self) -> Result<(), DeviceError> {
        self.noted.clear();
        self.recording = true;
        Ok(())
    }

    fn recorded(&mut self) -> Result<(), DeviceError> {
        self.recording = false;
        Ok(())
    }

    unsafe fn replay(&mut self) -> Result<(), DeviceError> {
        // SAFETY: the caller's contract.
        self.noted.iter().try_for_each(|n| unsafe { self.now(&n.work()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_stay_inside_of_what_was_taken() {
        let driver = Emulated::new("c++");
        let at = driver.take(10).unwrap();
        let mut back = [0; 4];
        // SAFETY: the emulation checks what it is given, which is what is looked at here.
        unsafe {
            driver.upload(at + 3, &[1, 2, 3, 4]).unwrap();
            driver.download(at + 4, &mut back).unwrap();
            assert_eq!(back, [2, 3, 4, 0xff]);
            for beyond in [at + 7, at + 11, at - 1, 0] {
                assert!(driver.upload(beyond, &[0; 4]).is_err() && driver.download(beyond, &mut back).is_err());
            }
            driver.give_back(at);
            assert!(driver.download(at, &mut back).is_err());
        }
    }
}
