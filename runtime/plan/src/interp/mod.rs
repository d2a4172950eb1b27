//! The reference interpreter: the definition of what a plan computes.
//!
//! In: a bound entry, inputs and stored tensors by name, seed and step. Out: outputs by name; stored tensors changed.
//! Invariants: f32 arithmetic is done in f64 without rounding between operations; i32 wraps; temporary f32 buffers
//! start as NaN, so that reading what was never written shows. `setup` runs at every call. Deterministic.
//! Imports: [`crate::bind`], [`crate::plan`], [`crate::hole`], [`crate::tensor`].

mod matrix;
mod memory;
mod points;
mod program;
mod reduce;
mod template;
#[cfg(test)]
mod tests;
mod whole;

use std::collections::BTreeMap;
use std::fmt;

use ndarray::{ArrayD, IxDyn};

use self::memory::Memory;
use self::template::{Compiled, Machine};
use crate::bind::Bound;
use crate::dtype::DType;
use crate::plan::{Buffer, BufferKind};
use crate::tensor::Tensor;

/// What random draws depend on besides their site.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Draw {
    /// Seed of the run.
    pub seed: u64,
    /// Step of the training, or 0.
    pub step: u64,
    /// Number of the first sample of the batch.
    pub first_sample: u64,
}

/// Why an entry cannot be run: the caller's tensors do not fit it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterpError(
    /// One sentence.
    pub String,
);

impl fmt::Display for InterpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl std::error::Error for InterpError {}

/// Runs an entry on f64 arrays: i32 are whole numbers, bool 0 or 1. Returns the outputs by name; stored arrays that the
/// entry writes are changed. An array that is only written need not be given.
pub fn run_f64(
    bound: &Bound,
    inputs: &BTreeMap<String, ArrayD<f64>>,
    stored: &mut BTreeMap<String, ArrayD<f64>>,
    draw: Draw,
) -> Result<BTreeMap<String, ArrayD<f64>>, InterpError> {
    let entry = &bound.entry;
    let mut buffers = Vec::with_capacity(entry.buffers.len());
    for (i, b) in entry.buffers.iter().enumerate() {
        let given = match &b.kind {
            BufferKind::Input => Some(("input", inputs.get(&b.name))),
            BufferKind::Stored => {
                let read = bound.stored.iter().any(|p| p.buffer.0 as usize == i && p.read);
                let found = stored.get(&b.name);
                if read || found.is_some() { Some(("stored tensor", found)) } else { None }
            }
            BufferKind::Output | BufferKind::Const(_) | BufferKind::Temp => None,
        };
        buffers.push(match (given, &b.kind) {
            (Some((what, array)), _) => elements(b, what, array)?,
            // Constants are row-major.
            (None, BufferKind::Const(values)) => values.clone(),
            (None, _) => vec![if b.dtype == DType::F32 { f64::NAN } else { 0.0 }; bound.buffer_elements(i)],
        });
    }
    let mut machine = Machine::new(Memory { buffers }, draw);
    for kernels in [&entry.setup, &entry.kernels] {
        let compiled = kernels.iter().map(|k| Compiled::new(entry, k)).collect::<Result<Vec<_>, _>>()?;
        compiled.iter().for_each(|k| machine.run(k));
    }
    let mut array = |i: usize, shape: &[usize]| {
        let data = std::mem::take(&mut machine.memory.buffers[i]);
        ArrayD::from_shape_vec(IxDyn(shape), data).map_err(|e| InterpError(e.to_string()))
    };
    for p in bound.stored.iter().filter(|p| p.written) {
        stored.insert(p.name.clone(), array(p.buffer.0 as usize, &p.shape)?);
    }
    bound.outputs.iter().map(|p| Ok((p.name.clone(), array(p.buffer.0 as usize, &p.shape)?))).collect()
}

/// The array's elements in row-major order, if its shape is the buffer's.
fn elements(b: &Buffer<i64>, what: &str, array: Option<&ArrayD<f64>>) -> Result<Vec<f64>, InterpError> {
    let array = array.ok_or_else(|| InterpError(format!("the {what} `{}` is not given", b.name)))?;
    let same = array.ndim() == b.shape.len() && array.shape().iter().zip(&b.shape).all(|(a, s)| *a as i64 == *s);
    if !same {
        let message = format!("the {what} `{}` has shape {:?}, the plan says {:?}", b.name, array.shape(), b.shape);
        return Err(InterpError(message));
    }
    Ok(array.iter().copied().collect())
}

/// Runs an entry on host tensors. Outputs and changed stored tensors are rounded to their dtypes at the end only.
pub fn run(
    bound: &Bound,
    inputs: &BTreeMap<String, Tensor>,
    stored: &mut BTreeMap<String, Tensor>,
    draw: Draw,
) -> Result<BTreeMap<String, Tensor>, InterpError> {
    let mut given = BTreeMap::new();
    for p in &bound.inputs {
        if let Some(t) = inputs.get(&p.name) {
            given.insert(p.name.clone(), wide(t, &p.name, p.dtype)?);
        }
    }
    let mut kept = BTreeMap::new();
    for p in &bound.stored {
        if let Some(t) = stored.get(&p.name) {
            kept.insert(p.name.clone(), wide(t, &p.name, p.dtype)?);
        }
    }
    let outputs = run_f64(bound, &given, &mut kept, draw)?;
    let narrow = |dtype: DType, a: &ArrayD<f64>| {
        Tensor::from_f64(dtype, a.shape(), a.iter().copied()).map_err(|e| InterpError(e.to_string()))
    };
    for p in bound.stored.iter().filter(|p| p.written) {
        if let Some(a) = kept.get(&p.name) {
            stored.insert(p.name.clone(), narrow(p.dtype, a)?);
        }
    }
    let mut out = BTreeMap::new();
    for p in &bound.outputs {
        if let Some(a) = outputs.get(&p.name) {
            out.insert(p.name.clone(), narrow(p.dtype, a)?);
        }
    }
    Ok(out)
}

fn wide(t: &Tensor, name: &str, dtype: DType) -> Result<ArrayD<f64>, InterpError> {
    if t.dtype() != dtype {
        return Err(InterpError(format!("`{name}` is {}, the plan says {dtype}", t.dtype())));
    }
    ArrayD::from_shape_vec(IxDyn(t.shape()), t.iter().collect()).map_err(|e| InterpError(e.to_string()))
}
