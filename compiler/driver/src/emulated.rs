//! Entries whose text for GPUs is run on the host: an executor that needs no GPU, and shows what one would compute.
//!
//! In: bound entries, stored tensors, inputs. Out: outputs, and stored tensors as they are left. Invariants: the text is the
//! one that NVRTC takes; equal texts are compiled once as long as a [`Host`] lives; slow, hence for tests and for looking at a
//! text that is being written. Imports: plan, kernels, runtime.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use uad_kernels::cuda::emulate::{self, Emulation, Order, Tensors};
use uad_kernels::cuda::{Precision, Program, host_compiler};
use uad_plan::Bound;
use uad_plan::tensor::Tensor;
use uad_runtime::device::executor::{Draw, StoredBytes};

/// The host's compiler and what it has compiled.
pub struct Host {
    compiler: String,
    known: HashMap<String, Arc<Emulation>>,
}

/// An entry on the host.
pub struct Emulated {
    bound: Bound,
    program: Program,
    code: Arc<Emulation>,
    inputs: Tensors,
    stored: Tensors,
    results: Tensors,
}

impl Host {
    /// The compiler of this machine.
    pub fn open() -> Result<Host, String> {
        let compiler = host_compiler::find();
        let compiler = compiler.ok_or("the emulation needs Linux and a C++ compiler, and found none")?;
        Ok(Host { compiler, known: HashMap::new() })
    }

    /// An entry that multiplies such numbers.
    pub fn entry(&mut self, bound: Bound, stored: &dyn StoredBytes, precision: Precision) -> Result<Emulated, String> {
        let program = Program::emit(&bound, precision)?;
        let text = program.text();
        let code = match self.known.get(&text) {
            Some(code) => code.clone(),
            None => {
                let code = Arc::new(Emulation::new(&self.compiler, &[&program])?);
                self.known.insert(text, code.clone());
                code
            }
        };
        let mut kept = Tensors::new();
        for port in &bound.stored {
            let bytes = stored.bytes(&port.name).ok_or_else(|| format!("`{}` has no values", port.name))?;
            let value = Tensor::from_bytes(port.dtype, &port.shape, bytes).map_err(|e| e.to_string())?;
            kept.insert(port.name.clone(), value);
        }
        Ok(Emulated { bound, program, code, inputs: BTreeMap::new(), stored: kept, results: BTreeMap::new() })
    }
}

impl Emulated {
    /// The entry as bound.
    pub fn bound(&self) -> &Bound {
        &self.bound
    }

    /// Sets an input.
    pub fn set_input(&mut self, name: &str, value: &Tensor) -> Result<(), String> {
        let port = self.bound.inputs.iter().find(|p| p.name == name).ok_or_else(|| format!("no input `{name}`"))?;
        if (port.dtype, &*port.shape) != (value.dtype(), value.shape()) {
            let (want, have) = (&port.shape, value.shape());
            return Err(format!("`{name}` is {}{want:?}, not {}{have:?}", port.dtype, value.dtype()));
        }
        self.inputs.insert(name.to_owned(), value.clone());
        Ok(())
    }

    /// One call.
    pub fn run(&mut self, draw: Draw) -> Result<(), String> {
        let draw = emulate::Draw { seed: draw.seed, step: draw.step, sample: draw.sample };
        let (program, bound) = (&self.program, &self.bound);
        self.results = self.code.run(program, bound, &self.inputs, &self.stored, draw, Order::Normal, 1)?;
        self.stored.extend(self.written());
        Ok(())
    }

    /// An output of the last call.
    pub fn output(&self, name: &str) -> Option<Tensor> {
        self.results.get(name).cloned()
    }

    /// Stored tensors as the last call has left them, of those that the entry writes.
    pub fn written(&self) -> Vec<(String, Tensor)> {
        let written = self.bound.stored.iter().filter(|p| p.written);
        written
            .filter_map(|p| Some((p.name.clone(), self.results.get(&format!("after {}", p.name))?.clone())))
            .collect()
    }

    /// Bytes of its buffers.
    pub fn memory(&self) -> usize {
        self.bound.arena + self.bound.persistent + self.program.workspace
    }
}
