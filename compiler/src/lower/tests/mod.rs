//! Tests of lowering: every pattern in both forms, verified, and equal under the interpreter.
//!
//! In: graphs as text. Out: snapshots of plans, counts of kernels. Imports: lowering, the text forms, verification.

mod equal;
mod random;

use std::collections::BTreeMap;

use uad_plan::{Dim, Entry, Plan, Stored, StoredKind};

use super::{LowerOptions, lower};
use crate::graph::{Graph, Op};

/// The entry as a plan of its own.
fn plan(graph: &Graph, entry: Entry<Dim>) -> Plan<Dim> {
    let mut stored = BTreeMap::new();
    for n in &graph.nodes {
        let (path, kind) = match &n.op {
            Op::Weight(p) => (p, StoredKind::Weight),
            Op::State(p) => (p, StoredKind::State),
            _ => continue,
        };
        stored.insert(path.clone(), (kind, n.ty.clone()));
    }
    for (path, n) in &graph.writes {
        stored.entry(path.clone()).or_insert_with(|| (StoredKind::State, graph.ty(*n).clone()));
    }
    let stored = stored
        .into_iter()
        .map(|(path, (kind, t))| Stored { path, kind, dtype: t.dtype, shape: t.shape.to_vec() })
        .collect();
    Plan { name: "test".into(), stored, entries: vec![entry] }
}

fn graph(text: &str) -> Graph {
    crate::graph::text::parse(text).unwrap_or_else(|e| panic!("{e:?}\n{text}"))
}

/// The verified plan of a graph, or what the verifier says.
fn lowered(graph: &Graph, fuse: bool) -> Plan<Dim> {
    let verified = crate::graph::verify::verify(graph)
        .unwrap_or_else(|v| panic!("{}", v.iter().map(|v| v.to_string()).collect::<Vec<_>>().join("\n")));
    let entry = lower(&verified, LowerOptions { fuse }).unwrap_or_else(|e| panic!("{e}\n{graph}"));
    let plan = plan(graph, entry);
    match uad_plan::verify(plan.clone()) {
        Ok(p) => p.into_inner(),
        Err(v) => {
            let said: Vec<String> = v.iter().map(|v| v.to_string()).collect();
            panic!("{}\n{plan}\n{graph}", said.join("\n"))
        }
    }
}

/// The graphs beside this file, by name.
fn graphs() -> Vec<(String, Graph)> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lower/tests/graphs");
    let mut found: Vec<_> = std::fs::read_dir(folder)
        .expect("graphs")
        .map(|f| f.expect("a file").path())
        .map(|p| (p.file_stem().expect("a name").to_string_lossy().into_owned(), p))
        .map(|(name, p)| (name, graph(&std::fs::read_to_string(p).expect("text"))))
        .collect();
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
}

#[test]
fn every_graph_has_a_plan_of_single_operations() {
    for (_, g) in graphs() {
        lowered(&g, false);
    }
}

#[test]
fn every_graph_has_a_fused_plan() {
    for (name, g) in graphs() {
        insta::assert_snapshot!(name, lowered(&g, true).to_string());
    }
}
