//! Calling entries of a plan with tensors, on the device that was asked for.
//!
//! In: a plan, stored tensors, inputs by name. Out: outputs by name. Invariants: open dims take their values from the shapes of the
//! inputs and of stored tensors; an entry is bound and compiled once per set of values; what is missing or misshapen is named.
//! Imports: args, device, failure; plan, kernels, runtime.

use std::collections::BTreeMap;
use std::sync::Arc;

use uad_kernels::cpu::Pool;
use uad_plan::tensor::Tensor;
use uad_plan::{Binding, Bound, BufferKind, Dim, Entry, Plan, Verified, interp};
use uad_runtime::bundle::Bundle;
use uad_runtime::device::cuda::sidecar::Sidecar;
use uad_runtime::device::executor::{Draw, Executor, StoredBytes};

use crate::args;
use crate::device::{Chosen, Code};
use crate::failure::{Done, Failure};

/// Tensors by path, in memory.
#[derive(Default)]
pub struct InMemory(pub BTreeMap<String, Tensor>);

impl StoredBytes for InMemory {
    fn bytes(&self, path: &str) -> Option<&[u8]> {
        self.0.get(path).map(Tensor::as_bytes)
    }

    fn shape(&self, path: &str) -> Option<Vec<usize>> {
        self.0.get(path).map(|t| t.shape().to_vec())
    }
}

/// Tensors of zeros, for entries that write all that is stored.
pub struct Blank {
    sizes: BTreeMap<String, usize>,
    zeros: Vec<u8>,
}

impl Blank {
    /// Zeros of these sizes in bytes.
    pub fn new(sizes: BTreeMap<String, usize>) -> Blank {
        let zeros = vec![0; sizes.values().copied().max().unwrap_or(0)];
        Blank { sizes, zeros }
    }
}

impl StoredBytes for Blank {
    fn bytes(&self, path: &str) -> Option<&[u8]> {
        self.zeros.get(..*self.sizes.get(path)?)
    }
}

/// A bundle as the place of stored tensors.
struct InBundle(Bundle);

impl StoredBytes for InBundle {
    fn bytes(&self, path: &str) -> Option<&[u8]> {
        self.0.stored(path)
    }

    fn shape(&self, path: &str) -> Option<Vec<usize>> {
        self.0.shape(path).map(<[usize]>::to_vec)
    }

    fn release(&self) {
        self.0.release();
    }
}

/// A plan with its stored tensors, ready to be called.
pub struct Engine {
    plan: Verified<Plan<Dim>>,
    stored: Arc<dyn StoredBytes>,
    device: Chosen,
    ready: BTreeMap<(String, Vec<(String, i64)>), Executor>,
}

impl Engine {
    /// A plan with its stored tensors.
    pub fn new(plan: Verified<Plan<Dim>>, stored: Arc<dyn StoredBytes>, how: &args::Engine) -> Engine {
        Engine::with_code(plan, stored, how, how.code.clone().map_or(Code::None, Code::File))
    }

    fn with_code(plan: Verified<Plan<Dim>>, stored: Arc<dyn StoredBytes>, how: &args::Engine, code: Code) -> Engine {
        let threads = how.threads.map_or_else(default_threads, usize::from);
        let device = Chosen::new(how.device, how.precision, code, Arc::new(Pool::new(threads)));
        Engine { plan, stored, device, ready: BTreeMap::new() }
    }

    /// A bundle; with `trace`, its spec compiled again so that these values are outputs too.
    pub fn of_bundle(bundle: Bundle, how: &args::Engine, trace: &[String]) -> Done<Engine> {
        let plan = if trace.is_empty() { bundle.plan.clone() } else { crate::compiled::traced(&bundle, trace)? };
        let code = match (&how.code, bundle.code()) {
            (Some(path), _) => Code::File(path.clone()),
            // What an executable carries is for its own plan.
            (None, Some(bytes)) if trace.is_empty() => {
                let fail = |e| Failure::input(format!("{}: {e}", bundle.path().display()));
                let sidecar = Sidecar::from_bytes(bytes).map_err(fail)?;
                sidecar.belongs_to(&plan.to_string()).map_err(fail)?;
                Code::Read(Arc::new(sidecar))
            }
            _ => Code::None,
        };
        Ok(Engine::with_code(plan, Arc::new(InBundle(bundle)), how, code))
    }

    /// The entry of this name.
    pub fn entry(&self, name: &str) -> Done<&Entry<Dim>> {
        let found = self.plan.entries.iter().find(|e| e.name == name);
        found.ok_or_else(|| {
            let names: Vec<String> = self.plan.entries.iter().map(|e| format!("`{}`", e.name)).collect();
            Failure::input(format!("`{}` has no entry `{name}`", self.plan.name))
                .help(format!("it has {}", names.join(", ")))
        })
    }

    /// Values of the open dims of an entry, from the shapes of its inputs.
    pub fn binding(&self, entry: &str, given: &BTreeMap<String, Tensor>) -> Done<Binding> {
        let entry = self.entry(entry)?;
        let mut binding = Binding::new();
        for buffer in entry.buffers.iter().filter(|b| b.kind == BufferKind::Input) {
            let wanted = || {
                let dims: Vec<String> = buffer.shape.iter().map(Dim::to_string).collect();
                format!("{}[{}]", buffer.dtype, dims.join(", "))
            };
            let Some(tensor) = given.get(&buffer.name) else {
                return Err(Failure::input(format!("the input `{}` ({}) is not given", buffer.name, wanted())));
            };
            if tensor.shape().len() != buffer.shape.len() {
                let have = tensor.shape();
                return Err(Failure::input(format!("the input `{}` is {}, not {have:?}", buffer.name, wanted())));
            }
            for (dim, have) in buffer.shape.iter().zip(tensor.shape()) {
                if let Some(name) = dim.as_name() {
                    let have = *have as i64;
                    let known = *binding.entry(name.to_owned()).or_insert(have);
                    if known != have {
                        return Err(Failure::input(format!("`{name}` is {known} in one input and {have} in another")));
                    }
                }
            }
        }
        self.of_stored(entry, &mut binding)?;
        Ok(binding)
    }

    /// Values of the open dims of an entry's stored tensors.
    pub fn stored_dims(&self, entry: &str) -> Done<Binding> {
        let mut binding = Binding::new();
        self.of_stored(self.entry(entry)?, &mut binding)?;
        Ok(binding)
    }

    /// Values of the open dims of stored tensors.
    fn of_stored(&self, entry: &Entry<Dim>, binding: &mut Binding) -> Done {
        for buffer in entry.buffers.iter().filter(|b| b.kind == BufferKind::Stored) {
            if buffer.shape.iter().all(|d| d.as_int().is_some()) {
                continue;
            }
            let Some(shape) = self.stored.shape(&buffer.name) else {
                return Err(not_made(&buffer.name));
            };
            for (dim, have) in buffer.shape.iter().zip(shape) {
                let Some(name) = dim.as_name() else { continue };
                let have = have as i64;
                let known = *binding.entry(name.to_owned()).or_insert(have);
                if known != have {
                    let path = &buffer.name;
                    return Err(Failure::input(format!(
                        "`{name}` is {known}, and {have} in the stored tensor `{path}`"
                    )));
                }
            }
        }
        Ok(())
    }

    /// Binds an entry to values of its open dims.
    pub fn bind(&self, entry: &str, binding: &Binding) -> Done<Bound> {
        uad_plan::bind(&self.plan, entry, binding).map_err(|e| Failure::input(e.to_string()))
    }

    /// The executor of an entry for these dims, made at its first use.
    pub fn executor(&mut self, entry: &str, binding: &Binding) -> Done<&mut Executor> {
        let key = (entry.to_owned(), binding.iter().map(|(n, v)| (n.clone(), *v)).collect::<Vec<_>>());
        if !self.ready.contains_key(&key) {
            let bound = self.bind(entry, binding)?;
            if let Some(port) = bound.stored.iter().find(|p| self.stored.bytes(&p.name).is_none()) {
                return Err(not_made(&port.name));
            }
            let made = self.device.executor(&self.plan, bound, self.stored.clone())?;
            self.ready.insert(key.clone(), made);
        }
        self.ready.get_mut(&key).ok_or_else(|| Failure::Fault("an executor vanished".to_owned()))
    }

    /// Other stored tensors. Executors are made again from them; code that was compiled is kept.
    pub fn restock(&mut self, stored: Arc<dyn StoredBytes>) {
        self.stored = stored;
        self.ready.clear();
    }

    /// Calls an entry. Inputs that it does not take are left aside.
    pub fn call(&mut self, entry: &str, given: &BTreeMap<String, Tensor>) -> Done<BTreeMap<String, Tensor>> {
        Ok(self.call_seeded(entry, given, Draw::default())?.0)
    }

    /// Calls an entry that may draw; also gives the stored tensors that it wrote.
    pub fn call_seeded(
        &mut self,
        entry: &str,
        given: &BTreeMap<String, Tensor>,
        draw: Draw,
    ) -> Done<(BTreeMap<String, Tensor>, BTreeMap<String, Tensor>)> {
        let binding = self.binding(entry, given)?;
        if self.device.is_reference() {
            return self.refer(entry, &binding, given, draw);
        }
        let executor = self.executor(entry, &binding)?;
        let names: Vec<String> = executor.bound().inputs.iter().map(|p| p.name.clone()).collect();
        for name in names {
            if let Some(value) = given.get(&name) {
                executor.set_input(&name, value).map_err(Failure::input)?;
            }
        }
        executor.run(draw)?;
        let outputs = executor.bound().outputs.iter().map(|p| p.name.clone());
        let values = outputs.filter_map(|n| Some((n.clone(), executor.output(&n)?))).collect();
        Ok((values, executor.written()?.into_iter().collect()))
    }

    /// The same through the interpreter.
    fn refer(
        &self,
        entry: &str,
        binding: &Binding,
        given: &BTreeMap<String, Tensor>,
        draw: Draw,
    ) -> Done<(BTreeMap<String, Tensor>, BTreeMap<String, Tensor>)> {
        let bound = self.bind(entry, binding)?;
        let mut stored = BTreeMap::new();
        for port in &bound.stored {
            let bytes = self.stored.bytes(&port.name);
            let value = bytes.and_then(|b| Tensor::from_bytes(port.dtype, &port.shape, b).ok());
            let value = value.ok_or_else(|| not_made(&port.name))?;
            stored.insert(port.name.clone(), value);
        }
        let draw = interp::Draw { seed: draw.seed, step: draw.step, first_sample: draw.sample };
        let values = interp::run(&bound, given, &mut stored, draw).map_err(|e| Failure::input(e.to_string()))?;
        stored.retain(|path, _| bound.stored.iter().any(|p| p.written && p.name == *path));
        Ok((values, stored))
    }
}

/// A state that its stage has not written.
fn not_made(path: &str) -> Failure {
    Failure::input(format!("`{path}` has no value: no stage has made it yet"))
        .help("`uadc train F.uadx --data DIR` runs the stages that have not run")
}

/// One per core.
pub fn default_threads() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}
