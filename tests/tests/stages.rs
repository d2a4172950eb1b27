//! Stages: optimisers against PyTorch, rules against their definitions, whole detectors learned by hand.
//!
//! In: `tests/oracles/*.json`, made by the scripts beside them; detectors of this file and of `specs`. Out: agreement of the
//! reference and the CPU with what they must be. Invariants: the number of threads changes no bit. Imports: all crates.

use serde_json::Value;
use uad_compiler::model::Choice;
use uad_plan::{DType, Tensor};
use uad_runtime::device::executor::Draw;
use uad_tests::execute::{Tensors, farthest, same_bits};
use uad_tests::root;
use uad_tests::stages::{Learner, reserved};

fn tensor(shape: &[usize], values: impl IntoIterator<Item = f64>) -> Tensor {
    Tensor::from_f64(DType::F32, shape, values).expect("a tensor")
}

/// Values that look random, in -1 to 1.
fn noise(seed: u64, shape: &[usize]) -> Tensor {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) + 17;
    let values = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as f64 / f64::from(1u32 << 30) - 1.0
    });
    tensor(shape, values.take(shape.iter().product()))
}

/// Numbers of nested lists, with the lengths of the lists.
fn numbers(v: &Value) -> Tensor {
    fn walk(v: &Value, depth: usize, shape: &mut Vec<usize>, out: &mut Vec<f64>) {
        match v {
            Value::Array(l) => {
                if shape.len() == depth {
                    shape.push(l.len());
                }
                l.iter().for_each(|v| walk(v, depth + 1, shape, out));
            }
            v => out.push(v.as_f64().expect("a number")),
        }
    }
    let (mut shape, mut out) = (Vec::new(), Vec::new());
    walk(v, 0, &mut shape, &mut out);
    tensor(&shape, out)
}

fn learner(text: &str, choice: &Choice) -> Learner {
    let mut l = Learner::new("case", text, choice).unwrap_or_else(|e| panic!("{e}\n{text}"));
    l.init().unwrap_or_else(|e| panic!("init: {e}"));
    l
}

fn whole(text: &str, choice: &Choice) -> Learner {
    let mut l = Learner::whole("case", text, choice).unwrap_or_else(|e| panic!("{e}\n{text}"));
    l.init().unwrap_or_else(|e| panic!("init: {e}"));
    l
}

#[test]
fn optimisers_and_schedules_equal_pytorch() {
    let text = std::fs::read_to_string(root().join("tests/oracles/optim.json")).expect("the oracle");
    let oracle: Value = serde_json::from_str(&text).expect("JSON");
    let (steps, epoch) =
        (oracle["steps"].as_u64().expect("steps") as usize, oracle["epoch"].as_u64().unwrap() as usize);
    for case in oracle["cases"].as_array().expect("cases") {
        let (name, stage) = (case["name"].as_str().expect("a name"), case["stage"].as_str().expect("a stage"));
        let spec = format!(
            "use data.tensor
use nn.linear
use norms.square
use optim.{{sgd, adam, adamw, step, cosine, warm_up, linear_decay, clip_value, ema}}
detector case {{
  input x: f32[b, 3] from tensor
  input y: f32[b, 4] from tensor
  let guess = tanh(x |> linear(4) as fit)
  let loss = mean(square(guess - y))
  stage train {{ minimise loss {stage} }}
  score {{ sample = sum(square(guess), axis: 1) }}
}}
"
        );
        let calls: Vec<Tensors> = (0..steps)
            .map(|s| {
                let mut inputs = reserved(s, steps, s / epoch, steps / epoch);
                inputs.insert("x".into(), numbers(&oracle["x"]));
                inputs.insert("y".into(), numbers(&oracle["y"]));
                inputs
            })
            .collect();
        let losses = numbers(&case["losses"]);
        let mut l = learner(&spec, &Choice::default());
        l.stored.insert("fit.w".into(), numbers(&oracle["w"]));
        l.stored.insert("fit.b".into(), numbers(&oracle["b"]));
        let finish = l.model.entry("train.finish").is_some().then(Tensors::new);
        let same = |got: &mut dyn Iterator<Item = f64>, want: &Tensor, allowed: f64, what: &str| {
            let off = got.zip(want.iter()).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(off <= allowed, "{name}: {what} differs by {off:e}");
        };

        // In f64, as PyTorch was asked to compute: the same method.
        let all = calls.iter().map(|c| ("train", c)).chain(finish.as_ref().map(|none| ("train.finish", none)));
        let (outs, stored) = l.exact(&all.collect::<Vec<_>>()).expect(name);
        same(&mut outs[..steps].iter().map(|o| o["loss"].sum()), &losses, 1e-6, "a loss in f64");
        for (path, key) in [("fit.w", "w"), ("fit.b", "b")] {
            same(&mut stored[path].iter().copied(), &numbers(&case[key]), 1e-6, path);
        }

        // In f32: as near to that as PyTorch's own f32, whose distance the oracle holds, or nearer than 1e-6.
        let allowed = f64::max(1e-6, 2.0 * case["f32"].as_f64().expect("a number"));
        let outs = l.computed("train", &calls, 2).expect(name);
        if finish.is_some() {
            l.computed("train.finish", &[Tensors::new()], 1).expect(name);
        }
        same(&mut outs.iter().map(|o| o["loss"].get(0).expect("a loss")), &losses, allowed, "a loss in f32");
        for (path, key) in [("fit.w", "w"), ("fit.b", "b")] {
            same(&mut l.stored[path].iter(), &numbers(&case[key]), allowed, path);
        }
    }
}

/// UniAD's reconstruction part, small.
fn tiny_uniad() -> (String, Choice) {
    let text =
        std::fs::read_to_string(root().join("specs/uniad.uad")).expect("the spec").replace("lr: 1e-4", "lr: 3e-3");
    let set = [("hidden", "16"), ("heads", "2"), ("layers", "1"), ("window", "3"), ("drop", "0.1")];
    let mut choice = Choice { detector: Some("uniad".into()), ..Choice::default() };
    choice.set = set.map(|(k, v)| (k.into(), v.into())).to_vec();
    choice.feed.insert("target".into(), (DType::F32, vec![4, 6, 5, 4]));
    (text, choice)
}

fn uniad_calls(steps: usize) -> Vec<Tensors> {
    let call = |s: usize| {
        let mut inputs = reserved(s, steps, 0, 1);
        inputs.insert("target".into(), noise(3, &[4, 6, 5, 4]));
        inputs
    };
    (0..steps).map(call).collect()
}

#[test]
fn training_makes_the_loss_fall() {
    let (text, choice) = tiny_uniad();
    let mut runs = Vec::new();
    for threads in [1, 2] {
        let mut l = learner(&text, &choice);
        let outs = l.computed("train", &uniad_calls(60), threads).expect("steps");
        let losses: Vec<f64> = outs.iter().map(|o| o["loss"].get(0).expect("a loss")).collect();
        let (first, last) = (losses[0], losses[50..].iter().sum::<f64>() / 10.0);
        assert!(last < 0.8 * first, "{first} to {last}: {losses:?}");
        runs.push(l.stored);
    }
    assert!(same_bits(&runs[0], &runs[1]), "the number of threads changes bits");
}

#[test]
fn a_step_is_the_same_on_the_reference() {
    let (text, choice) = tiny_uniad();
    let (mut a, mut b) = (learner(&text, &choice), learner(&text, &choice));
    let calls = uniad_calls(3);
    for (s, call) in calls.iter().enumerate() {
        a.reference("train", call, Draw { seed: 1, step: s as u64, sample: 0 }).expect("a step");
    }
    b.computed("train", &calls, 2).expect("steps");
    // Adam divides by the square root of squares: what is noise in a gradient of nothing is a whole step.
    let (far, at) = farthest(&a.stored, &b.stored);
    assert!(far < 1e-3, "{at}");
}

#[test]
fn rounds_that_are_run_again_keep_less() {
    let text = "use data.tensor
use norms.square
use optim.sgd
detector case {
  input x: f32[b, 64] from tensor
  weight w: f32[64] = normal(0, 0.1)
  iterate j in 0..103 with y = x { y <- y + 0.02 * tanh(y * w + 0.01 * cast(j, f32)) }
  let loss = mean(square(y)) + 0.1 * mean(square(w))
  stage train {
    minimise loss with sgd(lr: 0.1)
    batch: 16,  rematerialise: REMATERIALISE
  }
  score { sample = sum(square(y), axis: 1) }
}
";
    let calls: Vec<Tensors> = (0..3)
        .map(|s| {
            let mut inputs = reserved(s, 3, 0, 1);
            inputs.insert("x".into(), noise(s as u64, &[16, 64]));
            inputs
        })
        .collect();
    let mut runs = Vec::new();
    for on in ["false", "true"] {
        let mut l = learner(&text.replace("REMATERIALISE", on), &Choice::default());
        let arena = l.bound("train", &calls[0]).expect("a step").arena;
        let reference: Vec<Tensors> =
            calls.iter().map(|c| l.reference("train", c, Draw::default()).expect("a step")).collect();
        let weights = l.stored.clone();
        l.init().expect("init");
        let outs = l.computed("train", &calls, 2).expect("steps");
        let (far, at) = farthest(&l.stored, &weights);
        assert!(far < 1e-5 && reference[2]["loss"] != outs[0]["loss"], "{at}");
        runs.push((arena, l.stored));
    }
    let (far, at) = farthest(&runs[0].1, &runs[1].1);
    assert!(far < 1e-6, "{at}");
    assert!(runs[1].0 * 3 < runs[0].0, "{} to {} bytes", runs[0].0, runs[1].0);
}

/// Three batches of two.
fn batches(of: &Tensor) -> Vec<Tensors> {
    let (shape, values) = (of.shape().to_vec(), of.iter().collect::<Vec<_>>());
    let each = values.len() / shape[0];
    let batch = |n: usize| {
        let part = values[2 * n * each..2 * (n + 1) * each].iter().copied();
        let mut shape = shape.clone();
        shape[0] = 2;
        Tensors::from([("x".to_owned(), tensor(&shape, part))])
    };
    (0..shape[0] / 2).map(batch).collect()
}

/// What `all` collects, joined along the first axis.
fn joined(outs: &[Tensors], name: &str) -> Tensor {
    let mut shape = outs[0][name].shape().to_vec();
    shape[0] = outs.iter().map(|o| o[name].shape()[0]).sum();
    tensor(&shape, outs.iter().flat_map(|o| o[name].iter().collect::<Vec<_>>()))
}

/// Inputs of a step with what its features give.
fn with_features(l: &mut Learner, stage: &str, calls: &[Tensors]) -> Vec<Tensors> {
    let info = l.model.stages.iter().find(|s| s.name == stage).expect("a stage").clone();
    let mut calls = calls.to_vec();
    if let Some(features) = &info.features {
        let given = l.computed(features, &calls, 2).unwrap_or_else(|e| panic!("{features}: {e}"));
        calls.iter_mut().zip(given).for_each(|(c, f)| c.extend(f));
    }
    calls
}

/// A stage by rules over batches: step by step, then what is done at the end.
fn pass(l: &mut Learner, stage: &str, calls: &[Tensors]) {
    let info = l.model.stages.iter().find(|s| s.name == stage).expect("a stage").clone();
    let calls = with_features(l, stage, calls);
    let outs = l.computed(stage, &calls, 2).unwrap_or_else(|e| panic!("{stage}: {e}"));
    if let Some(finish) = &info.finish {
        let all = info.collects.iter().map(|n| (n.clone(), joined(&outs, n))).collect();
        l.computed(finish, &[all], 2).unwrap_or_else(|e| panic!("{finish}: {e}"));
    }
}

#[test]
fn rules_over_a_pass() {
    let mut l = learner(
        "use data.tensor
use memory.more_moments
use norms.{quantile, covariance, mix, unit_rows}
detector case {
  input x: f32[b, 3, 2] from tensor
  let flat: f32[b, t, d] = x
  state batches: f32 = 0,  low: f32 = 0,  high: f32 = 0,  middle: f32 = 0,  centre: f32[3, 2] = zeros
  state cov: f32[2, 2] = zeros
  state bank: list f32[N, _, _]
  state rows: f32[n, d]
  state count: f32 = 0,  mean1: f32[t, d] = zeros,  spread: f32[t, d, d] = zeros
  stage look {
    batches <- batches + 1
    low     <- min(all(x))
    high    <- max(all(x))
    middle  <- quantile(all(x)[N t d -> (N t d)], at: 0.5)
    centre  <- mean(all(x), axis: 0)
    cov     <- covariance(all(x)[N t d -> (N t) d])
    bank    <- all([x, 2 * x])
    rows    <- all(x)[N t d -> (N t) d]
  }
  stage stream {
    let (n, m, s) = more_moments(count, mean1, spread, flat)
    count  <- n
    mean1  <- m
    spread <- s
  }
  // every row in turn pulls the nearest centre: several may pull one
  state own: f32[3, 2] = zeros
  stage start { own <- x[0]; steps: 1 }
  stage align {
    let here = flat[1]
    let near = argmax(unit_rows(here) @ unit_rows(own)[k d -> d k], axis: 1)
    iterate j in 0..3 with c = own { c[near[j]] <- mix(c[near[j]], here[j], 0.1) }
    own <- c
  }
  score {
    sample = sum(sum(x * centre, axis: [1, 2]) + low + high + middle + batches + sum(cov) + sum(mean1) + sum(spread) + count
      + sum(rows) + sum(mean(bank[1], axis: 0)) + sum(own), axis: 0, keep: true)
  }
}
"
        .replace("sum(sum(x", "(sum(x")
        .replace(" + sum(own), axis: 0, keep: true)", " + sum(own))")
        .as_str(),
        &Choice::default(),
    );
    let x = noise(5, &[6, 3, 2]);
    let values: Vec<f64> = x.iter().collect();
    let calls = batches(&x);
    for stage in ["look", "stream", "start", "align"] {
        pass(&mut l, stage, &calls);
    }
    let close = |path: &str, want: &[f64]| {
        let got: Vec<f64> = l.stored[path].iter().collect();
        assert_eq!(got.len(), want.len(), "{path}");
        for (a, b) in got.iter().zip(want) {
            assert!((a - b).abs() < 1e-5, "`{path}` is {got:?}, not {want:?}");
        }
    };
    let mut sorted = values.clone();
    sorted.sort_by(f64::total_cmp);
    close("batches", &[3.0]);
    close("low", &sorted[..1]);
    close("high", &sorted[35..]);
    close("middle", &[(sorted[17] + sorted[18]) / 2.0]);
    close("bank.0", &values);
    close("bank.1", &values.iter().map(|v| 2.0 * v).collect::<Vec<_>>());
    assert_eq!(l.stored["bank.1"].shape(), [6, 3, 2]);
    close("rows", &values);
    assert_eq!(l.stored["rows"].shape(), [18, 2]);
    let mean = |of: &dyn Fn(usize) -> f64, n: usize| (0..n).map(of).sum::<f64>() / n as f64;
    let centre: Vec<f64> = (0..6).map(|k| mean(&|i| values[6 * i + k], 6)).collect();
    close("centre", &centre);
    close("mean1", &centre);
    close("count", &[6.0]);
    let spread = |t: usize, i: usize, j: usize| {
        let off = |n: usize, k: usize| values[6 * n + 2 * t + k] - centre[2 * t + k];
        (0..6).map(|n| off(n, i) * off(n, j)).sum::<f64>()
    };
    let all = [(0, 0), (0, 1), (1, 0), (1, 1)];
    close("spread", &(0..3).flat_map(|t| all.map(|(i, j)| spread(t, i, j))).collect::<Vec<_>>());
    let middle = [mean(&|i| values[2 * i], 18), mean(&|i| values[2 * i + 1], 18)];
    let cov = |(i, j): (usize, usize)| {
        (0..18).map(|n| (values[2 * n + i] - middle[i]) * (values[2 * n + j] - middle[j])).sum::<f64>() / 17.0
    };
    close("cov", &all.map(cov));
    // By hand, with the same order.
    let mut own: Vec<[f64; 2]> = (0..3).map(|t| [values[24 + 2 * t], values[24 + 2 * t + 1]]).collect();
    let mut seen: Vec<[f64; 2]> = own.clone();
    for b in 0..3 {
        let here: Vec<[f64; 2]> = (0..3).map(|t| [values[12 * b + 6 + 2 * t], values[12 * b + 7 + 2 * t]]).collect();
        let unit = |v: &[f64; 2]| v[0].hypot(v[1]);
        let near: Vec<usize> = here
            .iter()
            .map(|h| {
                let like = |c: &[f64; 2]| (h[0] * c[0] + h[1] * c[1]) / unit(h) / unit(c);
                (0..3).max_by(|a, c| like(&own[*a]).total_cmp(&like(&own[*c]))).expect("three")
            })
            .collect();
        for (h, n) in here.iter().zip(near) {
            seen[n] = [0, 1].map(|k| seen[n][k] + 0.1 * (h[k] - seen[n][k]));
        }
        own.clone_from(&seen);
    }
    close("own", &own.concat());
    let out = l.computed("score", &calls[..1], 2).expect("a score");
    let refer = l.reference("score", &calls[0], Draw::default()).expect("a score");
    assert!(farthest(&refer, &out[0]).0 < 1e-5);
}

#[test]
fn a_coreset_covers() {
    let mut l = learner(
        "use data.tensor
use memory.{coreset, nearest_distance, whitening}
detector case {
  input x: f32[b, 4] from tensor
  state bank: f32[n, 4]
  stage remember { bank <- coreset(all(x), one_in: 3) }
  state cov: f32[2, 4, 4] = zeros,  whiten: f32[2, 4, 4] = zeros
  stage fit { whiten <- whitening(cov, ridge: 0.1); steps: 1 }
  score { sample = nearest_distance(x, bank, piece: 2) + 0 * sum(whiten) }
}
",
        &Choice::default(),
    );
    // Seven places, of which four hold several samples.
    let places: Vec<f64> = noise(8, &[7, 4]).iter().map(|v| 10.0 * v).collect();
    let all: Vec<f64> = (0..20).flat_map(|n| places[4 * (n % 7)..4 * (n % 7) + 4].to_vec()).collect();
    pass(&mut l, "remember", &batches(&tensor(&[20, 4], all.clone())));
    assert_eq!(l.stored["bank"].shape(), [7, 4]);
    let score = |l: &mut Learner, x: &Tensor| {
        let inputs = Tensors::from([("x".to_owned(), x.clone())]);
        let far = l.computed("score", std::slice::from_ref(&inputs), 2).expect("a score").remove(0);
        assert!(farthest(&l.reference("score", &inputs, Draw::default()).expect("a score"), &far).0 < 1e-5);
        far["sample"].iter().collect::<Vec<_>>()
    };
    // One of each place is kept: everything is at distance 0.
    assert!(score(&mut l, &tensor(&[20, 4], all)).iter().all(|d| *d < 1e-6));
    let other: Vec<f64> = noise(9, &[5, 4]).iter().map(|v| 12.0 * v).collect();
    let want = |n: usize| {
        let to = |p: &[f64]| p.iter().zip(&other[4 * n..]).map(|(a, b)| (a - b) * (a - b)).sum::<f64>().sqrt();
        places.chunks(4).map(to).fold(f64::INFINITY, f64::min)
    };
    let got = score(&mut l, &tensor(&[5, 4], other.clone()));
    assert!(got.iter().enumerate().all(|(n, d)| (d - want(n)).abs() < 1e-4), "{got:?}");

    // whiten^T whiten is the inverse of the covariance with its ridge.
    let a: Vec<f64> = noise(4, &[2, 4, 4]).iter().collect();
    let product =
        |t: usize, i: usize, j: usize| (0..4).map(|k| a[16 * t + 4 * i + k] * a[16 * t + 4 * j + k]).sum::<f64>();
    let cov: Vec<f64> = (0..32).map(|n| product(n / 16, n / 4 % 4, n % 4)).collect();
    l.stored.insert("cov".into(), tensor(&[2, 4, 4], cov.clone()));
    pass(&mut l, "fit", &[Tensors::new()]);
    let w: Vec<f64> = l.stored["whiten"].iter().collect();
    for (t, i, j) in (0..32).map(|n| (n / 16, n / 4 % 4, n % 4)) {
        let ridged = |a: usize, b: usize| cov[16 * t + 4 * a + b] + if a == b { 0.1 } else { 0.0 };
        let inverse = |a: usize, b: usize| (0..4).map(|k| w[16 * t + 4 * k + a] * w[16 * t + 4 * k + b]).sum::<f64>();
        let one = (0..4).map(|k| ridged(i, k) * inverse(k, j)).sum::<f64>();
        assert!((one - if i == j { 1.0 } else { 0.0 }).abs() < 1e-4, "{t} {i} {j}: {one}");
    }
}

#[test]
fn memory_bank_and_gaussian_detect() {
    for (name, stages) in [("patchcore", &["remember"][..]), ("padim", &["measure", "fit"])] {
        let text = std::fs::read_to_string(root().join(format!("specs/{name}.uad"))).expect("the spec");
        let mut set = vec![("size".to_owned(), "64".to_owned())];
        if name == "padim" {
            set.push(("channels".into(), "24".into()));
        }
        let mut l = learner(&text, &Choice { detector: Some(name.into()), set, ..Choice::default() });
        let image = |seed: u64, stain: bool| {
            let mut v: Vec<f64> = noise(seed, &[3, 64, 64]).iter().map(|v| 0.5 + 0.05 * v).collect();
            let inside = |p: usize| stain && (20..44).contains(&(p / 64 % 64)) && (20..44).contains(&(p % 64));
            v.iter_mut().enumerate().filter(|(p, _)| inside(*p)).for_each(|(_, v)| *v = 0.95);
            v
        };
        let images = |from: u64, stain: bool| {
            let all = (from..from + 2).flat_map(|s| image(s, stain));
            Tensors::from([("image".to_owned(), tensor(&[2, 3, 64, 64], all))])
        };
        let normal: Vec<Tensors> = (0..8).map(|n| images(2 * n, false)).collect();
        for stage in stages {
            let reads = l.model.entry(stage).is_some_and(|g| g.dims.iter().any(|d| d == "b"));
            pass(&mut l, stage, if reads { &normal } else { &normal[..1] });
        }
        let score =
            |l: &mut Learner, x: &Tensors| l.computed("score", std::slice::from_ref(x), 2).expect("a score").remove(0);
        let (good, bad) = (score(&mut l, &images(100, false)), score(&mut l, &images(200, true)));
        let of = |t: &Tensors| t["sample"].iter().fold(f64::INFINITY, f64::min);
        assert!(of(&bad) > 1.5 * of(&good), "{name}: {} and {}", of(&good), of(&bad));
        let map = &bad["map"];
        let mean = |inside: bool| {
            let hit = |p: usize| ((24..40).contains(&(p / 64 % 64)) && (24..40).contains(&(p % 64))) == inside;
            let v: Vec<f64> = map.iter().enumerate().filter(|(p, _)| hit(*p)).map(|(_, v)| v).collect();
            v.iter().sum::<f64>() / v.len() as f64
        };
        assert!(mean(true) > mean(false), "{name}");
    }
}

#[test]
fn an_extent_that_only_a_state_names_is_that_of_what_a_view_is_of() {
    let mut l = learner(
        "use data.tensor
use norms.square
detector case {
  input x: f32[b, 4, 3] from tensor
  state bank: f32[m, d]
  stage remember { bank <- all(x)[N n d -> (N n) d] }
  score {
    map = min(sum(square(x[b n d -> b n 1 d] - bank[m c -> 1 1 m c]), axis: 3), axis: 2)
  }
}
",
        &Choice::default(),
    );
    let calls: Vec<Tensors> = (0..3).map(|n| Tensors::from([("x".to_owned(), noise(n, &[2, 4, 3]))])).collect();
    pass(&mut l, "remember", &calls);
    let kept: Vec<f64> = calls.iter().flat_map(|c| c["x"].iter()).collect();
    let asked = noise(9, &[2, 4, 3]);
    let is = l.computed("score", &[Tensors::from([("x".to_owned(), asked.clone())])], 2).expect("a score").remove(0);
    let asked: Vec<f64> = asked.iter().collect();
    let squared = |p: &[f64], q: &[f64]| p.iter().zip(q).map(|(a, b)| (a - b) * (a - b)).sum::<f64>();
    let nearest = asked.chunks(3).map(|p| kept.chunks(3).map(|q| squared(p, q)).fold(f64::INFINITY, f64::min));
    for (is, must) in is["map"].iter().zip(nearest) {
        assert!((is - must).abs() < 1e-5, "{is} and {must}");
    }
}

#[test]
fn what_does_not_change_is_computed_once() {
    let text = std::fs::read_to_string(root().join("specs/uniad.uad")).expect("the spec");
    let set = [("size", "64"), ("hidden", "16"), ("heads", "2"), ("layers", "1"), ("window", "3")];
    let set = set.map(|(k, v)| (k.to_owned(), v.to_owned())).to_vec();
    let choice = Choice { detector: Some("uniad_resnet18".into()), set, ..Choice::default() };
    let mut split = Learner::new("uniad", &text, &choice).expect("a model");
    let mut whole = Learner::whole("uniad", &text, &choice).expect("a model");
    let features = split.model.entry("train.features").expect("features");
    let given: Vec<String> = features.outputs.iter().map(|(n, id)| format!("{n}: {}", features.ty(*id))).collect();
    assert_eq!(given, ["@0: f32[b, 448, 4, 4]"]);
    let step = split.model.entry("train").expect("a step");
    assert!(!step.nodes.iter().any(|n| matches!(&n.op, uad_compiler::graph::Op::Input(n) if n == "image")));
    let mut image = reserved(0, 10, 0, 1);
    image.insert("image".into(), tensor(&[2, 3, 64, 64], noise(3, &[2, 3, 64, 64]).iter().map(|v| 0.5 + 0.5 * v)));
    split.init().expect("init");
    whole.stored.clone_from(&split.stored);
    let step = with_features(&mut split, "train", std::slice::from_ref(&image));
    let a = split.computed("train", &step, 2).expect("a step");
    let b = whole.computed("train", &[image], 2).expect("a step");
    let (far, at) = farthest(&b[0], &a[0]);
    assert!(far < 1e-5, "{at}");
    // PatchCore keeps no more than the encoder's two maps.
    let text = std::fs::read_to_string(root().join("specs/patchcore.uad")).expect("the spec");
    let l = Learner::new("patchcore", &text, &Choice { detector: Some("patchcore".into()), ..Choice::default() });
    let l = l.expect("a model");
    let features = l.model.entry("remember.features").expect("features");
    let given: Vec<String> = features.outputs.iter().map(|(_, id)| features.ty(*id).to_string()).collect();
    assert_eq!(given, ["f32[b, 128, 28, 28]", "f32[b, 256, 14, 14]"]);
}

#[test]
fn what_is_watched_is_without_noise_and_takes_the_features() {
    use uad_compiler::graph::{Graph, Op};
    let text = std::fs::read_to_string(root().join("specs/uniad.uad")).expect("the spec");
    let set = [("size", "64"), ("hidden", "16"), ("heads", "2"), ("layers", "1"), ("window", "3")];
    let mut set = set.map(|(k, v)| (k.to_owned(), v.to_owned())).to_vec();
    set.push(("train.keep".into(), "lowest(loss, on: validation)".into()));
    let l = Learner::new("uniad", &text, &Choice { detector: Some("uniad_resnet18".into()), set, ..Choice::default() });
    let l = l.expect("a model");
    let draws = |g: &Graph| g.nodes.iter().filter(|n| matches!(n.op, Op::Draw { .. })).count();
    let (step, watch) = (l.model.entry("train").expect("a step"), l.model.entry("train.watch").expect("a watch"));
    assert!(draws(step) > 0 && draws(watch) == 0 && watch.writes.is_empty());
    let inputs = watch.nodes.iter().filter_map(|n| if let Op::Input(n) = &n.op { Some(n.as_str()) } else { None });
    assert_eq!(inputs.collect::<Vec<_>>(), ["@0"]);
    assert_eq!(watch.outputs.iter().map(|o| o.0.as_str()).collect::<Vec<_>>(), ["loss"]);
}

#[test]
fn norms_take_the_statistics_of_the_batch_while_they_are_trained() {
    // Not split: `more` would get what `first` and `mid` give from an entry of its own.
    let mut l = whole(
        "use data.tensor
use nn.{linear, batch_norm}
use norms.square
use optim.sgd
detector case {
  input x: f32[b, 3] from tensor
  let y = x |> batch_norm() as first |> linear(3) as mid |> batch_norm() as last
  stage train { minimise mean(square(y - x)) over first, mid with sgd(lr: 0.1) }
  stage more { minimise mean(square(y - x)) over last with sgd(lr: 0.1) }
  score { sample = sum(square(y - x), axis: 1) }
}
",
        &Choice::default(),
    );
    let x = noise(2, &[4, 3]);
    let call = Tensors::from([("x".to_owned(), x.clone())]);
    let before = l.stored.clone();
    l.computed("train", std::slice::from_ref(&call), 1).expect("a step");
    let mean = |k: usize| (0..4).map(|n| x.get(3 * n + k).expect("a value")).sum::<f64>() / 4.0;
    for k in 0..3 {
        let off = (0..4).map(|n| (x.get(3 * n + k).expect("a value") - mean(k)).powi(2)).sum::<f64>() / 3.0;
        assert!((l.stored["first.mean"].get(k).expect("a value") - 0.1 * mean(k)).abs() < 1e-6);
        assert!((l.stored["first.var"].get(k).expect("a value") - (0.9 + 0.1 * off)).abs() < 1e-6);
    }
    // What the stage does not train is as it was, its statistics too.
    for path in ["last.mean", "last.var", "last.scale", "last.shift"] {
        assert_eq!(l.stored[path], before[path], "{path}");
    }
    assert_ne!(l.stored["mid.w"], before["mid.w"]);
    let middle = l.stored.clone();
    l.computed("more", &[call], 1).expect("a step");
    for path in ["first.mean", "first.scale", "mid.w"] {
        assert_eq!(l.stored[path], middle[path], "{path}");
    }
    assert_ne!(l.stored["last.scale"], middle["last.scale"]);
    assert_ne!(l.stored["last.mean"], middle["last.mean"]);
}

#[test]
fn detectors_inside_have_banks_of_their_own() {
    let mut l = learner(
        "use data.tensor
use memory.{coreset, nearest_distance}
detector bank {
  param one_in: int = 1
  input x: f32[b, 4] from tensor
  state rows: f32[n, 4]
  stage remember { rows <- coreset(all(x), one_in) }
  score { sample = nearest_distance(x, rows) }
}
detector both {
  input x: f32[b, 4] from tensor
  let small = bank { one_in: 3 } as small
  let large = bank { one_in: 1 } as large
  score { sample = small.sample + large.sample }
}
",
        &Choice { detector: Some("both".into()), ..Choice::default() },
    );
    let x = noise(2, &[6, 4]);
    for stage in ["small.remember", "large.remember"] {
        pass(&mut l, stage, &batches(&x));
    }
    assert_eq!((l.stored["small.rows"].shape(), l.stored["large.rows"].shape()), (&[2, 4][..], &[6, 4][..]));
    let call = Tensors::from([("x".to_owned(), x)]);
    let got = l.computed("score", std::slice::from_ref(&call), 2).expect("a score").remove(0);
    assert!(got["sample"].iter().filter(|d| *d < 1e-6).count() == 2, "{:?}", got["sample"]);
}
