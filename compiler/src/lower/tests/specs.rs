//! Real detectors: every entry has a plan in both forms, of few kernels.
//!
//! In: the specs and the library of this repository. Out: numbers of kernels. Imports: the harness, the model.

use std::path::PathBuf;

use uad_plan::{Body, Dim, Entry};

use super::lowered;
use crate::model::{Choice, elaborate};
use crate::pass::{PassOptions, optimise};
use crate::source::{Files, Loader};

struct Folder(PathBuf);

impl Loader for Folder {
    fn load(&self, path: &str) -> Option<String> {
        let path = path.trim_end_matches(".uad");
        std::fs::read_to_string(self.0.join("stdlib").join(format!("{path}.uad"))).ok()
    }
}

fn summary(e: &Entry<Dim>) -> String {
    let mut counts = std::collections::BTreeMap::new();
    for k in &e.kernels {
        let name = match &k.body {
            Body::Map(_) => "map",
            Body::Rows { .. } => "rows",
            Body::Dot { .. } => "dot",
            Body::Attention { .. } => "attention",
            Body::Loop { .. } => "loop",
            _ => "other",
        };
        *counts.entry(name).or_insert(0) += 1;
    }
    format!("{}: {} kernels {counts:?}, {} in setup", e.name, e.kernels.len(), e.setup.len())
}

#[test]
fn specs() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    for spec in std::env::var("UAD_SPECS").unwrap_or_default().split(',').filter(|s| !s.is_empty()) {
        let (spec, detector) = spec.split_once(':').map_or((spec, None), |(s, d)| (s, Some(d.to_string())));
        let choice = Choice { detector, ..Choice::default() };
        let text = std::fs::read_to_string(root.join("specs").join(format!("{spec}.uad"))).expect("a spec");
        let mut files = Files::one(format!("{spec}.uad"), text);
        let (model, said) = elaborate(&mut files, &Folder(root.clone()), &format!("{spec}.uad"), &choice);
        for d in said.iter().take(5) {
            eprintln!("{spec}: {} {} {:?}", d.code, d.message, d.labels.first());
        }
        let Some(model) = model else { continue };
        for g in model.entries {
            let nodes = g.nodes.len();
            let start = std::time::Instant::now();
            let g = optimise(g, &PassOptions::default()).unwrap_or_else(|e| panic!("{}", e.pass.unwrap_or("?")));
            eprintln!("{spec}.{} ({:?}): {nodes} nodes, {} after passes in {:?}", g.name, choice.detector, g.nodes.len(), start.elapsed());
            let start = std::time::Instant::now();
            let plan = lowered(&g, true);
            eprintln!("{} in {:?}", summary(&plan.entries[0]), start.elapsed());
            if let Ok(dir) = std::env::var("UAD_PLANS") {
                std::fs::write(format!("{dir}/{spec}.{}.uadg", g.name), g.to_string()).expect("written");
                std::fs::write(format!("{dir}/{spec}.{}.uadp", g.name), plan.to_string()).expect("written");
            }
            lowered(&g, false);
        }
    }
}
