//! A bound entry with the memory of its calls, whatever it runs on.
//!
//! In: what a device makes of a bound entry. Out: [`Frame`], the one interface that executors know. Invariants: all memory is taken
//! when a frame is made; who owns a frame decides what may run at the same time. Imports: `uad-plan`, `uad-kernels`, errors.

use std::sync::Arc;

use uad_kernels::cpu::program::KernelTime;
use uad_plan::tensor::Tensor;
use uad_plan::{Bound, DType, Port};

use super::error::DeviceError;
use super::place::Piece;

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

/// The address of a buffer on its device, which alone may follow it.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(super) struct Pointer(pub(super) *mut u8);

// SAFETY: an address; what it points to is guarded by the owner of the frame or store that it belongs to.
unsafe impl Send for Pointer {}
// SAFETY: as above.
unsafe impl Sync for Pointer {}

/// Where stored tensors are: by buffer, valid for their sizes as long as the frame lives, and for writing where the entry writes.
pub(super) type Places<'a> = &'a mut dyn FnMut(usize, &Port) -> Result<Pointer, DeviceError>;

/// A bound entry with its memory, on a device.
pub(super) trait Frame: Send {
    /// The entry as bound.
    fn bound(&self) -> &Bound;

    /// Bytes taken, beside packed weights and stored tensors.
    fn memory(&self) -> usize;

    /// Memory for temporary buffers, which entries that never run at the same time may share.
    fn scratch(&self) -> &Arc<Piece>;

    /// The bytes of an input by its number, to be filled on the host.
    fn input_mut(&mut self, n: usize) -> Option<&mut [u8]>;

    /// The bytes of an output of the last call by its number, on the host.
    fn output(&self, n: usize) -> Option<&[u8]>;

    /// Runs what depends on stored tensors only. `release` is called where stored tensors may leave the host's memory.
    ///
    /// # Safety
    /// Nothing that shares memory with this frame runs or is read meanwhile.
    unsafe fn setup(&mut self, release: &dyn Fn()) -> Result<(), DeviceError>;

    /// One call, done when this returns.
    ///
    /// # Safety
    /// As for [`Frame::setup`], which ran since the stored tensors that the entry does not write were changed.
    unsafe fn run(&mut self, draw: Draw) -> Result<(), DeviceError>;

    /// One call, kernel by kernel, up to the first that makes a number that is none (or, where none does, the first that makes an
    /// infinite one that is not minus infinity: masks are made of those).
    ///
    /// # Safety
    /// As for [`Frame::run`].
    unsafe fn birth(&mut self, draw: Draw) -> Result<Option<Birth>, DeviceError>;

    /// The time of every kernel in one call, where the device tells.
    ///
    /// # Safety
    /// As for [`Frame::run`].
    unsafe fn profile(&mut self) -> Vec<KernelTime>;
}

/// Looks for the first odd number of a call; `odd` says what is odd in a buffer.
pub(super) struct Watch<'a> {
    bound: &'a Bound,
    infinite: Option<Birth>,
    found: Option<Birth>,
}

impl<'a> Watch<'a> {
    pub(super) fn new(bound: &'a Bound) -> Watch<'a> {
        Watch { bound, infinite: None, found: None }
    }

    /// Before the first kernel; false where nothing need run.
    pub(super) fn before(
        &mut self,
        odd: &mut dyn FnMut(usize) -> Result<Option<&'static str>, DeviceError>,
    ) -> Result<bool, DeviceError> {
        for port in self.bound.inputs.iter().chain(self.bound.stored.iter().filter(|p| p.read)) {
            if let Some(what) = odd(port.buffer.0 as usize)? {
                self.found = Some(Birth { place: port.name.clone(), given: true, what });
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// After the kernel of this number; false where the others need not run.
    pub(super) fn after(
        &mut self,
        n: usize,
        odd: &mut dyn FnMut(usize) -> Result<Option<&'static str>, DeviceError>,
    ) -> Result<bool, DeviceError> {
        let Some(kernel) = self.bound.entry.kernels.get(n) else { return Ok(true) };
        let birth = |what| Birth { place: kernel.scope.clone(), given: false, what };
        for w in &kernel.writes {
            match odd(w.buffer.0 as usize)? {
                Some("nan") => {
                    self.found = Some(birth("nan"));
                    return Ok(false);
                }
                Some(what) if self.infinite.is_none() => self.infinite = Some(birth(what)),
                Some(_) | None => {}
            }
        }
        Ok(true)
    }

    /// What was found.
    pub(super) fn found(self) -> Option<Birth> {
        self.found.or(self.infinite)
    }
}

/// Is buffer `b` one of numbers that may be odd?
pub(super) fn may_be_odd(bound: &Bound, b: usize) -> bool {
    bound.entry.buffers.get(b).is_some_and(|f| f.dtype == DType::F32)
}

/// What is odd among values.
pub(super) fn odd(values: &[f32]) -> Option<&'static str> {
    if values.iter().any(|v| v.is_nan()) {
        return Some("nan");
    }
    values.contains(&f32::INFINITY).then_some("inf")
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
