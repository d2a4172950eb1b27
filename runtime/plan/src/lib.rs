//! The program format: what the compiler makes and what kernels and runtime take.
//!
//! In: plans built by the compiler or read from text. Out: verified plans, bound plans, reference results.
//! Invariants: pure (no files, clock, threads); only verified plans leave for a consumer.
//! Imports: nothing of this project.

pub mod bind;
pub mod dim;
pub mod dtype;
pub mod extent;
pub mod hole;
pub mod interp;
pub mod philox;
pub mod plan;
pub mod scalar;
pub mod tensor;
pub mod text;
pub mod verify;

pub use bind::{BindError, Bound, BoundEntry, BufferPlace, Port, bind};
pub use dim::{Binding, Dim, DimError};
pub use dtype::DType;
pub use hole::{Hole, Inst, Reg};
pub use plan::*;
pub use scalar::ScalarOp;
pub use tensor::{Data, Tensor, TensorError};
pub use text::{TextError, parse};
pub use verify::{Verified, Violation, verify};
