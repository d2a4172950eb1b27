//! Plans of contractions and attention.
//!
//! In: nothing. Out: plans. Invariants: every form of `dot` stands in one: tiles of every size, cut sums, thin products.
//! Imports: [`super::Case`].

use super::Case;

/// All.
pub fn cases() -> Vec<Case> {
    let mut all = products();
    all.extend(convolutions());
    all.extend(attention());
    all
}

fn products() -> Vec<Case> {
    let mut all: Vec<Case> = Vec::new();
    for (b, m, n, k) in [
        (1, 1, 1, 1),
        (1, 1, 17, 5),
        (1, 7, 1, 33),
        (1, 13, 48, 3),
        (3, 49, 65, 40),
        (1, 97, 130, 77),
        (2, 131, 257, 19),
        (1, 3, 0, 4),
        (1, 4, 5, 0),
        (0, 9, 9, 9),
        (2, 16, 16, 16),
        (1, 5, 8, 700),
        (1, 20, 24, 2100),
        (1, 9, 9, 0),
    ] {
        // Terms are up to 4 in magnitude and of both signs.
        let near = |body: String| Case::new(body, 2e-5 + 5e-8 * f64::from(k));
        for dtype in ["f32", "i32"] {
            if dtype == "i32" && k > 100 {
                continue;
            }
            all.push(near(format!(
                r#"input %x {dtype}[{b}, {m}, {k}] input %w {dtype}[{b}, {n}, {k}] input %c {dtype}[{n}] output %y {dtype}[{b}, {m}, {n}]
                kernels {{ dot [{b}, {m}, {n}, {k}] as [batch, m, n, k] "product" {{
                $0 = %x[{m}*{k}*i0 + {k}*i1 + i3] $1 = %w[{n}*{k}*i0 + {k}*i2 + i3] $2 = %c[i2]
                a {{ r0 = $0; yield r0 }} b {{ r0 = $1; yield r0 }}
                out {{ r0 = slot 0; r1 = $2; r2 = add r0 r1; r3 = max r2 r1; yield r3 }}
                write %y[{m}*{n}*i0 + {n}*i1 + i2] }} }}"#
            )));
        }
        // The second operand by columns, the result transposed, holes on both sides, two results.
        all.push(near(format!(
            r#"input %x f32[{b}, {m}, {k}] input %w f32[{b}, {k}, {n}] output %y f32[{b}, {n}, {m}] output %z bool[{b}, {n}, {m}]
            kernels {{ dot [{b}, {m}, {n}, {k}] as [batch, m, n, k] "product" {{
            $0 = %x[{m}*{k}*i0 + {k}*i1 + i3] $1 = %w[{n}*{k}*i0 + i2 + {n}*i3]
            a {{ r0 = $0; r1 = index 1; r2 = f32 r1; r3 = 0.01; r4 = mul r2 r3; r5 = add r0 r4; yield r5 }}
            b {{ r0 = $1; r1 = 0.5; r2 = mul r0 r1; yield r2 }}
            out {{ r0 = slot 0; r1 = 0.25; r2 = le r1 r0; r3 = 1000.0; r4 = lt r3 r0; yield r0 r4 }}
            write %y[{m}*{n}*i0 + i1 + {m}*i2] write %z[{m}*{n}*i0 + i1 + {m}*i2] }} }}"#
        )));
    }
    all.push(Case::new(
        r#"const %w f32[5] = 0.5, -1.0, 2.0, 0.25, -3.0 temp %one f32[] output %y f32[3] setup {
        dot [1] as [k] "constants" { a { r0 = -1.375; yield r0 } b { r0 = -1.375; yield r0 }
            out { r0 = slot 0; r1 = 2.0; r2 = add r0 r1; yield r2 } write %one[0] } }
        kernels { map [3] "use" { $0 = %w[i0] $1 = %one[0] at { r0 = $0; r1 = $1; r2 = add r0 r1; yield r2 } write %y[i0] } }"#,
        1e-6,
    ));
    all
}

fn convolutions() -> Vec<Case> {
    let mut all = Vec::new();
    // Channels last, weights (o kh kw c), padded; and the same with channels first in the result.
    for (b, c, h, w, o, k, s, p) in
        [(1, 3, 17, 15, 20, 7, 2, 3), (2, 16, 9, 7, 33, 3, 1, 1), (1, 24, 8, 8, 17, 1, 2, 0), (2, 5, 6, 6, 3, 5, 1, 2)]
    {
        let (oh, ow) = ((h + 2 * p - k) / s + 1, (w + 2 * p - k) / s + 1);
        let from = p * (w * c + c);
        for first in [false, true] {
            let to = if first {
                format!("{0}*{oh}*{ow}*i0 + {ow}*i1 + i2 + {oh}*{ow}*i3", o)
            } else {
                format!("{oh}*{ow}*{o}*i0 + {ow}*{o}*i1 + {o}*i2 + i3")
            };
            let shape = if first { format!("[{b}, {o}, {oh}, {ow}]") } else { format!("[{b}, {oh}, {ow}, {o}]") };
            all.push(format!(
                r#"input %x f32[{b}, {h}, {w}, {c}] input %w f32[{o}, {k}, {k}, {c}] output %y f32{shape}
                kernels {{ dot [{b}, {oh}, {ow}, {o}, {k}, {k}, {c}] as [m, m, m, n, k, k, k] "conv" {{
                $0 = %x[{hw}*i0 + {sh}*i1 + {sw}*i2 + {wc}*i4 + {c}*i5 + i6 - {from}] if 0 <= {s}*i1 + i4 - {p} < {h}, 0 <= {s}*i2 + i5 - {p} < {w}
                $1 = %w[{kkc}*i3 + {kc}*i4 + {c}*i5 + i6]
                a {{ r0 = $0; yield r0 }} b {{ r0 = $1; yield r0 }}
                out {{ r0 = slot 0; r1 = index 3; r2 = f32 r1; r3 = add r0 r2; r4 = 0.0; r5 = max r3 r4; yield r5 }}
                write %y[{to}] }} }}"#,
                hw = h * w * c, sh = s * w * c, sw = s * c, wc = w * c, kkc = k * k * c, kc = k * c,
            ));
        }
    }
    // Depthwise: channels are the batch, one result each.
    all.push(
        r#"input %x f32[2, 9, 8, 5] input %w f32[5, 3, 3] output %y f32[2, 9, 8, 5]
        kernels { dot [5, 2, 9, 8, 3, 3] as [batch, m, m, m, k, k] "depthwise" {
        $0 = %x[i0 + 360*i1 + 40*i2 + 5*i3 + 40*i4 + 5*i5 - 45] if 0 <= i2 + i4 - 1 < 9, 0 <= i3 + i5 - 1 < 8
        $1 = %w[9*i0 + 3*i4 + i5]
        a { r0 = $0; yield r0 } b { r0 = $1; yield r0 } out { r0 = slot 0; r1 = tanh r0; yield r1 }
        write %y[i0 + 360*i1 + 40*i2 + 5*i3] } }"#
            .to_owned(),
    );
    // A weight's gradient: guards on the summed axes, a long sum that is cut.
    all.push(
        r#"input %x f32[2, 16, 16, 9] input %g f32[2, 16, 16, 12] output %y f32[3, 3, 9, 12]
        kernels { dot [3, 3, 9, 12, 2, 16, 16] as [m, m, m, n, k, k, k] "by weight" {
        $0 = %x[144*i0 + 9*i1 + i2 + 2304*i4 + 144*i5 + 9*i6 - 153] if 0 <= i0 + i5 - 1 < 16, 0 <= i1 + i6 - 1 < 16
        $1 = %g[i3 + 3072*i4 + 192*i5 + 12*i6]
        a { r0 = $0; yield r0 } b { r0 = $1; yield r0 } out { r0 = slot 0; yield r0 }
        write %y[324*i0 + 108*i1 + 12*i2 + i3] } }"#
            .to_owned(),
    );
    all.into_iter().map(|b| Case::new(b, 1e-4)).collect()
}

fn attention() -> Vec<Case> {
    let mut all = Vec::new();
    for (b, t, s, d, e) in [
        (2, 3, 5, 4, 2),
        (1, 1, 1, 1, 1),
        (3, 37, 70, 16, 33),
        (1, 20, 33, 70, 20),
        (1, 5, 0, 4, 3),
        (0, 5, 4, 4, 3),
        (70, 33, 34, 3, 5),
        (1, 18, 40, 8, 150),
    ] {
        for mask in ["r5 = eq r3 r4", "r5 = lt r3 r4"] {
            all.push(format!(
                r#"input %q f32[{b}, {t}, {d}] input %k f32[{b}, {s}, {d}] input %v f32[{b}, {s}, {e}] output %y f32[{b}, {t}, {e}]
                kernels {{ attention [{b}, {t}, {s}, {d}, {e}] as [batch, t, s, d, e] "mix" {{
                $0 = %q[{t}*{d}*i0 + {d}*i1 + i3] $1 = %k[{s}*{d}*i0 + {d}*i2 + i3] $2 = %v[{s}*{e}*i0 + {e}*i2 + i4]
                q {{ r0 = $0; yield r0 }} k {{ r0 = $1; yield r0 }}
                score {{ r0 = slot 0; r1 = 0.5; r2 = mul r0 r1; r3 = index 1; r4 = index 2; {mask}; r6 = -inf
                        r7 = select r5 r6 r2; yield r7 }}
                v {{ r0 = $2; yield r0 }} out {{ r0 = slot 0; r1 = neg r0; yield r1 }}
                write %y[{t}*{e}*i0 + {e}*i1 + i4] }} }}"#
            ));
        }
    }
    all.into_iter().map(|b| Case::new(b, 1e-5)).collect()
}
