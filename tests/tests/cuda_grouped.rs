//! Launches together: the same bits as one by one, and fewer launches.
//!
//! In: the training step of a small UniAD with AdamW and clipping; random graphs with their gradients. Out: equal bits under
//! emulation, counts; machine code of the step for two architectures where NVRTC is found. Invariants: both programs are of one
//! bound entry. Imports: all crates.

use uad_compiler::graph::random::random;
use uad_compiler::model::Choice;
use uad_compiler::pass::{PassOptions, optimise};
use uad_kernels::cuda::emulate::{Draw, Emulation, ORDERS, Order, Tensors};
use uad_kernels::cuda::nvrtc::Nvrtc;
use uad_kernels::cuda::{Precision, Program, limits};
use uad_plan::{Binding, Bound, DType, Tensor};
use uad_tests::derived::derived;
use uad_tests::execute::{FIRST_SAMPLE, Given, SEED, STEP, bound, plan, same_bits};
use uad_tests::stages::{Learner, reserved};
use uad_tests::{cxx, root};

/// An entry one by one and together.
struct Pair {
    name: String,
    bound: Bound,
    given: Given,
    alone: Program,
    grouped: Program,
}

impl Pair {
    fn new(name: String, bound: Bound, given: Given) -> Pair {
        let fail = |e: String| -> Program { panic!("{name}: {e}") };
        let alone = Program::emit(&bound, Precision::F32).unwrap_or_else(fail);
        let grouped = Program::grouped(&bound, Precision::F32).unwrap_or_else(fail);
        limits::check(&grouped).unwrap_or_else(|e| panic!("{name}: {e}"));
        Pair { name, bound, given, alone, grouped }
    }
}

fn agree(pairs: &[Pair], orders: &[Order]) {
    let programs: Vec<&Program> = pairs.iter().flat_map(|p| [&p.alone, &p.grouped]).collect();
    let emulation = Emulation::new(cxx(), &programs).unwrap_or_else(|e| panic!("{e}"));
    let draw = Draw { seed: SEED, step: STEP, sample: FIRST_SAMPLE };
    for p in pairs {
        let run = |program, order| -> Tensors {
            let ran = emulation.run(program, &p.bound, &p.given.inputs, &p.given.stored, draw, order, 2);
            ran.unwrap_or_else(|e| panic!("{}: {e}", p.name))
        };
        let want = run(&p.alone, Order::Normal);
        for order in orders {
            assert!(same_bits(&want, &run(&p.grouped, *order)), "{}: {order:?}", p.name);
        }
    }
}

/// UniAD's step on kept features.
fn step(set: &[(&str, &str)], channels: i64) -> Pair {
    let text = std::fs::read_to_string(root().join("specs/uniad.uad")).expect("the spec");
    let mut choice = Choice { detector: Some("uniad".into()), ..Choice::default() };
    choice.set = set.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
    let shape = [2, 6, 5, channels];
    choice.feed = [("target".to_owned(), (DType::F32, shape.to_vec()))].into();
    let mut l = Learner::new("uniad", &text, &choice).unwrap_or_else(|e| panic!("{e}"));
    l.init().unwrap_or_else(|e| panic!("{e}"));
    let shape = shape.map(|d| d as usize);
    let values = (0..shape.iter().product()).map(|n: usize| (n as f64 * 0.7).sin());
    let mut inputs = reserved(1, 10, 0, 1);
    inputs.insert("target".to_owned(), Tensor::from_f64(DType::F32, &shape, values).expect("a tensor"));
    let bound = l.bound("train", &inputs).unwrap_or_else(|e| panic!("{e}"));
    let stored = bound.stored.iter().filter_map(|p| Some((p.name.clone(), l.stored.get(&p.name)?.clone()))).collect();
    Pair::new("uniad".to_owned(), bound, Given { inputs, stored })
}

#[test]
#[cfg_attr(not(cxx), ignore = "needs a C++ compiler, and Linux")]
fn a_step_with_an_optimiser() {
    // Weights of 96 x 96 elements are summed in pieces for the norm.
    let set = [("hidden", "96"), ("heads", "2"), ("layers", "1"), ("window", "3"), ("drop", "0.1")];
    let pair = step(&set, 4);
    let (alone, grouped) = (pair.alone.launches(), pair.grouped.launches());
    eprintln!("{alone} launches one by one, {grouped} together");
    assert!(grouped * 4 < alone * 3, "{alone} launches became {grouped}");
    let together =
        |stem: &str| pair.grouped.functions.iter().any(|f| f.name.starts_with(stem) && f.name.ends_with("_all"));
    assert!(["map", "rows", "pieces", "join"].iter().all(|s| together(s)), "{:?}", pair.grouped.functions);
    agree(&[pair], &ORDERS);
}

#[test]
#[cfg_attr(not(cxx), ignore = "needs a C++ compiler, and Linux")]
fn random_graphs() {
    let (mut pairs, mut fewer) = (Vec::new(), 0);
    for seed in 0..32 {
        let small = (seed % 2 == 1).then(|| random(seed, 4 + seed as usize % 12));
        let graph = small.as_ref().and_then(derived).unwrap_or_else(|| random(seed, 8 + seed as usize % 24));
        let binding = Binding::from([("b".to_owned(), 1 + seed as i64 % 4)]);
        let given = Given::random(&graph, seed, &binding).expect("values");
        let fused = seed % 3 != 0;
        let options = if fused { PassOptions::default() } else { PassOptions::none() };
        let plan = plan(&optimise(graph, &options).expect("passes"), fused).expect("a plan");
        let pair = Pair::new(format!("seed {seed}"), bound(&plan, &binding).expect("sizes"), given);
        fewer += usize::from(pair.grouped.launches() < pair.alone.launches());
        pairs.push(pair);
    }
    assert!(fewer > 4, "only {fewer} graphs have launches together");
    agree(&pairs, &[Order::Normal, Order::Shuffled]);
}

#[test]
#[cfg_attr(not(nvrtc), ignore = "needs NVRTC: pip install nvidia-cuda-nvrtc-cu12")]
fn compiles_for_devices() {
    let pair = step(&[("hidden", "96"), ("heads", "2"), ("layers", "1"), ("window", "3")], 4);
    let nvrtc = Nvrtc::find().unwrap_or_else(|e| panic!("{e}"));
    for arch in ["sm_80", "sm_90"] {
        let made = nvrtc.compile(&pair.grouped.text(), arch).unwrap_or_else(|e| panic!("{e}"));
        assert!(made.log.trim().is_empty() && made.cubin.starts_with(b"\x7fELF"), "{}", made.log);
    }
}
