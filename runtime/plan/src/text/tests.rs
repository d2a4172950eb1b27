//! Tests of the text form: what is printed is read back.
//!
//! In: hand-written plans. Out: assertions. Invariants: none. Imports: [`super`].

use super::parse;
use crate::verify::verify;

pub(crate) const TINY: &str = r#"uadp 1
plan "tiny"
stored {
  weight linear.w f32[4, 3]
  state "odd name" i32[]
}
entry score(b) {
  samples b
  require b <= 64 "batches are small (tiny.uad:3)"
  input %x f32[b, 3]
  stored %linear.w f32[4, 3]
  const %bias f32[5] = 0.1, 0*3, -1e-7
  const %exact f32[2] = 0.1d, inf
  output %y f32[b, 4]
  temp %t f32[b, 4] strides [1, b]
  temp %w2 f32[4, 3]
  setup {
    map [4, 3] "double (tiny.uad:4)" {
      $0 = %linear.w[3*i0 + i1]
      at { r0 = $0; r1 = add r0 r0; yield r1 }
      write %w2[3*i0 + i1]
    }
  }
  kernels {
    dot [b, 4, 3] as [m, n, k] "linear (tiny.uad:5)" {
      $0 = %x[3*i0 + i2]
      $1 = %w2[3*i1 + i2]
      $2 = %bias[i1]
      a { r0 = $0; yield r0 }
      b { r0 = $1; yield r0 }
      out { r0 = slot 0; r1 = $2; r2 = add r0 r1; yield r2 }
      write %t[i0 + b*i1]
    }
    rows [b, 4] inner 1 "softmax \"x\"" {
      $0 = %t[i0 + b*i1] if 0 <= i1 - 1 < 3, 0 <= -i0 + b - 1 < b else -inf
      reduce max { r0 = $0; yield r0 }
      reduce sum { r0 = $0; r1 = slot 0; r2 = sub r0 r1; r3 = exp r2; yield r3 }
      at 0 {
        r0 = $0
        r1 = slot 0
        r2 = sub r0 r1
        r3 = exp r2
        r4 = slot 1
        r5 = div r3 r4
        r6 = 0.5
        r7 = -3
        r8 = size 2*b + 1
        r9 = index 1
        r10 = true
        r11 = f32 r7
        yield r5
      }
      write %y[4*i0 + i1]
    }
  }
}
"#;

#[test]
fn what_is_written_is_what_was_read() {
    let plan = parse(TINY).unwrap();
    assert_eq!(plan.to_string(), TINY);
    verify(plan).unwrap();
}

#[test]
fn errors_have_a_place() {
    let e = parse("uadp 1\nplan \"x\"\nentry e(b) {\n  temp %t f33[b]\n}").unwrap_err();
    assert_eq!((e.line, e.column, e.message.as_str()), (4, 14, "`f33` is no element type"));
    assert_eq!(parse("uadp 2").unwrap_err().message, "version 2 of the plan format is unknown; this reader knows 1");
    assert!(parse("").is_err());
    assert!(parse("uadp 1 plan \"x\" €").unwrap_err().message.contains("character"));
}

#[test]
fn nesting_and_sizes_are_bounded() {
    let dim = |d: &str| parse(&format!("uadp 1 plan \"x\" entry e() {{ temp %t f32[{d}] }}"));
    assert!(dim(&"(".repeat(100_000)).unwrap_err().message.contains("deep"));
    assert!(dim(&vec!["floor(a + b, 7)"; 2000].join("*")).unwrap_err().message.contains("factors"));
    assert!(dim(&vec!["(a + b + c + d)"; 40].join("*")).unwrap_err().message.contains("factors"));
    let constant =
        |c: &str| parse(&format!("uadp 1 plan \"x\" entry e() {{ const %t f32[{c} }}")).map_err(|e| e.message);
    assert!(constant("2, 3] = 0*4, 1, 2").is_ok());
    for huge in ["1] = 0*99999999999", "n] = 1, 0*18446744073709551615", "99999999999] = 0*99999999999"] {
        assert!(constant(huge).unwrap_err().contains("constants of the plan"));
    }
    let deep = format!("uadp 1 plan \"x\" entry e() {{ kernels {{ {}", "loop [] count 1 \"\" {".repeat(1000));
    assert!(parse(&deep).unwrap_err().message.contains("deep"));
}

#[test]
fn numbers_are_exact() {
    let values = [0.0, -0.0, 1e300, 5e-324, f64::MIN, 0.1, f64::from(0.1f32), f64::INFINITY, f64::NEG_INFINITY];
    let values: Vec<f64> = values.into_iter().chain([f64::NAN, f64::from_bits(0xfff8_0000_0000_0001), -7.0]).collect();
    let mut plan = parse(TINY).unwrap();
    for b in &mut plan.entries[0].buffers {
        if let crate::BufferKind::Const(v) = &mut b.kind {
            v.clone_from(&values);
            b.shape = vec![crate::Dim::int(values.len() as i64)];
        }
    }
    let again = parse(&plan.to_string()).unwrap();
    let crate::BufferKind::Const(read) = &again.entries[0].buffers[2].kind else { panic!() };
    let bits = |v: &[f64]| v.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(read), bits(&values));
}

#[test]
fn a_bundle_keeps_the_text() {
    let plan = parse(TINY).unwrap();
    assert_eq!(super::from_bytes(&super::to_bytes(&plan)), Ok(plan));
    assert_eq!(super::from_bytes(b"uadp \xff").unwrap_err().message, "byte 5 is not UTF-8");
}

#[test]
fn a_bound_entry_prints_with_its_numbers() {
    let plan = verify(parse(TINY).unwrap()).unwrap();
    let bound = crate::bind(&plan, "score", &crate::Binding::from([("b".to_string(), 5)])).unwrap();
    let text = bound.entry.to_string();
    assert!(text.contains("temp %t f32[5, 4] strides [1, 5]"), "{text}");
    assert!(text.contains("if 0 <= i1 - 1 < 3, 0 <= -i0 + 4 < 5 else -inf"), "{text}");
}
