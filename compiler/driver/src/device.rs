//! Executors on the device that was asked for.
//!
//! In: bound entries, stored tensors, a device's name. Out: executors, devices. Invariants: a CUDA device that is asked for and
//! missing is an error that says what is missing; `auto` takes the processor then, and says so once; what is trained stays on one
//! device, so all that can be missing is looked for before. Imports: args, failure, terminal; kernels, runtime.

use std::path::PathBuf;
use std::sync::Arc;

use uad_kernels::cpu::{Isa, Pool};
use uad_kernels::cuda::nvrtc::{self, Nvrtc};
use uad_kernels::cuda::{Precision, host_compiler};
use uad_plan::{Bound, Dim, Plan};
use uad_runtime::device::cuda::driver::Driver;
use uad_runtime::device::cuda::emulated::Emulated;
use uad_runtime::device::cuda::gpu::Gpu;
use uad_runtime::device::cuda::nvidia::Nvidia;
use uad_runtime::device::cuda::sidecar::Sidecar;
use uad_runtime::device::executor::{Executor, StoredBytes};
use uad_runtime::device::{Device, DeviceError};

use crate::args::DeviceName;
use crate::failure::{Done, Failure};
use crate::terminal::{Look, err};

/// The device that was asked for, opened at its first use.
pub struct Chosen {
    name: DeviceName,
    precision: Precision,
    code: Code,
    pool: Arc<Pool>,
    place: Option<Device>,
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
    Read(Arc<Sidecar>),
}

impl Chosen {
    /// A device by name, what it multiplies, compiled code for it; threads, if it is the processor.
    pub fn new(name: DeviceName, precision: Precision, code: Code, pool: Arc<Pool>) -> Chosen {
        Chosen { name, precision, code, pool, place: None }
    }

    /// Is it the interpreter?
    pub fn is_reference(&self) -> bool {
        self.name == DeviceName::Reference
    }

    fn open(&mut self, plan: &Plan<Dim>) -> Done<Device> {
        if let Code::File(path) = &self.code {
            let sidecar = Sidecar::open(path).map_err(Failure::input)?;
            sidecar.belongs_to(&plan.to_string()).map_err(|e| {
                Failure::input(format!("{}: {e}", path.display()))
                    .help("`uadc build --target cuda` makes bundle and code together")
            })?;
            self.code = Code::Read(Arc::new(sidecar));
        }
        if let Some(device) = &self.place {
            return Ok(device.clone());
        }
        let sidecar = if let Code::Read(sidecar) = &self.code { Some(sidecar.clone()) } else { None };
        let device = match driver(self.name) {
            Ok(None) => self.processor(),
            Ok(Some(driver)) => Device::Cuda(Arc::new(Gpu::new(driver, self.precision, sidecar))),
            Err(e) if self.name == DeviceName::Auto => self.fall_back(&e),
            Err(e) => return Err(e.into()),
        };
        self.place = Some(device.clone());
        Ok(device)
    }

    fn processor(&self) -> Device {
        Device::Cpu { pool: self.pool.clone(), isa: Isa::detect() }
    }

    fn fall_back(&self, why: &DeviceError) -> Device {
        let what = if self.precision == Precision::F32 { "" } else { ", in f32" };
        err(&format!("{}: runs on the processor{what}: {why}\n", Look::stderr().bold("note")));
        self.processor()
    }

    /// An executor of an entry of a plan.
    pub fn executor(&mut self, plan: &Plan<Dim>, bound: Bound, stored: Arc<dyn StoredBytes>) -> Done<Executor> {
        let device = self.open(plan)?;
        let may_fall = self.name == DeviceName::Auto && matches!(device, Device::Cuda(_));
        match Executor::new(bound.clone(), stored.clone(), &device) {
            Err(e) if may_fall => {
                let processor = self.fall_back(&e);
                self.place = Some(processor.clone());
                Ok(Executor::new(bound, stored, &processor)?)
            }
            made => Ok(made?),
        }
    }

    /// The device, for runs that stay on it from their beginning to their end.
    pub fn for_training(self) -> Done<Device> {
        let found = driver(self.name).and_then(|found| {
            // A step's code is compiled when its size is known: the compiler is looked for now.
            if found.as_ref().is_some_and(|d| d.kind() == Nvidia::KIND) {
                Nvrtc::find().map_err(DeviceError::NoCompiler)?;
            }
            Ok(found)
        });
        Ok(match found {
            Ok(None) => self.processor(),
            Ok(Some(driver)) => Device::Cuda(Arc::new(Gpu::new(driver, self.precision, None))),
            Err(e) if self.name == DeviceName::Auto => self.fall_back(&e),
            Err(e) => return Err(e.into()),
        })
    }
}

/// What runs kernels of CUDA; `None` for the processor's own.
fn driver(name: DeviceName) -> Result<Option<Arc<dyn Driver>>, DeviceError> {
    Ok(match name {
        DeviceName::Cpu | DeviceName::Reference => None,
        DeviceName::Cuda | DeviceName::Auto => Some(Nvidia::open()?),
        DeviceName::Emulation => {
            let none =
                || DeviceError::NoCompiler("the emulation needs Linux and a C++ compiler, and found none".into());
            Some(Arc::new(Emulated::new(&host_compiler::find().ok_or_else(none)?)))
        }
    })
}

impl From<DeviceError> for Failure {
    fn from(e: DeviceError) -> Failure {
        let said = Failure::input(e.to_string());
        match e {
            DeviceError::NoCompiler(_) => said.help(nvrtc::HOW),
            DeviceError::NoMemory { .. } | DeviceError::Lost(_) | DeviceError::Other(_) => said,
            DeviceError::NoDriver
            | DeviceError::OldDriver { .. }
            | DeviceError::NoDevice
            | DeviceError::OldDevice { .. } => said.help(
                "`--device cpu` runs on the processor, `--device auto` where it can; `uadc doctor` says what is here",
            ),
        }
    }
}
