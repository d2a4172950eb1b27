//! The driver: a device, its memory, its streams.
//!
//! In: nothing but the machine. Out: [`Device`], [`Memory`], [`Pinned`], [`Module`]. Invariants: the driver's library is
//! looked for before it is called, as its first call would panic without it; whatever is taken is given back; every error
//! has a name. Imports: cudarc's bindings.

use std::ffi::CString;
use std::sync::Arc;

use cudarc::driver::{result, sys};
use uad_kernels::cuda::limits::CAPABILITY;

use super::CudaError;

/// The driver that the bindings are made for: CUDA 12.0.
const NEEDS: i32 = 12_000;

/// Names of errors that callers tell apart.
pub(super) fn named(e: result::DriverError) -> CudaError {
    use sys::CUresult as R;
    match e.0 {
        R::CUDA_ERROR_NO_DEVICE => CudaError::NoDevice,
        R::CUDA_ERROR_OUT_OF_MEMORY => {
            let free = result::mem_get_info().map_or(0, |m| m.0);
            CudaError::NoMemory { bytes: 0, free }
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
        | R::CUDA_ERROR_ASSERT => CudaError::Lost(format!("{:?}", e.0)),
        R::CUDA_ERROR_SYSTEM_DRIVER_MISMATCH => CudaError::Other("the NVIDIA driver and its library differ".to_owned()),
        other => CudaError::Other(format!("the CUDA driver says {other:?}")),
    }
}

/// A device with its primary context.
pub struct Device {
    ordinal: sys::CUdevice,
    context: sys::CUcontext,
    /// Its name.
    pub name: String,
    /// Its architecture, as `sm_90`.
    pub arch: String,
}

// SAFETY: a context is a handle that any thread may make its current one; every call does so first.
unsafe impl Send for Device {}
// SAFETY: as above; the driver serialises what needs it.
unsafe impl Sync for Device {}

impl Device {
    /// The first device.
    pub fn open() -> Result<Arc<Device>, CudaError> {
        // SAFETY: loads the driver's library, if there is one.
        if !unsafe { sys::is_culib_present() } {
            return Err(CudaError::NoDriver);
        }
        result::init().map_err(named)?;
        let mut has = 0;
        // SAFETY: writes one integer.
        unsafe { sys::cuDriverGetVersion(&mut has) }.result().map_err(named)?;
        if has < NEEDS {
            return Err(CudaError::OldDriver { has, needs: NEEDS });
        }
        if result::device::get_count().map_err(named)? < 1 {
            return Err(CudaError::NoDevice);
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
            return Err(CudaError::OldDevice { name, has });
        }
        // SAFETY: the device was just given; released when this is dropped.
        let context = unsafe { result::primary_ctx::retain(ordinal) }.map_err(named)?;
        Ok(Arc::new(Device { ordinal, context, name, arch: format!("sm_{}{}", has.0, has.1) }))
    }

    /// Makes the device's context that of this thread.
    pub(super) fn enter(&self) -> Result<(), CudaError> {
        // SAFETY: the context is alive as long as `self`.
        unsafe { result::ctx::set_current(self.context) }.map_err(named)
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        // SAFETY: retained once, in `open`. An error at the end changes nothing.
        let _ = unsafe { result::primary_ctx::release(self.ordinal) };
    }
}

/// Memory of a device.
pub(super) struct Memory {
    device: Arc<Device>,
    pub address: sys::CUdeviceptr,
}

impl Memory {
    /// So many bytes.
    pub fn new(device: &Arc<Device>, bytes: usize) -> Result<Memory, CudaError> {
        device.enter()?;
        // SAFETY: freed when this is dropped.
        let address = unsafe { result::malloc_sync(bytes) }.map_err(|e| match named(e) {
            CudaError::NoMemory { free, .. } => CudaError::NoMemory { bytes, free },
            other => other,
        })?;
        Ok(Memory { device: device.clone(), address })
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if self.device.enter().is_ok() {
            // SAFETY: taken in `new`; nothing runs on it any more, as its owner waits for its stream first.
            let _ = unsafe { result::free_sync(self.address) };
        }
    }
}

/// Memory of the host that the device reads and writes itself.
pub(super) struct Pinned {
    device: Arc<Device>,
    start: *mut u8,
    bytes: usize,
}

// SAFETY: memory with one owner.
unsafe impl Send for Pinned {}
// SAFETY: shared references only read.
unsafe impl Sync for Pinned {}

impl Pinned {
    /// So many bytes, zero.
    pub fn new(device: &Arc<Device>, bytes: usize) -> Result<Pinned, CudaError> {
        device.enter()?;
        // SAFETY: freed when this is dropped; as many bytes are cleared as were taken.
        let start = unsafe {
            let start = result::malloc_host(bytes.max(1), 0).map_err(named)?.cast::<u8>();
            start.write_bytes(0, bytes);
            start
        };
        Ok(Pinned { device: device.clone(), start, bytes })
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: the memory holds that many bytes.
        unsafe { std::slice::from_raw_parts(self.start, self.bytes) }
    }

    /// The bytes, to write.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and `&mut self` keeps others away.
        unsafe { std::slice::from_raw_parts_mut(self.start, self.bytes) }
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        if self.device.enter().is_ok() {
            // SAFETY: taken in `new`.
            let _ = unsafe { result::free_host(self.start.cast()) };
        }
    }
}

/// Loaded code.
pub(super) struct Module {
    device: Arc<Device>,
    module: sys::CUmodule,
}

impl Module {
    /// Loads a cubin.
    pub fn new(device: &Arc<Device>, cubin: &[u8]) -> Result<Module, CudaError> {
        device.enter()?;
        // SAFETY: the driver copies the code; what is no code it refuses.
        let module = unsafe { result::module::load_data(cubin.as_ptr().cast()) }.map_err(named)?;
        Ok(Module { device: device.clone(), module })
    }

    /// A function of it, loaded, that takes blocks of so many threads.
    pub fn function(&self, name: &str, threads: u32) -> Result<sys::CUfunction, CudaError> {
        let c_name = CString::new(name).map_err(|e| CudaError::Other(e.to_string()))?;
        let most = sys::CUfunction_attribute_enum::CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK;
        // SAFETY: the module is loaded. Asking for an attribute loads the function, which must not happen first while a
        // call is recorded.
        let (function, most) = unsafe {
            let function = result::module::get_function(self.module, c_name).map_err(named)?;
            (function, result::function::get_function_attribute(function, most).map_err(named)?)
        };
        if i64::from(most) < i64::from(threads) {
            return Err(CudaError::Other(format!("{name} takes {most} threads a block on this device, not {threads}")));
        }
        Ok(function)
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        if self.device.enter().is_ok() {
            // SAFETY: loaded in `new`.
            let _ = unsafe { result::module::unload(self.module) };
        }
    }
}
