//! Iteration spaces of contractions in a normal form, and points in them.
//!
//! In: the axes, roles and accesses of a bound kernel. Out: the same space with few axes: ordered by role, neighbours
//! merged where every access moves over them as over one, axes of one point dropped.
//! Invariants: the value at every point is the same; axes that a hole asks for by index stay as they are.
//! Imports: `uad-plan`.

use uad_plan::{Access, Hole, Inst};

/// Most axes of a kernel in normal form.
pub const MAX_AXES: usize = 12;

/// Coordinates on every axis; those beyond the last axis are 0.
pub type Point = [i64; MAX_AXES];

/// A kernel's iteration space in normal form.
#[derive(Clone, Debug)]
pub struct Space<R> {
    /// Extents.
    pub axes: Vec<i64>,
    /// One per axis.
    pub roles: Vec<R>,
    /// Read accesses over these axes, numbered as before.
    pub reads: Vec<Access<i64>>,
    /// Write accesses over these axes.
    pub writes: Vec<Access<i64>>,
    /// The new number of an old axis; `None` for dropped ones.
    renumber: Vec<Option<u32>>,
}

/// Sum of strides times coordinates.
#[inline]
pub fn along(strides: &[i64], at: &Point) -> i64 {
    strides.iter().zip(at).map(|(s, c)| s * c).sum()
}

/// The numbers of the operands that a hole loads, rising, each once.
pub fn loads(hole: &Hole<i64>) -> Vec<u32> {
    let mut all: Vec<u32> =
        hole.code.iter().filter_map(|i| if let Inst::Load(n) = i { Some(*n) } else { None }).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// Does the operand, or one that its place depends on, change along the axis?
pub fn moves(reads: &[Access<i64>], number: u32, axis: usize) -> bool {
    let Some(r) = reads.get(number as usize) else { return false };
    r.strides.get(axis).is_some_and(|s| *s != 0)
        || r.guards.iter().any(|g| g.strides.get(axis).is_some_and(|s| *s != 0))
        || r.via.iter().any(|v| v.read != number && moves(reads, v.read, axis))
}

/// Does the hole's value depend on the coordinate of the axis?
pub fn sees(hole: &Hole<i64>, reads: &[Access<i64>], axis: usize) -> bool {
    hole.code.iter().any(|i| match i {
        Inst::Index(n) => *n as usize == axis,
        Inst::Load(n) => moves(reads, *n, axis),
        _ => false,
    })
}

impl<R: Copy + PartialEq> Space<R> {
    /// The normal form. `order` lists the roles; axes of one role are put in falling order of `weight(axis)`, which
    /// is the stride that matters for the role.
    pub fn new(
        axes: &[i64],
        roles: &[R],
        order: &[R],
        reads: &[Access<i64>],
        writes: &[Access<i64>],
        holes: &[&Hole<i64>],
        weight: impl Fn(R, usize) -> i64,
    ) -> Result<Space<R>, String> {
        let indexed = |axis: usize| {
            let asks = |i: &Inst<i64>| matches!(i, Inst::Index(n) if *n as usize == axis);
            holes.iter().any(|h| h.code.iter().any(asks))
        };
        // Old axes in their new order.
        let mut kept: Vec<usize> = Vec::new();
        for role in order {
            let mut group: Vec<usize> =
                (0..axes.len()).filter(|a| roles[*a] == *role && (axes[*a] != 1 || indexed(*a))).collect();
            group.sort_by_key(|a| std::cmp::Reverse(weight(*role, *a)));
            kept.extend(group);
        }
        let every = || reads.iter().chain(writes);
        // `outer` then `inner` act as one axis for this row of strides.
        let nests = |s: &[i64], outer: usize, inner: usize| s[outer] == s[inner] * axes[inner];
        let mut runs: Vec<Vec<usize>> = Vec::new();
        for a in kept {
            let joins = runs.last().is_some_and(|run| {
                let last = run[run.len() - 1];
                roles[last] == roles[a]
                    && !indexed(last)
                    && !indexed(a)
                    && every()
                        .all(|x| nests(&x.strides, last, a) && x.guards.iter().all(|g| nests(&g.strides, last, a)))
            });
            match runs.last_mut() {
                Some(run) if joins => run.push(a),
                _ => runs.push(vec![a]),
            }
        }
        if runs.len() > MAX_AXES {
            return Err(format!("a contraction over {} axes", runs.len()));
        }
        let mut renumber = vec![None; axes.len()];
        for (n, run) in runs.iter().enumerate() {
            for a in run {
                renumber[*a] = Some(n as u32);
            }
        }
        // The stride of a run is that of its innermost axis.
        let pick = |s: &[i64]| -> Vec<i64> { runs.iter().map(|r| s[r[r.len() - 1]]).collect() };
        let convert = |x: &Access<i64>| {
            let mut y = x.clone();
            y.strides = pick(&x.strides);
            for g in &mut y.guards {
                g.strides = pick(&g.strides);
            }
            y
        };
        Ok(Space {
            axes: runs.iter().map(|r| r.iter().map(|a| axes[*a]).product()).collect(),
            roles: runs.iter().map(|r| roles[r[0]]).collect(),
            reads: reads.iter().map(convert).collect(),
            writes: writes.iter().map(convert).collect(),
            renumber,
        })
    }

    /// The hole with indices by the new axes.
    pub fn hole(&self, hole: &Hole<i64>) -> Hole<i64> {
        let mut h = hole.clone();
        for i in &mut h.code {
            if let Inst::Index(n) = i {
                // An axis asked for by index is never dropped.
                *n = self.renumber.get(*n as usize).copied().flatten().unwrap_or(*n);
            }
        }
        h
    }

    /// The axes of a role: a contiguous range.
    pub fn range(&self, role: R) -> std::ops::Range<usize> {
        let first = self.roles.iter().position(|r| *r == role);
        let count = self.roles.iter().filter(|r| **r == role).count();
        first.map_or(0..0, |f| f..f + count)
    }

    /// Number of points on the axes of a role.
    pub fn points(&self, role: R) -> i64 {
        self.range(role).map(|a| self.axes[a]).product()
    }
}

/// A row-major walk over some axes of a space.
#[derive(Clone, Debug)]
pub struct Walk {
    /// First axis.
    pub first: usize,
    /// Extents of the axes from `first` on.
    pub extents: Vec<i64>,
}

impl Walk {
    /// The walk over the axes of a range.
    pub fn over<R>(space: &Space<R>, range: std::ops::Range<usize>) -> Walk {
        Walk { first: range.start, extents: space.axes[range].to_vec() }
    }

    /// Sets the coordinates of the axes to those of position `n`.
    #[inline]
    pub fn seek(&self, mut n: i64, at: &mut Point) {
        for (i, e) in self.extents.iter().enumerate().rev() {
            at[self.first + i] = n % e;
            n /= e;
        }
    }

    /// Goes to the next position; behind the last comes the first.
    #[inline]
    pub fn next(&self, at: &mut Point) {
        for (i, e) in self.extents.iter().enumerate().rev() {
            let c = &mut at[self.first + i];
            *c += 1;
            if *c < *e {
                return;
            }
            *c = 0;
        }
    }

    /// The single stride that these strides amount to over the walk, if there is one.
    pub fn uniform(&self, strides: &[i64]) -> Option<i64> {
        let s = &strides[self.first..self.first + self.extents.len()];
        let nested = (1..s.len()).all(|i| s[i - 1] == s[i] * self.extents[i]);
        match s.last() {
            None => Some(0),
            Some(last) => nested.then_some(*last),
        }
    }
}
