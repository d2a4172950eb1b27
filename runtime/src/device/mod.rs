//! Devices: where buffers lie and kernels run.
//!
//! In: bound entries, stored tensors. Out: values in buffers. Invariants: the only module of the runtime with unsafe
//! code; what leaves it is safe for any verified plan; whoever runs entries knows no device, but hands one on ([`Device`]).
//! Imports: `uad-plan`, `uad-kernels`.

#![allow(unsafe_code)]

pub mod cpu;
pub mod cuda;
pub mod error;
pub mod executor;
pub mod frame;
pub mod memory;
pub mod place;
pub mod store;

pub use error::DeviceError;
pub use place::Device;
