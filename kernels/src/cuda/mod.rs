//! The CUDA back end: bound entries as CUDA C++ text and launches.
//!
//! In: bound entries. Out: [`Program`]: one text that NVRTC (or, with the emulation header, a C++ compiler) takes, and
//! the launches that run it. Invariants: pure text, no driver and no device here; one function per plan kernel (a few
//! where sums are cut or rows sorted), equal ones shared; constants folded; the order of every sum is fixed by shapes, so
//! the bits are the same from run to run; no float atomics. Imports: `uad-plan`.

mod attention;
mod attention_cores;
mod code;
pub mod cost;
pub mod cubin;
mod dot;
mod dot_cores;
mod dot_thin;
mod dot_tile;
pub mod emulate;
pub mod func;
mod group;
mod hole;
pub mod host_compiler;
mod index;
pub mod limits;
mod linalg;
mod loops;
mod map;
pub mod nvrtc;
mod nvrtc_places;
mod precision;
mod prelude;
pub mod program;
mod rows;
mod rows_cut;
mod scan;
mod scatter;
mod sort;

pub use func::{Arg, Function};
pub use precision::Precision;
pub use program::{Launch, Loop, Named, Program, Step};
