//! Point clouds from any bytes: refused with a reason, or points that steps take and that are written and read back.
//!
//! In: bytes. Out: nothing. Invariants: none of its own. Imports: the runtime.

#![no_main]

use libfuzzer_sys::fuzz_target;
use uad_runtime::data::cloud;
use uad_runtime::data::cloud::steps::{Step, prepare};
use uad_runtime::data::cloud::write::{Written, ply};

fuzz_target!(|bytes: &[u8]| {
    let _ = cloud::text::marks(bytes);
    let found = match cloud::parse(bytes) {
        Ok(found) => found,
        Err(why) => return assert!(!why.is_empty()),
    };
    assert!(!found.points.is_empty());
    assert!(found.marks.as_ref().is_none_or(|m| m.len() == found.points.len()));
    for steps in [
        &[Step::Valid, Step::Random { count: 3, seed: 0 }][..],
        &[Step::Valid, Step::Farthest(3)],
        &[Step::Surface { count: 3, seed: 0 }],
    ] {
        if let Ok(taken) = prepare(&found, steps) {
            assert!(taken.points.len() == 3);
        }
    }
    if let Ok(taken) = prepare(&found, &[Step::Valid]) {
        assert!(cloud::near::Near::new(&taken.points).find(&taken.points[0]).is_some());
    }
    let marks = found.marks.clone().unwrap_or_default();
    let named: &[(&str, &[u8])] = if marks.is_empty() { &[] } else { &[("mask", &marks)] };
    let bytes = ply(&Written { points: &found.points, shift: found.shift, marks: named, ..Written::default() });
    let back = cloud::parse(&bytes).expect("what is written is read");
    assert_eq!(back.points.len(), found.points.len());
    assert_eq!(back.marks.unwrap_or_default(), marks);
});
