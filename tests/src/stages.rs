//! Stages of a detector run by hand, on the reference and on the CPU.
//!
//! In: a spec's text, inputs per call. Out: outputs per call; stored tensors as they are left. Invariants: states of open
//! shape are replaced by the outputs of their names, as a loop does it; an entry that is called several times at once keeps
//! its executor. Imports: the compiler, `uad-plan`, `uad-kernels`, `uad-runtime`, executors.

use std::collections::BTreeMap;
use std::sync::Arc;

use ndarray::{ArrayD, IxDyn};
use uad_compiler::check::check;
use uad_compiler::compile::{CompileOptions, compile};
use uad_compiler::diag::Severity;
use uad_compiler::model::{Choice, Model, elaborate};
use uad_compiler::source::{Files, LibraryOnly};
use uad_kernels::cpu::{Isa, Pool};
use uad_plan::{Binding, Bound, BufferKind, Dim, Plan, Stored, Tensor, Verified, bind, interp};
use uad_runtime::device::executor::{Draw, Executor};
use uad_runtime::device::{Device, DeviceError};

use crate::execute::{Kept, Tensors};

/// A detector and what it has learned.
pub struct Learner {
    /// The typed model.
    pub model: Model,
    /// Stored tensors as they are now.
    pub stored: Tensors,
    /// The seed of all draws.
    pub seed: u64,
}

impl Learner {
    /// A detector of a text; `init` has not run.
    pub fn new(name: &str, text: &str, choice: &Choice) -> Result<Learner, String> {
        let mut files = Files::one(format!("{name}.uad"), text);
        let (model, found) = check(&mut files, &LibraryOnly, &format!("{name}.uad"), choice);
        let wrong: Vec<String> = found
            .iter()
            .filter(|d| d.severity == Severity::Error)
            .map(|d| {
                let at = d.labels.first().map_or((0, 0), |l| files.line(l.place.file, l.place.span.start as usize));
                format!(
                    "{}: {} at {at:?}: {:?}",
                    d.code,
                    d.message,
                    d.labels.iter().map(|l| &l.text).collect::<Vec<_>>()
                )
            })
            .collect();
        match model {
            Some(model) if wrong.is_empty() => Ok(Learner { model, stored: Tensors::new(), seed: 1 }),
            _ => Err(wrong.join("\n")),
        }
    }

    /// The same with steps that are not split.
    pub fn whole(name: &str, text: &str, choice: &Choice) -> Result<Learner, String> {
        let mut files = Files::one(format!("{name}.uad"), text);
        let (model, found) = elaborate(&mut files, &LibraryOnly, &format!("{name}.uad"), choice);
        let model = model.ok_or_else(|| format!("{found:?}"))?;
        Ok(Learner { model, stored: Tensors::new(), seed: 1 })
    }

    /// First values of all that has one.
    pub fn init(&mut self) -> Result<(), String> {
        let shapes: Vec<_> = self.model.stored.iter().map(|s| (s.path.clone(), s.ty.clone())).collect();
        for (path, ty) in shapes {
            let shape: Option<Vec<usize>> = ty.shape.iter().map(|d| usize::try_from(d.as_int()?).ok()).collect();
            if let Some(shape) = shape {
                let zeros = std::iter::repeat_n(0.0, shape.iter().product());
                self.stored.insert(path, Tensor::from_f64(ty.dtype, &shape, zeros).map_err(|e| e.to_string())?);
            }
        }
        self.reference("init", &Tensors::new(), Draw::default()).map(|_| ())
    }

    /// The plan of an entry.
    pub fn plan(&self, entry: &str) -> Result<Verified<Plan<Dim>>, String> {
        let graph = self.model.entry(entry).ok_or_else(|| format!("no entry `{entry}`"))?;
        let of = |s: &uad_compiler::model::StoredInfo| Stored {
            path: s.path.clone(),
            kind: s.kind,
            dtype: s.ty.dtype,
            shape: s.ty.shape.to_vec(),
        };
        let stored: Vec<Stored<Dim>> = self.model.stored.iter().map(of).collect();
        compile(&self.model.name, &stored, std::slice::from_ref(graph), &CompileOptions::default())
            .map_err(|e| e.to_string())
    }

    /// The entry bound to the shapes of inputs and stored tensors.
    pub fn bound(&self, entry: &str, inputs: &Tensors) -> Result<Bound, String> {
        let plan = self.plan(entry)?;
        let mut binding = Binding::new();
        for b in &plan.entries[0].buffers {
            let value = match b.kind {
                BufferKind::Input => inputs.get(&b.name).ok_or_else(|| format!("`{}` has no value", b.name))?,
                BufferKind::Stored => match self.stored.get(&b.name) {
                    Some(t) => t,
                    None => return Err(format!("`{}` has not been made", b.name)),
                },
                _ => continue,
            };
            for (d, v) in b.shape.iter().zip(value.shape()) {
                if let Some(n) = d.as_name() {
                    binding.insert(n.to_owned(), *v as i64);
                }
            }
        }
        bind(&plan, entry, &binding).map_err(|e| e.to_string())
    }

    fn replace(&mut self, outputs: &Tensors) {
        for path in self.model.stages.iter().flat_map(|s| &s.replaces) {
            if let Some(t) = outputs.get(path) {
                self.stored.insert(path.clone(), t.clone());
            }
        }
    }

    /// One call on the reference.
    pub fn reference(&mut self, entry: &str, inputs: &Tensors, draw: Draw) -> Result<Tensors, String> {
        let bound = self.bound(entry, inputs)?;
        let draw = interp::Draw { seed: self.seed, step: draw.step, first_sample: draw.sample };
        let out = interp::run(&bound, inputs, &mut self.stored, draw).map_err(|e| e.to_string())?;
        self.replace(&out);
        Ok(out)
    }

    /// Calls on the reference, one after another; what is stored is not rounded to f32 between them. Out: outputs per call,
    /// and all that is stored at the end. `self` is left as it was.
    pub fn exact(&self, calls: &[(&str, &Tensors)]) -> Result<(Vec<Exact>, Exact), String> {
        let mut kept: Exact =
            self.stored.iter().map(|(n, t)| Ok((n.clone(), exact(t)?))).collect::<Result<_, String>>()?;
        let mut all = Vec::new();
        let mut bound: Option<(&str, Bound)> = None;
        for (step, (entry, inputs)) in calls.iter().enumerate() {
            if bound.as_ref().is_none_or(|(of, _)| of != entry) {
                bound = Some((entry, self.bound(entry, inputs)?));
            }
            let Some((_, bound)) = &bound else { continue };
            let given = bound.inputs.iter().filter_map(|p| Some((p.name.clone(), exact(inputs.get(&p.name)?).ok()?)));
            let draw = interp::Draw { seed: self.seed, step: step as u64, first_sample: 0 };
            let out = interp::run_f64(bound, &given.collect(), &mut kept, draw).map_err(|e| e.to_string())?;
            for path in self.model.stages.iter().flat_map(|s| &s.replaces) {
                if let Some(a) = out.get(path) {
                    kept.insert(path.clone(), a.clone());
                }
            }
            all.push(out);
        }
        Ok((all, kept))
    }

    /// Calls on the CPU, one after another, with inputs of equal shapes.
    pub fn computed(&mut self, entry: &str, calls: &[Tensors], threads: usize) -> Result<Vec<Tensors>, String> {
        let first = calls.first().ok_or("no call")?;
        let bound = self.bound(entry, first)?;
        let pool = Arc::new(Pool::new(threads));
        let device = Device::Cpu { pool, isa: Isa::detect() };
        let fail = |e: DeviceError| e.to_string();
        let mut executor = Executor::new(bound, Arc::new(Kept::new(&self.stored)), &device).map_err(fail)?;
        let mut all = Vec::new();
        for (step, inputs) in calls.iter().enumerate() {
            for port in executor.bound().inputs.clone() {
                let value = inputs.get(&port.name).ok_or_else(|| format!("`{}` has no value", port.name))?;
                executor.set_input(&port.name, value)?;
            }
            executor.run(Draw { seed: self.seed, step: step as u64, sample: 0 }).map_err(fail)?;
            let names: Vec<String> = executor.bound().outputs.iter().map(|p| p.name.clone()).collect();
            let out: BTreeMap<_, _> =
                names.into_iter().filter_map(|n| Some((n.clone(), executor.output(&n)?))).collect();
            all.push(out);
        }
        self.stored.extend(executor.written().map_err(fail)?);
        if let Some(last) = all.last().cloned() {
            self.replace(&last);
        }
        Ok(all)
    }
}

/// Arrays in f64 by name.
pub type Exact = BTreeMap<String, ArrayD<f64>>;

fn exact(t: &Tensor) -> Result<ArrayD<f64>, String> {
    ArrayD::from_shape_vec(IxDyn(t.shape()), t.iter().collect()).map_err(|e| e.to_string())
}

/// The reserved inputs of a step.
pub fn reserved(step: usize, steps: usize, epoch: usize, epochs: usize) -> Tensors {
    let one = |v: usize| Tensor::from_f64(uad_plan::DType::F32, &[], [v as f64]);
    let all = [("@step", step), ("@steps", steps), ("@epoch", epoch), ("@epochs", epochs)];
    all.into_iter().filter_map(|(n, v)| Some((n.to_owned(), one(v).ok()?))).collect()
}
