//! Random graphs compute the same with every pass on and off, fused and not.
//!
//! In: random graphs with values. Out: agreement under the reference interpreter, or the seed, the variant and the
//! value that differ. Invariants: the definition is the plan of single operations of the graph as it was made. One seed
//! can be looked at alone: `UADC_SEED=17 cargo test -p uad-compiler --test agreement`.

use std::collections::BTreeMap;

use uad_compiler::graph::random::{random, values};
use uad_compiler::graph::{Graph, Op, verify};
use uad_compiler::lower::{LowerOptions, lower};
use uad_compiler::pass::{PASSES, PassOptions, VerifyLevel, optimise};
use uad_plan::interp::{Draw, run};
use uad_plan::{Binding, Plan, Stored, StoredKind, Tensor, bind};

type Tensors = BTreeMap<String, Tensor>;

/// Inputs and stored tensors of a graph, with values.
fn given(graph: &Graph, seed: u64, binding: &Binding) -> (Tensors, Tensors) {
    let (mut inputs, mut stored) = (Tensors::new(), Tensors::new());
    for node in &graph.nodes {
        let (name, into) = match &node.op {
            Op::Input(name) => (name, &mut inputs),
            Op::Weight(name) | Op::State(name) => (name, &mut stored),
            _ => continue,
        };
        let shape: Vec<usize> = node.ty.shape.iter().map(|d| d.eval(binding).unwrap() as usize).collect();
        let data = values(seed, name, node.ty.dtype, shape.iter().product());
        into.insert(name.clone(), Tensor::from_f64(node.ty.dtype, &shape, data).unwrap());
    }
    (inputs, stored)
}

/// Everything that an entry gives: outputs, and stored tensors after it.
fn computed(
    graph: &Graph,
    fuse: bool,
    inputs: &Tensors,
    stored: &Tensors,
    binding: &Binding,
) -> Result<Tensors, String> {
    let lines = |v: Vec<String>| v.join("\n");
    let verified = verify(graph).map_err(|v| lines(v.iter().map(|v| v.to_string()).collect()))?;
    let entry = lower(&verified, LowerOptions { fuse }).map_err(|e| format!("lowering: {e}"))?;
    let mut all = BTreeMap::new();
    for node in &graph.nodes {
        let (path, kind) = match &node.op {
            Op::Weight(path) => (path, StoredKind::Weight),
            Op::State(path) => (path, StoredKind::State),
            _ => continue,
        };
        all.insert(path.clone(), (kind, node.ty.clone()));
    }
    for (path, id) in &graph.writes {
        all.entry(path.clone()).or_insert_with(|| (StoredKind::State, graph.ty(*id).clone()));
    }
    let of = |(path, (kind, t)): (String, (StoredKind, uad_compiler::graph::TensorType))| Stored {
        path,
        kind,
        dtype: t.dtype,
        shape: t.shape.to_vec(),
    };
    let plan = Plan { name: "random".into(), stored: all.into_iter().map(of).collect(), entries: vec![entry] };
    let text = plan.to_string();
    let plan = uad_plan::verify(plan)
        .map_err(|v| format!("plan: {}\n{text}", lines(v.iter().map(|v| v.to_string()).collect())))?;
    let bound = bind(&plan, &graph.name, binding).map_err(|e| format!("bind: {e}\n{text}"))?;
    let mut after = stored.clone();
    let draw = Draw { seed: 3, step: 5, first_sample: 2 };
    let mut out = run(&bound, inputs, &mut after, draw).map_err(|e| format!("run: {e}\n{text}"))?;
    for (path, _) in &graph.writes {
        if let Some(t) = after.get(path) {
            out.insert(format!("write {path}"), t.clone());
        }
    }
    Ok(out)
}

/// The first difference of two results.
fn difference(want: &Tensors, got: &Tensors) -> Option<String> {
    for (name, w) in want {
        let Some(g) = got.get(name) else { return Some(format!("`{name}` is missing")) };
        if w.shape() != g.shape() || w.dtype() != g.dtype() {
            return Some(format!("`{name}` has another type"));
        }
        for (i, (a, b)) in w.iter().zip(g.iter()).enumerate() {
            let same = a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= 2e-5 * a.abs().max(1.0);
            if !same {
                return Some(format!("`{name}`[{i}] is {b}, not {a}"));
            }
        }
    }
    None
}

fn seeds(count: u64) -> Vec<u64> {
    match std::env::var("UADC_SEED").ok().and_then(|s| s.parse().ok()) {
        Some(one) => vec![one],
        None => (0..count).collect(),
    }
}

/// Compares one variant of a graph with its definition; says what differs.
fn compare(seed: u64, name: &str, options: &PassOptions, fuse: bool) -> Option<String> {
    let graph = random(seed, 4 + seed as usize % 24);
    let binding = Binding::from([("b".to_owned(), 1 + seed as i64 % 4)]);
    let (inputs, stored) = given(&graph, seed, &binding);
    let want = match computed(&graph, false, &inputs, &stored, &binding) {
        Ok(want) => want,
        Err(e) => return Some(format!("seed {seed}, as it was made: {e}\n{graph}")),
    };
    let better = match optimise(graph.clone(), options) {
        Ok(better) => better,
        Err(e) => return Some(format!("seed {seed}, {name}: {e}")),
    };
    let wrong = match computed(&better, fuse, &inputs, &stored, &binding) {
        Ok(got) => difference(&want, &got),
        Err(e) => Some(e),
    };
    wrong.map(|w| format!("seed {seed}, {name}: {w}\nbefore:\n{graph}after:\n{better}"))
}

fn none(found: Vec<String>) {
    let seeds: Vec<&str> = found.iter().map(|f| f.lines().next().unwrap_or_default()).collect();
    if let Some(first) = found.first() {
        panic!("{}\n\nthe first:\n{first}", seeds.join("\n"));
    }
}

fn each() -> PassOptions {
    PassOptions { verify: VerifyLevel::Each, ..PassOptions::default() }
}

#[test]
fn each_pass_alone_keeps_every_value() {
    let mut found = Vec::new();
    for pass in PASSES {
        let mut options = each();
        options.off = PASSES.iter().map(|p| p.name.to_owned()).filter(|n| n != pass.name).collect();
        found.extend(seeds(40).into_iter().filter_map(|seed| compare(seed, pass.name, &options, false)));
    }
    none(found);
}

#[test]
fn all_passes_together_keep_every_value() {
    none(seeds(150).into_iter().filter_map(|seed| compare(seed, "all passes", &each(), false)).collect());
}

#[test]
fn fusion_keeps_every_value() {
    none(seeds(100).into_iter().filter_map(|seed| compare(seed, "fused", &PassOptions::none(), true)).collect());
}

#[test]
fn passes_and_fusion_keep_every_value() {
    none(seeds(100).into_iter().filter_map(|seed| compare(seed, "all, fused", &each(), true)).collect());
}
