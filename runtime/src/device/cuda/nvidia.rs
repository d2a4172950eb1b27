//! The NVIDIA driver: a device, its memory, its streams.
//!
//! In: nothing but the machine. Out: [`Nvidia`]. Invariants: the driver's library is looked for before it is called, as its first
//! call would panic without it; whatever is taken is given back; every error has a name. Imports: drivers, code, cudarc's
//! bindings.

use std::ffi::{CString, c_void};
use std::ptr::NonNull;
use std::sync::Arc;

use cudarc::driver::{result, sys};
use uad_kernels::cuda::Program;
use uad_kernels::cuda::limits::CAPABILITY;

use super::code;
use super::driver::{Address, Driver, Queue, Work};
use super::sidecar::Sidecar;
use crate::device::error::DeviceError;

/// The driver that the bindings are made for: CUDA 12.0.
const NEEDS: i32 = 12_000;

/// Names of errors that callers tell apart.
fn named(e: result::DriverError) -> DeviceError {
    use sys::CUresult as R;
    match e.0 {
        R::CUDA_ERROR_NO_DEVICE => DeviceError::NoDevice,
        R::CUDA_ERROR_OUT_OF_MEMORY => {
            let free = result::mem_get_info().map_or(0, |m| m.0);
            DeviceError::NoMemory { bytes: 0, free }
        }
        R::CUDA_ERROR_ILLEGAL_ADDRESS
        | R::CUDA_ERROR_LAUNCH_FAILED
        | R::CUDA_ERROR_LAUNCH_TIMEOUT
        | R::CUDA_ERROR_ECC_UNCORRECTABLE
        | R::CUDA_ERROR_DEVICE_UNAVAILABLE
        | R::CUDA_ERROR_CONTEXT_IS_DESTROYED
        | R::CUDA_ERROR_HARDWARE_STACK_ERROR
        | R::CUDA_ERROR_ILLEGAL_INSTRUCTION
        | R::CUDA_ERROR_MISALIGNED_ADDRESS
        | R::CUDA_ERROR_ASSERT => DeviceError::Lost(format!("{:?}", e.0)),
        R::CUDA_ERROR_SYSTEM_DRIVER_MISMATCH => {
            DeviceError::Other("the NVIDIA driver and its library differ".to_owned())
        }
        other => DeviceError::Other(format!("the CUDA driver says {other:?}")),
    }
}

/// A device's primary context.
struct Context {
    ordinal: sys::CUdevice,
    context: sys::CUcontext,
}

// SAFETY: a context is a handle that any thread may make its current one; every call does so first.
unsafe impl Send for Context {}
// SAFETY: as above; the driver serialises what needs it.
unsafe impl Sync for Context {}

impl Context {
    /// Makes it that of this thread.
    fn enter(&self) -> Result<(), DeviceError> {
        // SAFETY: the context is alive as long as `self`.
        unsafe { result::ctx::set_current(self.context) }.map_err(named)
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: retained once, in `open`. An error at the end changes nothing.
        let _ = unsafe { result::primary_ctx::release(self.ordinal) };
    }
}

/// A device of NVIDIA.
pub struct Nvidia {
    context: Arc<Context>,
    /// Its name.
    pub name: String,
    /// Its architecture, as `sm_90`.
    pub arch: String,
}

impl Nvidia {
    /// Its [`Driver::kind`].
    pub const KIND: &'static str = "cuda";

    /// The first device.
    pub fn open() -> Result<Arc<Nvidia>, DeviceError> {
        // SAFETY: loads the driver's library, if there is one.
        if !unsafe { sys::is_culib_present() } {
            return Err(DeviceError::NoDriver);
        }
        result::init().map_err(named)?;
        let mut has = 0;
        // SAFETY: writes one integer.
        unsafe { sys::cuDriverGetVersion(&mut has) }.result().map_err(named)?;
        if has < NEEDS {
            return Err(DeviceError::OldDriver { has, needs: NEEDS });
        }
        if result::device::get_count().map_err(named)? < 1 {
            return Err(DeviceError::NoDevice);
        }
        let ordinal = result::device::get(0).map_err(named)?;
        let name = result::device::get_name(ordinal).map_err(named)?;
        use sys::CUdevice_attribute as A;
        let attribute = |a| {
            // SAFETY: the device was just given.
            unsafe { result::device::get_attribute(ordinal, a) }.map_err(named)
        };
        let has = (
            attribute(A::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
            attribute(A::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
        );
        if has < CAPABILITY {
            return Err(DeviceError::OldDevice { name, has });
        }
        // SAFETY: the device was just given; released when this is dropped.
        let context = unsafe { result::primary_ctx::retain(ordinal) }.map_err(named)?;
        let context = Arc::new(Context { ordinal, context });
        Ok(Arc::new(Nvidia { context, name, arch: format!("sm_{}{}", has.0, has.1) }))
    }
}

impl Driver for Nvidia {
    fn kind(&self) -> &'static str {
        Nvidia::KIND
    }

    fn take(&self, bytes: usize) -> Result<Address, DeviceError> {
        self.context.enter()?;
        // SAFETY: freed by `give_back`.
        unsafe { result::malloc_sync(bytes) }.map_err(|e| match named(e) {
            DeviceError::NoMemory { free, .. } => DeviceError::NoMemory { bytes, free },
            other => other,
        })
    }

    unsafe fn give_back(&self, at: Address) {
        if self.context.enter().is_ok() {
            // SAFETY: the caller's contract. An error at the end changes nothing.
            let _ = unsafe { result::free_sync(at) };
        }
    }

    fn pin(&self, bytes: usize) -> Result<NonNull<u8>, DeviceError> {
        self.context.enter()?;
        // SAFETY: freed by `unpin`; as many bytes are cleared as were taken.
        let start = unsafe {
            let start = result::malloc_host(bytes, 0).map_err(named)?.cast::<u8>();
            start.write_bytes(0, bytes);
            start
        };
        NonNull::new(start).ok_or_else(|| DeviceError::Other("the CUDA driver gives no pinned memory".to_owned()))
    }

    unsafe fn unpin(&self, at: NonNull<u8>) {
        if self.context.enter().is_ok() {
            // SAFETY: the caller's contract.
            let _ = unsafe { result::free_host(at.as_ptr().cast()) };
        }
    }

    unsafe fn upload(&self, to: Address, bytes: &[u8]) -> Result<(), DeviceError> {
        self.context.enter()?;
        // SAFETY: the caller's contract.
        unsafe { result::memcpy_htod_sync(to, bytes) }.map_err(named)
    }

    unsafe fn download(&self, from: Address, bytes: &mut [u8]) -> Result<(), DeviceError> {
        self.context.enter()?;
        // SAFETY: the caller's contract.
        unsafe { result::memcpy_dtoh_sync(bytes, from) }.map_err(named)
    }

    fn load(&self, program: &Program, sidecar: Option<&Sidecar>) -> Result<Box<dyn Queue>, DeviceError> {
        let cubin = code::find(program, &self.arch, sidecar)?;
        let module = Module::new(&self.context, &cubin)?;
        let functions = program.functions.iter().map(|f| module.function(&f.name, f.function.block));
        let functions = functions.collect::<Result<Vec<_>, _>>()?;
        let stream = result::stream::create(result::stream::StreamKind::NonBlocking).map_err(named)?;
        Ok(Box::new(Stream { functions, stream, graph: None, _module: module, context: self.context.clone() }))
    }
}

/// Loaded code.
struct Module {
    context: Arc<Context>,
    module: sys::CUmodule,
}

impl Module {
    /// Loads a cubin.
    fn new(context: &Arc<Context>, cubin: &[u8]) -> Result<Module, DeviceError> {
        context.enter()?;
        // SAFETY: the driver copies the code; what is no code it refuses.
        let module = unsafe { result::module::load_data(cubin.as_ptr().cast()) }.map_err(named)?;
        Ok(Module { context: context.clone(), module })
    }

    /// A function of it, loaded, that takes blocks of so many threads.
    fn function(&self, name: &str, threads: u32) -> Result<(sys::CUfunction, u32), DeviceError> {
        let c_name = CString::new(name).map_err(|e| DeviceError::Other(e.to_string()))?;
        let most = sys::CUfunction_attribute_enum::CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK;
        // SAFETY: the module is loaded. Asking for an attribute loads the function, which must not happen first while a
        // call is recorded.
        let (function, most) = unsafe {
            let function = result::module::get_function(self.module, c_name).map_err(named)?;
            (function, result::function::get_function_attribute(function, most).map_err(named)?)
        };
        if i64::from(most) < i64::from(threads) {
            let text = format!("{name} takes {most} threads a block on this device, not {threads}");
            return Err(DeviceError::Other(text));
        }
        Ok((function, threads))
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        if self.context.enter().is_ok() {
            // SAFETY: loaded in `new`.
            let _ = unsafe { result::module::unload(self.module) };
        }
    }
}

/// A stream with the functions of a program and a recorded call.
struct Stream {
    /// With the threads of their blocks.
    functions: Vec<(sys::CUfunction, u32)>,
    stream: sys::CUstream,
    graph: Option<sys::CUgraphExec>,
    _module: Module,
    context: Arc<Context>,
}

// SAFETY: handles that any thread may use after entering the context; `&mut self` keeps calls apart.
unsafe impl Send for Stream {}

impl Stream {
    fn forget(&mut self) {
        if let Some(graph) = self.graph.take() {
            // SAFETY: made in `recorded`, destroyed once.
            let _ = unsafe { result::graph::exec_destroy(graph) };
        }
    }
}

impl Queue for Stream {
    unsafe fn push(&mut self, work: &Work<'_>) -> Result<(), DeviceError> {
        self.context.enter()?;
        // SAFETY: the caller's contract, in all arms.
        unsafe {
            match work {
                Work::Up { to, from, bytes } => {
                    result::memcpy_htod_async(*to, std::slice::from_raw_parts(*from, *bytes), self.stream)
                        .map_err(named)
                }
                Work::Down { to, from, bytes } => {
                    sys::cuMemcpyDtoHAsync_v2(to.cast(), *from, *bytes, self.stream).result().map_err(named)
                }
                Work::Zero { at, bytes } => result::memset_d8_async(*at, 0, *bytes, self.stream).map_err(named),
                Work::Launch { function, grid, args } => {
                    let found = self.functions.get(*function);
                    let missing = || DeviceError::Other("a launch of a function that is not there".to_owned());
                    let (function, block) = *found.ok_or_else(missing)?;
                    // The driver reads as many bytes as the parameter has; all machines are little-endian.
                    let pointer = |v: &u64| std::ptr::from_ref(v).cast_mut().cast::<c_void>();
                    let mut pointers: Vec<*mut c_void> = args.iter().map(pointer).collect();
                    let (grid, block) = ((*grid, 1, 1), (block, 1, 1));
                    result::launch_kernel(function, grid, block, 0, self.stream, &mut pointers).map_err(named)
                }
            }
        }
    }

    fn wait(&mut self) -> Result<(), DeviceError> {
        self.context.enter()?;
        // SAFETY: the stream is alive.
        unsafe { result::stream::synchronize(self.stream) }.map_err(named)
    }

    fn record(&mut self) -> Result<(), DeviceError> {
        self.context.enter()?;
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        // SAFETY: the stream is this queue's own; the recording is ended by `recorded`.
        unsafe { result::stream::begin_capture(self.stream, mode) }.map_err(named)
    }

    fn recorded(&mut self) -> Result<(), DeviceError> {
        self.context.enter()?;
        self.forget();
        // SAFETY: a capture was begun on this stream.
        unsafe {
            let graph = result::stream::end_capture(self.stream).map_err(named)?;
            let mut exec = std::ptr::null_mut();
            let made = sys::cuGraphInstantiateWithFlags(&mut exec, graph, 0).result().map_err(named);
            let _ = result::graph::destroy(graph);
            made?;
            self.graph = Some(exec);
        }
        Ok(())
    }

    unsafe fn replay(&mut self) -> Result<(), DeviceError> {
        self.context.enter()?;
        let none = || DeviceError::Other("nothing was recorded".to_owned());
        let graph = self.graph.ok_or_else(none)?;
        // SAFETY: recorded on this stream; the caller's contract.
        unsafe { result::graph::launch(graph, self.stream) }.map_err(named)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if self.context.enter().is_err() {
            return;
        }
        // Nothing may run with code that is about to be unloaded. Errors at the end change nothing.
        let _ = self.wait();
        self.forget();
        // SAFETY: made in `load`, destroyed once.
        let _ = unsafe { result::stream::destroy(self.stream) };
    }
}
