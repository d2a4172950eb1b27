//! Which elements an access can reach.
//!
//! In: extents of axes, a folded access. Out: the least and greatest element, taken over the points where all guards
//! hold; whether two points can write one element. Invariants: sound: no point where the guards hold reaches outside
//! of what is returned; not always tight. Relies on the bounds of [`super::fold`]: no sum here overflows 128 bits.
//! Imports: [`crate::plan`].
//!
//! A guard ties axes together (`0 <= 2*i1 + i4 - 1 < 56` of a convolution), so ranges per axis are not enough. The
//! access is rewritten as a multiple of the guarded sum, whose range is the guard's, plus what is left over; any
//! multiple gives a true bound, and the best of a few is taken.

use crate::plan::{Access, Guard};

type Span = (i128, i128);

/// The largest magnitude that offsets and guards may take at any point, guarded or not.
pub(super) const FARTHEST: i128 = 1 << 62;

/// `extent - 1`, at least 0.
fn top(extent: i64) -> i128 {
    i128::from(extent.max(1)) - 1
}

/// The greatest magnitude of the sum at any point, guards or not.
fn magnitude(axes: &[i64], offset: i64, strides: &[i64]) -> i128 {
    let parts = axes.iter().zip(strides).map(|(e, s)| i128::from(s.unsigned_abs()) * top(*e));
    i128::from(offset.unsigned_abs()) + parts.sum::<i128>()
}

/// Does every sum of the access stay within [`FARTHEST`]?
pub(super) fn computes(axes: &[i64], a: &Access<i64>) -> bool {
    let via: i128 = a.via.iter().map(|v| i128::from(v.stride.unsigned_abs()) * top(v.extent)).sum();
    magnitude(axes, a.offset, &a.strides) + via < FARTHEST
        && a.guards.iter().all(|g| magnitude(axes, g.offset, &g.strides) < FARTHEST)
}

fn scaled(by: i128, span: Span) -> Span {
    let (a, b) = (by * span.0, by * span.1);
    (a.min(b), a.max(b))
}

fn sum(offset: i128, strides: &[i128], spans: &[Span]) -> Span {
    strides.iter().zip(spans).fold((offset, offset), |(low, high), (s, span)| {
        let (a, b) = scaled(*s, *span);
        (low + a, high + b)
    })
}

fn wide(strides: &[i64]) -> Vec<i128> {
    strides.iter().map(|s| i128::from(*s)).collect()
}

/// Narrows the axes' ranges to those where the guard can hold; `false` if there is none.
fn narrow(g: &Guard<i64>, strides: &[i128], spans: &mut [Span]) -> bool {
    let (least, greatest) = (-i128::from(g.offset), i128::from(g.extent) - 1 - i128::from(g.offset));
    for n in 0..spans.len() {
        let s = strides[n];
        if s == 0 {
            continue;
        }
        let all = sum(0, strides, spans);
        let own = scaled(s, spans[n]);
        // least - (the others at most) <= s * i <= greatest - (the others at least)
        let (low, high) = (least - (all.1 - own.1), greatest - (all.0 - own.0));
        let (low, high) = if s > 0 { (low, high) } else { (-high, -low) };
        let s = s.abs();
        spans[n].0 = spans[n].0.max(-(-low).div_euclid(s));
        spans[n].1 = spans[n].1.min(high.div_euclid(s));
        if spans[n].0 > spans[n].1 {
            return false;
        }
    }
    let all = sum(0, strides, spans);
    all.0 <= greatest && all.1 >= least
}

/// The least and greatest element that the access touches; `None` if it touches none.
pub(super) fn reach(axes: &[i64], a: &Access<i64>) -> Option<Span> {
    let moves = |n: usize| {
        let on = |strides: &[i64]| strides.get(n).is_some_and(|s| *s != 0);
        on(&a.strides) || a.guards.iter().any(|g| on(&g.strides))
    };
    if (0..axes.len()).any(|n| axes[n] == 0 && moves(n)) {
        return None;
    }
    let mut spans: Vec<Span> = axes.iter().map(|e| (0, top(*e))).collect();
    let guards: Vec<(&Guard<i64>, Vec<i128>)> = a.guards.iter().map(|g| (g, wide(&g.strides))).collect();
    // Guards narrow each other's axes; a few rounds do, more would only be tighter.
    for _ in 0..3 {
        for (g, strides) in &guards {
            if !narrow(g, strides, &mut spans) {
                return None;
            }
        }
    }
    let held: Vec<Span> = guards
        .iter()
        .map(|(g, strides)| {
            let natural = sum(i128::from(g.offset), strides, &spans);
            (natural.0.max(0), natural.1.min(i128::from(g.extent) - 1))
        })
        .collect();
    let mut best = Rewrite { offset: i128::from(a.offset), rest: wide(&a.strides), guarded: (0, 0) };
    let (mut low, mut high) = best.span(&spans);
    let mut free: Vec<usize> = (0..guards.len()).collect();
    // Takes the guard and the multiple that help most, until none helps.
    while !free.is_empty() {
        let mut chosen: Option<(usize, Rewrite)> = None;
        for (at, i) in free.iter().enumerate() {
            let (g, strides) = &guards[*i];
            for (r, s) in best.rest.iter().zip(strides).filter(|(r, s)| **s != 0 && **r != 0) {
                // Multiples are held small enough for 128 bits.
                if r % s != 0 || (r / s).abs() > 1 << 52 {
                    continue;
                }
                let next = best.with(r / s, i128::from(g.offset), strides, held[*i]);
                let width = |r: &Rewrite| r.span(&spans).1 - r.span(&spans).0;
                if width(&next) < chosen.as_ref().map_or(width(&best), |c| width(&c.1)) {
                    chosen = Some((at, next));
                }
            }
        }
        let Some((at, next)) = chosen else { break };
        free.remove(at);
        let span = next.span(&spans);
        (low, high) = (low.max(span.0), high.min(span.1));
        best = next;
    }
    for v in &a.via {
        let (l, h) = scaled(i128::from(v.stride), (0, top(v.extent)));
        (low, high) = (low + l, high + h);
    }
    Some((low, high))
}

/// An access as `offset + rest * axes + guarded`.
#[derive(Clone)]
struct Rewrite {
    offset: i128,
    rest: Vec<i128>,
    /// Range of the multiples of guarded sums.
    guarded: Span,
}

impl Rewrite {
    fn span(&self, spans: &[Span]) -> Span {
        let (low, high) = sum(self.offset, &self.rest, spans);
        (low + self.guarded.0, high + self.guarded.1)
    }

    /// Takes `by` times the guard's sum out of the rest.
    fn with(&self, by: i128, offset: i128, strides: &[i128], held: Span) -> Rewrite {
        let (low, high) = scaled(by, held);
        Rewrite {
            offset: self.offset - by * offset,
            rest: self.rest.iter().zip(strides).map(|(r, s)| r - by * s).collect(),
            guarded: (self.guarded.0 + low, self.guarded.1 + high),
        }
    }
}

/// Does every point write another element? Sufficient: each stride, in rising order, is beyond all that the smaller
/// ones span together.
pub(super) fn injective(axes: &[i64], strides: &[i64], ranged: &[bool]) -> bool {
    let on = axes.iter().zip(strides).zip(ranged).filter(|(_, ranged)| **ranged).map(|(pair, _)| pair);
    let mut steps: Vec<(i128, i128)> = on.map(|(e, s)| (i128::from(s.unsigned_abs()), i128::from(*e))).collect();
    if steps.iter().any(|(_, e)| *e == 0) {
        return true;
    }
    steps.retain(|(_, e)| *e > 1);
    steps.sort_unstable();
    let mut spanned = 0;
    steps.into_iter().all(|(s, e)| {
        let beyond = s > spanned;
        spanned += s * (e - 1);
        beyond
    })
}

/// Do two writes of one kernel to one buffer touch no common element? Sufficient: they are apart as a whole, or their
/// offsets differ by what no sum of strides can make up for.
pub(super) fn apart(axes: &[i64], a: &Access<i64>, b: &Access<i64>) -> bool {
    let (Some(x), Some(y)) = (reach(axes, a), reach(axes, b)) else { return true };
    let common = a.strides.iter().chain(&b.strides).fold(0u64, |g, s| gcd(g, s.unsigned_abs()));
    x.1 < y.0 || y.1 < x.0 || (common > 1 && !(a.offset - b.offset).unsigned_abs().is_multiple_of(common))
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{BufferId, Via};

    fn access(offset: i64, strides: &[i64], guards: &[(i64, &[i64], i64)]) -> Access<i64> {
        let guard = |(offset, strides, extent): &(i64, &[i64], i64)| Guard {
            offset: *offset,
            strides: strides.to_vec(),
            extent: *extent,
        };
        let guards = guards.iter().map(guard).collect();
        Access { buffer: BufferId(0), offset, strides: strides.to_vec(), guards, fill: 0.0, via: vec![] }
    }

    #[test]
    fn a_convolution_stays_inside() {
        // x[8, 8, 3] channels last, 3x3 stride 2 with padding 1: axes oh ow kh kw c.
        let axes = [4, 4, 3, 3, 3];
        let (h, w) = ([2, 0, 1, 0, 0], [0, 2, 0, 1, 0]);
        let strides = [48, 6, 24, 3, 1];
        let a = access(-24 - 3, &strides, &[(-1, &h, 8), (-1, &w, 8)]);
        assert_eq!(reach(&axes, &a), Some((0, 191)));
        let open = access(-24 - 3, &strides, &[(-1, &h, 8)]);
        assert_eq!(reach(&axes, &open), Some((-3, 191)));
    }

    #[test]
    fn guards_that_never_hold_reach_nothing() {
        assert_eq!(reach(&[4], &access(0, &[1], &[(10, &[1], 5)])), None);
        assert_eq!(reach(&[0], &access(0, &[1], &[])), None);
        assert_eq!(reach(&[4], &access(-2, &[1], &[(-2, &[1], 2)])), Some((0, 1)));
    }

    #[test]
    fn an_index_is_held_to_its_extent() {
        let mut a = access(3, &[1], &[]);
        a.via.push(Via { read: 0, stride: 10, extent: 5 });
        assert_eq!(reach(&[3], &a), Some((3, 45)));
    }

    #[test]
    fn overlap() {
        assert!(injective(&[4, 3], &[3, 1], &[true, true]));
        assert!(!injective(&[4, 3], &[2, 1], &[true, true]));
        assert!(!injective(&[4, 3], &[1, 0], &[true, true]));
        assert!(injective(&[4, 3], &[1, 0], &[true, false]));
        assert!(apart(&[4], &access(0, &[2], &[]), &access(1, &[2], &[])));
        assert!(!apart(&[4], &access(0, &[2], &[]), &access(2, &[2], &[])));
    }

    #[test]
    fn reach_is_sound() {
        // All points of small random accesses, by a fixed sequence.
        let mut state = 12345u64;
        let mut next = |n: u64| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            ((state >> 33) % n) as i64
        };
        for _ in 0..3000 {
            let axes = [next(4), next(4) + 1, next(4) + 1];
            let mut strides = || [next(7) - 3, next(7) - 3, next(7) - 3];
            let (s, g, h) = (strides(), strides(), strides());
            let a = access(next(9) - 4, &s, &[(next(9) - 4, &g, next(8)), (next(9) - 4, &h, next(8))]);
            let found = reach(&axes, &a);
            for p in 0..axes.iter().product::<i64>() {
                let i = [p / axes[2] / axes[1], p / axes[2] % axes[1], p % axes[2]];
                let at = |offset: i64, s: &[i64]| offset + s.iter().zip(i).map(|(s, i)| s * i).sum::<i64>();
                if a.guards.iter().all(|g| (0..g.extent).contains(&at(g.offset, &g.strides))) {
                    let (low, high) = found.expect("touched");
                    assert!((low..=high).contains(&i128::from(at(a.offset, &a.strides))));
                }
            }
        }
    }
}
