//! A padded copy of a guarded operand, after which no guard is needed.
//!
//! In: an access whose guards each bound one dimension of its buffer (a convolution's padding). Out: the same access
//! into a copy that holds the fill where guards failed. Used where checking guards in the inner loop costs more than
//! copying: first convolutions, whose innermost summed axis is a window axis.
//! Invariants: the copy has every element that any point reads. Imports: `uad-plan`.

use uad_plan::Access;

/// One dimension of the copy.
#[derive(Clone, Copy, Debug)]
struct Side {
    /// Elements in the copy.
    len: i64,
    /// The part that lies in the buffer: `low..high` of `0..len`.
    low: i64,
    high: i64,
    /// Elements between neighbours in the buffer.
    from: i64,
    /// Offset in the buffer of element 0 (which may lie outside).
    origin: i64,
    /// Elements between neighbours in the copy.
    to: i64,
}

/// How to make the copy.
#[derive(Clone, Debug)]
pub struct Pad {
    sides: Vec<Side>,
    fill: f32,
    /// Elements of the copy.
    pub len: i64,
    /// Elements that may be read behind the last, for whole vectors.
    base: i64,
}

/// Axes and their strides.
type Members = Vec<(usize, i64)>;

impl Pad {
    /// Plans a copy of at most `limit` elements; `None` if the guards are of another kind.
    pub fn plan(access: &Access<i64>, axes: &[i64], limit: i64) -> Option<(Pad, Access<i64>)> {
        if access.guards.is_empty() || !access.via.is_empty() || axes.contains(&0) {
            return None;
        }
        // With the axes that move along each, and their strides in it.
        let mut sides: Vec<(Side, Members)> = Vec::new();
        let mut base = access.offset;
        let mut taken = vec![false; axes.len()];
        for g in &access.guards {
            let members: Members =
                g.strides.iter().copied().enumerate().filter(|(a, s)| *s != 0 && axes[*a] > 1).collect();
            let first = members.first()?;
            // Elements per unit of the guarded coordinate.
            let unit = access.strides[first.0] / first.1;
            if unit == 0 || members.iter().any(|(a, s)| taken[*a] || access.strides[*a] != s * unit || *s < 0) {
                return None;
            }
            members.iter().for_each(|(a, _)| taken[*a] = true);
            let least = g.offset;
            let most = g.offset + members.iter().map(|(a, s)| s * (axes[*a] - 1)).sum::<i64>();
            // Coordinate `c` is at offset `c * unit` from the buffer's line; the access's offset holds `g.offset * unit`.
            base -= g.offset * unit;
            let len = most - least + 1;
            let side = Side {
                len,
                low: (-least).clamp(0, len),
                high: (g.extent - least).clamp(0, len),
                from: unit,
                origin: least * unit,
                to: 0,
            };
            sides.push((side, members));
        }
        for a in 0..axes.len() {
            if !taken[a] && access.strides[a] != 0 && axes[a] > 1 {
                if access.strides[a] < 0 {
                    return None;
                }
                let len = axes[a];
                let side = Side { len, low: 0, high: len, from: access.strides[a], origin: 0, to: 0 };
                sides.push((side, vec![(a, 1)]));
            }
        }
        sides.sort_by_key(|s| std::cmp::Reverse(s.0.from));
        let mut total = 1i64;
        for s in sides.iter_mut().rev() {
            s.0.to = total;
            total = total.checked_mul(s.0.len)?;
        }
        if total > limit {
            return None;
        }
        let mut strides = vec![0; axes.len()];
        for (side, members) in &sides {
            members.iter().for_each(|(a, s)| strides[*a] = s * side.to);
        }
        let mut plain: Vec<Side> = sides.iter().map(|s| s.0).collect();
        // An unguarded innermost dimension that lies densely inside its neighbour is copied with it.
        while let [.., outer, inner] = plain[..] {
            let whole = inner.low == 0 && inner.high == inner.len;
            if !whole || inner.from != 1 || outer.from != inner.len {
                break;
            }
            let n = inner.len;
            let joined = Side {
                len: outer.len * n,
                low: outer.low * n,
                high: outer.high * n,
                from: 1,
                origin: outer.origin,
                to: 1,
            };
            plain.truncate(plain.len() - 2);
            plain.push(joined);
        }
        let copy = Access { offset: 0, strides, guards: Vec::new(), ..access.clone() };
        Some((Pad { sides: plain, fill: access.fill as f32, len: total, base }, copy))
    }

    /// How many independent parts the copy has.
    pub fn tasks(&self) -> usize {
        self.sides.iter().rev().skip(1).map(|s| s.len as usize).product::<usize>().div_ceil(self.lines())
    }

    /// Lines per task: some 16 KiB.
    fn lines(&self) -> usize {
        let line = self.sides.last().map_or(1, |s| s.len.max(1)) as usize;
        4096usize.div_ceil(line)
    }

    /// Makes one part.
    ///
    /// # Safety
    /// `from` is the operand's buffer, `to` has [`Pad::len`] elements.
    pub unsafe fn copy(&self, task: usize, from: *const f32, to: *mut f32) {
        let Some((last, outer)) = self.sides.split_last() else { return };
        let count: usize = outer.iter().map(|s| s.len as usize).product();
        let first = task * self.lines();
        for line in first..(first + self.lines()).min(count) {
            let (mut rest, mut source, mut target, mut inside) = (line as i64, self.base + last.origin, 0i64, true);
            for s in outer.iter().rev() {
                let c = rest % s.len;
                rest /= s.len;
                inside &= c >= s.low && c < s.high;
                source += s.origin + c * s.from;
                target += c * s.to;
            }
            // SAFETY: the target is inside the copy; the source is inside the buffer for `low..high` of every side.
            unsafe {
                let t = to.add(target as usize);
                let (low, high) = if inside && last.low < last.high { (last.low, last.high) } else { (0, 0) };
                (0..low).chain(high..last.len).for_each(|i| *t.add(i as usize) = self.fill);
                if last.from == 1 && low < high {
                    let f = from.offset((source + low) as isize);
                    std::ptr::copy_nonoverlapping(f, t.add(low as usize), (high - low) as usize);
                } else {
                    for i in low..high {
                        *t.add(i as usize) = *from.offset((source + i * last.from) as isize);
                    }
                }
            }
        }
    }
}
