//! Compiled code for machines without a compiler: a file beside a bundle, or a part of an executable.
//!
//! In: cubins by key, what they were compiled for. Out: bytes; and from bytes a [`Sidecar`]. Invariants: code is believed
//! only where the digest over everything fits and the plan is the one that it was compiled for; its keys are digests of
//! the text, so that no other program finds it. Imports: whole.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::whole;

/// The version that is written, and the only one that is read.
const VERSION: u32 = 1;
/// The name of the metadata.
const CARD: &str = "uad-cuda";

/// What code was compiled for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Card {
    /// The detector's name.
    pub detector: String,
    /// The digest of its plan's text ([`digest`]).
    pub plan: String,
    /// Architectures, as `sm_80`.
    pub archs: Vec<String>,
    /// Sizes of batches.
    pub batches: Vec<u32>,
    /// What contractions multiply.
    pub precision: String,
}

#[derive(Serialize, Deserialize)]
struct Metadata {
    version: u32,
    card: Card,
    digest: String,
}

/// Compiled code.
#[derive(Clone, Debug, Default)]
pub struct Sidecar {
    /// What it was compiled for.
    pub card: Card,
    /// Cubins by key.
    codes: BTreeMap<String, Vec<u8>>,
}

fn hexadecimal(hasher: Sha256) -> String {
    hasher.finalize().iter().map(|b| format!("{b:02x}")).collect()
}

/// The digest of a text.
pub fn digest(text: &str) -> String {
    hexadecimal(Sha256::new_with_prefix(text))
}

impl Sidecar {
    /// The name of a bundle's sidecar.
    pub fn path(bundle: &Path) -> PathBuf {
        let mut name = bundle.file_name().unwrap_or_default().to_owned();
        name.push(".cuda");
        bundle.with_file_name(name)
    }

    /// No code yet.
    pub fn new(card: Card) -> Sidecar {
        Sidecar { card, codes: BTreeMap::new() }
    }

    /// Reads a file.
    pub fn open(path: &Path) -> Result<Sidecar, String> {
        let bytes = std::fs::read(path).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
        Sidecar::from_bytes(&bytes).map_err(|e| format!("{}: {e}", path.display()))
    }

    /// Reads the bytes of a file.
    pub fn from_bytes(bytes: &[u8]) -> Result<Sidecar, String> {
        let foreign = "no code for GPUs (uadc build --target cuda writes it)";
        let damaged = "damaged or altered: its digest does not fit its content";
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(|_| foreign)?;
        let told = header.metadata().as_ref().and_then(|m| m.get(CARD)).ok_or(foreign)?;
        let Metadata { version, card, digest } = serde_json::from_str(told).map_err(|_| damaged)?;
        if version != VERSION {
            return Err(format!("code of version {version}; uadc {} reads {VERSION}", env!("CARGO_PKG_VERSION")));
        }
        let tensors = SafeTensors::deserialize(bytes).map_err(|_| damaged)?;
        let codes = tensors.iter().map(|(name, t)| (name.to_owned(), t.data().to_vec())).collect();
        let sidecar = Sidecar { card, codes };
        // Written again it must be the same file: that covers every byte, the header's too.
        if sidecar.digest() != digest || sidecar.to_bytes()? != bytes {
            return Err(damaged.to_owned());
        }
        Ok(sidecar)
    }

    /// Refuses code of another plan.
    pub fn belongs_to(&self, plan: &str) -> Result<(), String> {
        if digest(plan) == self.card.plan {
            return Ok(());
        }
        Err(format!("the code is for another plan, of a detector `{}`", self.card.detector))
    }

    /// Adds code.
    pub fn insert(&mut self, key: String, cubin: Vec<u8>) {
        self.codes.insert(key, cubin);
    }

    /// The code of a key.
    pub fn get(&self, key: &str) -> Option<&[u8]> {
        self.codes.get(key).map(Vec::as_slice)
    }

    /// `sm_80, sm_90; batches of 1, 8; f32`.
    pub fn describe(&self) -> String {
        let batches: Vec<String> = self.card.batches.iter().map(u32::to_string).collect();
        format!("{}; batches of {}; {}", self.card.archs.join(", "), batches.join(", "), self.card.precision)
    }

    fn digest(&self) -> String {
        let mut hasher = Sha256::new();
        let card = serde_json::to_vec(&self.card).unwrap_or_default();
        let parts = self.codes.iter().flat_map(|(key, code)| [key.as_bytes(), code]);
        for part in std::iter::once(card.as_slice()).chain(parts) {
            hasher.update((part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        hexadecimal(hasher)
    }

    /// The bytes of a file.
    pub fn to_bytes(&self) -> Result<Vec<u8>, String> {
        let mut views = Vec::with_capacity(self.codes.len());
        for (key, code) in &self.codes {
            views.push((key, TensorView::new(Dtype::U8, vec![code.len()], code).map_err(|e| e.to_string())?));
        }
        let metadata = Metadata { version: VERSION, card: self.card.clone(), digest: self.digest() };
        let metadata = serde_json::to_string(&metadata).map_err(|e| e.to_string())?;
        let metadata = HashMap::from([(CARD.to_owned(), metadata)]);
        safetensors::serialize(views, Some(metadata)).map_err(|e| e.to_string())
    }

    /// Writes a file.
    pub fn write(&self, path: &Path) -> Result<(), String> {
        whole::write(path, &self.to_bytes()?).map_err(|e| format!("cannot write {}: {e}", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made() -> Sidecar {
        let archs = vec!["sm_80".to_owned(), "sm_90".to_owned()];
        let (detector, plan, precision) = ("d".to_owned(), digest("plan"), "f32".to_owned());
        let mut s = Sidecar::new(Card { detector, plan, archs, batches: vec![1, 8], precision });
        s.insert("b".repeat(64), b"\x7fELFtwo".to_vec());
        s.insert("a".repeat(64), b"\x7fELFone, longer".to_vec());
        s
    }

    #[test]
    fn what_was_written_is_read() {
        let s = Sidecar::from_bytes(&made().to_bytes().unwrap()).unwrap();
        assert_eq!((s.card.clone(), s.get(&"b".repeat(64))), (made().card, Some(&b"\x7fELFtwo"[..])));
        assert_eq!((s.get("c"), s.belongs_to("plan")), (None, Ok(())));
        assert_eq!(s.describe(), "sm_80, sm_90; batches of 1, 8; f32");
        assert!(s.belongs_to("plans").unwrap_err().contains("another plan, of a detector `d`"));
        assert!(Sidecar::path(Path::new("x/a.uadx")).ends_with("x/a.uadx.cuda"));
    }

    #[test]
    fn every_altered_byte_is_found() {
        let bytes = made().to_bytes().unwrap();
        for at in 0..bytes.len() {
            let mut altered = bytes.clone();
            altered[at] ^= 1;
            assert!(Sidecar::from_bytes(&altered).is_err(), "byte {at}");
            assert!(Sidecar::from_bytes(&bytes[..at]).is_err(), "cut at {at}");
        }
        assert!(Sidecar::from_bytes(&[&bytes[..], b"x"].concat()).is_err());
        assert!(Sidecar::from_bytes(b"nothing").unwrap_err().contains("no code for GPUs"));
    }
}
