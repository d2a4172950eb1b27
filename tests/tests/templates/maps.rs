//! Plans of maps, row reductions and draws.
//!
//! In: nothing. Out: plans. Invariants: every scalar operation stands in one. Imports: [`super::Case`].

use uad_plan::scalar::{Rule, SCALAR_OPS};
use uad_plan::{DType, ScalarOp};

use super::Case;

const SOFTMAX: &str = r#"
    reduce max { r0 = $0; yield r0 }
    reduce sum { r0 = $0; r1 = slot 0; r2 = sub r0 r1; r3 = exp r2; yield r3 }
    at 0 { r0 = $0; r1 = slot 0; r2 = sub r0 r1; r3 = exp r2; r4 = slot 1; r5 = div r3 r4; yield r5 }"#;

/// All.
pub fn cases() -> Vec<Case> {
    let mut all = views();
    all.extend(scalars());
    all.extend(rows());
    all.extend(reductions());
    all
}

fn views() -> Vec<Case> {
    let bodies = [
        r#"input %x f32[3] output %y f32[5] kernels { map [5] "pad" {
            $0 = %x[i0 - 1] if 0 <= i0 - 1 < 3 else -7
            at { r0 = $0; r1 = index 0; r2 = f32 r1; r3 = fma r0 r0 r2; yield r3 } write %y[i0] } }"#,
        r#"input %x f32[20, 30] input %c f32[30] output %y f32[30, 20] kernels { map [30, 20] "transpose" {
            $0 = %x[i0 + 30*i1] $1 = %c[i0]
            at { r0 = $0; r1 = $1; r2 = mul r0 r1; r3 = exp r2; yield r3 } write %y[20*i0 + i1] } }"#,
        r#"input %x f32[7, 211] input %m bool[211] output %y f32[7, 211] output %z bool[7, 211] kernels {
            map [7, 211] "mask" { $0 = %x[211*i0 + i1] $1 = %m[i1] $2 = %x[210 - i1 + 211*i0]
            at { r0 = $0; r1 = $1; r2 = $2; r3 = select r1 r0 r2; r4 = tanh r3; r5 = lt r0 r2; yield r4 r5 }
            write %y[211*i0 + i1] write %z[211*i0 + i1] } }"#,
        r#"input %x f32[4, 9, 11, 3] output %y f32[4, 13, 15, 3] kernels { map [4, 13, 15, 3] "pad2" {
            $0 = %x[297*i0 + 33*i1 + 3*i2 + i3 - 72] if 0 <= i1 - 2 < 9, 0 <= i2 - 2 < 11 else 0.5
            at { r0 = $0; r1 = index 2; r2 = f32 r1; r3 = add r0 r2; yield r3 }
            write %y[585*i0 + 45*i1 + 3*i2 + i3] } }"#,
        r#"output %y f32[] kernels { map [] "one" { at { r0 = 2.5; yield r0 } write %y[0] } }"#,
        r#"input %x f32[0, 5] output %y f32[0, 5] kernels { map [0, 5] "nothing" { $0 = %x[5*i0 + i1]
            at { r0 = $0; r1 = exp r0; yield r1 } write %y[5*i0 + i1] } }"#,
        r#"input %x f32[8, 60] input %i i32[50] output %y f32[50, 60] kernels { map [50, 60] "rows" {
            $0 = %i[i0] $1 = %x[clamp($0, 8)*60 + i1] at { r0 = $1; r1 = neg r0; yield r1 } write %y[60*i0 + i1] } }"#,
        r#"input %x f32[4, 8] input %i i32[4, 150] output %y f32[4, 150] kernels { map [4, 150] "along" {
            $0 = %i[150*i0 + i1] $1 = %x[8*i0 + clamp($0, 8)] if 0 <= i1 - 3 < 140 else 9
            at { r0 = $1; yield r0 } write %y[150*i0 + i1] } }"#,
        r#"input %x f32[9] input %i i32[9] input %j i32[6] output %y f32[6] kernels { map [6] "twice" {
            $0 = %j[i0] $1 = %i[clamp($0, 9)] $2 = %x[clamp($1, 9)] at { r0 = $2; yield r0 } write %y[i0] } }"#,
        r#"output %y f32[6, 70] kernels { map [6, 70] "draw" {
            at { r0 = index 0; r1 = index 1; r2 = draw 0x123456789abcdef lane 2 element r1 sample r0
                 r3 = draw 0x123456789abcdef lane 1 element r1 sample r0; r4 = add r2 r3; yield r4 }
            write %y[70*i0 + i1] } }"#,
        // A product and its halves: both results read what is changed in place.
        r#"input %x f32[300] temp %t f32[300] output %y f32[300] output %z f32[300] kernels {
            map [300] "a" { $0 = %x[i0] at { r0 = $0; yield r0 } write %t[i0] }
            map [300] "in place" { $0 = %t[i0] at { r0 = $0; r1 = 0.5; r2 = mul r0 r1; r3 = sub r0 r1; yield r2 r3 }
                write %t[i0] write %z[i0] }
            map [300] "b" { $0 = %t[i0] at { r0 = $0; yield r0 } write %y[i0] } }"#,
    ];
    let mut all: Vec<Case> = bodies.into_iter().map(|b| Case::new(b, 2e-6)).collect();
    let mut kept = Case::new(
        r#"stored %w f32[5] output %y f32[5] kernels {
            map [5] "step" { $0 = %w[i0] at { r0 = $0; r1 = 0.5; r2 = mul r0 r1; yield r2 } write %w[i0] }
            map [5] "use" { $0 = %w[i0] at { r0 = $0; yield r0 } write %y[i0] } }"#,
        1e-6,
    );
    kept.stored = "weight w f32[5]".to_owned();
    all.push(kept);
    all
}

/// Every scalar operation on every dtype that it takes.
fn scalars() -> Vec<Case> {
    let mut all = Vec::new();
    for op in SCALAR_OPS {
        let types: &[DType] = match op.rule() {
            Rule::Number => &[DType::F32, DType::I32],
            Rule::Float => &[DType::F32],
            Rule::Compare | Rule::Cast(_) => &[DType::F32, DType::I32, DType::Bool],
            Rule::Logic => &[DType::Bool],
            Rule::Bits => &[DType::I32],
            Rule::Select => &[DType::F32, DType::I32, DType::Bool],
        };
        for dtype in types {
            let mut of = vec![*dtype; op.arity()];
            if op.rule() == Rule::Select {
                of[0] = DType::Bool;
            }
            let result = op.result(&of).unwrap();
            let declared: String = of.iter().enumerate().map(|(n, d)| format!("input %x{n} {d}[97] ")).collect();
            let reads: String = (0..of.len()).map(|n| format!("${n} = %x{n}[i0] ")).collect();
            let (loads, args, next) = numbered(&of, *op);
            let name = op.name();
            all.push(Case::new(
                format!(
                    "{declared} output %y {result}[97] kernels {{ map [97] \"{name}\" {{ {reads}
                    at {{ {loads} r{next} = {name}{args}; yield r{next} }} write %y[i0] }} }}"
                ),
                4e-6,
            ));
        }
    }
    all
}

/// Loads of the operands, the arguments, the next register. Divisors of f32 stay away from 0, where small differences are
/// large ones.
fn numbered(of: &[DType], op: ScalarOp) -> (String, String, usize) {
    let (mut text, mut args, mut next) = (String::new(), String::new(), 0);
    for (n, d) in of.iter().enumerate() {
        text.push_str(&format!("r{next} = ${n}; "));
        let away = n == 1 && *d == DType::F32 && matches!(op, ScalarOp::Div | ScalarOp::Rem);
        if away || (n == 0 && matches!(op, ScalarOp::Log | ScalarOp::Sqrt)) {
            text.push_str(&format!(
                "r{0} = mul r{next} r{next}; r{1} = 0.25; r{2} = add r{0} r{1}; ",
                next + 1,
                next + 2,
                next + 3
            ));
            next += 3;
        }
        args.push_str(&format!(" r{next}"));
        next += 1;
    }
    (text, args, next)
}

fn rows() -> Vec<Case> {
    let mut all = Vec::new();
    for n in [1, 5, 17, 49, 128, 1025, 1500] {
        all.push(format!(
            r#"input %x f32[13, {n}] output %y f32[13, {n}] kernels {{ rows [13, {n}] inner 1 "softmax" {{
                $0 = %x[{n}*i0 + i1] {SOFTMAX} write %y[{n}*i0 + i1] }} }}"#
        ));
    }
    for n in [3, 40] {
        all.push(format!(
            r#"input %x f32[3, {n}, 7] output %y f32[3, {n}, 7] kernels {{ rows [3, 7, {n}] inner 1 "softmax" {{
                $0 = %x[{n}*7*i0 + i1 + 7*i2] {SOFTMAX} write %y[{n}*7*i0 + i1 + 7*i2] }} }}"#
        ));
    }
    all.push(
        r#"input %x f32[2, 15, 15, 24] output %y f32[2, 8, 8, 24] kernels { rows [2, 8, 8, 24, 3, 3] inner 2 "pool" {
            $0 = %x[5400*i0 + 720*i1 + 48*i2 + i3 + 360*i4 + 24*i5 - 384] if 0 <= 2*i1 + i4 - 1 < 15, 0 <= 2*i2 + i5 - 1 < 15 else -inf
            reduce max { r0 = $0; yield r0 } emit 0 { r0 = slot 0; yield r0 }
            write %y[1536*i0 + 192*i1 + 24*i2 + i3] } }"#
            .to_owned(),
    );
    // Few long rows, cut into pieces; many rows across memory.
    all.push(
        r#"input %x f32[2, 9001] output %y f32[2] output %a i32[2] output %b i32[2] kernels { rows [2, 9001] inner 1 "cut" {
            $0 = %x[9001*i0 + i1]
            reduce sum { r0 = $0; r1 = mul r0 r0; yield r1 } reduce argmax { r0 = $0; yield r0 } reduce argmin { r0 = $0; yield r0 }
            emit 0 { r0 = slot 0; r1 = 9001.0; r2 = div r0 r1; yield r2 } emit 1 { r0 = slot 1; yield r0 } emit 2 { r0 = slot 2; yield r0 }
            write %y[i0] write %a[i0] write %b[i0] } }"#
            .to_owned(),
    );
    all.push(
        r#"input %x f32[37, 4100] output %y f32[4100] kernels { rows [4100, 37] inner 1 "columns" {
            $0 = %x[i0 + 4100*i1] reduce sum { r0 = $0; yield r0 }
            emit 0 { r0 = slot 0; r1 = 37.0; r2 = div r0 r1; yield r2 } write %y[i0] } }"#
            .to_owned(),
    );
    all.push(
        r#"input %x f32[50, 96] input %g f32[96] output %y f32[50, 96] kernels { rows [50, 96] inner 1 "norm" {
            $0 = %x[96*i0 + i1] $1 = %g[i1]
            reduce sum { r0 = $0; yield r0 }
            reduce sum { r0 = $0; r1 = slot 0; r2 = 96.0; r3 = div r1 r2; r4 = sub r0 r3; r5 = mul r4 r4; yield r5 }
            at 0 { r0 = $0; r1 = slot 0; r2 = 96.0; r3 = div r1 r2; r4 = sub r0 r3; r5 = slot 1; r6 = div r5 r2
                   r7 = 0.00001; r8 = add r6 r7; r9 = sqrt r8; r10 = div r4 r9; r11 = $1; r12 = mul r10 r11; yield r12 }
            write %y[96*i0 + i1] } }"#
            .to_owned(),
    );
    all.push(
        r#"input %x f32[0, 7] output %y f32[0] kernels { rows [0, 7] inner 1 "no rows" { $0 = %x[7*i0 + i1]
            reduce sum { r0 = $0; yield r0 } emit 0 { r0 = slot 0; yield r0 } write %y[i0] } }"#
            .to_owned(),
    );
    all.into_iter().map(|b| Case::new(b, 1e-5)).collect()
}

fn reductions() -> Vec<Case> {
    let mut all = Vec::new();
    for (dtype, ops) in [
        ("f32", "sum prod max min argmax argmin"),
        ("i32", "sum prod max min argmax argmin"),
        ("bool", "max min argmax argmin"),
    ] {
        for op in ops.split(' ') {
            let out = if op.starts_with("arg") { "i32" } else { dtype };
            for n in [0, 13, 70, 1300] {
                if op == "prod" && n > 100 {
                    continue;
                }
                all.push(Case::new(
                    format!(
                        r#"input %x {dtype}[6, {n}] output %y {out}[6] kernels {{ rows [6, {n}] inner 1 "{op}" {{
                        $0 = %x[{n}*i0 + i1] reduce {op} {{ r0 = $0; yield r0 }} emit 0 {{ r0 = slot 0; yield r0 }} write %y[i0] }} }}"#
                    ),
                    1e-4,
                ));
            }
        }
    }
    // Angles of every size.
    let mut case = Case::new(
        r#"input %x f32[80] output %y f32[80] output %z f32[80] kernels { map [80] "angles" {
        $0 = %x[i0] at { r0 = $0; r1 = sin r0; r2 = cos r0; yield r1 r2 } write %y[i0] write %z[i0] } }"#,
        2e-7,
    );
    let x = (0..80).map(|i| 2.9f32.powi(i) * if i % 2 == 0 { 1.0 } else { -1.0 }).collect();
    case.inputs.insert("x".to_owned(), uad_plan::tensor::Tensor::f32(&[80], x).unwrap());
    all.push(case);
    // NaN wins.
    for op in ["max", "min", "argmax", "argmin"] {
        let out = if op.starts_with("arg") { "i32" } else { "f32" };
        let mut case = Case::new(
            format!(
                r#"input %x f32[4, 100] output %y {out}[4] kernels {{ rows [4, 100] inner 1 "{op}" {{
                $0 = %x[100*i0 + i1] reduce {op} {{ r0 = $0; yield r0 }} emit 0 {{ r0 = slot 0; yield r0 }} write %y[i0] }} }}"#
            ),
            0.0,
        );
        let mut x: Vec<f32> = (0..400).map(|i| ((i * 7919) % 257) as f32).collect();
        (x[130], x[131], x[390]) = (f32::NAN, f32::NAN, f32::INFINITY);
        let x = uad_plan::tensor::Tensor::f32(&[4, 100], x).unwrap();
        case.inputs.insert("x".to_owned(), x);
        all.push(case);
    }
    all
}
