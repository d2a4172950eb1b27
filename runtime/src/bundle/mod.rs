//! Bundles: a detector in one file (`.uadx`).
//!
//! In: plan, spec, card and stored tensors; or a path. Out: a file; or a [`Bundle`] over the mapped file. The file is a
//! safetensors file: stored tensors under their paths, `uad.plan` and `uad.spec` as bytes, probes as `uad.probe.in.NAME` and
//! `uad.probe.out.NAME`, normal samples that are second inputs as `uad.peer.NAME`; the metadata has one key, `uad`, with version, digest and card. The digest is over all bytes of the
//! file with its own digits as zeros, so that a change anywhere shows. Invariants: nothing but the version is believed before
//! the digest was compared; a truncated, altered or foreign file is refused with its name; no machine code is
//! stored. Imports: `uad-plan`, data, device, tensors, whole.

mod digest;
pub mod exe;
pub mod v1;

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::path::{Path, PathBuf};

use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};
use uad_plan::tensor::Tensor;
use uad_plan::{DType, Dim, Plan, StoredKind, Verified};

use crate::data::ReadError;
use crate::device::memory::FileMap;
use crate::tensors::Item;
use v1::Card;

/// The version that is written, and the newest that can be read.
const VERSION: u32 = 1;
const PLAN: &str = "uad.plan";
const SPEC: &str = "uad.spec";
const PEER: &str = "uad.peer.";
const PROBE_IN: &str = "uad.probe.in.";
const PROBE_OUT: &str = "uad.probe.out.";

/// What the metadata holds.
#[derive(Serialize, Deserialize)]
struct Metadata {
    version: u32,
    digest: String,
    card: Card,
}

/// A detector to be written.
#[derive(Clone, Debug, Default)]
pub struct Content {
    /// What it says about itself.
    pub card: Card,
    /// The plan's text.
    pub plan: String,
    /// Text of the user's files, one after another in the order of [`Card::files`], each after a line `//# NAME`.
    pub spec: String,
    /// Weights and states by path.
    pub stored: BTreeMap<String, Tensor>,
    /// Second inputs by name: normal samples stacked, one per class of [`Card::peers`].
    pub peers: BTreeMap<String, Tensor>,
    /// Inputs of the probe.
    pub probe_inputs: BTreeMap<String, Tensor>,
    /// What `score` gave for them when the bundle was built.
    pub probe_outputs: BTreeMap<String, Tensor>,
}

impl Content {
    /// The bytes of the file.
    pub fn to_bytes(&self) -> Result<Vec<u8>, String> {
        let (header, parts) = self.parts()?;
        Ok([&[header.as_slice()][..], &parts].concat().concat())
    }

    /// The bytes of the file: its header, digest included, and what follows.
    fn parts(&self) -> Result<(Vec<u8>, Vec<&[u8]>), String> {
        let mut items: BTreeMap<String, Item<'_>> = BTreeMap::new();
        items.insert(PLAN.to_owned(), Item::text(&self.plan));
        items.insert(SPEC.to_owned(), Item::text(&self.spec));
        let groups =
            [("", &self.stored), (PEER, &self.peers), (PROBE_IN, &self.probe_inputs), (PROBE_OUT, &self.probe_outputs)];
        for (prefix, tensors) in groups {
            for (name, t) in tensors {
                if prefix.is_empty() && name.starts_with("uad.") {
                    return Err(format!("the path `{name}` is reserved"));
                }
                items.insert(format!("{prefix}{name}"), Item::tensor(t));
            }
        }
        let metadata = Metadata { version: VERSION, digest: "0".repeat(digest::DIGITS), card: self.card.clone() };
        let metadata = serde_json::to_string(&metadata).map_err(|e| e.to_string())?;
        let metadata = HashMap::from([("uad".to_owned(), metadata)]);
        let (mut header, parts) = crate::tensors::parts(items, Some(metadata)).map_err(|e| e.to_string())?;
        let digits = digest::digits(&header).ok_or("the metadata has no digest")?;
        let all: Vec<&[u8]> = std::iter::once(header.as_slice()).chain(parts.iter().copied()).collect();
        let digest = digest::of(&all, &digits);
        header[digits].copy_from_slice(digest.as_bytes());
        Ok((header, parts))
    }

    /// Writes the file, whole or not at all.
    pub fn write(&self, path: &Path) -> Result<(), ReadError> {
        let (header, parts) = self.parts().map_err(|e| ReadError::new(path, e))?;
        let write = |to: &mut dyn std::io::Write| {
            to.write_all(&header)?;
            parts.iter().try_for_each(|p| to.write_all(p))
        };
        crate::whole::write_with(path, write).map_err(|e| ReadError::new(path, e))
    }
}

/// An opened bundle. Stored tensors stay in the mapped file.
pub struct Bundle {
    path: PathBuf,
    map: FileMap,
    /// Where in the file the bundle stands (all of it, but for executables).
    range: Range<usize>,
    /// Where its code for GPUs stands: only executables hold some.
    code: Range<usize>,
    /// What it says about itself.
    pub card: Card,
    /// SHA-256 over everything, in hexadecimal.
    pub digest: String,
    /// Its program.
    pub plan: Verified<Plan<Dim>>,
    /// Text of the user's files.
    pub spec: String,
    table: BTreeMap<String, (DType, Vec<usize>, Range<usize>)>,
}

impl Bundle {
    /// Opens a bundle, or an executable that holds one.
    pub fn open(path: &Path) -> Result<Bundle, ReadError> {
        let fail = |e: &dyn std::fmt::Display| ReadError::new(path, e);
        let map = FileMap::open(path).map_err(|e| fail(&e))?;
        let n = map.bytes().len();
        let exe::Carried { bundle: range, code } =
            exe::carried(map.bytes()).unwrap_or(exe::Carried { bundle: 0..n, code: n..n });
        let bytes = map.bytes().get(range.clone()).unwrap_or_default();
        let foreign = "not a bundle (uadc build writes them)";
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(|e| fail(&format!("{foreign}: {e}")))?;
        let told = header.metadata().as_ref().and_then(|m| m.get("uad")).ok_or_else(|| fail(&foreign))?;
        let version = serde_json::from_str::<serde_json::Value>(told).ok().and_then(|v| v.get("version")?.as_u64());
        match version {
            Some(v) if v == u64::from(VERSION) => {}
            Some(v) => {
                let own = env!("CARGO_PKG_VERSION");
                return Err(fail(&format!("a bundle of version {v}; uadc {own} reads version {VERSION}")));
            }
            None => return Err(fail(&foreign)),
        }
        let Metadata { digest, card, .. } = serde_json::from_str(told).map_err(|e| fail(&format!("{foreign}: {e}")))?;
        let file = SafeTensors::deserialize(bytes).map_err(|e| fail(&format!("damaged: {e}")))?;
        let mut table = BTreeMap::new();
        let origin = map.bytes().as_ptr().addr();
        for (name, view) in file.iter() {
            let dtype = match view.dtype() {
                Dtype::F32 => DType::F32,
                Dtype::I32 => DType::I32,
                Dtype::BOOL => DType::Bool,
                _ => continue,
            };
            let from = view.data().as_ptr().addr() - origin;
            table.insert(name.to_owned(), (dtype, view.shape().to_vec(), from..from + view.data().len()));
        }
        let text = |name: &str| -> Result<String, ReadError> {
            let view = file.tensor(name).map_err(|_| fail(&format!("{foreign}: it has no `{name}`")))?;
            String::from_utf8(view.data().to_vec()).map_err(|_| fail(&format!("damaged: `{name}` is not text")))
        };
        let plan = || {
            let plan = uad_plan::parse(&text(PLAN)?).map_err(|e| fail(&format!("its plan does not parse: {e}")))?;
            uad_plan::verify(plan).map_err(|v| {
                let first = v.first().map_or(String::new(), ToString::to_string);
                fail(&format!("its plan is not valid: {first}"))
            })
        };
        let fits = || {
            digest::digits(bytes)
                .is_some_and(|d| bytes[d.clone()] == *digest.as_bytes() && digest::of(&[bytes], &d) == digest)
        };
        // Read while the digest is made, believed after.
        let (fits, plan) = std::thread::scope(|s| {
            let made = std::thread::Builder::new().spawn_scoped(s, fits);
            let plan = plan();
            (made.ok().and_then(|m| m.join().ok()).unwrap_or_else(fits), plan)
        });
        if !fits {
            return Err(fail(&"damaged or altered: its digest does not fit its content"));
        }
        let (plan, spec) = (plan?, text(SPEC)?);
        let bundle = Bundle { path: path.to_owned(), range, code, card, digest, plan, spec, table, map };
        bundle.check_stored()?;
        Ok(bundle)
    }

    /// Every stored tensor of the plan is there with its type; a state may be left to a stage that has not run.
    fn check_stored(&self) -> Result<(), ReadError> {
        for s in &self.plan.stored {
            // Open dims have their values from here.
            let one = |(d, have): (&Dim, &usize)| d.as_int().is_none_or(|d| usize::try_from(d) == Ok(*have));
            let shape = |have: &[usize]| have.len() == s.shape.len() && s.shape.iter().zip(have).all(one);
            let later = s.kind == StoredKind::State && self.card.stages.iter().any(|stage| !stage.done);
            let fits = match self.table.get(&s.path) {
                Some((d, have, _)) => *d == s.dtype && shape(have),
                None => later,
            };
            if !fits {
                return Err(ReadError::new(&self.path, format!("`{}` is missing or of another type", s.path)));
            }
        }
        Ok(())
    }

    /// Where it was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its size in the file.
    pub fn bytes(&self) -> usize {
        self.range.len()
    }

    /// The sidecar that an executable carries.
    pub fn code(&self) -> Option<&[u8]> {
        self.map.bytes().get(self.code.clone()).filter(|c| !c.is_empty())
    }

    /// The bytes of a stored tensor, little-endian, row-major, in the mapped file.
    pub fn stored(&self, path: &str) -> Option<&[u8]> {
        self.map.bytes().get(self.table.get(path)?.2.clone())
    }

    /// The shape of a stored tensor.
    pub fn shape(&self, path: &str) -> Option<&[usize]> {
        self.table.get(path).map(|t| t.1.as_slice())
    }

    /// Gives back the memory of what was read of the mapped file; it is loaded again where it is read again.
    pub fn release(&self) {
        self.map.release();
    }

    /// A tensor of the file by its full name.
    fn tensor(&self, name: &str) -> Option<Tensor> {
        let (dtype, shape, range) = self.table.get(name)?;
        Tensor::from_bytes(*dtype, shape, self.map.bytes().get(range.clone())?).ok()
    }

    /// All stored tensors, copied.
    pub fn all_stored(&self) -> BTreeMap<String, Tensor> {
        let own = self.table.keys().filter(|n| !n.starts_with("uad."));
        own.filter_map(|n| Some((n.clone(), self.tensor(n)?))).collect()
    }

    /// All that it holds, to be written again with changes.
    pub fn content(&self) -> Content {
        let (probe_inputs, probe_outputs) = self.probe();
        let (card, spec, stored) = (self.card.clone(), self.spec.clone(), self.all_stored());
        Content { card, plan: self.plan.to_string(), spec, stored, peers: self.peers(), probe_inputs, probe_outputs }
    }

    /// Tensors under a prefix, by the rest of their names.
    fn part(&self, prefix: &str) -> BTreeMap<String, Tensor> {
        let named = self.table.keys().filter_map(|n| Some((n, n.strip_prefix(prefix)?)));
        named.filter_map(|(full, n)| Some((n.to_owned(), self.tensor(full)?))).collect()
    }

    /// Second inputs by name.
    pub fn peers(&self) -> BTreeMap<String, Tensor> {
        self.part(PEER)
    }

    /// Inputs and outputs of the probe.
    pub fn probe(&self) -> (BTreeMap<String, Tensor>, BTreeMap<String, Tensor>) {
        (self.part(PROBE_IN), self.part(PROBE_OUT))
    }
}
