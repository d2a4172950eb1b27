//! What UniAD, each encoder and each block of the library compile to.
//!
//! In: every detector of `specs/` and `tests/cases/blocks/`. Out: one snapshot each: the typed model, the optimised
//! graph of `score`, its kernels. What is long is told by its numbers and a digest. Invariants: no snapshot exceeds
//! [`LARGEST`]; every block of the library is in a detector here. Imports: the compiler, `uad-plan`.
//!
//! Accept with `cargo insta review`, or all with `INSTA_UPDATE=always cargo test -p uad-tests --test snapshots`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;

use sha2::{Digest, Sha256};
use uad_compiler::compile::{CompileOptions, compile};
use uad_compiler::graph::Graph;
use uad_compiler::model::{Choice, Model, elaborate};
use uad_compiler::pass::optimise;
use uad_compiler::source::{Files, LIBRARY, LibraryOnly};
use uad_grammar::ast::ItemKind;
use uad_plan::{Body, Dim, Kernel, Stored};
use uad_tests::{files, root};

/// Bytes that a person still reads.
const LARGEST: usize = 20 * 1024;

/// A part of a snapshot that is longer is told by its numbers.
const LARGEST_PART: usize = 6 * 1024;

fn digest(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().take(8).map(|b| format!("{b:02x}")).collect()
}

fn names_of_detectors(text: &str) -> Vec<String> {
    let items = uad_grammar::parse(text).0.items;
    let name = |kind: &ItemKind| match kind {
        ItemKind::Detector { name, .. } | ItemKind::Variant { name, .. } => Some(name.text.clone()),
        _ => None,
    };
    items.iter().filter_map(|i| name(&i.kind)).collect()
}

fn model(path: &str, text: &str, detector: &str) -> Model {
    let choice = Choice { detector: Some(detector.into()), ..Choice::default() };
    let (model, said) = elaborate(&mut Files::one(path, text), &LibraryOnly, path, &choice);
    let said: Vec<String> = said.iter().map(|d| format!("{}: {}", d.code, d.message)).collect();
    model.unwrap_or_else(|| panic!("{path}: {detector}: {}", said.join("\n")))
}

/// Numbers of things by name: `conv 3, map 20`.
fn counted<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    names.for_each(|n| *counts.entry(n).or_default() += 1);
    counts.iter().map(|(n, c)| format!("{n} {c}")).collect::<Vec<_>>().join(", ")
}

/// The model: whole, or what is stored per instance at the second level.
fn typed(model: &Model) -> String {
    let whole = model.to_string();
    if whole.len() <= LARGEST_PART {
        return whole;
    }
    let mut text = String::new();
    for input in &model.inputs {
        let _ = writeln!(text, "input {}: {} from {}", input.name, input.ty, input.source);
    }
    let mut parts: BTreeMap<String, (usize, i64)> = BTreeMap::new();
    for stored in &model.stored {
        let part = stored.path.split('.').take(2).collect::<Vec<_>>().join(".");
        let numbers: i64 = stored.ty.shape.iter().map(|d| d.as_int().unwrap_or(0)).product();
        let sum = parts.entry(part).or_default();
        *sum = (sum.0 + 1, sum.1 + numbers);
    }
    for (part, (tensors, numbers)) in parts {
        let _ = writeln!(text, "{part}: {tensors} tensors, {numbers} numbers");
    }
    let _ = writeln!(text, "digest {}", digest(&whole));
    text
}

/// The graph: whole, or its nodes by operation.
fn optimised(graph: &Graph) -> String {
    let whole = graph.to_string();
    if whole.len() <= LARGEST_PART {
        return whole;
    }
    let ops = counted(graph.nodes.iter().map(|n| n.op.name()));
    format!("{} nodes: {ops}\ndigest {}\n", graph.nodes.len(), digest(&whole))
}

/// Template, axes with the roles of a contraction, and the end of the scope.
fn line(kernel: &Kernel<Dim>) -> String {
    let role = |n: usize| match &kernel.body {
        Body::Dot { roles, .. } => roles.get(n).map_or(String::new(), |r| format!("{} ", r.name())),
        Body::Attention { roles, .. } => roles.get(n).map_or(String::new(), |r| format!("{} ", r.name())),
        _ => String::new(),
    };
    let axes: Vec<String> = kernel.axes.iter().enumerate().map(|(n, d)| format!("{}{d}", role(n))).collect();
    format!("{:<11} [{}] {}", kernel.body.name(), axes.join(", "), kernel.scope).trim_end().to_owned()
}

/// The kernels: one line each, equal lines that follow one another once; numbers where that is long.
fn kernels(title: &str, kernels: &[Kernel<Dim>]) -> String {
    let mut text = format!("{title}: {} kernels: {}\n", kernels.len(), counted(kernels.iter().map(|k| k.body.name())));
    let lines: Vec<String> = kernels.iter().map(line).collect();
    let bytes: usize = lines.iter().map(|l| l.len() + 1).sum();
    if bytes <= LARGEST_PART {
        lines.iter().for_each(|l| {
            let _ = writeln!(text, "  {l}");
        });
    } else {
        // The shapes of contractions are what a plan stands for.
        let mut shapes: BTreeMap<&str, usize> = BTreeMap::new();
        for l in lines.iter().filter_map(|l| l.split_once(']')) {
            *shapes.entry(l.0).or_default() += 1;
        }
        let many = shapes.len();
        for (shape, n) in shapes.into_iter().take(80) {
            let _ = writeln!(text, "  {n} x {shape}]");
        }
        if many > 80 {
            let _ = writeln!(text, "  and {} more shapes", many - 80);
        }
        let _ = writeln!(text, "  digest {}", digest(&lines.join("\n")));
    }
    text
}

/// One detector, told.
fn told(model: &Model) -> String {
    let options = CompileOptions::default();
    let Some(score) = model.entry("score") else { panic!("`{}` has no score", model.name) };
    let graph = optimise(score.clone(), &options.passes).unwrap_or_else(|e| panic!("{}: {e}", model.name));
    let stored: Vec<Stored<Dim>> = model
        .stored
        .iter()
        .map(|s| Stored { path: s.path.clone(), kind: s.kind, dtype: s.ty.dtype, shape: s.ty.shape.to_vec() })
        .collect();
    let plan = compile(&model.name, &stored, std::slice::from_ref(score), &options);
    let plan = plan.unwrap_or_else(|e| panic!("{}: {e}", model.name));
    let entry = &plan.entries[0];
    let mut text = format!("## model\n\n{}\n## graph\n\n{}\n## plan\n\n", typed(model), optimised(&graph));
    text.push_str(&kernels("setup", &entry.setup));
    text.push_str(&kernels("score", &entry.kernels));
    assert!(text.len() <= LARGEST, "`{}` takes {} bytes; make it smaller", model.name, text.len());
    text
}

fn snapshots(folder: &str, file: &str) {
    let path = root().join(folder).join(file);
    let text = std::fs::read_to_string(&path).unwrap();
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.set_snapshot_path(Path::new("snapshots").join(file.trim_end_matches(".uad")));
    settings.bind(|| {
        for detector in names_of_detectors(&text) {
            insta::assert_snapshot!(detector.clone(), told(&model(file, &text, &detector)));
        }
    });
}

#[test]
fn uniad_and_its_variants() {
    snapshots("specs", "uniad.uad");
}

#[test]
fn whole_encoders() {
    snapshots("specs", "encoders.uad");
}

#[test]
fn blocks_of_encoders() {
    snapshots("tests/cases/blocks", "encoders.uad");
}

#[test]
fn blocks_of_attention() {
    snapshots("tests/cases/blocks", "attention.uad");
}

#[test]
fn blocks_of_nn() {
    snapshots("tests/cases/blocks", "nn.uad");
}

#[test]
fn blocks_of_students() {
    snapshots("tests/cases/blocks", "students.uad");
}

#[test]
fn blocks_of_noise() {
    snapshots("tests/cases/blocks", "noise.uad");
}

#[test]
fn blocks_of_transport() {
    snapshots("tests/cases/blocks", "transport.uad");
}

#[test]
fn every_block_of_the_library_has_a_snapshot() {
    let words = |text: &str| -> BTreeSet<String> {
        text.split(|c: char| !c.is_alphanumeric() && c != '_').map(str::to_owned).collect()
    };
    let mut used = BTreeSet::new();
    for path in files("uad") {
        let name = path.strip_prefix(root()).unwrap_or(&path).display().to_string();
        if name.starts_with("specs/") || name.starts_with("tests/cases/blocks/") {
            used.extend(words(&std::fs::read_to_string(&path).unwrap()));
        }
    }
    let mut missing = Vec::new();
    for (module, text) in LIBRARY {
        for item in uad_grammar::parse(text).0.items {
            if let ItemKind::Block(f) = &item.kind
                && !used.contains(&f.name.text)
            {
                missing.push(format!("{module}.{}", f.name.text));
            }
        }
    }
    assert!(missing.is_empty(), "add a detector to tests/cases/blocks for: {}", missing.join(", "));
}
