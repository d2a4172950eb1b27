//! Points of a kernel's axes, taken in runs.
//!
//! In: extents, the axes that move (row-major, the last fastest), coordinates of the others, a range of points.
//! Out: runs along the last moving axis. Invariants: the runs cover the range in order.
//! Imports: nothing of this project.

/// Points of one evaluation.
#[derive(Default)]
pub(super) struct Points {
    /// Coordinates on all axes at the start of each run, one run after another.
    coordinates: Vec<i64>,
    /// Length of each run.
    lengths: Vec<usize>,
    /// The axis along which a run goes.
    along: Option<usize>,
    axes: usize,
    len: usize,
}

/// A run: its first point, and how many there are.
pub(super) struct Run<'a> {
    pub coordinates: &'a [i64],
    pub len: usize,
}

impl Points {
    /// `len` points from number `start` on, of the points over the axes `moving`; others stay as in `base`.
    pub fn set(&mut self, extents: &[i64], moving: &[usize], base: &[i64], start: usize, len: usize) {
        self.coordinates.clear();
        self.lengths.clear();
        self.along = moving.last().copied();
        (self.axes, self.len) = (extents.len(), len);
        let row = self.along.map_or(1, |a| extents[a] as usize);
        let mut at = start;
        while at < start + len {
            let mut rest = at;
            let from = self.coordinates.len();
            self.coordinates.extend_from_slice(base);
            for axis in moving.iter().rev() {
                let extent = extents[*axis] as usize;
                self.coordinates[from + axis] = (rest % extent) as i64;
                rest /= extent;
            }
            let run = (row - at % row).min(start + len - at);
            self.lengths.push(run);
            at += run;
        }
    }

    /// Number of points.
    pub fn len(&self) -> usize {
        self.len
    }

    /// The runs in order.
    pub fn runs(&self) -> impl Iterator<Item = Run<'_>> {
        let start = |i: usize| &self.coordinates[i * self.axes..(i + 1) * self.axes];
        self.lengths.iter().enumerate().map(move |(i, len)| Run { coordinates: start(i), len: *len })
    }

    /// `offset + sum(strides * coordinates)` at the run's first point, and what each further point adds.
    pub fn line(&self, run: &Run<'_>, offset: i64, strides: &[i64]) -> (i64, i64) {
        let first = offset + strides.iter().zip(run.coordinates).map(|(s, c)| s * c).sum::<i64>();
        (first, self.along.map_or(0, |a| strides[a]))
    }

    /// The axis along which runs go.
    pub fn along(&self) -> Option<usize> {
        self.along
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_cover_the_range() {
        let mut p = Points::default();
        p.set(&[2, 5, 3], &[0, 2], &[0, 4, 0], 1, 4);
        let runs: Vec<(Vec<i64>, usize)> = p.runs().map(|r| (r.coordinates.to_vec(), r.len)).collect();
        assert_eq!(runs, [(vec![0, 4, 1], 2), (vec![1, 4, 0], 2)]);
        p.set(&[2], &[], &[1], 0, 1);
        assert_eq!(p.runs().map(|r| (r.coordinates[0], r.len)).collect::<Vec<_>>(), [(1, 1)]);
    }
}
