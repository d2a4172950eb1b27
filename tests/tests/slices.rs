//! Batches in slices: an entry whose samples do not depend on each other, called for a part of the batch after another.
//!
//! In: detectors of this file. Out: values equal to the reference's of the whole batch. Invariants: which entries may be cut is
//! found by the compiler; the number of threads changes no bit. Imports: all crates.

use std::sync::Arc;

use uad_compiler::model::Choice;
use uad_kernels::cpu::{Isa, Pool};
use uad_plan::bind::bind_within;
use uad_plan::{Binding, DType, Dim, Plan, Tensor, Verified};
use uad_tests::execute::{Given, bound, computed, farthest, reference, same_bits};
use uad_tests::stages::Learner;

/// A convolution, attention between places, a distance to what is stored, a score and a map.
const SCORE: &str = "use data.tensor
use attention.look
use nn.{conv, linear, layer_norm, gelu}
use norms.square
detector case {
  input x: f32[b, 3, 6, 5] from tensor
  let f     = gelu(x |> conv(8) as first)
  let (h, w) = (6, 5)
  let t     = f[b c h w -> b (h w) c] |> layer_norm as norm
  let q     = (t |> linear(8) as query)[b t d -> b 1 t d]
  let seen  = look(q, t[b t d -> b 1 t d], t[b t d -> b 1 t d])
  let back  = seen.read[b 1 t d -> b t d] |> linear(8) as back
  let error = square(t - back)[b (h w) c -> b c h w]
  score {
    map    = mean(error, axis: 1)
    sample = max(map, axis: [1, 2])
  }
}
";

fn learner(text: &str) -> Learner {
    let mut l = Learner::whole("case", text, &Choice::default()).unwrap_or_else(|e| panic!("{e}\n{text}"));
    l.init().unwrap_or_else(|e| panic!("init: {e}"));
    l
}

fn plan(text: &str) -> Verified<Plan<Dim>> {
    learner(text).plan("score").expect("a plan")
}

#[test]
fn parts_of_a_batch_give_what_the_batch_gives() {
    let l = learner(SCORE);
    let plan = l.plan("score").expect("a plan");
    let binding = Binding::from([("b".to_owned(), 6)]);
    let values = (0..6 * 3 * 6 * 5).map(|i| f64::from(i * 37 % 101) / 50.0 - 1.0);
    let x = Tensor::from_f64(DType::F32, &[6, 3, 6, 5], values).expect("a tensor");
    let given = Given { inputs: [("x".to_owned(), x)].into(), stored: l.stored.clone() };
    let whole = bound(&plan, &binding).expect("it binds");
    assert_eq!(whole.slice, None, "so small a batch stays in one piece");
    let want = reference(&whole, &given).expect("the reference");
    let one = bind_within(&plan, "score", &Binding::from([("b".to_owned(), 1)]), 0).expect("it binds").arena;
    // Six would fit where four do not, and five do not make six.
    for (scratch, samples, parts) in [(0, 1, 6), (2 * one, 2, 3), (5 * one, 3, 2)] {
        let cut = bind_within(&plan, "score", &binding, scratch).expect("it binds");
        let slice = cut.slice.as_ref().expect("slices");
        assert_eq!((slice.samples, slice.parts), (samples, parts));
        assert!(slice.bound.arena < whole.arena);
        let runs = [1, 2].map(|threads| computed(&cut, &given, Isa::detect(), &Arc::new(Pool::new(threads))));
        let [a, b] = runs.map(|r| r.expect("it runs"));
        assert!(same_bits(&a, &b), "the number of threads changes bits");
        let (far, what) = farthest(&want, &a);
        assert!(far < 1e-5, "{what} differs by {far:e} in slices of {samples}");
    }
}

#[test]
fn what_depends_on_other_samples_is_not_cut() {
    let of = |body: &str| format!("use data.tensor\ndetector case {{\n  input x: f32[b, 3] from tensor\n{body}\n}}\n");
    let apart = of("  score { sample = sum(x, axis: 1) }");
    assert_eq!(plan(&apart).entries[0].samples.as_deref(), Some("b"));
    for mixing in [
        "  score { sample = sum(x - mean(x, axis: 0), axis: 1) }",
        "  score { sample = sum(x, axis: 1) / len(x) }",
        "  score { sample = sum(x, axis: 1) + cast(iota[b], f32) }",
        "  let first = x[0]\n  score { sample = sum(x * first, axis: 1) }",
        "  score { sample = max(x @ x[b d -> d b], axis: 1) }",
    ] {
        let text = of(mixing);
        match Learner::whole("case", &text, &Choice::default()) {
            Ok(l) => assert_eq!(l.plan("score").expect("a plan").entries[0].samples, None, "{mixing}"),
            Err(e) => panic!("{mixing}: {e}"),
        }
    }
}
