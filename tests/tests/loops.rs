//! States that change inside loops, and gradients there: beside the same steps written out.
//!
//! In: detectors of this file. Out: equal states and equal values. Invariants: what a loop changes is what its rounds would have
//! changed one after another; a copy taken before a loop keeps its value. Imports: all crates.

use uad_compiler::model::Choice;
use uad_plan::{DType, Tensor};
use uad_runtime::device::executor::Draw;
use uad_tests::execute::Tensors;
use uad_tests::stages::{Learner, reserved};

const HEAD: &str = "use data.tensor
use losses.bce
use nn.{linear, batch_norm, sigmoid}
use norms.{mix, norm, square}
use optim.sgd
block count()(x: f32[...]) -> f32[...] {
  state seen: f32 = 0
  seen <- seen + 1
  x + seen
}
block judge()(x: f32[n, d]) -> f32[n] { sigmoid(x |> batch_norm() as norm |> linear(1) as outer)[:, 0] }
";

fn tensor(shape: &[usize], values: impl IntoIterator<Item = f64>) -> Tensor {
    Tensor::from_f64(DType::F32, shape, values).expect("a tensor")
}

fn learner(body: &str) -> Learner {
    let text = format!("{HEAD}detector case {{\n  input x: f32[b, 3] from tensor\n{body}}}\n");
    let mut l = Learner::whole("case", &text, &Choice::default()).unwrap_or_else(|e| panic!("{e}\n{text}"));
    l.init().unwrap_or_else(|e| panic!("init: {e}"));
    l
}

fn call() -> Tensors {
    let x = tensor(&[4, 3], (0..12).map(|i| f64::from(i * 7 % 11) / 5.0 - 1.0));
    let mut given = reserved(0, 1, 0, 1);
    given.insert("x".to_owned(), x);
    given
}

/// The largest difference.
fn apart(a: &Tensor, b: &Tensor) -> f64 {
    a.iter().zip(b.iter()).map(|(x, y)| (x - y).abs()).fold(0.0, f64::max)
}

/// The states that two texts leave, by one step of their stage.
fn same(looped: &str, written_out: &str, stage: &str) {
    let (mut a, mut b) = (learner(looped), learner(written_out));
    let names: Vec<&String> = a.stored.keys().collect();
    assert_eq!(names, b.stored.keys().collect::<Vec<_>>());
    let before = a.stored.clone();
    let mut reference = learner(looped);
    reference.reference(stage, &call(), Draw::default()).expect("the reference");
    a.computed(stage, &[call()], 2).expect("the loop");
    b.computed(stage, &[call()], 1).expect("written out");
    assert_ne!(a.stored, before, "nothing changed");
    for (path, value) in &a.stored {
        let far = apart(value, &b.stored[path]).max(apart(value, &reference.stored[path]));
        assert!(far < 1e-5, "{path} is {far} apart: {value:?} and {:?}", b.stored[path]);
    }
}

#[test]
fn a_state_of_the_stage() {
    same(
        "  state n: f32 = 0,  at: f32 = 0
  stage fit {
    let old = n
    iterate 3 {
      n <- 2 * n + 1
      iterate 2 with k = 1.0 { k <- k + n;  at <- at + k + old }
    }
    at <- at + 10 * n
    steps: 1
  }
  score { map = x * n + at }
",
        "  state n: f32 = 0,  at: f32 = 0
  stage fit {
    n <- 1
    at <- at + (1 + n)
    at <- at + (1 + n + n)
    n <- 2 * n + 1
    at <- at + (1 + n)
    at <- at + (1 + n + n)
    n <- 2 * n + 1
    at <- at + (1 + n)
    at <- at + (1 + n + n)
    at <- at + 10 * n
    steps: 1
  }
  score { map = x * n + at }
",
        "fit",
    );
}

#[test]
fn a_state_of_a_block() {
    same(
        "  let add = count()
  state sum: f32 = 0
  stage fit {
    iterate 3 with s = 0.0 { s <- s + add(0.0) * add(0.0) }
    sum <- s + add(0.0)
    steps: 1
  }
  score { map = x * sum }
",
        "  let add = count()
  state sum: f32 = 0
  stage fit {
    sum <- add(0.0) * add(0.0) + add(0.0) * add(0.0) + add(0.0) * add(0.0) + add(0.0)
    steps: 1
  }
  score { map = x * sum }
",
        "fit",
    );
}

#[test]
fn ascent_through_a_norm_of_the_batch() {
    let step = "let up@ = grad(bce(j(concat([x, g@], axis: 0))[4..], 1), wrt: g@)
    let g# = g@ + 0.1 * stop(up@) / (norm(stop(up@), axis: 1, keep: true) + 1e-10)
";
    let mut unrolled = "  let j = judge()
  let g0 = x * 1.5
"
    .to_owned();
    for k in 0..4 {
        unrolled += &format!("  {}", step.replace('@', &k.to_string()).replace('#', &(k + 1).to_string()));
    }
    let end = "
  let told = j(concat([x, last], axis: 0))
  let loss = mean(square(told - 0.2))
  stage train { minimise loss with sgd(lr: 0.5);  epochs: 1 }
  score { sample = j(x) }
";
    let looped = format!(
        "  let j = judge()
  iterate 2 with last = x * 1.5 {{
    iterate 2 with g = last {{
      let up = stop(grad(bce(j(concat([x, g], axis: 0))[4..], 1), wrt: g))
      g <- g + 0.1 * up / (norm(up, axis: 1, keep: true) + 1e-10)
    }}
    last <- g
  }}{end}"
    );
    same(&looped, &format!("{unrolled}  let last = g4{end}"), "train");
}
