//! Checkpoints: where a run is, in one file.
//!
//! In: the position of a run and its changing tensors. Out: a safetensors file, and back. The metadata has one key, `uad.checkpoint`.
//! Invariants: written whole or not at all; floats of the position are kept as their bits; a checkpoint of another run is
//! refused with what differs. Imports: stores, tensors, whole files.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};
use uad_plan::DType;
use uad_plan::tensor::Tensor;

use super::{Report, Run, Tensors, Trouble};
use crate::device::memory::FileMap;
use crate::device::store::Value;
use crate::tensors::{Item, parts};

const VERSION: u32 = 1;
const KEY: &str = "uad.checkpoint";

/// Where a stage is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Position {
    /// The epoch, from 0.
    pub epoch: u64,
    /// Batches of this epoch that are done or left out.
    pub batch: u64,
    /// Updates done.
    pub step: u64,
    /// Bits of the sum of losses of this epoch, and their number.
    pub sum: u64,
    pub count: u64,
    /// The same of the value that is watched.
    pub watched: u64,
    /// Bits of the mean loss of the last full epoch.
    pub last: Option<u64>,
    /// Bits of the best value, and its epoch.
    pub best: Option<(u64, u64)>,
    /// Seconds that the stage took before this run.
    pub seconds: f64,
}

impl Position {
    /// Adds to a sum that is kept as bits.
    pub(super) fn add(sum: &mut u64, value: f64) {
        *sum = (f64::from_bits(*sum) + value).to_bits();
    }
}

/// Where a run is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct State {
    pub version: u32,
    pub identity: BTreeMap<String, String>,
    /// Stages that are done.
    pub done: Vec<Report>,
    /// Where the next stage is.
    pub position: Position,
    /// Length of the log.
    pub log: u64,
}

/// What a checkpoint holds.
#[derive(Default)]
pub(super) struct Checkpoint {
    pub state: State,
    /// What stages that are done have changed.
    pub changed: Tensors,
    /// What the next stage changes, as it is; empty where it has not begun.
    pub now: Tensors,
    /// As it was when it was best.
    pub best: Tensors,
}

/// Its path in a work folder.
pub(super) fn path(folder: &Path) -> PathBuf {
    folder.join("checkpoint")
}

/// Is there a run in this folder that was not finished?
pub fn unfinished(folder: &Path) -> bool {
    path(folder).is_file()
}

/// Removes the checkpoint of a run whose result is safe.
pub fn forget(folder: &Path) -> std::io::Result<()> {
    std::fs::remove_file(path(folder))
}

/// Tensors as they lie in memory.
pub(super) type Views<'a> = Vec<(&'a str, DType, &'a [usize], &'a [u8])>;

/// The views of these tensors.
pub(super) fn views(tensors: &Tensors) -> Views<'_> {
    tensors.iter().map(|(n, t)| (n.as_str(), t.dtype(), t.shape(), t.as_bytes())).collect()
}

/// The views of what a store holds.
pub(super) fn stored<'a>(values: &'a [Value<'_>]) -> Views<'a> {
    values.iter().map(|v| (v.path, v.dtype, v.shape, &*v.bytes)).collect()
}

/// Writes a checkpoint.
pub(super) fn write(
    folder: &Path,
    identity: &BTreeMap<String, String>,
    state: &State,
    groups: [(&str, Views<'_>); 3],
) -> std::io::Result<()> {
    let state = State { version: VERSION, identity: identity.clone(), ..state.clone() };
    let metadata = serde_json::to_string(&state).map_err(std::io::Error::other)?;
    let metadata = HashMap::from([(KEY.to_owned(), metadata)]);
    let mut items: BTreeMap<String, Item<'_>> = BTreeMap::new();
    for (prefix, views) in &groups {
        for (name, dtype, shape, bytes) in views {
            items.insert(format!("{prefix}{name}"), Item::raw(*dtype, shape, bytes));
        }
    }
    let (header, values) = parts(items, Some(metadata)).map_err(std::io::Error::other)?;
    crate::whole::write_with(&path(folder), |to| {
        to.write_all(&header)?;
        values.iter().try_for_each(|v| to.write_all(v))
    })
}

/// Reads the checkpoint of this run; `None` where there is none.
pub(super) fn read(folder: &Path, identity: &BTreeMap<String, String>) -> Run<Option<Checkpoint>> {
    let path = path(folder);
    if !path.exists() {
        return Ok(None);
    }
    let fail = |why: &dyn std::fmt::Display| Trouble::input(format!("{}: {why}", path.display()));
    let map = FileMap::open(&path).map_err(|e| fail(&e))?;
    let foreign = "not a checkpoint, or a damaged one";
    let (_, header) = SafeTensors::read_metadata(map.bytes()).map_err(|e| fail(&format!("{foreign}: {e}")))?;
    let told = header.metadata().as_ref().and_then(|m| m.get(KEY)).ok_or_else(|| fail(&foreign))?;
    let version = serde_json::from_str::<serde_json::Value>(told).ok().and_then(|v| v.get("version")?.as_u64());
    if version != Some(u64::from(VERSION)) {
        return Err(fail(&"a checkpoint of another version of uadc"));
    }
    let state: State = serde_json::from_str(told).map_err(|e| fail(&format!("{foreign}: {e}")))?;
    let names: Vec<&String> = identity.keys().chain(state.identity.keys()).collect();
    let mut other: Vec<&str> =
        names.into_iter().filter(|n| identity.get(*n) != state.identity.get(*n)).map(String::as_str).collect();
    other.sort_unstable();
    other.dedup();
    if !other.is_empty() {
        return Err(fail(&format!("this run differs from the one that was stopped in: {}", other.join(", ")))
            .help("give the same arguments and data, or begin again with --restart"));
    }
    let file = SafeTensors::deserialize(map.bytes()).map_err(|e| fail(&format!("damaged: {e}")))?;
    let mut checkpoint = Checkpoint { state, ..Checkpoint::default() };
    for (name, view) in file.iter() {
        let dtype = match view.dtype() {
            Dtype::F32 => DType::F32,
            Dtype::I32 => DType::I32,
            Dtype::BOOL => DType::Bool,
            _ => return Err(fail(&foreign)),
        };
        let tensor = Tensor::from_bytes(dtype, view.shape(), view.data()).map_err(|e| fail(&e))?;
        let groups =
            [("changed:", &mut checkpoint.changed), ("now:", &mut checkpoint.now), ("best:", &mut checkpoint.best)];
        for (prefix, into) in groups {
            if let Some(path) = name.strip_prefix(prefix) {
                into.insert(path.to_owned(), tensor);
                break;
            }
        }
    }
    Ok(Some(checkpoint))
}
