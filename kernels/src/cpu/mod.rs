//! The CPU back end: SIMD microkernels chosen at run time, and the thread pool they share.
//!
//! In: raw pointers, extents and strides. Out: f32 values in place. Invariants: every kernel is one generic function
//! over [`simd::Simd`], instantiated for each instruction set; work is split by shape alone, so results are bit-equal
//! for any number of threads. Imports: nothing of this project yet.

pub mod axes;
pub mod dot;
mod dot_finish;
mod dot_gemm;
mod dot_pad;
pub mod gemm;
pub mod hole_jit;
mod hole_strip;
pub mod isa;
pub mod pool;
pub mod run_context;
pub mod simd;
pub mod strip;

pub use isa::Isa;
pub use pool::Pool;
