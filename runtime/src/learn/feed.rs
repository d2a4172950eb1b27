//! Giving an entry its inputs: samples, features, and numbers that tell it where the run is.
//!
//! In: an entry's inputs, a batch. Out: values of open dims; filled inputs. Invariants: a sample that does not fit is named; what an
//! entry takes and nobody has is a fault. Imports: stores, loading.

use std::sync::Arc;

use uad_plan::{Binding, BufferKind, Dim, Entry};

use super::features::Features;
use super::{Run, Trouble};
use crate::data::kind::Value;
use crate::data::load::{Samples, Source, Take};
use crate::device::store::{Store, StoreExecutor};

/// The samples of a step.
pub(super) struct Batch<'a> {
    /// Positions in the data set.
    pub rows: &'a [usize],
    /// Their values for the detector's inputs; empty where the entry takes none of these.
    pub values: &'a [Arc<Vec<Value>>],
}

/// Where the features of a batch are.
pub(super) enum Given<'a> {
    /// The entry takes none.
    Nothing,
    /// On disk, in these rows.
    Rows(&'a Features, Vec<usize>),
    /// Just made: name and bytes.
    Made(Vec<(String, Vec<u8>)>),
}

/// Numbers that the loop gives to every step.
#[derive(Clone, Copy)]
pub(super) struct Clock {
    pub step: u64,
    pub steps: u64,
    pub epoch: u64,
    pub epochs: u64,
}

impl Clock {
    fn of(self, name: &str) -> Option<f32> {
        Some(match name {
            "@step" => self.step as f32,
            "@steps" => self.steps as f32,
            "@epoch" => self.epoch as f32,
            "@epochs" => self.epochs as f32,
            _ => return None,
        })
    }
}

/// Is this the name of a feature, `@0`?
pub(super) fn is_feature(name: &str) -> bool {
    name.strip_prefix('@').is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
}

/// Does an entry read samples, and not only features?
pub(super) fn reads_samples(entry: &Entry<Dim>, samples: &Samples) -> bool {
    let mut inputs = entry.buffers.iter().filter(|b| b.kind == BufferKind::Input);
    inputs.any(|b| samples.takes().iter().any(|t| t.input == b.name))
}

/// Does an entry read pictures of other samples?
pub(super) fn reads_peers(entry: &Entry<Dim>, samples: &Samples) -> bool {
    let mut inputs = entry.buffers.iter().filter(|b| b.kind == BufferKind::Input);
    let peer = |t: &Take| matches!(t.source, Source::Peer { .. });
    inputs.any(|b| samples.takes().iter().any(|t| t.input == b.name && peer(t)))
}

/// The values of an entry's open dims for a batch.
pub(super) fn binding(entry: &Entry<Dim>, samples: &Samples, batch: &Batch<'_>, store: &Store) -> Run<Binding> {
    let mut binding = Binding::new();
    stored_dims(entry, store, &mut binding)?;
    for buffer in entry.buffers.iter().filter(|b| b.kind == BufferKind::Input) {
        let Some(n) = samples.takes().iter().position(|t| t.input == buffer.name) else { continue };
        let shape_of = |v: &Arc<Vec<Value>>| v.get(n).map(Value::shape).unwrap_or_default();
        let Some(first) = batch.values.first().map(shape_of) else { continue };
        let odd = batch.values.iter().position(|v| shape_of(v) != first);
        if let Some(odd) = odd {
            let name = |k: usize| batch.rows.get(k).and_then(|r| samples.set().samples.get(*r)).map(|s| &s.path);
            let (a, b) = (name(0), name(odd));
            let path = |p: Option<&std::path::PathBuf>| p.map_or_else(String::new, |p| p.display().to_string());
            return Err(Trouble::input(format!(
                "{} and {} differ in size after the steps of the input `{}`",
                path(a),
                path(b),
                buffer.name
            ))
            .help(
                "let the pipeline end in one size, as `|> resize(224, 224)` for images or `|> crop(4800)` for signals",
            ));
        }
        let shape: Vec<usize> = [batch.rows.len()].into_iter().chain(first).collect();
        if shape.len() != buffer.shape.len() {
            return Err(Trouble::Fault(format!("the input `{}` has another rank than its samples", buffer.name)));
        }
        for (dim, have) in buffer.shape.iter().zip(&shape) {
            let have = *have as i64;
            let known = match (dim.as_name(), dim.as_int()) {
                (Some(name), _) => *binding.entry(name.to_owned()).or_insert(have),
                (None, Some(v)) => v,
                (None, None) => have,
            };
            if known != have {
                let dims: Vec<String> = buffer.shape.iter().map(Dim::to_string).collect();
                let dims = dims.join(", ");
                return Err(Trouble::input(format!("the input `{}` is [{dims}], not {shape:?}", buffer.name)));
            }
        }
    }
    if entry.dims.iter().any(|d| d == "b") {
        binding.entry("b".to_owned()).or_insert(batch.rows.len() as i64);
    }
    Ok(binding)
}

/// Open dims of stored tensors have their values from these.
pub(super) fn stored_dims(entry: &Entry<Dim>, store: &Store, binding: &mut Binding) -> Run {
    let stored = entry.buffers.iter().filter(|b| b.kind == BufferKind::Stored);
    for buffer in stored.filter(|b| b.shape.iter().any(|d| d.as_int().is_none())) {
        let shape = store.shape(&buffer.name);
        let shape = shape.ok_or_else(|| Trouble::input(format!("`{}` has no value yet", buffer.name)))?;
        for (dim, have) in buffer.shape.iter().zip(shape) {
            if let Some(name) = dim.as_name() {
                binding.insert(name.to_owned(), have as i64);
            }
        }
    }
    Ok(())
}

/// Fills all inputs of an executor.
pub(super) fn fill(
    executor: &mut StoreExecutor,
    samples: &Samples,
    batch: &Batch<'_>,
    given: &Given<'_>,
    clock: Clock,
) -> Run {
    let names: Vec<String> = executor.bound().inputs.iter().map(|p| p.name.clone()).collect();
    for name in &names {
        let missing = || Trouble::Fault(format!("nobody has the input `{name}`"));
        if let Some(v) = clock.of(name) {
            executor.input_f32_mut(name).and_then(|s| s.first_mut()).map(|s| *s = v).ok_or_else(missing)?;
        } else if is_feature(name) {
            let to = executor.input_mut(name).ok_or_else(missing)?;
            match given {
                Given::Nothing => return Err(missing()),
                Given::Made(all) => {
                    let made = all.iter().find(|m| m.0 == *name && m.1.len() == to.len()).ok_or_else(missing)?;
                    to.copy_from_slice(&made.1);
                }
                Given::Rows(features, rows) => {
                    let each = to.len() / rows.len().max(1);
                    for (row, slot) in rows.iter().zip(to.chunks_exact_mut(each.max(1))) {
                        let from = features.row(*row, name).filter(|f| f.len() == slot.len()).ok_or_else(missing)?;
                        slot.copy_from_slice(from);
                    }
                }
            }
        } else {
            let n = samples.takes().iter().position(|t| t.input == *name).ok_or_else(missing)?;
            let values = batch.values.iter().filter_map(|v| v.get(n));
            if let Some(to) = executor.input_f32_mut(name) {
                let each = to.len() / batch.values.len().max(1);
                for (value, slot) in values.zip(to.chunks_exact_mut(each.max(1))) {
                    if !value.write(slot) {
                        return Err(missing());
                    }
                }
            } else {
                let to = executor.input_mut(name).ok_or_else(missing)?;
                for (value, slot) in values.zip(to.chunks_exact_mut(4)) {
                    let Value::Number(v) = value else { return Err(missing()) };
                    slot.copy_from_slice(&v.to_le_bytes());
                }
            }
        }
    }
    Ok(())
}

/// Fills the numbers that tell an entry where the run is.
pub(super) fn fill_clock(executor: &mut StoreExecutor, clock: Clock) {
    for name in ["@step", "@steps", "@epoch", "@epochs"] {
        if let (Some(v), Some(slot)) = (clock.of(name), executor.input_f32_mut(name).and_then(|s| s.first_mut())) {
            *slot = v;
        }
    }
}
