//! Sums of strides and coordinates as C++ expressions.
//!
//! In: offsets, strides, extents, names of coordinates. Out: expressions, conditions. Invariants: axes of one element
//! are the constant 0 and vanish; a guard that always holds is not printed. Imports: `uad-plan`.

use uad_plan::{Access, Guard};

/// `75*i0 + 30*i1 - 18`, and whether it is one term.
pub fn sum(offset: i64, strides: &[i64], at: &[String]) -> (String, bool) {
    let mut out = String::new();
    let mut terms = 0;
    for (stride, coordinate) in strides.iter().zip(at) {
        if *stride == 0 || coordinate == "0" {
            continue;
        }
        let sign = match (out.is_empty(), *stride < 0) {
            (true, false) => "",
            (true, true) => "-",
            (false, false) => " + ",
            (false, true) => " - ",
        };
        out.push_str(sign);
        if stride.unsigned_abs() != 1 {
            out.push_str(&format!("{}*", stride.unsigned_abs()));
        }
        out.push_str(coordinate);
        terms += 1;
    }
    if offset != 0 || terms == 0 {
        out.push_str(&match (terms == 0, offset < 0) {
            (true, _) => offset.to_string(),
            (false, true) => format!(" - {}", offset.unsigned_abs()),
            (false, false) => format!(" + {offset}"),
        });
        terms += 1;
    }
    let simple = terms == 1;
    (out, simple)
}

/// The least and the greatest value of the sum over all points.
pub fn span(offset: i64, strides: &[i64], axes: &[i64]) -> (i128, i128) {
    let (mut low, mut high) = (i128::from(offset), i128::from(offset));
    for (s, e) in strides.iter().zip(axes) {
        let far = i128::from(*s) * (i128::from((*e).max(1)) - 1);
        low += far.min(0);
        high += far.max(0);
    }
    (low, high)
}

/// The condition of a guard; `None` where it holds at all points.
pub fn guard(g: &Guard<i64>, axes: &[i64], at: &[String]) -> Option<String> {
    let (low, high) = span(g.offset, &g.strides, axes);
    let (text, simple) = sum(g.offset, &g.strides, at);
    let paren = || if simple { text.clone() } else { format!("({text})") };
    match (low >= 0, high < i128::from(g.extent)) {
        (true, true) => None,
        (true, false) => Some(format!("{} < {}", paren(), g.extent)),
        (false, true) => Some(format!("{} >= 0", paren())),
        (false, false) => Some(format!("within({text}, {})", g.extent)),
    }
}

/// May an index or a guard of the access leave 31 bits?
pub fn is_wide(a: &Access<i64>, axes: &[i64]) -> bool {
    const MOST: i128 = 1 << 30;
    let far = |offset: i64, strides: &[i64]| {
        let absolute: Vec<i64> = strides.iter().map(|s| s.saturating_abs()).collect();
        span(offset.saturating_abs(), &absolute, axes).1
    };
    let via: i128 = a.via.iter().map(|v| i128::from(v.stride.unsigned_abs()) * i128::from(v.extent.max(1))).sum();
    far(a.offset, &a.strides) + via >= MOST
        || a.guards.iter().any(|g| far(g.offset, &g.strides) >= MOST || i128::from(g.extent) >= MOST)
}

/// The product of some axes' extents.
pub fn points(axes: &[i64], which: &[usize]) -> i64 {
    which.iter().map(|a| axes[*a].max(0)).fold(1i64, i64::saturating_mul)
}

/// Division of extents, rounded up.
pub trait Cut {
    /// How many pieces of `size`.
    fn pieces(self, size: i64) -> i64;
    /// The next multiple of `size`.
    fn padded(self, size: i64) -> i64;
}

impl Cut for i64 {
    fn pieces(self, size: i64) -> i64 {
        (self + size - 1) / size
    }

    fn padded(self, size: i64) -> i64 {
        self.pieces(size) * size
    }
}
