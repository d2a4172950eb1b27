//! Plans of scatters, sorts, scans, loops and matrices.
//!
//! In: nothing. Out: plans. Invariants: none. Imports: [`super::Case`].

use uad_plan::tensor::Tensor;

use super::Case;

/// All.
pub fn cases() -> Vec<Case> {
    let mut all = scatters();
    all.extend(sorts());
    all.extend(scans());
    all.extend(loops());
    all.extend(matrices());
    all
}

fn scatters() -> Vec<Case> {
    let bodies = [
        r#"input %x f32[6, 50, 3] input %i i32[6, 50] output %y f32[6, 8, 3] kernels {
            map [6, 8, 3] "clear" { at { r0 = 1.0; yield r0 } write %y[24*i0 + 3*i1 + i2] }
            scatter_add [6, 50, 3] "add" { $0 = %i[50*i0 + i1] $1 = %x[150*i0 + 3*i1 + i2]
            add { r0 = $1; yield r0 } write %y[24*i0 + clamp($0, 8)*3 + i2] } }"#,
        r#"input %x f32[300, 40] input %i i32[300] output %y f32[8, 40] kernels {
            map [8, 40] "clear" { at { r0 = 0.0; yield r0 } write %y[40*i0 + i1] }
            scatter_add [300, 40] "add" { $0 = %i[i0] $1 = %x[40*i0 + i1]
            add { r0 = $1; yield r0 } write %y[clamp($0, 8)*40 + i1] } }"#,
        // Overlapping windows: targets of one axis fall on those of another.
        r#"input %x i32[20, 5] input %i i32[20] output %y i32[12] kernels {
            map [12] "clear" { at { r0 = 0; yield r0 } write %y[i0] }
            scatter_add [20, 5] "add" { $0 = %i[i0] $1 = %x[5*i0 + i1]
            add { r0 = $1; yield r0 } write %y[clamp($0, 8) + i1] } }"#,
        r#"input %i i32[3000] output %y f32[7] kernels {
            map [7] "clear" { at { r0 = 0.5; yield r0 } write %y[i0] }
            scatter_add [3000] "count" { $0 = %i[i0] add { r0 = 1.0; yield r0 } write %y[6 - clamp($0, 7)] } }"#,
        r#"input %i i32[0] output %y f32[7] kernels {
            map [7] "clear" { at { r0 = 0.5; yield r0 } write %y[i0] }
            scatter_add [0] "nothing" { $0 = %i[i0] add { r0 = 1.0; yield r0 } write %y[clamp($0, 7)] } }"#,
    ];
    bodies.into_iter().map(|b| Case::new(b, 1e-5)).collect()
}

fn sorts() -> Vec<Case> {
    let mut all = Vec::new();
    for way in ["rising", "falling"] {
        for dtype in ["f32", "i32", "bool"] {
            for n in [1, 2, 33, 300, 5000] {
                let rows = if n > 1000 { 2 } else { 5 };
                all.push(Case::new(
                    format!(
                        r#"input %x {dtype}[{rows}, {n}] output %y i32[{rows}, {n}] kernels {{ argsort [{rows}, {n}] {way} "sort" {{
                        $0 = %x[{n}*i0 + i1] key {{ r0 = $0; yield r0 }} write %y[{n}*i0 + i1] }} }}"#
                    ),
                    0.0,
                ));
            }
        }
        let mut special = Case::new(
            format!(
                r#"input %x f32[2, 5] output %y i32[2, 5] kernels {{ argsort [2, 5] {way} "sort" {{
                $0 = %x[5*i0 + i1] key {{ r0 = $0; yield r0 }} write %y[5*i0 + i1] }} }}"#
            ),
            0.0,
        );
        let x = vec![3.0, f32::NAN, -1.0, 3.0, f32::NEG_INFINITY, 0.0, -0.0, f32::INFINITY, -f32::NAN, 0.0];
        special.inputs.insert("x".to_owned(), Tensor::f32(&[2, 5], x).unwrap());
        all.push(special);
    }
    all
}

fn scans() -> Vec<Case> {
    let mut all = Vec::new();
    for (dtype, ops) in [("f32", "sum prod max min"), ("i32", "sum prod max min"), ("bool", "max min")] {
        for op in ops.split(' ') {
            for n in [1, 32, 77] {
                if op == "prod" && dtype == "f32" && n > 40 {
                    continue;
                }
                all.push(Case::new(
                    format!(
                        r#"input %x {dtype}[9, {n}] output %y {dtype}[9, {n}] kernels {{ scan [9, {n}] {op} "run" {{
                        $0 = %x[{n}*i0 + i1] value {{ r0 = $0; yield r0 }} write %y[{n}*i0 + i1] }} }}"#
                    ),
                    1e-5,
                ));
            }
        }
    }
    all
}

fn loops() -> Vec<Case> {
    let bodies = [
        // Stops early, looked at every second round.
        r#"input %x f32[2] output %y f32[2] temp %n f32[2] temp %i i32[] temp %done bool[]
        kernels { loop [] count 40 "rounds" {
            index %i carry %y from %x then %n until %done every 2
            map [2] "double" { $0 = %y[i0] at { r0 = $0; r1 = add r0 r0; yield r1 } write %n[i0] }
            map [] "done" { $0 = %i[0] at { r0 = 2; r1 = $0; r2 = le r0 r1; yield r2 } write %done[0] } } }"#,
        // A fixed count, of nothing too.
        r#"input %x f32[9] output %y f32[9] temp %n f32[9]
        kernels { loop [] count 7 "rounds" { carry %y from %x then %n
            rows [9, 9] inner 1 "mean" { $0 = %y[i1] reduce sum { r0 = $0; yield r0 }
                emit 0 { r0 = slot 0; r1 = 0.2; r2 = mul r0 r1; r3 = index 0; r4 = f32 r3; r5 = add r2 r4; yield r5 } write %n[i0] } } } "#,
        r#"input %x f32[9] output %y f32[9] temp %n f32[9]
        kernels { loop [] count 0 "no rounds" { carry %y from %x then %n
            map [9] "double" { $0 = %y[i0] at { r0 = $0; r1 = add r0 r0; yield r1 } write %n[i0] } } } "#,
        // A loop that stops early inside of one that stops early.
        r#"input %x f32[2] output %y f32[2] temp %n f32[2] temp %i i32[] temp %j i32[] temp %z f32[2] temp %m f32[2] temp %done bool[] temp %out bool[]
        kernels { loop [] count 9 "outer" {
            index %i carry %y from %x then %n until %out every 1
            loop [] count 9 "inner" { index %j carry %z from %y then %m until %done every 1
                map [2] "add" { $0 = %z[i0] at { r0 = $0; r1 = 1.0; r2 = add r0 r1; yield r2 } write %m[i0] }
                map [] "done" { $0 = %j[0] $1 = %i[0] at { r0 = $0; r1 = $1; r2 = le r1 r0; yield r2 } write %done[0] } }
            map [2] "next" { $0 = %z[i0] at { r0 = $0; yield r0 } write %n[i0] }
            map [] "end" { $0 = %i[0] at { r0 = 3; r1 = $0; r2 = le r0 r1; yield r2 } write %out[0] } } }"#,
    ];
    bodies.into_iter().map(|b| Case::new(b, 1e-5)).collect()
}

fn matrices() -> Vec<Case> {
    let mut all = Vec::new();
    for (count, n) in [(4, 6), (3, 1), (1, 40), (2, 3), (0, 4)] {
        let nn = n * n;
        all.push(Case::new(
            format!(
                r#"input %x f32[{count}, {n}, {n}] output %w f32[{count}, {n}] temp %a f32[{count}, {n}, {n}] temp %v f32[{count}, {n}, {n}]
                output %l f32[{count}, {n}, {n}] output %z f32[{count}, {n}, {n}] kernels {{
                dot [{count}, {n}, {n}, {n}] as [batch, m, n, k] "gram" {{ $0 = %x[{nn}*i0 + {n}*i1 + i3] $1 = %x[{nn}*i0 + {n}*i2 + i3]
                    a {{ r0 = $0; yield r0 }} b {{ r0 = $1; yield r0 }}
                    out {{ r0 = slot 0; r1 = index 1; r2 = index 2; r3 = eq r1 r2; r4 = f32 r3; r5 = add r0 r4; yield r5 }}
                    write %a[{nn}*i0 + {n}*i1 + i2] }}
                eigh [{count}, {n}, {n}] "eigh" {{ $0 = %a[{nn}*i0 + {n}*i1 + i2] write %w[{n}*i0 + i2] write %v[{nn}*i0 + {n}*i1 + i2] }}
                map [{count}, {n}, {n}] "size" {{ $0 = %v[{nn}*i0 + {n}*i1 + i2] at {{ r0 = $0; r1 = mul r0 r0; yield r1 }} write %z[{nn}*i0 + {n}*i1 + i2] }}
                cholesky [{count}, {n}, {n}] "chol" {{ $0 = %a[{nn}*i0 + {n}*i1 + i2] write %l[{nn}*i0 + {n}*i1 + i2] }} }}"#
            ),
            2e-4,
        ));
    }
    all
}
