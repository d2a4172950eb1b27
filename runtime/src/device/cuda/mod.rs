//! CUDA devices.
//!
//! In: bound entries, stored tensors. Out: values, on machines with a device. Invariants: nothing is linked: driver and
//! compiler are loaded where they are found, and what is missing has a name ([`CudaError`]). Nothing here has been run on
//! a device yet; what does not need one (layout, launches, code cache) is tested everywhere. Imports: `uad-kernels`.

pub mod code;
pub mod driver;
pub mod executor;
pub mod layout;
pub mod sidecar;

use std::fmt;

/// Why CUDA cannot be used, or stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CudaError {
    /// There is no NVIDIA driver.
    NoDriver,
    /// The driver is older than what the code needs.
    OldDriver {
        /// Its version, as 12040 for 12.4.
        has: i32,
        /// What is needed.
        needs: i32,
    },
    /// The driver sees no device.
    NoDevice,
    /// The device is older than the oldest that is supported.
    OldDevice {
        /// Its name.
        name: String,
        /// Its compute capability.
        has: (i32, i32),
    },
    /// The device has no memory left.
    NoMemory {
        /// What was asked for.
        bytes: usize,
        /// What is free.
        free: usize,
    },
    /// The device fell away, or a kernel broke its context: nothing can be computed on it any more.
    Lost(String),
    /// There is neither compiled code nor a compiler.
    NoCompiler(String),
    /// Anything else, in the driver's words.
    Other(String),
}

impl fmt::Display for CudaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = |v: &i32| format!("{}.{}", v / 1000, v % 1000 / 10);
        match self {
            CudaError::NoDriver => f.write_str("this machine has no NVIDIA driver"),
            CudaError::OldDriver { has, needs } => {
                write!(f, "the NVIDIA driver is for CUDA {}, {} is needed", version(has), version(needs))
            }
            CudaError::NoDevice => f.write_str("the NVIDIA driver sees no device"),
            CudaError::OldDevice { name, has } => {
                let (major, minor) = uad_kernels::cuda::limits::CAPABILITY;
                write!(f, "{name} has compute capability {}.{}, {major}.{minor} is needed", has.0, has.1)
            }
            CudaError::NoMemory { bytes, free } => {
                write!(f, "the device has {free} bytes of memory left, {bytes} are needed: a smaller batch needs less")
            }
            CudaError::Lost(what) => write!(f, "the device was lost: {what}"),
            CudaError::NoCompiler(what) | CudaError::Other(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for CudaError {}
