//! The independent parts of a reshape.
//!
//! In: two shapes of equally many elements. Out: ranges of axes with equal products. Invariants: the ranges follow one
//! another and cover both shapes. Imports: `uad-plan`.

use std::ops::Range;

use uad_plan::Dim;

/// Splits a reshape into independent ones: ranges of axes of `old` and `new` with equal products, as short as they get.
pub fn groups(old: &[Dim], new: &[Dim]) -> Option<Vec<(Range<usize>, Range<usize>)>> {
    let mut out = Vec::new();
    let (mut i, mut j) = (0, 0);
    while i < old.len() && j < new.len() {
        let (i0, j0) = (i, j);
        let (mut p, mut q) = (old[i].clone(), new[j].clone());
        (i, j) = (i + 1, j + 1);
        while p != q {
            if q.exact_div(&p).is_some() && i < old.len() {
                p = p.mul(&old[i]).ok()?;
                i += 1;
            } else if p.exact_div(&q).is_some() && j < new.len() {
                q = q.mul(&new[j]).ok()?;
                j += 1;
            } else {
                return None;
            }
        }
        out.push((i0..i, j0..j));
    }
    // Axes of extent 1 at the end belong to the last group.
    let rest = old[i..].iter().chain(&new[j..]).all(|d| d.is(1));
    match out.last_mut() {
        Some(last) if rest => {
            last.0.end = old.len();
            last.1.end = new.len();
        }
        _ if i < old.len() || j < new.len() => return None,
        _ => {}
    }
    Some(out)
}
