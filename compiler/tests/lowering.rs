//! Real detectors, lowered: few kernels, no copies.
//!
//! In: the specs and the library of this repository. Out: verified plans in both forms, numbers of kernels.
//! `UAD_PLANS=DIR` writes graphs and plans to a folder. Imports: the compiler, `uad-plan`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use uad_compiler::graph::{Graph, verify};
use uad_compiler::lower::{LowerOptions, lower};
use uad_compiler::model::{Choice, Model, StoredInfo, elaborate};
use uad_compiler::pass::{PassOptions, optimise};
use uad_compiler::source::{Files, Loader};
use uad_plan::{Body, Dim, Entry, Kernel, Plan, Stored};

struct Folder(PathBuf);

impl Loader for Folder {
    fn load(&self, path: &str) -> Option<String> {
        let name = path.trim_end_matches(".uad");
        std::fs::read_to_string(self.0.join("stdlib").join(format!("{name}.uad"))).ok()
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn model(spec: &str, detector: Option<&str>) -> Model {
    let text = std::fs::read_to_string(root().join("specs").join(format!("{spec}.uad"))).expect("a spec");
    let mut files = Files::one(format!("{spec}.uad"), text);
    let choice = Choice { detector: detector.map(str::to_owned), ..Choice::default() };
    let (model, said) = elaborate(&mut files, &Folder(root()), &format!("{spec}.uad"), &choice);
    let said: Vec<String> = said.iter().map(|d| format!("{}: {}", d.code, d.message)).collect();
    model.unwrap_or_else(|| panic!("{spec}: {}", said.join("\n")))
}

fn stored(s: &StoredInfo) -> Stored<Dim> {
    Stored { path: s.path.clone(), kind: s.kind, dtype: s.ty.dtype, shape: s.ty.shape.clone() }
}

fn lowered(model: &Model, g: &Graph, fuse: bool) -> Entry<Dim> {
    let verified = verify(g).unwrap_or_else(|v| panic!("{}", v[0]));
    let entry = lower(&verified, LowerOptions { fuse }).unwrap_or_else(|e| panic!("{e}"));
    let plan = Plan {
        name: model.name.clone(),
        stored: model.stored.iter().map(stored).collect(),
        entries: vec![entry.clone()],
    };
    if let Ok(folder) = std::env::var("UAD_PLANS")
        && fuse
    {
        let path = Path::new(&folder).join(format!("{}.{}", model.name, g.name));
        std::fs::write(path.with_extension(format!("{}.uadp", g.name)), plan.to_string()).expect("written");
        std::fs::write(path.with_extension(format!("{}.uadg", g.name)), g.to_string()).expect("written");
    }
    if let Err(v) = uad_plan::verify(plan) {
        panic!("{}.{}: {}", model.name, g.name, v[0]);
    }
    entry
}

fn template(k: &Kernel<Dim>) -> &'static str {
    match &k.body {
        Body::Map(h) if h.as_load().is_some() && k.reads[0].via.is_empty() => "copy",
        Body::Map(_) => "map",
        Body::Rows { .. } => "rows",
        Body::Dot { .. } => "dot",
        Body::Attention { .. } => "attention",
        Body::Loop { .. } => "loop",
        _ => "other",
    }
}

/// The score of a detector: how many kernels of each template run at every call.
fn score(spec: &str, detector: Option<&str>) -> BTreeMap<&'static str, usize> {
    let mut model = model(spec, detector);
    let mut counts = BTreeMap::new();
    for g in std::mem::take(&mut model.entries) {
        let g = optimise(g, &PassOptions::default()).unwrap_or_else(|e| panic!("{}", e.pass.unwrap_or("graph")));
        lowered(&model, &g, false);
        let entry = lowered(&model, &g, true);
        if g.name == "score" {
            for k in &entry.kernels {
                *counts.entry(template(k)).or_insert(0) += 1;
            }
        }
    }
    eprintln!("{spec} {detector:?}: {counts:?}");
    counts
}

#[test]
fn uniad_is_few_kernels() {
    let counts = score("uniad", None);
    assert_eq!(counts.get("copy"), None);
    assert_eq!(counts["attention"], 12);
    // Two contractions and a reduction per excitation, eight kernels and one attention per layer, little else.
    assert!(counts["map"] <= 12, "{counts:?}");
    assert!(counts.values().sum::<usize>() <= 245, "{counts:?}");
}

#[test]
fn encoders_copy_nothing() {
    for detector in ["resnet50_levels", "mobilenet_v2_levels", "squeezenet1_1_levels", "efficientnet_b0_levels"] {
        let counts = score("encoders", Some(detector));
        assert_eq!(counts.get("copy"), None, "{detector}: {counts:?}");
        assert_eq!(counts["map"], 1, "{detector}: only the normalisation of the image\n{counts:?}");
    }
}
