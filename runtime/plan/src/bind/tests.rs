//! Tests of binding.
//!
//! In: plans as text. Out: assertions. Invariants: none. Imports: [`super`].

use super::*;
use crate::text::{parse, tests::TINY};
use crate::verify::verify;

fn bound(text: &str, dims: &[(&str, i64)]) -> Result<Bound, BindError> {
    let plan = verify(parse(text).unwrap()).unwrap();
    let dims = dims.iter().map(|(n, v)| (n.to_string(), *v)).collect();
    bind(&plan, "score", &dims)
}

#[test]
fn tiny() {
    let b = bound(TINY, &[("b", 5), ("unused", -1)]).unwrap();
    assert_eq!(b.dims, BTreeMap::from([("b".to_string(), 5)]));
    assert_eq!(b.inputs[0].shape, [5, 3]);
    assert_eq!(b.outputs[0].name, "y");
    assert_eq!((b.stored[0].read, b.stored[0].written), (true, false));
    assert_eq!(b.buffer_bytes(0), 60);
    use BufferPlace as P;
    let want =
        [P::Input(0), P::Stored, P::Persistent(64), P::Persistent(128), P::Output(0), P::Arena(0), P::Persistent(0)];
    assert_eq!(b.places, want);
    assert_eq!((b.arena, b.persistent), (128, 192));
    assert_eq!(b.const_bytes(3).unwrap()[4..], f32::INFINITY.to_le_bytes());
}

#[test]
fn refuses_bad_dims() {
    let dim = |message: &str| BindError::Dim { name: "b".into(), message: message.into() };
    assert_eq!(bound(TINY, &[]).unwrap_err(), dim("has no value"));
    assert_eq!(bound(TINY, &[("b", 0)]).unwrap_err(), dim("cannot be 0"));
    let e = bound(TINY, &[("b", 65)]).unwrap_err();
    assert_eq!(e.to_string(), "batches are small (tiny.uad:3): b = 65 <= 64 does not hold");
    let big = TINY.replace("b <= 64", "b <= 99999999999999");
    let e = bound(&big, &[("b", 1 << 39)]).unwrap_err();
    assert_eq!(e.to_string(), "buffer `x`: f32[549755813888, 3] with b = 549755813888 is too large");
    let plan = verify(parse(TINY).unwrap()).unwrap();
    assert_eq!(bind(&plan, "fit", &Binding::new()).unwrap_err(), BindError::NoEntry("fit".into()));
}

#[test]
fn refuses_what_leaves_a_buffer() {
    let e = bound(&TINY.replace("%x[3*i0 + i2]", "%x[3*i0 + i2 + 1]"), &[("b", 2)]).unwrap_err();
    assert!(e.to_string().contains("reaches the elements 1 to 6 of `x`, which has 6"), "{e}");
    let e = bound(&TINY.replace("write %y[4*i0 + i1]", "write %y[2*i0 + i1]"), &[("b", 2)]).unwrap_err();
    assert!(e.to_string().contains("write 0 may store an element twice"), "{e}");
}

const LOOP: &str = r#"uadp 1
plan "loop"
entry score(n) {
  input %x f32[n]
  output %y f32[n]
  temp %c f32[n]
  temp %next f32[n]
  temp %s f32[n]
  temp %u f32[n]
  temp %i i32[]
  temp %d f32[n]
  kernels {
    map [n] "d" { $0 = %x[i0] at { r0 = $0; yield r0 } write %d[i0] }
    loop [] count 10 "rounds" {
      index %i
      carry %c from %x then %next
      map [n] "s" { $0 = %c[i0] at { r0 = $0; yield r0 } write %s[i0] }
      map [n] "u" { $0 = %s[i0] at { r0 = $0; yield r0 } write %u[i0] }
      map [n] "next" { $0 = %u[i0] $1 = %d[i0] at { r0 = $0; r1 = $1; r2 = add r0 r1; yield r2 } write %next[i0] }
    }
    map [n] "y" { $0 = %c[i0] at { r0 = $0; yield r0 } write %y[i0] }
  }
}
"#;

#[test]
fn what_a_loop_needs_lives_through_it() {
    let b = bound(LOOP, &[("n", 16)]).unwrap();
    let at = |name: &str| {
        let i = b.entry.buffers.iter().position(|x| x.name == name).unwrap();
        let BufferPlace::Arena(at) = b.places[i] else { panic!() };
        at
    };
    // c, next, i and d live through the loop; s and u are of one round and meet.
    let mut places = ["c", "next", "i", "d", "s", "u"].map(at);
    places.sort_unstable();
    assert_eq!(places, [0, 64, 128, 192, 256, 320]);
    assert_eq!(b.arena, 384);
}
