//! Arguments of commands that run entries: where, with how many threads, how exactly.
//!
//! In: words of the command line. Out: [`Engine`], [`DeviceName`]. Invariants: what a device cannot do is refused before it is looked
//! for. Imports: clap; names of precisions.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args as Group, ValueEnum};
use uad_kernels::cuda::Precision;

/// How to execute.
#[derive(Clone, Debug, Default, Group)]
pub struct Engine {
    /// Where to run
    #[arg(long, value_enum, default_value_t = DeviceName::Cpu)]
    pub device: DeviceName,
    /// Worker threads; default: one per core
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// Compiled code for a GPU, which `build --target cuda` made: F.uadx.cuda; without it code is compiled at its first use
    #[arg(long, value_name = "FILE")]
    pub code: Option<PathBuf>,
    /// What contractions and attention multiply on a GPU; sums are f32. All but f32 round their operands and use tensor cores
    #[arg(long, value_name = "f32|tf32|bf16|f16", default_value_t = Precision::F32, value_parser = Precision::from_str)]
    pub precision: Precision,
}

impl Engine {
    /// Refuses what the device cannot do.
    pub fn check(&self) -> Result<(), String> {
        self.device.multiplies(self.precision)
    }
}

/// Where to run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum DeviceName {
    /// Compiled kernels on this processor
    #[default]
    Cpu,
    /// A GPU if there is one and it can be used, else the processor
    Auto,
    /// A GPU of NVIDIA
    Cuda,
    /// The interpreter that defines what a plan means: f64, slow
    Reference,
    /// The kernels of a GPU on this processor, compiled by the C++ compiler: for tests
    #[value(hide = true)]
    Emulation,
}

impl DeviceName {
    /// Refuses a precision that the device does not have.
    pub fn multiplies(self, precision: Precision) -> Result<(), String> {
        let processor = matches!(self, DeviceName::Cpu | DeviceName::Reference);
        match (processor, precision) {
            (_, Precision::F32) | (false, _) => Ok(()),
            (true, p) => Err(format!("--precision {p} is for GPUs: --device cuda, or auto")),
        }
    }
}
