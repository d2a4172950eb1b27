//! The program format: what the compiler makes and what kernels and runtime take.
//!
//! In: plans built by the compiler or read from text. Out: verified plans, bound plans, reference results.
//! Invariants: pure (no files, clock, threads); only verified plans leave for a consumer.
//! Imports: nothing of this project.

pub mod dim;
pub mod dtype;
pub mod hole;
pub mod plan;
pub mod scalar;

pub use dim::{Binding, Dim, DimError};
pub use dtype::DType;
pub use hole::{Hole, Inst, Reg};
pub use plan::*;
pub use scalar::ScalarOp;
