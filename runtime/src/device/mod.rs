//! Devices: where buffers lie and kernels run.
//!
//! In: bound entries and pointers to buffers. Out: values in buffers. Invariants: the only module of the runtime with unsafe
//! code; what leaves it is safe for any verified plan. Imports: `uad-plan`, `uad-kernels`.

#![allow(unsafe_code)]

pub mod cuda;
pub mod executor;
pub mod frame;
pub mod memory;
pub mod store;
