//! Optimal transport whose costs are not stored: equal to the stored one, and at full size in bounded memory.
//!
//! In: PRADOT's prototypes. Out: agreement; bytes. Invariants: 50,176 rows and 12,544 columns (629 million costs, 2.5 GB) take
//! less than 2 GB in all. Imports: all crates.

use std::sync::Arc;

use uad_compiler::model::Choice;
use uad_kernels::cpu::{Isa, Pool};
use uad_plan::{DType, Tensor};
use uad_runtime::device::Device;
use uad_runtime::device::executor::{Draw, Executor};
use uad_tests::execute::{Kept, Tensors};
use uad_tests::stages::Learner;

const SPEC: &str = "use data.tensor
use maps.grid
use norms.{distance, mix}
use specs.pradot.{homes, received}
detector case {
  param h: int = 28,  w: int = 28,  c: int = 512,  copies: int = 16,  iters: int = 1,  stored: bool = false
  input feature: f32[b, c, h, w] from tensor
  state proto: f32[copies*h*w, c] = uniform(0, 1)
  state spent: f32 = 0
  let apart = distance(grid(h, w), homes(h, w, copies))
  let place = apart / max(apart)
  let (got, cost) = received(feature[b c h w -> b (h w) c], proto, place, 0.3, 0.01, iters, stored)
  stage fit {
    proto <- mix(got, proto, 0.95)
    spent <- cost
  }
  score { map = sum(feature, axis: 1) * spent * mean(proto) }
}
";

fn learner(set: &[(&str, &str)]) -> Learner {
    let set = set.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
    let choice = Choice { set, ..Choice::default() };
    let mut l = Learner::new("case", SPEC, &choice).unwrap_or_else(|e| panic!("{e}"));
    l.init().unwrap_or_else(|e| panic!("init: {e}"));
    l
}

/// Values that look random, in 0 to 1.
fn features(shape: &[usize]) -> Tensors {
    let value = |i: usize| ((i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as f32 / (1 << 24) as f32;
    let values = (0..shape.iter().product()).map(value).collect();
    Tensors::from([("feature".to_owned(), Tensor::f32(shape, values).expect("a tensor"))])
}

/// The largest difference.
fn apart(a: &Tensor, b: &Tensor) -> f64 {
    a.iter().zip(b.iter()).map(|(x, y)| (x - y).abs()).fold(0.0, f64::max)
}

#[test]
fn costs_made_again_give_what_stored_costs_give() {
    let small = [("h", "5"), ("w", "4"), ("c", "12"), ("copies", "3"), ("iters", "30")];
    let given = features(&[3, 12, 5, 4]);
    let (mut stored, mut streamed) = (learner(&[&small[..], &[("stored", "true")]].concat()), learner(&small));
    stored.computed("fit", std::slice::from_ref(&given), 2).expect("stored");
    streamed.computed("fit", &[given], 2).expect("streamed");
    for path in ["proto", "spent"] {
        let far = apart(&stored.stored[path], &streamed.stored[path]);
        assert!(far < 1e-5, "{path}: {far}");
    }
}

#[test]
fn full_size_fits_into_two_gigabytes() {
    // The memory of a call is known before it: nothing is allocated while it runs.
    let full = Learner::new("case", SPEC, &Choice::default()).unwrap_or_else(|e| panic!("{e}"));
    let plan = full.plan("fit").expect("a plan");
    let binding = [("b".to_owned(), 64)].into_iter().collect();
    let bound = uad_plan::bind(&plan, "fit", &binding).expect("it binds");
    let ports = bound.inputs.iter().chain(&bound.outputs).map(|p| bound.buffer_bytes(p.buffer.0 as usize));
    let all = ports.chain([bound.arena, bound.persistent]).fold(0, usize::saturating_add);
    println!("{} MB for 50,176 x 12,544", all >> 20);
    assert!(all < 2 << 30, "{all} bytes");
}

/// The high-water mark of this process, in bytes.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
    line.and_then(|l| l.split_whitespace().next()?.parse::<usize>().ok()).map_or(0, |kb| kb << 10)
}

#[test]
#[ignore = "a minute or more: run it by its name"]
fn full_size_runs_in_two_gigabytes() {
    let mut l = Learner::new("case", SPEC, &Choice::default()).unwrap_or_else(|e| panic!("{e}"));
    let p = 16 * 28 * 28;
    let numbers = (0..p * 512).map(|i| (i * 7919 % 1009) as f32 / 1009.0).collect();
    l.stored.insert("proto".to_owned(), Tensor::f32(&[p, 512], numbers).expect("a tensor"));
    l.stored.insert("spent".to_owned(), Tensor::from_f64(DType::F32, &[], [0.0]).expect("a tensor"));
    let given = features(&[64, 512, 28, 28]);
    let bound = l.bound("fit", &given).expect("it binds");
    let pool = Arc::new(Pool::new(2));
    let begin = std::time::Instant::now();
    let device = Device::Cpu { pool, isa: Isa::detect() };
    let mut executor = Executor::new(bound, Arc::new(Kept::new(&l.stored)), &device).expect("an executor");
    executor.set_input("feature", &given["feature"]).expect("an input");
    executor.run(Draw::default()).expect("a run");
    println!("one round: {:.1} s, peak {} MB", begin.elapsed().as_secs_f64(), peak() >> 20);
    assert!(peak() < 2 << 30, "{} bytes", peak());
}
