//! Executors on the device that was asked for.
//!
//! In: bound entries, stored tensors, a device's name. Out: [`Ready`], which runs. Invariants: a CUDA device that is asked
//! for and missing is an error that says what is missing; `auto` takes the processor then, and says so once.
//! Imports: args, emulated, failure, terminal; kernels, runtime.

use std::path::PathBuf;
use std::sync::Arc;

use uad_kernels::cpu::program::KernelTime;
use uad_kernels::cpu::{Isa, Pool};
use uad_kernels::cuda::{Precision, nvrtc};
use uad_plan::tensor::Tensor;
use uad_plan::{Bound, Dim, Plan};
use uad_runtime::device::cuda::CudaError;
use uad_runtime::device::cuda::driver::Device;
use uad_runtime::device::cuda::executor::{Compiled, CudaExecutor};
use uad_runtime::device::cuda::sidecar::Sidecar;
use uad_runtime::device::executor::{Draw, Executor, StoredBytes};

use crate::args::DeviceName;
use crate::emulated::{Emulated, Host};
use crate::failure::{Done, Failure};
use crate::terminal::{Look, err};

/// An executor, wherever it runs.
pub enum Ready {
    /// On the processor.
    Cpu(Box<Executor>),
    /// On a GPU.
    Cuda(Box<CudaExecutor>),
    /// As a GPU would, on the host.
    Emulated(Box<Emulated>),
}

/// Where entries run.
enum Place {
    Unknown,
    Cpu,
    Cuda(Arc<Device>),
    Host(Host),
}

/// The device that was asked for, opened at its first use.
pub struct Chosen {
    name: DeviceName,
    place: Place,
    precision: Precision,
    code: Code,
}

/// Code for GPUs that was compiled before.
#[derive(Clone, Default)]
pub enum Code {
    /// There is none.
    #[default]
    None,
    /// In a file that has not been read yet.
    File(PathBuf),
    /// Read, and of the plan that runs.
    Read(Box<Sidecar>),
}

impl Chosen {
    /// A device by name, what it multiplies, and compiled code for it.
    pub fn new(name: DeviceName, precision: Precision, code: Code) -> Chosen {
        Chosen { name, place: Place::Unknown, precision, code }
    }

    /// Is it the interpreter?
    pub fn is_reference(&self) -> bool {
        self.name == DeviceName::Reference
    }

    fn open(&mut self, plan: &Plan<Dim>) -> Done {
        if let Code::File(path) = &self.code {
            let sidecar = Sidecar::open(path).map_err(Failure::input)?;
            sidecar.belongs_to(&plan.to_string()).map_err(|e| {
                Failure::input(format!("{}: {e}", path.display()))
                    .help("`uadc build --target cuda` makes bundle and code together")
            })?;
            self.code = Code::Read(Box::new(sidecar));
        }
        if !matches!(self.place, Place::Unknown) {
            return Ok(());
        }
        self.place = match self.name {
            DeviceName::Cpu | DeviceName::Reference => Place::Cpu,
            DeviceName::Emulated => Place::Host(Host::open().map_err(Failure::input)?),
            DeviceName::Cuda => Place::Cuda(Device::open().map_err(failure)?),
            DeviceName::Auto => match Device::open() {
                Ok(device) => Place::Cuda(device),
                Err(e) => self.fall_back(&e),
            },
        };
        Ok(())
    }

    fn fall_back(&self, why: &CudaError) -> Place {
        let what = if self.precision == Precision::F32 { "" } else { ", in f32" };
        err(&format!("{}: runs on the processor{what}: {why}\n", Look::stderr().bold("note")));
        Place::Cpu
    }

    /// An executor of an entry of a plan.
    pub fn executor(
        &mut self,
        plan: &Plan<Dim>,
        bound: Bound,
        stored: Arc<dyn StoredBytes>,
        pool: Arc<Pool>,
    ) -> Done<Ready> {
        self.open(plan)?;
        if let Place::Host(host) = &mut self.place {
            let made = host.entry(bound, &*stored, self.precision).map_err(Failure::input)?;
            return Ok(Ready::Emulated(Box::new(made)));
        }
        if let Place::Cuda(device) = &self.place {
            let sidecar = if let Code::Read(sidecar) = &self.code { Some(&**sidecar) } else { None };
            let how = Compiled { precision: self.precision, sidecar };
            match CudaExecutor::new(bound.clone(), &*stored, device, &how) {
                Ok(e) => return Ok(Ready::Cuda(Box::new(e))),
                Err(e) if self.name == DeviceName::Auto => self.place = self.fall_back(&e),
                Err(e) => return Err(failure(e)),
            }
        }
        let made = Executor::new(bound, stored, pool, Isa::detect());
        Ok(Ready::Cpu(Box::new(made.map_err(Failure::input)?)))
    }
}

fn failure(e: CudaError) -> Failure {
    let said = Failure::input(e.to_string());
    match e {
        CudaError::NoCompiler(_) => said.help(nvrtc::HOW),
        CudaError::NoMemory { .. } | CudaError::Lost(_) | CudaError::Other(_) => said,
        _ => said.help(
            "`--device cpu` runs on the processor, `--device auto` where it can; `uadc doctor` says what is here",
        ),
    }
}

impl Ready {
    /// The entry as bound.
    pub fn bound(&self) -> &Bound {
        match self {
            Ready::Cpu(e) => e.bound(),
            Ready::Cuda(e) => e.bound(),
            Ready::Emulated(e) => e.bound(),
        }
    }

    /// Sets an input.
    pub fn set_input(&mut self, name: &str, value: &Tensor) -> Result<(), String> {
        match self {
            Ready::Cpu(e) => e.set_input(name, value),
            Ready::Cuda(e) => e.set_input(name, value),
            Ready::Emulated(e) => e.set_input(name, value),
        }
    }

    /// One call.
    pub fn run(&mut self, draw: Draw) -> Done {
        match self {
            Ready::Cpu(e) => e.run(draw),
            Ready::Cuda(e) => e.run(draw).map_err(failure)?,
            Ready::Emulated(e) => e.run(draw).map_err(Failure::Fault)?,
        }
        Ok(())
    }

    /// An output of the last call.
    pub fn output(&self, name: &str) -> Option<Tensor> {
        match self {
            Ready::Cpu(e) => e.output(name),
            Ready::Cuda(e) => e.output(name),
            Ready::Emulated(e) => e.output(name),
        }
    }

    /// Stored tensors as the entry has left them, of those that it writes.
    pub fn written(&self) -> Done<Vec<(String, Tensor)>> {
        match self {
            Ready::Cpu(e) => Ok(e.written()),
            Ready::Cuda(e) => e.written().map_err(failure),
            Ready::Emulated(e) => Ok(e.written()),
        }
    }

    /// Bytes of its buffers.
    pub fn memory(&self) -> usize {
        match self {
            Ready::Cpu(e) => e.memory(),
            Ready::Cuda(e) => e.memory(),
            Ready::Emulated(e) => e.memory(),
        }
    }

    /// The time of every kernel in one call, on the processor.
    pub fn profile(&mut self) -> Vec<KernelTime> {
        match self {
            Ready::Cpu(e) => e.profile(),
            Ready::Cuda(_) | Ready::Emulated(_) => Vec::new(),
        }
    }
}
