//! Places for temporary buffers.
//!
//! In: kernels, sizes of buffers. Out: from when to when each buffer is in use, offsets. Invariants: buffers in use at
//! the same time share no byte; offsets are multiples of 64; the same input gives the same offsets.
//! Imports: [`crate::plan`].

use crate::plan::{Body, BufferId, Kernel};

/// Offsets and sizes are multiples of this.
const ALIGNED: usize = 64;

/// The first and last moment at which a buffer is in use.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Life {
    pub first: usize,
    pub last: usize,
}

impl Life {
    fn meets(self, other: Life) -> bool {
        self.first <= other.last && other.first <= self.last
    }
    fn extend(life: &mut Option<Life>, at: usize) {
        let l = life.get_or_insert(Life { first: at, last: at });
        l.first = l.first.min(at);
        l.last = l.last.max(at);
    }
}

/// Lives of all buffers; each kernel is a moment, in order, starting from `clock`. A loop is a moment before and one
/// after its body. What lives outside of a loop's body and is used in it lives through the whole loop; what only the
/// body uses is written anew in every round (`verify` has made sure), so it lives from its first to its last use.
pub(super) fn lives(kernels: &[Kernel<i64>], buffers: usize, clock: &mut usize) -> Vec<Option<Life>> {
    let mut out = vec![None; buffers];
    let touch = |out: &mut Vec<Option<Life>>, id: BufferId, at: usize| {
        if let Some(life) = out.get_mut(id.0 as usize) {
            Life::extend(life, at);
        }
    };
    for k in kernels {
        let start = *clock;
        *clock += 1;
        k.reads.iter().chain(&k.writes).for_each(|a| touch(&mut out, a.buffer, start));
        let Body::Loop { index, carried, until, body, .. } = &k.body else { continue };
        let inside = lives(body, buffers, clock);
        let end = *clock;
        *clock += 1;
        let header = carried.iter().flat_map(|(a, b, c)| [*a, *b, *c]);
        for id in header.chain(*index).chain(until.iter().map(|u| u.0)) {
            touch(&mut out, id, start);
            touch(&mut out, id, end);
        }
        for (life, inner) in out.iter_mut().zip(inside) {
            let Some(inner) = inner else { continue };
            let whole = if life.is_some() { [start, end] } else { [inner.first, inner.last] };
            whole.into_iter().for_each(|at| Life::extend(life, at));
        }
    }
    out
}

/// Offsets of the buffers (size in bytes, life), and the size of the area: largest first, each into the smallest gap
/// that is free during its life.
pub(super) fn pack(wanted: &[(usize, Life)]) -> (Vec<usize>, usize) {
    let mut order: Vec<usize> = (0..wanted.len()).collect();
    order.sort_by_key(|i| (std::cmp::Reverse(wanted[*i].0), *i));
    let mut offsets = vec![0; wanted.len()];
    // (offset, end, life), by offset.
    let mut placed: Vec<(usize, usize, Life)> = Vec::new();
    let mut total = 0;
    for i in order {
        let (size, life) = (wanted[i].0.next_multiple_of(ALIGNED), wanted[i].1);
        let (mut cursor, mut best) = (0, None);
        for (offset, end, other) in &placed {
            if !other.meets(life) {
                continue;
            }
            let gap = offset.saturating_sub(cursor);
            if gap >= size && best.is_none_or(|(smallest, _)| gap < smallest) {
                best = Some((gap, cursor));
            }
            cursor = cursor.max(*end);
        }
        let at = best.map_or(cursor, |(_, at)| at);
        offsets[i] = at;
        total = total.max(at + size);
        if size > 0 {
            let before = placed.partition_point(|p| p.0 <= at);
            placed.insert(before, (at, at + size, life));
        }
    }
    (offsets, total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lives_together_is_apart() {
        let mut state = 1u64;
        let mut next = |n: u64| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            ((state >> 33) % n) as usize
        };
        for _ in 0..200 {
            let wanted: Vec<(usize, Life)> = (0..next(60))
                .map(|_| {
                    let first = next(30);
                    (next(2000), Life { first, last: first + next(6) })
                })
                .collect();
            let (offsets, total) = pack(&wanted);
            for (i, (size, life)) in wanted.iter().enumerate() {
                assert!(offsets[i] % 64 == 0 && offsets[i] + size <= total);
                for (j, (other_size, other)) in wanted.iter().enumerate().skip(i + 1) {
                    let apart = offsets[i] + size <= offsets[j] || offsets[j] + other_size <= offsets[i];
                    assert!(!life.meets(*other) || apart);
                }
            }
        }
    }

    #[test]
    fn space_is_used_again() {
        let life = |first, last| Life { first, last };
        let (offsets, total) = pack(&[(64, life(0, 1)), (64, life(1, 2)), (64, life(2, 3)), (128, life(4, 5))]);
        assert_eq!(total, 128);
        assert_eq!(offsets[3], 0);
    }
}
