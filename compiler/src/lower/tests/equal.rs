//! Fused and unfused entries give the same values.
//!
//! In: graphs. Out: the interpreter's results of both forms, compared. Imports: the harness, `uad-plan`.

use std::collections::BTreeMap;

use uad_plan::{Binding, DType, Dim, Plan, Tensor, interp};

use super::lowered;
use crate::graph::{Graph, Op, TensorType};

type Results = BTreeMap<String, Tensor>;

/// Values in about -1 to 1 that look random; small non-negative numbers for i32.
fn values(name: &str, t: &TensorType, dims: &Binding) -> Tensor {
    let shape: Vec<usize> = t.shape.iter().map(|d| d.eval(dims).expect("a bound dim") as usize).collect();
    let seed = super::super::expr::fnv(name);
    let value = |i: u64| {
        let mut x = seed ^ (i + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let unit = ((x ^ (x >> 31)) >> 11) as f64 / (1u64 << 53) as f64;
        match t.dtype {
            DType::F32 => unit * 2.0 - 1.0,
            DType::I32 => (unit * 7.0).floor(),
            DType::Bool => f64::from(u8::from(unit > 0.4)),
        }
    };
    let count = shape.iter().product::<usize>() as u64;
    Tensor::from_f64(t.dtype, &shape, (0..count).map(value)).expect("a tensor")
}

fn run(plan: Plan<Dim>, g: &Graph, dims: &Binding) -> (Results, Results) {
    let text = plan.to_string();
    let name = plan.entries[0].name.clone();
    let plan = uad_plan::verify(plan).expect("verified before");
    let bound = uad_plan::bind(&plan, &name, dims).unwrap_or_else(|e| panic!("{e}\n{text}\n{g}"));
    let (mut inputs, mut stored) = (Results::new(), Results::new());
    for n in &g.nodes {
        match &n.op {
            Op::Input(name) => inputs.insert(name.clone(), values(name, &n.ty, dims)),
            Op::Weight(path) | Op::State(path) => stored.insert(path.clone(), values(path, &n.ty, dims)),
            _ => None,
        };
    }
    for (path, n) in &g.writes {
        stored.entry(path.clone()).or_insert_with(|| values(path, g.ty(*n), dims));
    }
    let draw = interp::Draw { seed: 7, step: 3, first_sample: 5 };
    let outputs = interp::run(&bound, &inputs, &mut stored, draw).unwrap_or_else(|e| panic!("{e}\n{text}\n{g}"));
    (outputs, stored)
}

fn compare(what: &str, left: &Results, right: &Results, text: &dyn Fn() -> String) {
    assert_eq!(left.keys().collect::<Vec<_>>(), right.keys().collect::<Vec<_>>());
    for (name, a) in left {
        let b = &right[name];
        assert_eq!(a.shape(), b.shape(), "{name}");
        for i in 0..a.len() {
            let (x, y) = (a.get(i).expect("in range"), b.get(i).expect("in range"));
            let close = x == y || (x.is_nan() && y.is_nan()) || (x - y).abs() <= 1e-5 * (1.0 + x.abs().max(y.abs()));
            assert!(close, "{what} `{name}` at {i}: {x} alone, {y} fused\n{}", text());
        }
    }
}

/// Runs a graph in both forms.
pub(super) fn check(g: &Graph, dims: &Binding) {
    let (alone, fused) = (lowered(g, false), lowered(g, true));
    let text = fused.to_string();
    let (a, b) = (run(alone, g, dims), run(fused, g, dims));
    compare("output", &a.0, &b.0, &|| format!("{text}\n{g}"));
    compare("stored", &a.1, &b.1, &|| format!("{text}\n{g}"));
}

#[test]
fn fused_and_single_operations_give_the_same() {
    for (name, g) in super::graphs() {
        eprintln!("{name}");
        let dims = g.dims.iter().map(|d| (d.clone(), if d == "n" { 8 } else { 2 })).collect();
        check(&g, &dims);
    }
}
