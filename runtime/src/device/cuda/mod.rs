//! CUDA devices.
//!
//! In: bound entries, stored tensors. Out: values, on machines with a device. Invariants: nothing is linked: driver and
//! compiler are loaded where they are found, and what is missing has a name; executors know a device by the trait
//! [`driver::Driver`] alone, which the NVIDIA driver (`nvidia.rs`) and its emulation on the host (`emulated.rs`) fill. The former
//! has not been run on a device yet; all that does not need one is tested everywhere. Imports: `uad-kernels`.

pub mod code;
pub mod driver;
pub mod emulated;
pub mod frame;
pub mod gpu;
pub mod layout;
pub mod nvidia;
pub mod sidecar;
