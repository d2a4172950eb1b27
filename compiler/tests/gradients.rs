//! Gradients against finite differences in f64, under the reference interpreter.
//!
//! In: random graphs, a graph for each primitive and for each scalar operation, made from their tables. Out: agreement,
//! or the seed and the value that differ. Invariants: values are irrational, so that no step or tie is met; a
//! direction along which two step widths disagree crosses a kink and is not compared, and few may be left out. One seed
//! can be looked at alone: `UADC_SEED=17 cargo test -p uad-compiler --test gradients`.

use std::collections::{BTreeMap, BTreeSet};

use ndarray::{ArrayD, IxDyn};
use uad_compiler::grad::{Why, gradients};
use uad_compiler::graph::op::OPS;
use uad_compiler::graph::random::{loss, random, values};
use uad_compiler::graph::{Graph, NodeId, Op, text, verify};
use uad_compiler::lower::{LowerOptions, lower};
use uad_plan::interp::{Draw, run_f64};
use uad_plan::scalar::SCALAR_OPS;
use uad_plan::{Binding, Bound, DType, Plan, ScalarOp, Stored, StoredKind, bind};

type Arrays = BTreeMap<String, ArrayD<f64>>;

/// The f32 inputs, weights and states of a graph.
fn leaves(g: &Graph) -> Vec<(String, NodeId)> {
    let mut found: BTreeMap<String, NodeId> = BTreeMap::new();
    for id in g.ids() {
        if let Op::Input(n) | Op::Weight(n) | Op::State(n) = &g.node(id).op
            && g.ty(id).dtype == DType::F32
        {
            found.entry(n.clone()).or_insert(id);
        }
    }
    found.into_iter().collect()
}

/// Values for all inputs and stored tensors.
fn given(g: &Graph, seed: u64, binding: &Binding) -> (Arrays, Arrays) {
    let (mut inputs, mut stored) = (Arrays::new(), Arrays::new());
    for node in &g.nodes {
        let (name, into) = match &node.op {
            Op::Input(n) => (n, &mut inputs),
            Op::Weight(n) | Op::State(n) => (n, &mut stored),
            _ => continue,
        };
        let shape: Vec<usize> = node.ty.shape.iter().map(|d| d.eval(binding).unwrap() as usize).collect();
        let count = shape.iter().product();
        let mut data = values(seed, name, node.ty.dtype, count);
        if node.ty.dtype == DType::F32 {
            // Off the grid, so that nothing ties and nothing lies on a step.
            let off = directions(seed ^ 0x5bd1_e995, name, count);
            data.iter_mut().zip(off).for_each(|(v, o)| *v += 0.05 * o);
        }
        into.insert(name.clone(), ArrayD::from_shape_vec(IxDyn(&shape), data).unwrap());
    }
    (inputs, stored)
}

/// Numbers between -1 and 1.
fn directions(seed: u64, name: &str, count: usize) -> Vec<f64> {
    let mut at = name.bytes().fold(seed | 1, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
    let mut next = || {
        at = at.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        ((at >> 11) as f64 / (1u64 << 53) as f64) * 2.0 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

fn bound(g: &Graph, binding: &Binding) -> Result<Bound, String> {
    let verified = verify(g).map_err(|v| v.iter().map(|v| v.to_string()).collect::<Vec<_>>().join("\n"))?;
    let entry = lower(&verified, LowerOptions { fuse: false }).map_err(|e| e.to_string())?;
    let mut stored: BTreeMap<String, Stored<_>> = BTreeMap::new();
    for node in &g.nodes {
        let (path, kind) = match &node.op {
            Op::Weight(p) => (p, StoredKind::Weight),
            Op::State(p) => (p, StoredKind::State),
            _ => continue,
        };
        let (dtype, shape) = (node.ty.dtype, node.ty.shape.to_vec());
        stored.insert(path.clone(), Stored { path: path.clone(), kind, dtype, shape });
    }
    let plan = Plan { name: "gradients".into(), stored: stored.into_values().collect(), entries: vec![entry] };
    let text = plan.to_string();
    let plan = uad_plan::verify(plan).map_err(|v| format!("{v:?}\n{text}"))?;
    bind(&plan, &g.name, binding).map_err(|e| format!("{e}\n{text}"))
}

fn computed(b: &Bound, inputs: &Arrays, stored: &Arrays) -> Result<Arrays, String> {
    let draw = Draw { seed: 3, step: 5, first_sample: 2 };
    run_f64(b, inputs, &mut stored.clone(), draw).map_err(|e| e.to_string())
}

/// The sum of gradients, each element weighed: a scalar to derive once more.
fn probe(g: &mut Graph, parts: &[NodeId]) -> NodeId {
    g.outputs = parts.iter().enumerate().map(|(n, p)| (n.to_string(), *p)).collect();
    loss(g).unwrap()
}

/// What a comparison came to.
#[derive(Debug, PartialEq)]
enum Found {
    Agrees,
    /// A kink within the step, or nothing to derive.
    Skipped,
    Differs(String),
}

/// Compares the derivatives by every leaf, in one direction each, with differences of the loss.
fn compare(mut g: Graph, seed: u64, binding: &Binding, times: usize) -> Found {
    // Differences go through `stop`.
    for node in g.nodes.iter_mut().filter(|n| n.op == Op::Stop) {
        node.op = Op::Permute((0..node.ty.shape.len()).collect());
    }
    let wrong = |g: &Graph, what: String| Found::Differs(format!("{what}\n{g}"));
    let Some(mut of) = loss(&mut g) else { return Found::Skipped };
    let leaves = leaves(&g);
    let ids: Vec<NodeId> = leaves.iter().map(|l| l.1).collect();
    if ids.is_empty() {
        return Found::Skipped;
    }
    for n in 0.. {
        let found = match gradients(&mut g, of, &ids) {
            Ok(found) => found,
            Err(e) if e.why == Why::Until => return Found::Skipped,
            Err(e) => return wrong(&g, e.to_string()),
        };
        if n + 1 < times {
            of = probe(&mut g, &found);
            continue;
        }
        g.outputs = vec![("loss".into(), of)];
        g.outputs.extend(leaves.iter().zip(&found).map(|(l, d)| (format!("d {}", l.0), *d)));
        break;
    }
    let mut plain = g.clone();
    plain.outputs.truncate(1);
    let (inputs, stored) = given(&g, seed, binding);
    let run = || -> Result<_, String> {
        let (all, plain) = (bound(&g, binding)?, bound(&plain, binding)?);
        let at = computed(&all, &inputs, &stored)?;
        let mut rows = Vec::new();
        for (name, _) in &leaves {
            let slope = at[&format!("d {name}")].clone();
            let way = directions(seed, name, slope.len());
            let along: f64 = slope.iter().zip(&way).map(|(s, w)| s * w).sum();
            let moved = |h: f64| -> Result<f64, String> {
                let (mut inputs, mut stored) = (inputs.clone(), stored.clone());
                let leaf = inputs.get_mut(name).or_else(|| stored.get_mut(name)).ok_or("no leaf")?;
                leaf.iter_mut().zip(&way).for_each(|(v, w)| *v += h * w);
                Ok(computed(&plain, &inputs, &stored)?["loss"].iter().next().copied().unwrap_or(f64::NAN))
            };
            let difference = |h: f64| Ok::<f64, String>((moved(h)? - moved(-h)?) / (2.0 * h));
            rows.push((name.clone(), along, difference(1e-5)?, difference(1e-6)?));
        }
        Ok(rows)
    };
    let rows = match run() {
        Ok(rows) => rows,
        Err(e) => return wrong(&g, e),
    };
    let mut skipped = 0;
    for (name, along, wide, narrow) in &rows {
        let scale = along.abs().max(wide.abs()).max(1.0);
        if wide.is_nan() || (wide - narrow).abs() > 1e-5 * scale {
            skipped += 1;
        } else if along.is_nan() || (along - wide).abs() > 1e-5 * scale {
            return wrong(&g, format!("by `{name}`: {along}, differences give {wide} and {narrow}"));
        }
    }
    if skipped == rows.len() { Found::Skipped } else { Found::Agrees }
}

fn seeds(count: u64) -> Vec<u64> {
    match std::env::var("UADC_SEED").ok().and_then(|s| s.parse().ok()) {
        Some(one) => vec![one],
        None => (0..count).collect(),
    }
}

fn all_agree(count: u64, size: usize, times: usize) {
    let (mut wrong, mut agree, mut seen) = (Vec::new(), 0, BTreeSet::new());
    let seeds = seeds(count);
    for seed in &seeds {
        let binding = Binding::from([("b".to_owned(), 1 + *seed as i64 % 4)]);
        let graph = random(*seed, 2 + *seed as usize % size);
        let rows: Vec<&str> = graph.nodes.iter().map(|n| n.op.name()).collect();
        match compare(graph, *seed, &binding, times) {
            Found::Agrees => {
                agree += 1;
                seen.extend(rows);
            }
            Found::Skipped => {}
            Found::Differs(what) => wrong.push((seed, what)),
        }
    }
    eprintln!("{agree} of {} agree", seeds.len());
    let lines: Vec<String> = wrong.iter().map(|(s, w)| format!("{s}: {}", w.lines().next().unwrap_or(""))).collect();
    assert!(wrong.is_empty(), "{}\n\nthe first:\n{}", lines.join("\n"), wrong[0].1);
    assert!(seeds.len() == 1 || agree * 10 >= seeds.len() * 6, "only {agree} were compared");
    let missing: Vec<&str> = OPS.iter().map(|o| o.name).filter(|n| !seen.contains(n)).collect();
    assert!(seeds.len() == 1 || missing.is_empty(), "in no graph: {missing:?}");
}

#[test]
fn nothing_passes_a_stop() {
    let text = "graph g(b) {\n%0 = input \"x\" : f32[b]\n%1 = stop %0 : f32[b]\n%2 = mul %0, %1 : f32[b]\n\
                %3 = reduce.sum %2 axes=[0] : f32\n}";
    let mut g = text::parse(text).unwrap();
    let found = gradients(&mut g, NodeId(3), &[NodeId(0)]).unwrap();
    let node = g.node(found[0]);
    assert_eq!((&node.op, node.args[1]), (&Op::Map(ScalarOp::Mul), NodeId(1)), "{g}");
}

#[test]
fn random_graphs() {
    all_agree(300, 14, 1);
}

#[test]
fn gradients_of_gradients() {
    all_agree(80, 6, 2);
}

/// Each scalar operation on f32, over its domain.
#[test]
fn scalar_operations() {
    for op in SCALAR_OPS {
        let dtypes = vec![DType::F32; op.arity()];
        let dtypes = if *op == ScalarOp::Select { vec![DType::Bool, DType::F32, DType::F32] } else { dtypes };
        if op.result(&dtypes) != Some(DType::F32) {
            continue;
        }
        let domain = op.domain();
        let (lo, hi) = if *op == ScalarOp::Select { (-4.0, 4.0) } else { (domain.0, domain.1) };
        let mut lines = vec!["graph g(b) {".to_owned()];
        let mut args = Vec::new();
        let mut n = 0;
        let mut put = |lines: &mut Vec<String>, text: String| {
            lines.push(format!("%{n} = {text}"));
            n += 1;
            n - 1
        };
        for (k, d) in dtypes.iter().enumerate() {
            let x = put(&mut lines, format!("input \"x{k}\" : {d}[b, 7]"));
            if *d != DType::F32 {
                args.push(format!("%{x}"));
                continue;
            }
            // sin maps to -1 .. 1, then to the domain.
            let s = put(&mut lines, format!("sin %{x} : f32[b, 7]"));
            let (half, middle) = ((hi - lo) / 2.0, (hi + lo) / 2.0);
            let a = put(&mut lines, format!("const {half} : f32"));
            let a = put(&mut lines, format!("expand %{a} axes=[] : f32[b, 7]"));
            let c = put(&mut lines, format!("const {middle} : f32"));
            let c = put(&mut lines, format!("expand %{c} axes=[] : f32[b, 7]"));
            let y = put(&mut lines, format!("mul %{s}, %{a} : f32[b, 7]"));
            let y = put(&mut lines, format!("add %{y}, %{c} : f32[b, 7]"));
            args.push(format!("%{y}"));
        }
        let y = put(&mut lines, format!("{} {} : f32[b, 7]", op.name(), args.join(", ")));
        lines.push(format!("output \"y\" = %{y}\n}}"));
        let graph = text::parse(&lines.join("\n")).unwrap_or_else(|e| panic!("{}: {e}", op.name()));
        let binding = Binding::from([("b".to_owned(), 3)]);
        for (seed, times) in [(1, 1), (2, 1), (3, 2)] {
            let found = compare(graph.clone(), seed, &binding, times);
            assert_eq!(found, Found::Agrees, "{} at {seed}, derived {times} times", op.name());
        }
    }
}
