//! One test per row of the tables of operations, made from the rows.
//!
//! In: [`SCALAR_OPS`], [`OPS`]. Out: every scalar row computes on the CPU what the reference computes, on its domain and
//! for every dtype its rule takes; every row's text form parses back; every primitive occurs in the graphs that
//! executors are compared on; the tables do not grow unnoticed. Imports: the compiler, `uad-plan`, `uad-kernels`.

use std::collections::BTreeMap;
use std::sync::Arc;

use uad_compiler::graph::op::OPS;
use uad_compiler::graph::random::random;
use uad_compiler::graph::{Graph, Op, Scope, TensorType, text};
use uad_kernels::cpu::{Isa, Pool};
use uad_plan::scalar::{Rule, SCALAR_OPS};
use uad_plan::{Binding, DType, Dim, ScalarOp, Tensor};
use uad_tests::execute::{Given, bound, computed, farthest, plan, reference};

/// Primitives there may be.
const PRIMITIVES: usize = 27;

/// Scalar operations there may be.
const SCALARS: usize = 32;

/// Points per row: not a whole number of vectors of any width.
const POINTS: usize = 1037;

/// How far the CPU may be from the reference, in units of f32's distance from 1 to the next number, relative to the
/// larger of 1 and the value.
fn units(op: ScalarOp) -> f64 {
    use ScalarOp as S;
    match op {
        // Rounded once.
        S::Add | S::Sub | S::Mul | S::Div | S::Sqrt | S::ToF32 => 1.0,
        // Without a fused multiply-add the product is rounded, too, and may be larger than the sum.
        S::Fma => 16.0,
        // a - b * floor(a / b).
        S::Rem => 4.0,
        // Polynomials.
        S::Exp | S::Log | S::Sin | S::Cos | S::Tanh | S::Erf => 4.0,
        // No rounding.
        S::Min | S::Max | S::Neg | S::Abs | S::Floor | S::Round | S::Select | S::ToI32 | S::ToBool => 0.0,
        S::Eq | S::Lt | S::Le | S::And | S::Or | S::Not | S::Xor | S::Shl | S::Shr => 0.0,
    }
}

/// All dtypes of arguments that a row takes.
fn signatures(op: ScalarOp) -> Vec<Vec<DType>> {
    const ALL: [DType; 3] = [DType::F32, DType::I32, DType::Bool];
    let candidates: Vec<Vec<DType>> = match op.rule() {
        Rule::Select => ALL.iter().map(|d| vec![DType::Bool, *d, *d]).collect(),
        _ => ALL.iter().map(|d| vec![*d; op.arity()]).collect(),
    };
    let taken: Vec<_> = candidates.into_iter().filter(|s| op.result(s).is_some()).collect();
    assert!(!taken.is_empty(), "`{}` takes no arguments", op.name());
    taken
}

/// Values on a row's domain: its ends, what lies between, equal arguments at times.
fn sample(op: ScalarOp, argument: usize, dtype: DType) -> Vec<f64> {
    let domain = op.domain();
    let mut state = 17 + argument as u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as f64 / f64::from(1u32 << 31)
    };
    let one = |i: usize, at: f64| {
        let at = match i {
            0 => 0.0,
            1 => 1.0,
            _ if i.is_multiple_of(13) => 0.5,
            _ => at,
        };
        let v = domain.0 + (domain.1 - domain.0) * at;
        match dtype {
            DType::F32 => f64::from(v as f32),
            DType::I32 => v.round(),
            DType::Bool => f64::from(u8::from(v > (domain.0 + domain.1) / 2.0)),
        }
    };
    (0..POINTS).map(|i| one(i, next())).collect()
}

/// A graph of one operation on inputs `0`, `1`, ….
fn single(op: ScalarOp, dtypes: &[DType]) -> Graph {
    let mut graph = Graph { name: op.name().into(), ..Graph::default() };
    let root = Scope { parent: None, label: "row".into(), place: "".into(), instance: true, kernel: None };
    let scope = graph.scope(root);
    let shape = vec![Dim::int(17), Dim::int(POINTS as i64 / 17)];
    let args: Vec<_> = dtypes
        .iter()
        .enumerate()
        .map(|(n, d)| graph.add(Op::Input(n.to_string()), &[], TensorType::new(*d, shape.clone()), scope).unwrap())
        .collect();
    let result = graph.map(op, &args, scope).unwrap();
    graph.outputs.push(("y".into(), result));
    graph
}

#[test]
fn every_scalar_row_computes_on_the_cpu_what_the_reference_computes() {
    assert!(POINTS.is_multiple_of(17));
    let pool = Arc::new(Pool::new(1));
    let mut wrong = Vec::new();
    for &op in SCALAR_OPS {
        for dtypes in signatures(op) {
            let graph = single(op, &dtypes);
            let plan = plan(&graph, true).unwrap_or_else(|e| panic!("`{}`: {e}", op.name()));
            assert_eq!(text::parse(&graph.to_string()).as_ref(), Ok(&graph), "`{}` as a graph", op.name());
            assert_eq!(uad_plan::parse(&plan.to_string()).as_ref(), Ok(&*plan), "`{}` as a plan", op.name());
            let bound = bound(&plan, &Binding::new()).unwrap_or_else(|e| panic!("`{}`: {e}", op.name()));
            let mut given = Given::default();
            for port in &bound.inputs {
                let argument = port.name.parse().unwrap();
                let tensor = Tensor::from_f64(port.dtype, &port.shape, sample(op, argument, port.dtype)).unwrap();
                given.inputs.insert(port.name.clone(), tensor);
            }
            let want = reference(&bound, &given).unwrap_or_else(|e| panic!("`{}`: {e}", op.name()));
            for isa in Isa::all() {
                let got = computed(&bound, &given, isa, &pool).unwrap_or_else(|e| panic!("`{}`: {e}", op.name()));
                let (distance, place) = farthest(&want, &got);
                if distance > units(op) * f64::from(f32::EPSILON) {
                    let units = distance / f64::from(f32::EPSILON);
                    wrong.push(format!("`{}` {dtypes:?} on {}: {place} ({units:.1} units)", op.name(), isa.name()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The reference against the table's own formula: the interpreter reads the row, and nothing else.
#[test]
fn every_scalar_row_is_its_formula() {
    for &op in SCALAR_OPS {
        for dtypes in signatures(op).into_iter().filter(|d| d[0] == DType::F32) {
            let bound = bound(&plan(&single(op, &dtypes), false).unwrap(), &Binding::new()).unwrap();
            let columns: Vec<Vec<f64>> = (0..op.arity()).map(|n| sample(op, n, DType::F32)).collect();
            let tensor = |p: &uad_plan::Port| {
                let values = columns[p.name.parse::<usize>().unwrap()].iter().copied();
                (p.name.clone(), Tensor::from_f64(p.dtype, &p.shape, values).unwrap())
            };
            let given = Given { inputs: bound.inputs.iter().map(tensor).collect(), ..Given::default() };
            let out = &reference(&bound, &given).unwrap()["y"];
            for (i, got) in out.iter().enumerate() {
                let args: Vec<f64> = columns.iter().map(|c| c[i]).collect();
                let want = op.eval(&args);
                let near = (want - got).abs() <= 1e-7 * want.abs().max(1.0);
                assert!(near, "`{}` of {args:?} is {want}, not {got}", op.name());
            }
        }
    }
}

#[test]
fn every_primitive_occurs_where_executors_are_compared() {
    let mut seen: BTreeMap<&str, usize> = OPS.iter().map(|r| (r.name, 0)).collect();
    let mut scalars: BTreeMap<&str, usize> = SCALAR_OPS.iter().map(|o| (o.name(), 0)).collect();
    // The seeds and sizes of `agreement.rs`.
    for seed in 0..240 {
        let graph = random(seed, 4 + seed as usize % 24);
        assert_eq!(text::parse(&graph.to_string()).as_ref(), Ok(&graph), "seed {seed}");
        let plan = plan(&graph, true).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        assert_eq!(uad_plan::parse(&plan.to_string()).as_ref(), Ok(&*plan), "seed {seed}");
        for node in &graph.nodes {
            *seen.entry(node.op.name()).or_default() += 1;
            if let Op::Map(op) = &node.op {
                *scalars.entry(op.name()).or_default() += 1;
            }
        }
    }
    assert_eq!(seen.len(), OPS.len(), "an operation has no row: {seen:?}");
    let rare: Vec<_> = seen.iter().chain(&scalars).filter(|(_, n)| **n < 3).collect();
    assert!(rare.is_empty(), "add these to `random::steps`, or make them less rare: {rare:?}");
}

#[test]
fn the_tables_stay_small() {
    const RULE: &str = "An operation is primitive only if it cannot be composed of others, or if composing it measures \
        at least twice as slow. Everything else is stdlib in .uad. If this row meets the rule, write the measurement \
        beside it and raise the budget here; each row costs every back end, every pass and every gradient a case.";
    assert!(OPS.len() <= PRIMITIVES, "{} primitives, the budget is {PRIMITIVES}. {RULE}", OPS.len());
    assert!(SCALAR_OPS.len() <= SCALARS, "{} scalar operations, the budget is {SCALARS}. {RULE}", SCALAR_OPS.len());
    // A budget that is not used is taken back.
    assert_eq!((OPS.len(), SCALAR_OPS.len()), (PRIMITIVES, SCALARS), "lower the budget to what there is");
}
