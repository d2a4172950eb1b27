//! Every template of the CPU back end against the reference interpreter.
//!
//! In: plans as text. Out: assertions. Invariants: each is run on every instruction set, with one thread and with three.
//! Imports: the harness.
#![allow(unsafe_code)]

mod harness;
use harness::{Tensors, bound, check, check_with};
use uad_plan::tensor::Tensor;

fn agree(body: &str) {
    agree_within(body, 2e-6);
}

fn agree_within(body: &str, tolerance: f64) {
    let b = bound("", body);
    for seed in 1..4 {
        check(&b, seed, tolerance, body);
    }
}

#[test]
fn maps_over_views() {
    // Padded, transposed, broadcast, reversed, with an index and a mask.
    agree(
        r#"input %x f32[3] output %y f32[5] kernels { map [5] "pad" {
            $0 = %x[i0 - 1] if 0 <= i0 - 1 < 3 else -7
            at { r0 = $0; r1 = index 0; r2 = f32 r1; r3 = fma r0 r0 r2; yield r3 } write %y[i0] } }"#,
    );
    agree(
        r#"input %x f32[20, 30] input %c f32[30] output %y f32[30, 20] kernels { map [30, 20] "transpose" {
            $0 = %x[i0 + 30*i1] $1 = %c[i0]
            at { r0 = $0; r1 = $1; r2 = mul r0 r1; r3 = exp r2; yield r3 } write %y[20*i0 + i1] } }"#,
    );
    agree(
        r#"input %x f32[7, 2000] input %m bool[2000] output %y f32[7, 2000] output %z bool[7, 2000] kernels {
            map [7, 2000] "mask" { $0 = %x[2000*i0 + i1] $1 = %m[i1] $2 = %x[1999 - i1 + 2000*i0]
            at { r0 = $0; r1 = $1; r2 = $2; r3 = select r1 r0 r2; r4 = tanh r3; r5 = lt r0 r2; yield r4 r5 }
            write %y[2000*i0 + i1] write %z[2000*i0 + i1] } }"#,
    );
    agree(
        r#"input %x f32[4, 9, 11, 3] output %y f32[4, 13, 15, 3] kernels { map [4, 13, 15, 3] "pad2" {
            $0 = %x[297*i0 + 33*i1 + 3*i2 + i3 - 72] if 0 <= i1 - 2 < 9, 0 <= i2 - 2 < 11 else 0.5
            at { r0 = $0; r1 = index 2; r2 = f32 r1; r3 = add r0 r2; yield r3 }
            write %y[585*i0 + 45*i1 + 3*i2 + i3] } }"#,
    );
    agree(r#"output %y f32[] kernels { map [] "one" { at { r0 = 2.5; yield r0 } write %y[0] } }"#);
}

#[test]
fn maps_that_gather() {
    agree(
        r#"input %x f32[8, 600] input %i i32[50] output %y f32[50, 600] kernels { map [50, 600] "rows" {
            $0 = %i[i0] $1 = %x[clamp($0, 8)*600 + i1] at { r0 = $1; r1 = neg r0; yield r1 } write %y[600*i0 + i1] } }"#,
    );
    agree(
        r#"input %x f32[40, 8] input %i i32[40, 1500] output %y f32[40, 1500] kernels { map [40, 1500] "along" {
            $0 = %i[1500*i0 + i1] $1 = %x[8*i0 + clamp($0, 8)] if 0 <= i1 - 3 < 1400 else 9
            at { r0 = $1; yield r0 } write %y[1500*i0 + i1] } }"#,
    );
}

#[test]
fn long_maps_are_split() {
    agree(
        r#"input %x f32[300000] input %z f32[300000] output %y f32[300000] kernels { map [300000] "add" {
            $0 = %x[i0] $1 = %z[i0] at { r0 = $0; r1 = $1; r2 = add r0 r1; r3 = 0.0; r4 = max r2 r3; yield r4 }
            write %y[i0] } }"#,
    );
}

const SOFTMAX: &str = r#"
    reduce max { r0 = $0; yield r0 }
    reduce sum { r0 = $0; r1 = slot 0; r2 = sub r0 r1; r3 = exp r2; yield r3 }
    at 0 { r0 = $0; r1 = slot 0; r2 = sub r0 r1; r3 = exp r2; r4 = slot 1; r5 = div r3 r4; yield r5 }"#;

#[test]
fn rows_along_and_across() {
    for n in [1, 5, 49, 1024, 1025, 5000] {
        agree(&format!(
            r#"input %x f32[40, {n}] output %y f32[40, {n}] kernels {{ rows [40, {n}] inner 1 "softmax" {{
                $0 = %x[{n}*i0 + i1] {SOFTMAX} write %y[{n}*i0 + i1] }} }}"#
        ));
        agree(&format!(
            r#"input %x f32[3, {n}, 40] output %y f32[3, {n}, 40] kernels {{ rows [3, 40, {n}] inner 1 "softmax" {{
                $0 = %x[{n}*40*i0 + i1 + 40*i2] {SOFTMAX} write %y[{n}*40*i0 + i1 + 40*i2] }} }}"#
        ));
    }
}

#[test]
fn pools_and_means() {
    // Max pool 3x3, stride 2, padding 1, channels last; mean over height and width; layer norm.
    agree(
        r#"input %x f32[2, 15, 15, 24] output %y f32[2, 8, 8, 24] kernels { rows [2, 8, 8, 24, 3, 3] inner 2 "pool" {
            $0 = %x[5400*i0 + 720*i1 + 48*i2 + i3 + 360*i4 + 24*i5 - 384] if 0 <= 2*i1 + i4 - 1 < 15, 0 <= 2*i2 + i5 - 1 < 15 else -inf
            reduce max { r0 = $0; yield r0 } emit 0 { r0 = slot 0; yield r0 }
            write %y[1536*i0 + 192*i1 + 24*i2 + i3] } }"#,
    );
    agree(
        r#"input %x f32[3, 30, 20, 70] output %y f32[3, 70] kernels { rows [3, 70, 30, 20] inner 2 "mean" {
            $0 = %x[42000*i0 + i1 + 1400*i2 + 70*i3]
            reduce sum { r0 = $0; yield r0 } emit 0 { r0 = slot 0; r1 = 600.0; r2 = div r0 r1; yield r2 }
            write %y[70*i0 + i1] } }"#,
    );
    agree(
        r#"input %x f32[50, 96] input %g f32[96] output %y f32[50, 96] kernels { rows [50, 96] inner 1 "norm" {
            $0 = %x[96*i0 + i1] $1 = %g[i1]
            reduce sum { r0 = $0; yield r0 }
            reduce sum { r0 = $0; r1 = slot 0; r2 = 96.0; r3 = div r1 r2; r4 = sub r0 r3; r5 = mul r4 r4; yield r5 }
            at 0 { r0 = $0; r1 = slot 0; r2 = 96.0; r3 = div r1 r2; r4 = sub r0 r3; r5 = slot 1; r6 = div r5 r2
                   r7 = 0.00001; r8 = add r6 r7; r9 = sqrt r8; r10 = div r4 r9; r11 = $1; r12 = mul r10 r11; yield r12 }
            write %y[96*i0 + i1] } }"#,
    );
}

#[test]
fn long_rows_are_cut() {
    for (n, m) in [(300_000, 1), (1000, 3)] {
        let rows = 200_000 / n + 1;
        agree(&format!(
            r#"input %x f32[{rows}, {n}, {m}] output %y f32[{rows}] output %a i32[{rows}] output %z f32[{rows}, {n}, {m}]
            kernels {{ rows [{rows}, {n}, {m}] inner 2 "all" {{ $0 = %x[{n}*{m}*i0 + {m}*i1 + i2]
            reduce sum {{ r0 = $0; yield r0 }} reduce argmin {{ r0 = $0; yield r0 }}
            emit 0 {{ r0 = slot 0; yield r0 }} emit 1 {{ r0 = slot 1; yield r0 }}
            at 2 {{ r0 = $0; r1 = slot 0; r2 = 1000.0; r3 = div r1 r2; r4 = add r0 r3; yield r4 }}
            write %y[i0] write %a[i0] write %z[{n}*{m}*i0 + {m}*i1 + i2] }} }}"#
        ));
    }
    // Sums of thousands of numbers of both signs: the error is that of the sum of magnitudes.
    agree_within(
        r#"input %x f32[9000, 40] output %y f32[40] output %a i32[40] kernels { rows [40, 9000] inner 1 "columns" {
            $0 = %x[i0 + 40*i1]
            reduce sum { r0 = $0; yield r0 } reduce argmax { r0 = $0; yield r0 }
            emit 0 { r0 = slot 0; yield r0 } emit 1 { r0 = slot 1; yield r0 }
            write %y[i0] write %a[i0] } }"#,
        1e-4,
    );
}

#[test]
fn reductions_of_every_dtype() {
    for (dtype, ops) in [
        ("f32", "sum prod max min argmax argmin"),
        ("i32", "sum prod max min argmax argmin"),
        ("bool", "max min argmax argmin"),
    ] {
        for op in ops.split(' ') {
            let out = if op.starts_with("arg") { "i32" } else { dtype };
            for (shape, at) in [("[6, 13]", "13*i0 + i1"), ("[13, 6]", "i0 + 6*i1"), ("[6, 0]", "i1")] {
                let n = if shape == "[6, 0]" { 0 } else { 13 };
                agree(&format!(
                    r#"input %x {dtype}{shape} output %y {out}[6] kernels {{ rows [6, {n}] inner 1 "{op}" {{
                    $0 = %x[{at}] reduce {op} {{ r0 = $0; yield r0 }} emit 0 {{ r0 = slot 0; yield r0 }} write %y[i0] }} }}"#
                ));
            }
        }
    }
}

#[test]
fn extremes_with_nan() {
    for op in ["max", "min", "argmax", "argmin"] {
        let out = if op.starts_with("arg") { "i32" } else { "f32" };
        for (a, at) in [("[4, 100]", "100*i0 + i1"), ("[100, 4]", "i0 + 4*i1")] {
            let b = bound(
                "",
                &format!(
                    r#"input %x f32{a} output %y {out}[4] kernels {{ rows [4, 100] inner 1 "{op}" {{
                $0 = %x[{at}] reduce {op} {{ r0 = $0; yield r0 }} emit 0 {{ r0 = slot 0; yield r0 }} write %y[i0] }} }}"#
                ),
            );
            let mut x: Vec<f32> = (0..400).map(|i| ((i * 7919) % 257) as f32).collect();
            (x[130], x[131], x[390]) = (f32::NAN, f32::NAN, f32::INFINITY);
            let shape: &[usize] = if a == "[4, 100]" { &[4, 100] } else { &[100, 4] };
            let inputs: Tensors = [("x".to_owned(), Tensor::f32(shape, x).unwrap())].into();
            check_with(&b, &inputs, &Tensors::new(), 0.0, op);
        }
    }
}

#[test]
fn contractions() {
    agree(
        r#"input %x f32[2, 5, 5, 3] input %w f32[4, 3, 3, 3] output %y f32[2, 3, 3, 4]
        kernels { dot [2, 3, 3, 4, 3, 3, 3] as [m, m, m, n, k, k, k] "conv" {
            $0 = %x[75*i0 + 30*i1 + 6*i2 + 15*i4 + 3*i5 + i6 - 18] if 0 <= 2*i1 + i4 - 1 < 5, 0 <= 2*i2 + i5 - 1 < 5
            $1 = %w[27*i3 + 9*i4 + 3*i5 + i6]
            a { r0 = $0; yield r0 } b { r0 = $1; yield r0 }
            out { r0 = slot 0; r1 = index 3; r2 = f32 r1; r3 = add r0 r2; r4 = 0.0; r5 = max r3 r4; yield r5 }
            write %y[36*i0 + 12*i1 + 4*i2 + i3] } }"#,
    );
    agree(
        r#"input %q f32[2, 3, 4] input %k f32[2, 5, 4] input %v f32[2, 5, 2] output %y f32[2, 3, 2]
        kernels { attention [2, 3, 5, 4, 2] as [batch, t, s, d, e] "mix" {
            $0 = %q[12*i0 + 4*i1 + i3] $1 = %k[20*i0 + 4*i2 + i3] $2 = %v[10*i0 + 2*i2 + i4]
            q { r0 = $0; yield r0 } k { r0 = $1; yield r0 }
            score { r0 = slot 0; r1 = 0.5; r2 = mul r0 r1; r3 = index 1; r4 = index 2; r5 = eq r3 r4; r6 = -inf
                    r7 = select r5 r6 r2; yield r7 }
            v { r0 = $2; yield r0 } out { r0 = slot 0; r1 = neg r0; yield r1 }
            write %y[6*i0 + 2*i1 + i4] } }"#,
    );
}

#[test]
fn scatters() {
    agree(
        r#"input %x f32[6, 500, 3] input %i i32[6, 500] output %y f32[6, 8, 3] kernels {
            map [6, 8, 3] "clear" { at { r0 = 1.0; yield r0 } write %y[24*i0 + 3*i1 + i2] }
            scatter_add [6, 500, 3] "add" { $0 = %i[500*i0 + i1] $1 = %x[1500*i0 + 3*i1 + i2]
            add { r0 = $1; yield r0 } write %y[24*i0 + clamp($0, 8)*3 + i2] } }"#,
    );
    agree(
        r#"input %x f32[300, 40] input %i i32[300] output %y f32[8, 40] kernels {
            map [8, 40] "clear" { at { r0 = 0.0; yield r0 } write %y[40*i0 + i1] }
            scatter_add [300, 40] "add" { $0 = %i[i0] $1 = %x[40*i0 + i1]
            add { r0 = $1; yield r0 } write %y[clamp($0, 8)*40 + i1] } }"#,
    );
}

#[test]
fn sorts_and_scans() {
    for way in ["rising", "falling"] {
        for (dtype, n) in [("f32", 7), ("i32", 3000), ("bool", 20), ("f32", 3000)] {
            agree(&format!(
                r#"input %x {dtype}[5, {n}] output %y i32[5, {n}] kernels {{ argsort [5, {n}] {way} "sort" {{
                $0 = %x[{n}*i0 + i1] key {{ r0 = $0; yield r0 }} write %y[{n}*i0 + i1] }} }}"#
            ));
        }
    }
    for (dtype, op) in [("f32", "sum"), ("i32", "sum"), ("i32", "prod"), ("f32", "max"), ("bool", "min")] {
        agree(&format!(
            r#"input %x {dtype}[1200, 6] output %y {dtype}[1200, 6] kernels {{ scan [6, 1200] {op} "scan" {{
            $0 = %x[i0 + 6*i1] value {{ r0 = $0; yield r0 }} write %y[i0 + 6*i1] }} }}"#
        ));
    }
    let b = bound(
        "",
        r#"input %x f32[2, 4] output %y i32[2, 4] kernels { argsort [2, 4] falling "sort" {
            $0 = %x[4*i0 + i1] key { r0 = $0; yield r0 } write %y[4*i0 + i1] } }"#,
    );
    let x = Tensor::f32(&[2, 4], vec![3.0, f32::NAN, 1.0, 3.0, 0.0, -0.0, -1.0, 5.0]).unwrap();
    check_with(&b, &[("x".to_owned(), x)].into(), &Tensors::new(), 0.0, "sort");
}

#[test]
fn loops_setup_and_constants() {
    agree(
        r#"input %x f32[2] output %y f32[2] temp %n f32[2] temp %i i32[] temp %done bool[]
        kernels { loop [] count 100 "rounds" {
            index %i carry %y from %x then %n until %done every 2
            map [2] "double" { $0 = %y[i0] at { r0 = $0; r1 = add r0 r0; yield r1 } write %n[i0] }
            map [] "done" { $0 = %i[0] at { r0 = 2; r1 = $0; r2 = le r0 r1; yield r2 } write %done[0] } } }"#,
    );
    let b = bound(
        "weight w f32[5]",
        r#"input %x f32[3, 5] stored %w f32[5] const %c f32[5] = 0.5, 0*3, 2.0 temp %s f32[5] output %y f32[3, 5]
        setup { map [5] "fold" { $0 = %w[i0] $1 = %c[i0] at { r0 = $0; r1 = $1; r2 = add r0 r1; yield r2 } write %s[i0] } }
        kernels { map [3, 5] "use" { $0 = %x[5*i0 + i1] $1 = %s[i1] at { r0 = $0; r1 = $1; r2 = mul r0 r1; yield r2 }
            write %y[5*i0 + i1] }
            } "#,
    );
    check(&b, 3, 1e-6, "setup");
    let b = bound(
        "state w f32[5]",
        r#"stored %w f32[5] output %y f32[5] kernels {
            map [5] "step" { $0 = %w[i0] at { r0 = $0; r1 = 0.5; r2 = mul r0 r1; yield r2 } write %w[i0] }
            map [5] "use" { $0 = %w[i0] at { r0 = $0; yield r0 } write %y[i0] } }"#,
    );
    check(&b, 3, 1e-6, "a stored tensor that changes");
}

#[test]
fn contractions_in_setup_that_load_nothing_on_one_side() {
    // The window of a constant, as it comes out of the passes: inside 0.5, outside 0.
    agree(
        r#"const %w f32[5] = 0.5, -1.0, 2.0, 0.25, -3.0 temp %s f32[3, 2, 7, 5] temp %one f32[] output %y f32[3, 2, 7, 5]
        setup {
        dot [3, 2, 7, 5, 1] as [batch, m, m, m, k] "window" { $0 = %w[i0]
            a { r0 = 0.5; r1 = index 2; r2 = -1; r3 = add r1 r2; r4 = 0; r5 = le r4 r3; r6 = 5; r7 = lt r3 r6
                r8 = and r5 r7; r9 = index 3; r10 = 3; r11 = lt r9 r10; r12 = and r8 r11; r13 = 0.0
                r14 = select r12 r0 r13; yield r14 }
            b { r0 = $0; yield r0 } out { r0 = slot 0; yield r0 } write %s[70*i0 + 35*i1 + 5*i2 + i3] }
        dot [1] as [k] "constants" { a { r0 = -1.375; yield r0 } b { r0 = -1.375; yield r0 }
            out { r0 = slot 0; r1 = 2.0; r2 = add r0 r1; yield r2 } write %one[0] } }
        kernels { map [3, 2, 7, 5] "use" { $0 = %s[70*i0 + 35*i1 + 5*i2 + i3] $1 = %one[0]
            at { r0 = $0; r1 = $1; r2 = add r0 r1; yield r2 } write %y[70*i0 + 35*i1 + 5*i2 + i3] } }"#,
    );
}

#[test]
fn matrices() {
    agree(
        r#"input %x f32[4, 6, 6] output %w f32[4, 6] temp %a f32[4, 6, 6] temp %v f32[4, 6, 6] output %l f32[4, 6, 6]
        output %z f32[4, 6, 6] kernels {
        dot [4, 6, 6, 6] as [batch, m, n, k] "gram" { $0 = %x[36*i0 + 6*i1 + i3] $1 = %x[36*i0 + 6*i2 + i3]
            a { r0 = $0; yield r0 } b { r0 = $1; yield r0 }
            out { r0 = slot 0; r1 = index 1; r2 = index 2; r3 = eq r1 r2; r4 = f32 r3; r5 = add r0 r4; yield r5 }
            write %a[36*i0 + 6*i1 + i2] }
        eigh [4, 6, 6] "eigh" { $0 = %a[36*i0 + 6*i1 + i2] write %w[6*i0 + i2] write %v[36*i0 + 6*i1 + i2] }
        map [4, 6, 6] "size" { $0 = %v[36*i0 + 6*i1 + i2] at { r0 = $0; r1 = mul r0 r0; yield r1 } write %z[36*i0 + 6*i1 + i2] }
        cholesky [4, 6, 6] "chol" { $0 = %a[36*i0 + 6*i1 + i2] write %l[36*i0 + 6*i1 + i2] } }"#,
    );
}

#[test]
fn draws_are_the_definition() {
    agree(
        r#"output %y f32[6, 700] kernels { map [6, 700] "draw" {
            at { r0 = index 0; r1 = index 1; r2 = draw 0x123456789abcdef lane 2 element r1 sample r0
                 r3 = draw 0x123456789abcdef lane 1 element r1 sample r0; r4 = add r2 r3; yield r4 }
            write %y[700*i0 + i1] } }"#,
    );
}
