//! Plans and weights in, scores out: devices, execution, bundles, data.
//!
//! In: verified plans, bundles, images and tensors from files. Out: scores, maps, files. Invariants: no file that can be
//! opened makes it panic; running a bound entry allocates nothing. Imports: `uad-plan`, `uad-kernels`.

pub mod bundle;
pub mod calibrate;
pub mod data;
pub mod device;
pub mod heatmap;
pub mod learn;
pub mod metrics;
pub mod report;
pub mod show;
pub mod tensors;
pub mod whole;
