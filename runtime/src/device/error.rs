//! Why a device cannot be used, or stopped.
//!
//! In: what a driver or a machine says. Out: [`DeviceError`], with words for people. Invariants: errors that callers tell apart have a
//! name; all else is told in the words of whoever said it. Imports: `uad-kernels`.

use std::fmt;

/// Why a device cannot be used, or stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceError {
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
    /// Anything else.
    Other(String),
}

impl fmt::Display for DeviceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = |v: &i32| format!("{}.{}", v / 1000, v % 1000 / 10);
        match self {
            DeviceError::NoDriver => f.write_str("this machine has no NVIDIA driver"),
            DeviceError::OldDriver { has, needs } => {
                write!(f, "the NVIDIA driver is for CUDA {}, {} is needed", version(has), version(needs))
            }
            DeviceError::NoDevice => f.write_str("the NVIDIA driver sees no device"),
            DeviceError::OldDevice { name, has } => {
                let (major, minor) = uad_kernels::cuda::limits::CAPABILITY;
                write!(f, "{name} has compute capability {}.{}, {major}.{minor} is needed", has.0, has.1)
            }
            DeviceError::NoMemory { bytes, free } => {
                write!(f, "the device has {free} bytes of memory left, {bytes} are needed: a smaller batch needs less")
            }
            DeviceError::Lost(what) => write!(f, "the device was lost: {what}"),
            DeviceError::NoCompiler(what) | DeviceError::Other(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for DeviceError {}

impl From<String> for DeviceError {
    fn from(what: String) -> DeviceError {
        DeviceError::Other(what)
    }
}
