//! The CPU back end: bound entries made into code and run on a pool of threads.
//!
//! In: bound entries, raw pointers. Out: values in place. Invariants: every microkernel is one generic function
//! over [`simd::Simd`], instantiated for each instruction set; holes are compiled by Cranelift; work is split by shape
//! alone, so results are bit-equal for any number of threads. Imports: `uad-plan`, Cranelift.

pub mod accumulate;
mod activation;
pub mod attention;
pub mod axes;
pub mod contract;
mod depthwise;
mod depthwise_tile;
pub mod dot;
mod dot_finish;
mod dot_gemm;
mod dot_pad;
pub mod gemm;
mod hole_emit;
pub mod hole_jit;
mod hole_loop;
mod hole_split;
mod hole_strip;
#[cfg(test)]
mod hole_tests;
pub mod isa;
pub mod linalg;
pub mod map;
pub mod math;
pub mod nest;
mod panel;
pub mod pool;
pub mod program;
pub mod random;
pub mod reduce;
pub mod rows;
pub mod run;
pub mod scatter;
pub mod scratch;
pub mod simd;
mod softmax;
pub mod sort;
pub mod strip;

pub use isa::Isa;
pub use pool::Pool;
pub use program::Program;
