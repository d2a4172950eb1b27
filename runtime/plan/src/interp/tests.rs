//! Tests of the interpreter against results worked out by hand or by plain loops.
//!
//! In: plans as text. Out: assertions. Invariants: none. Imports: [`super`].

use super::*;
use crate::text::parse;
use crate::{bind, verify};
use ndarray::{Array, array};

type Arrays = BTreeMap<String, ArrayD<f64>>;

fn named<const N: usize>(all: [(&str, ArrayD<f64>); N]) -> Arrays {
    all.into_iter().map(|(n, a)| (n.to_string(), a)).collect()
}

/// Runs an entry `score` whose text is the body.
fn run_text(stored: &str, body: &str, inputs: Arrays, kept: &mut Arrays, draw: Draw) -> Arrays {
    let text = format!("uadp 1 plan \"t\" stored {{ {stored} }} entry score() {{ {body} }}");
    let plan = verify(parse(&text).unwrap()).unwrap();
    let bound = bind(&plan, "score", &BTreeMap::new()).unwrap();
    run_f64(&bound, &inputs, kept, draw).unwrap()
}

fn run_y(body: &str, inputs: Arrays) -> ArrayD<f64> {
    run_text("", body, inputs, &mut Arrays::new(), Draw::default()).remove("y").unwrap()
}

#[test]
fn a_map_over_a_padded_view() {
    let y = run_y(
        r#"input %x f32[3] output %y f32[5] kernels { map [5] "pad" {
            $0 = %x[i0 - 1] if 0 <= i0 - 1 < 3 else -7
            at { r0 = $0; r1 = index 0; r2 = f32 r1; r3 = fma r0 r0 r2; yield r3 } write %y[i0] } }"#,
        named([("x", array![2.0, 3.0, 4.0].into_dyn())]),
    );
    assert_eq!(y, array![49.0, 5.0, 11.0, 19.0, 53.0].into_dyn());
}

#[test]
fn a_convolution_is_a_dot() {
    // x[2, 5, 5, 3] channels last, w[4, 3, 3, 3] (o kh kw c), stride 2, padding 1, bias, relu.
    let x = Array::from_shape_fn((2, 5, 5, 3), |(b, h, w, c)| ((b * 75 + h * 15 + w * 3 + c) * 37 % 23) as f64 - 11.0);
    let w = Array::from_shape_fn((4, 3, 3, 3), |(o, h, w, c)| ((o * 27 + h * 9 + w * 3 + c) * 29 % 17) as f64 - 8.0);
    let y = run_y(
        r#"input %x f32[2, 5, 5, 3] input %w f32[4, 3, 3, 3] output %y f32[2, 3, 3, 4]
        kernels { dot [2, 3, 3, 4, 3, 3, 3] as [m, m, m, n, k, k, k] "conv" {
            $0 = %x[75*i0 + 30*i1 + 6*i2 + 15*i4 + 3*i5 + i6 - 18] if 0 <= 2*i1 + i4 - 1 < 5, 0 <= 2*i2 + i5 - 1 < 5
            $1 = %w[27*i3 + 9*i4 + 3*i5 + i6]
            a { r0 = $0; yield r0 } b { r0 = $1; yield r0 }
            out { r0 = slot 0; r1 = index 3; r2 = f32 r1; r3 = add r0 r2; r4 = 0.0; r5 = max r3 r4; yield r5 }
            write %y[36*i0 + 12*i1 + 4*i2 + i3] } }"#,
        named([("x", x.clone().into_dyn()), ("w", w.clone().into_dyn())]),
    );
    let want = Array::from_shape_fn((2, 3, 3, 4), |(b, oh, ow, o)| {
        let mut sum = o as f64;
        for (kh, kw, c) in ndarray::indices((3, 3, 3)) {
            let (h, v) = (2 * oh + kh, 2 * ow + kw);
            if (1..6).contains(&h) && (1..6).contains(&v) {
                sum += x[[b, h - 1, v - 1, c]] * w[[o, kh, kw, c]];
            }
        }
        sum.max(0.0)
    });
    assert_eq!(y, want.into_dyn());
}

#[test]
fn rows_make_a_softmax_and_positions() {
    let x = array![[1.0, 3.0, 2.0], [0.0, 0.0, f64::NEG_INFINITY]];
    let mut outs = run_text(
        "",
        r#"input %x f32[2, 3] output %y f32[2, 3] output %best i32[2] kernels { rows [2, 3] inner 1 "softmax" {
            $0 = %x[3*i0 + i1]
            reduce max { r0 = $0; yield r0 }
            reduce sum { r0 = $0; r1 = slot 0; r2 = sub r0 r1; r3 = exp r2; yield r3 }
            reduce argmax { r0 = $0; yield r0 }
            at 0 { r0 = $0; r1 = slot 0; r2 = sub r0 r1; r3 = exp r2; r4 = slot 1; r5 = div r3 r4; yield r5 }
            emit 1 { r0 = slot 2; yield r0 }
            write %y[3*i0 + i1] write %best[i0] } }"#,
        named([("x", x.clone().into_dyn())]),
        &mut Arrays::new(),
        Draw::default(),
    );
    let y = outs.remove("y").unwrap();
    let sum = 1.0f64.exp() + 3.0f64.exp() + 2.0f64.exp();
    assert!((y[[0, 1]] - 3.0f64.exp() / sum).abs() < 1e-15);
    assert_eq!((y[[1, 0]], y[[1, 2]]), (0.5, 0.0));
    assert_eq!(outs["best"], array![1.0, 0.0].into_dyn());
}

#[test]
fn attention_is_its_definition() {
    let q = Array::from_shape_fn((2, 3, 4), |(b, t, d)| ((b * 12 + t * 4 + d) as f64 * 0.7).sin());
    let k = Array::from_shape_fn((2, 5, 4), |(b, s, d)| ((b * 20 + s * 4 + d) as f64 * 0.3).cos());
    let v = Array::from_shape_fn((2, 5, 2), |(b, s, e)| (b * 10 + s * 2 + e) as f64);
    let y = run_y(
        r#"input %q f32[2, 3, 4] input %k f32[2, 5, 4] input %v f32[2, 5, 2] output %y f32[2, 3, 2]
        kernels { attention [2, 3, 5, 4, 2] as [batch, t, s, d, e] "mix" {
            $0 = %q[12*i0 + 4*i1 + i3] $1 = %k[20*i0 + 4*i2 + i3] $2 = %v[10*i0 + 2*i2 + i4]
            q { r0 = $0; yield r0 } k { r0 = $1; yield r0 }
            score { r0 = slot 0; r1 = 0.5; r2 = mul r0 r1; r3 = index 1; r4 = index 2; r5 = eq r3 r4; r6 = -inf
                    r7 = select r5 r6 r2; yield r7 }
            v { r0 = $2; yield r0 } out { r0 = slot 0; r1 = neg r0; yield r1 }
            write %y[6*i0 + 2*i1 + i4] } }"#,
        named([("q", q.clone().into_dyn()), ("k", k.clone().into_dyn()), ("v", v.clone().into_dyn())]),
    );
    for (b, t, e) in ndarray::indices((2, 3, 2)) {
        let weight =
            |s: usize| if s == t { 0.0 } else { (0..4).map(|d| q[[b, t, d]] * k[[b, s, d]] / 2.0).sum::<f64>().exp() };
        let want = (0..5).map(|s| weight(s) * v[[b, s, e]]).sum::<f64>() / (0..5).map(weight).sum::<f64>();
        assert!((y[[b, t, e]] + want).abs() < 1e-12);
    }
}

#[test]
fn gather_and_scatter() {
    let inputs = || named([("x", array![10.0, 20.0, 30.0].into_dyn()), ("i", array![2.0, 0.0, 9.0, -4.0].into_dyn())]);
    let y = run_y(
        r#"input %x f32[3] input %i i32[4] output %y f32[4] kernels { map [4] "take" {
            $0 = %i[i0] $1 = %x[clamp($0, 3)] at { r0 = $1; yield r0 } write %y[i0] } }"#,
        inputs(),
    );
    assert_eq!(y, array![30.0, 10.0, 30.0, 10.0].into_dyn());
    let y = run_y(
        r#"input %x f32[3] input %i i32[4] output %y f32[3] kernels {
            map [3] "clear" { at { r0 = 1.0; yield r0 } write %y[i0] }
            scatter_add [4] "add" { $0 = %i[i0] add { r0 = index 0; r1 = f32 r0; yield r1 } write %y[clamp($0, 3)] } }"#,
        inputs(),
    );
    assert_eq!(y, array![1.0 + 1.0 + 3.0, 1.0, 1.0 + 0.0 + 2.0].into_dyn());
}

#[test]
fn sorts_and_scans() {
    let x = array![[3.0, f64::NAN, 1.0, 3.0], [0.0, -0.0, -1.0, 5.0]].into_dyn();
    let sort = |way: &str| {
        let body = format!(
            r#"input %x f32[2, 4] output %y i32[2, 4] kernels {{ argsort [2, 4] {way} "sort" {{
                $0 = %x[4*i0 + i1] key {{ r0 = $0; yield r0 }} write %y[4*i0 + i1] }} }}"#
        );
        run_y(&body, named([("x", x.clone())]))
    };
    assert_eq!(sort("rising"), array![[2.0, 0.0, 3.0, 1.0], [2.0, 0.0, 1.0, 3.0]].into_dyn());
    assert_eq!(sort("falling"), array![[0.0, 3.0, 2.0, 1.0], [3.0, 0.0, 1.0, 2.0]].into_dyn());
    let y = run_y(
        r#"input %x i32[2, 3] output %y i32[2, 3] kernels { scan [2, 3] sum "cumsum" {
            $0 = %x[3*i0 + i1] value { r0 = $0; yield r0 } write %y[3*i0 + i1] } }"#,
        named([("x", array![[1.0, 2.0, 3.0], [2147483647.0, 1.0, 0.0]].into_dyn())]),
    );
    assert_eq!(y, array![[1.0, 3.0, 6.0], [2147483647.0, -2147483648.0, -2147483648.0]].into_dyn());
}

#[test]
fn a_loop_carries_and_stops() {
    // Doubles until a round's number is 3 or more, looked at every second round.
    let y = run_y(
        r#"input %x f32[2] output %y f32[2] temp %n f32[2] temp %i i32[] temp %done bool[]
        kernels { loop [] count 100 "rounds" {
            index %i carry %y from %x then %n until %done every 2
            map [2] "double" { $0 = %y[i0] at { r0 = $0; r1 = add r0 r0; yield r1 } write %n[i0] }
            map [] "done" { $0 = %i[0] at { r0 = 2; r1 = $0; r2 = le r0 r1; yield r2 } write %done[0] } } }"#,
        named([("x", array![1.0, -3.0].into_dyn())]),
    );
    assert_eq!(y, array![16.0, -48.0].into_dyn());
}

#[test]
fn matrices() {
    let a = array![[[4.0, 2.0], [2.0, 3.0]]].into_dyn();
    let y = run_y(
        r#"input %a f32[1, 2, 2] output %y f32[1, 2, 2] kernels { cholesky [1, 2, 2] "chol" {
            $0 = %a[4*i0 + 2*i1 + i2] write %y[4*i0 + 2*i1 + i2] } }"#,
        named([("a", a)]),
    );
    assert_eq!(y, array![[[2.0, 0.0], [1.0, 2.0f64.sqrt()]]].into_dyn());
    let outs = run_text(
        "",
        r#"input %a f32[2, 2] output %w f32[2] output %v f32[2, 2] kernels { eigh [2, 2] "eigh" {
            $0 = %a[2*i0 + i1] write %w[i1] write %v[2*i0 + i1] } }"#,
        named([("a", array![[2.0, 1.0], [1.0, 2.0]].into_dyn())]),
        &mut Arrays::new(),
        Draw::default(),
    );
    let close = |a: &ArrayD<f64>, b: ArrayD<f64>| (a - &b).iter().all(|d| d.abs() < 1e-14);
    let h = 0.5f64.sqrt();
    assert!(close(&outs["w"], array![1.0, 3.0].into_dyn()));
    assert!((&outs["v"].mapv(f64::abs) - h).iter().all(|d| d.abs() < 1e-14));
}

#[test]
fn stored_tensors_change_and_draws_count_samples() {
    let body = r#"stored %w f32[4] output %y f32[4] kernels {
        map [4] "draw" { at { r0 = index 0; r1 = 5; r2 = draw 0x123456789 lane 2 element r1 sample r0; yield r2 }
            write %y[i0] }
        map [4] "step" { $0 = %w[i0] $1 = %y[i0] at { r0 = $0; r1 = $1; r2 = add r0 r1; yield r2 } write %w[i0] } }"#;
    let mut kept = named([("w", array![1.0, 2.0, 3.0, 4.0].into_dyn())]);
    let draw = Draw { seed: 11, step: 2, first_sample: 0 };
    let y = run_text("weight w f32[4]", body, Arrays::new(), &mut kept, draw).remove("y").unwrap();
    assert_eq!(kept["w"], &array![1.0, 2.0, 3.0, 4.0].into_dyn() + &y);
    let later = Draw { first_sample: 2, ..draw };
    let z = run_text("weight w f32[4]", body, Arrays::new(), &mut kept, later).remove("y").unwrap();
    assert_eq!(y.as_slice().unwrap()[2..], z.as_slice().unwrap()[..2]);
    let word = crate::philox::uniform(crate::philox::key(11, 0x1_2345_6789), 2, 5, 3, 2);
    assert_eq!(y[[3]], f64::from(word));
}

#[test]
fn tensors_are_checked() {
    let text = r#"uadp 1 plan "t" entry score() { input %x f32[2] output %y f32[2]
        kernels { map [2] "id" { $0 = %x[i0] at { r0 = $0; yield r0 } write %y[i0] } } }"#;
    let bound = bind(&verify(parse(text).unwrap()).unwrap(), "score", &BTreeMap::new()).unwrap();
    let mut none = BTreeMap::new();
    let mut go = |t: Option<Tensor>| {
        let inputs = t.into_iter().map(|t| ("x".to_string(), t)).collect();
        run(&bound, &inputs, &mut none, Draw::default()).map_err(|e| e.0)
    };
    assert_eq!(go(None).unwrap_err(), "the input `x` is not given");
    let wrong = Tensor::i32(&[2], vec![1, 2]).unwrap();
    assert_eq!(go(Some(wrong)).unwrap_err(), "`x` is i32, the plan says f32");
    let wrong = Tensor::f32(&[3], vec![0.0; 3]).unwrap();
    assert_eq!(go(Some(wrong)).unwrap_err(), "the input `x` has shape [3], the plan says [2]");
    let x = Tensor::f32(&[2], vec![0.1, 2.0]).unwrap();
    assert_eq!(go(Some(x.clone())).unwrap()["y"], x);
}
