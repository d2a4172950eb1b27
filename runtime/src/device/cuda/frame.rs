//! A bound entry on a CUDA device.
//!
//! In: a bound entry, where its stored tensors are on the device. Out: [`CudaFrame`]. Invariants: all memory is taken when the frame is
//! made; stored tensors stay on the device; a call copies inputs from pinned memory, launches in order on one queue and
//! copies outputs back, all of it recorded once where it is not too long; what draws depend on is read from memory, so that
//! the recording fits every call. Imports: drivers, layout.

use std::sync::Arc;

use uad_kernels::cpu::program::KernelTime;
use uad_kernels::cuda::program::{FLAGS, walk};
use uad_kernels::cuda::{Arg, Program, Step, limits};
use uad_plan::{Body, Bound, Kernel, philox};

use super::driver::{Address, Driver, Memory, Pinned, Queue, Work};
use super::gpu::Gpu;
use super::layout::{DRAW, Layout, Slot, WORD};
use crate::device::error::DeviceError;
use crate::device::frame::{Birth, Draw, Frame, Places, Watch, may_be_odd, odd};
use crate::device::place::Piece;

/// Longer calls are launched one by one.
const RECORDED: u64 = 20_000;

/// A bound entry with its memory.
pub(in crate::device) struct CudaFrame {
    bound: Bound,
    program: Program,
    queue: Box<dyn Queue>,
    recorded: bool,
    addresses: Addresses,
    given: Pinned,
    made: Pinned,
    _own: Memory,
    scratch: Arc<Piece>,
    driver: Arc<dyn Driver>,
}

/// Addresses of all that a call uses.
struct Addresses {
    layout: Layout,
    own: Address,
    work: Address,
    buffers: Vec<Address>,
}

impl Addresses {
    /// The word that stands for an argument.
    fn word(&self, a: &Arg, round: u32) -> u64 {
        match a {
            Arg::Buffer(id) => self.buffers[id.0 as usize],
            Arg::Work(at) => self.work + *at as Address,
            Arg::Draw => self.own + self.layout.draw as Address,
            Arg::Round => u64::from(round),
            Arg::Int(v) => u64::from(*v as u32),
            Arg::Table(at) => self.own + (self.layout.tables + WORD * at) as Address,
        }
    }

    /// Gives launches to a queue.
    fn launch(&self, queue: &mut dyn Queue, steps: &[Step]) -> Result<(), DeviceError> {
        walk(steps, None, &mut |l, round| {
            let args: Vec<u64> = l.args.iter().map(|a| self.word(a, round)).collect();
            // SAFETY: as many arguments as the function has, made by the same emission; their memory is that of the layout,
            // whose sizes the proofs of `bind` keep the kernels in, and lives as long as the frame.
            unsafe { queue.push(&Work::Launch { function: l.function, grid: l.grid, args: &args }) }
        })
    }
}

impl CudaFrame {
    /// Takes memory, finds code, copies constants.
    pub(in crate::device) fn new(
        bound: Bound,
        gpu: &Gpu,
        scratch: Option<Arc<Piece>>,
        stored: Places<'_>,
    ) -> Result<CudaFrame, DeviceError> {
        let program = Program::grouped(&bound, gpu.precision)?;
        limits::check(&program)?;
        let layout = Layout::of(&bound, &program);
        let driver = gpu.driver().clone();
        let queue = driver.load(&program, gpu.sidecar.as_deref())?;
        let own = Memory::new(&driver, layout.own)?;
        let scratch = match scratch.filter(|s| s.bytes() >= layout.scratch) {
            Some(s) => s,
            None => Arc::new(Piece::Device(Memory::new(&driver, layout.scratch)?)),
        };
        let (given, made) = (Pinned::new(&driver, layout.given.1)?, Pinned::new(&driver, layout.made.1)?);
        let shared = scratch.start().0.addr() as Address;
        let mut buffers = Vec::with_capacity(layout.slots.len());
        for (i, slot) in layout.slots.iter().enumerate() {
            buffers.push(match slot {
                Slot::Own(at) => own.address + *at as Address,
                Slot::Scratch(at) => shared + *at as Address,
                Slot::Stored => {
                    let port = bound.stored.iter().find(|p| p.buffer.0 as usize == i);
                    let port = port.ok_or_else(|| format!("buffer {i} has no memory"))?;
                    stored(i, port)?.0.addr() as Address
                }
            });
            if let (Some(bytes), Slot::Own(at)) = (bound.const_bytes(i), slot) {
                own.upload(*at, &bytes)?;
            }
        }
        let addresses = Addresses { own: own.address, work: shared + layout.work as Address, buffers, layout };
        let words = program.tables.iter().flat_map(|a| addresses.word(a, 0).to_le_bytes());
        own.upload(addresses.layout.tables, &words.collect::<Vec<u8>>())?;
        Ok(CudaFrame { bound, program, queue, recorded: false, addresses, given, made, _own: own, scratch, driver })
    }

    /// Flags of loops are zero at the start of a call.
    fn clear_flags(&mut self) -> Result<(), DeviceError> {
        let bytes = FLAGS.min(self.program.workspace);
        // SAFETY: the workspace has that many bytes.
        unsafe { self.queue.push(&Work::Zero { at: self.addresses.work, bytes }) }
    }

    /// Inputs and what draws depend on.
    fn give(&mut self) -> Result<(), DeviceError> {
        let (at, bytes) = self.addresses.layout.given;
        let work = Work::Up { to: self.addresses.own + at as Address, from: self.given.start(), bytes };
        // SAFETY: pinned memory of the same size, alive as long as the queue.
        unsafe { self.queue.push(&work)? };
        self.clear_flags()
    }

    /// Inputs, launches, outputs.
    fn call(&mut self) -> Result<(), DeviceError> {
        self.give()?;
        self.addresses.launch(&mut *self.queue, &self.program.kernels)?;
        let (at, bytes) = self.addresses.layout.made;
        if bytes == 0 {
            return Ok(());
        }
        let work = Work::Down { to: self.made.start(), from: self.addresses.own + at as Address, bytes };
        // SAFETY: as above; nobody reads the bytes before the queue is waited for.
        unsafe { self.queue.push(&work) }
    }

    /// Records a call, where the device can.
    fn record(&mut self) -> Result<(), DeviceError> {
        if self.recorded || self.program.launches() > RECORDED {
            return Ok(());
        }
        self.queue.record()?;
        let called = self.call();
        let recorded = self.queue.recorded();
        match called.and(recorded) {
            Ok(()) => self.recorded = true,
            Err(e @ (DeviceError::Lost(_) | DeviceError::NoMemory { .. })) => return Err(e),
            // What cannot be recorded is launched one by one, which is slower and the same.
            Err(_) => {}
        }
        Ok(())
    }

    fn set_draw(&mut self, draw: Draw) {
        let words = [philox::key(draw.seed, 0)[0], draw.step as u32, draw.sample as u32];
        const { assert!(DRAW == 12) }
        let at = self.addresses.layout.draw - self.addresses.layout.given.0;
        for (n, word) in words.iter().enumerate() {
            self.given.bytes_mut()[at + 4 * n..at + 4 * n + 4].copy_from_slice(&word.to_le_bytes());
        }
    }

    /// What is odd in a buffer, while the queue is idle.
    fn odd(&self, b: usize) -> Result<Option<&'static str>, DeviceError> {
        if !may_be_odd(&self.bound, b) {
            return Ok(None);
        }
        let mut bytes = vec![0; self.bound.buffer_bytes(b)];
        // SAFETY: the buffer has that many bytes; nothing runs.
        unsafe { self.driver.download(self.addresses.buffers[b], &mut bytes)? };
        let values: Vec<f32> = bytes.as_chunks::<4>().0.iter().map(|w| f32::from_le_bytes(*w)).collect();
        Ok(odd(&values))
    }

    /// The bytes of a buffer in an area that the host has a copy of.
    fn staged(&self, b: usize, area: (usize, usize)) -> Option<std::ops::Range<usize>> {
        let Slot::Own(at) = self.addresses.layout.slots.get(b)? else { return None };
        let from = at.checked_sub(area.0)?;
        Some(from..from + self.bound.buffer_bytes(b))
    }
}

/// Kernels, those of the bodies of loops included.
fn counted(kernels: &[Kernel<i64>]) -> usize {
    let body = |k: &Kernel<i64>| if let Body::Loop { body, .. } = &k.body { counted(body) } else { 0 };
    kernels.iter().map(|k| 1 + body(k)).sum()
}

/// The number of the kernel that a step belongs to, counted in that way.
fn kernel(step: &Step) -> usize {
    match step {
        Step::Launch(l) => l.kernel,
        Step::Loop(l) => l.round.first().map_or(0, kernel),
    }
}

impl Frame for CudaFrame {
    fn bound(&self) -> &Bound {
        &self.bound
    }

    fn memory(&self) -> usize {
        self.addresses.layout.own + self.addresses.layout.scratch
    }

    fn scratch(&self) -> &Arc<Piece> {
        &self.scratch
    }

    fn input_mut(&mut self, n: usize) -> Option<&mut [u8]> {
        let at = self.staged(self.bound.inputs.get(n)?.buffer.0 as usize, self.addresses.layout.given)?;
        self.given.bytes_mut().get_mut(at)
    }

    fn output(&self, n: usize) -> Option<&[u8]> {
        let at = self.staged(self.bound.outputs.get(n)?.buffer.0 as usize, self.addresses.layout.made)?;
        self.made.bytes().get(at)
    }

    unsafe fn setup(&mut self, release: &dyn Fn()) -> Result<(), DeviceError> {
        // The device has what it needs.
        release();
        self.clear_flags()?;
        self.addresses.launch(&mut *self.queue, &self.program.setup)?;
        self.queue.wait()?;
        self.record()
    }

    unsafe fn run(&mut self, draw: Draw) -> Result<(), DeviceError> {
        self.set_draw(draw);
        if self.recorded {
            // SAFETY: recorded over memory of this frame and of stored tensors, which live as long as it.
            unsafe { self.queue.replay()? };
        } else {
            self.call()?;
        }
        self.queue.wait()
    }

    unsafe fn birth(&mut self, draw: Draw) -> Result<Option<Birth>, DeviceError> {
        self.set_draw(draw);
        self.give()?;
        self.queue.wait()?;
        let mut watch = Watch::new(&self.bound);
        let mut end = counted(&self.bound.entry.setup);
        let mut steps = self.program.kernels.as_slice();
        let mut on = watch.before(&mut |b| self.odd(b))?;
        for (n, k) in self.bound.entry.kernels.iter().enumerate() {
            if !on {
                break;
            }
            end += counted(std::slice::from_ref(k));
            let (now, later) = steps.split_at(steps.iter().take_while(|s| kernel(s) < end).count());
            steps = later;
            self.addresses.launch(&mut *self.queue, now)?;
            self.queue.wait()?;
            on = watch.after(n, &mut |b| self.odd(b))?;
        }
        Ok(watch.found())
    }

    unsafe fn profile(&mut self) -> Vec<KernelTime> {
        Vec::new()
    }
}

impl Drop for CudaFrame {
    fn drop(&mut self) {
        // Nothing may run on memory that is about to be given back. Errors at the end change nothing.
        let _ = self.queue.wait();
    }
}
