//! CUDA text run on the host for random graphs and for whole steps of small detectors.
//!
//! In: seeds: some dozens, or `UAD_CUDA_SEEDS=COUNT`; specs with small settings. Out: agreement with the reference, and
//! the same bits for two orders of threads. Invariants: all kernels of a test are one translation unit. Imports: all
//! crates.

use uad_compiler::graph::random::random;
use uad_compiler::model::Choice;
use uad_compiler::pass::{PassOptions, optimise};
use uad_kernels::cuda::emulate::{Draw, Emulation, Order, Tensors};
use uad_kernels::cuda::{Precision, Program};
use uad_plan::{Binding, Bound, DType, Tensor};
use uad_tests::derived::derived;
use uad_tests::execute::{FIRST_SAMPLE, Given, SEED, STEP, bound, farthest, plan, reference, same_bits};
use uad_tests::stages::{Learner, reserved};
use uad_tests::{cxx, root};

/// Seeds of a run that nobody asked to be long.
const SEEDS: u64 = 48;

/// How far f32 may be from f64, over graphs of up to 28 steps; as for the CPU.
const ROUNDED: f64 = 5e-4;

/// An entry with its values and what the reference makes of them.
struct Job {
    name: String,
    bound: Bound,
    program: Program,
    inputs: Tensors,
    stored: Tensors,
    want: Tensors,
    tolerance: f64,
}

impl Job {
    fn new(name: String, bound: Bound, given: Given, tolerance: f64) -> Job {
        let program = Program::emit(&bound, Precision::F32).unwrap_or_else(|e| panic!("{name}: {e}"));
        let want = reference(&bound, &given).unwrap_or_else(|e| panic!("{name}: {e}"));
        Job { name, bound, program, inputs: given.inputs, stored: given.stored, want, tolerance }
    }
}

fn agree(jobs: &[Job]) {
    let emulation = Emulation::new(cxx(), &jobs.iter().map(|j| &j.program).collect::<Vec<_>>());
    let emulation = emulation.unwrap_or_else(|e| panic!("{e}"));
    let draw = Draw { seed: SEED, step: STEP, sample: FIRST_SAMPLE };
    let (mut wrong, mut worst) = (Vec::new(), 0.0f64);
    for job in jobs {
        let run = |order| emulation.run(&job.program, &job.bound, &job.inputs, &job.stored, draw, order, 1);
        match (run(Order::Normal), run(Order::Reversed)) {
            (Ok(a), Ok(b)) => {
                let (distance, place) = farthest(&job.want, &a);
                worst = worst.max(distance);
                if distance > job.tolerance {
                    wrong.push(format!("{}: {distance:.1e} off: {place}", job.name));
                } else if !same_bits(&a, &b) {
                    wrong.push(format!("{}: the order of threads changes bits", job.name));
                }
            }
            (Err(e), _) | (_, Err(e)) => wrong.push(format!("{}: {e}", job.name)),
        }
    }
    let functions: usize = jobs.iter().map(|j| j.program.functions.len()).sum();
    eprintln!("{} entries, {functions} functions; farthest by rounding to f32 {worst:.1e}", jobs.len());
    assert!(wrong.is_empty(), "{} of {} entries are wrong:\n{}", wrong.len(), jobs.len(), wrong.join("\n"));
}

#[test]
#[cfg_attr(not(cxx), ignore = "needs a C++ compiler, and Linux")]
fn random_graphs() {
    let seeds = std::env::var("UAD_CUDA_SEEDS").map_or(SEEDS, |t| t.parse().expect("a number of seeds"));
    let mut jobs = Vec::new();
    for seed in 0..seeds {
        // Every fourth is the graph of a smaller one's gradients.
        let small = (seed % 4 == 3).then(|| random(seed, 2 + seed as usize % 10));
        let graph = small.as_ref().and_then(derived).unwrap_or_else(|| random(seed, 4 + seed as usize % 24));
        let binding = Binding::from([("b".to_owned(), 1 + seed as i64 % 4)]);
        let given = Given::random(&graph, seed, &binding).expect("values");
        let fused = seed % 3 != 0;
        let options = if fused { PassOptions::default() } else { PassOptions::none() };
        let better = optimise(graph, &options).expect("passes");
        let plan = plan(&better, fused).expect("a plan");
        let bound = bound(&plan, &binding).expect("sizes");
        jobs.push(Job::new(format!("seed {seed}, fused: {fused}"), bound, given, ROUNDED));
    }
    agree(&jobs);
}

/// Values that look random, in -1 to 1.
fn noise(seed: u64, shape: &[usize]) -> Tensor {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) + 17;
    let values = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as f64 / f64::from(1u32 << 30) - 1.0
    });
    Tensor::from_f64(DType::F32, shape, values.take(shape.iter().product())).expect("a tensor")
}

/// A detector of `specs` with these settings and fed values, with its first weights.
fn learner(spec: &str, detector: &str, set: &[(&str, &str)], feed: &[(&str, Vec<i64>)]) -> Learner {
    let text = std::fs::read_to_string(root().join(format!("specs/{spec}.uad"))).expect("the spec");
    let mut choice = Choice { detector: Some(detector.into()), ..Choice::default() };
    choice.set = set.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
    choice.feed = feed.iter().map(|(n, shape)| ((*n).to_owned(), (DType::F32, shape.clone()))).collect();
    let mut l = Learner::new(spec, &text, &choice).unwrap_or_else(|e| panic!("{spec}: {e}"));
    l.init().unwrap_or_else(|e| panic!("{spec}: {e}"));
    l
}

/// An entry of a detector with inputs that look random.
fn job(l: &Learner, entry: &str, inputs: Tensors, tolerance: f64) -> Job {
    let bound = l.bound(entry, &inputs).unwrap_or_else(|e| panic!("{entry}: {e}"));
    let stored = bound.stored.iter().filter_map(|p| Some((p.name.clone(), l.stored.get(&p.name)?.clone()))).collect();
    Job::new(format!("{} {entry}", l.model.name), bound, Given { inputs, stored }, tolerance)
}

#[test]
#[cfg_attr(not(cxx), ignore = "needs a C++ compiler, and Linux")]
fn steps_of_small_detectors() {
    let tiny = [("hidden", "16"), ("heads", "2"), ("layers", "1"), ("window", "3"), ("drop", "0.1")];
    let l = learner("uniad", "uniad", &tiny, &[("target", vec![4, 6, 5, 4])]);
    let target = || ("target".to_owned(), noise(3, &[4, 6, 5, 4]));
    let mut step = reserved(1, 10, 0, 1);
    step.extend([target()]);
    let mut jobs = vec![job(&l, "train", step, 2e-4), job(&l, "score", Tensors::from([target()]), 1e-4)];
    // With an encoder: convolutions, pooling, resizing; from an image to the score.
    let set = [("size", "64"), ("hidden", "16"), ("heads", "2"), ("layers", "1"), ("window", "3")];
    let l = learner("uniad", "uniad_resnet18", &set, &[]);
    let image = Tensors::from([("image".to_owned(), noise(3, &[2, 3, 64, 64]))]);
    jobs.push(job(&l, "score", image.clone(), 1e-3));
    jobs.push(job(&l, "train.features", image, 1e-3));
    agree(&jobs);
}
