//! Coordinates: affine functions of a kernel's axes, and how shapes map onto each other.
//!
//! In: extents and coordinates. Out: coordinates of an argument from those of a result. Invariants: a coordinate has
//! one stride per axis of its kernel; a division is exact at every point of the kernel or refused.
//! Imports: `uad-plan` for dims.

use std::ops::Range;

use uad_plan::{Binding, Dim, DimError, Via};

/// `offset + sum(strides[n] * axis n) + sum(via)`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Coord {
    pub offset: Dim,
    pub strides: Vec<Dim>,
    pub vias: Vec<Via<Dim>>,
}

impl Coord {
    /// The same everywhere.
    pub fn fixed(offset: Dim, axes: usize) -> Coord {
        Coord { offset, strides: vec![Dim::int(0); axes], vias: Vec::new() }
    }

    pub fn add(&self, o: &Coord) -> Result<Coord, DimError> {
        let strides = self.strides.iter().zip(&o.strides).map(|(a, b)| a.add(b)).collect::<Result<_, _>>()?;
        Ok(Coord {
            offset: self.offset.add(&o.offset)?,
            strides,
            vias: self.vias.iter().chain(&o.vias).cloned().collect(),
        })
    }

    pub fn scale(&self, by: &Dim) -> Result<Coord, DimError> {
        if by.is(1) {
            return Ok(self.clone());
        }
        let strides = self.strides.iter().map(|s| s.mul(by)).collect::<Result<_, _>>()?;
        let vias = self
            .vias
            .iter()
            .map(|v| Ok(Via { read: v.read, stride: v.stride.mul(by)?, extent: v.extent.clone() }))
            .collect::<Result<_, DimError>>()?;
        Ok(Coord { offset: self.offset.mul(by)?, strides, vias })
    }

    pub fn shift(&self, by: &Dim) -> Result<Coord, DimError> {
        Ok(Coord { offset: self.offset.add(by)?, ..self.clone() })
    }

    /// Does it move along this axis?
    pub fn moves(&self, axis: usize) -> bool {
        !self.strides[axis].is(0)
    }
}

/// A size to sort by where no number is known: open dims count as 61.
pub(super) fn rough(d: &Dim) -> i64 {
    let names: Binding = d.names().into_iter().map(|n| (n, 61)).collect();
    d.eval(&names).unwrap_or(i64::MAX)
}

fn negative(d: &Dim) -> bool {
    let names: Binding = d.names().into_iter().map(|n| (n, 1)).collect();
    d.eval(&names).is_ok_and(|v| v < 0)
}

/// What became of a division.
pub(super) enum Divided {
    /// Quotient and remainder.
    Parts(Coord, Coord),
    /// Both would be affine if this axis were two, the inner one of this extent.
    Split(usize, Dim),
    /// Not affine.
    No,
}

/// `f / by` and `f % by` where both are affine over axes of these extents.
pub(super) fn divide(f: &Coord, by: &Dim, extents: &[Dim]) -> Result<Divided, DimError> {
    let zero = Coord::fixed(Dim::int(0), extents.len());
    if by.is(1) {
        return Ok(Divided::Parts(f.clone(), zero));
    }
    let (mut q, mut r) = (zero.clone(), zero);
    // The remainder lies in low..=high.
    let (mut low, mut high) = (Dim::int(0), Dim::int(0));
    for (axis, s) in f.strides.iter().enumerate() {
        if s.is(0) || extents[axis].is(1) {
            continue;
        }
        if let Some(part) = s.exact_div(by) {
            q.strides[axis] = part;
            continue;
        }
        r.strides[axis] = s.clone();
        let reach = s.mul(&extents[axis].sub(&Dim::int(1))?)?;
        let side = if negative(s) { &mut low } else { &mut high };
        *side = side.add(&reach)?;
    }
    for v in &f.vias {
        if let Some(part) = v.stride.exact_div(by) {
            q.vias.push(Via { stride: part, ..v.clone() });
            continue;
        }
        r.vias.push(v.clone());
        let reach = v.stride.mul(&v.extent.sub(&Dim::int(1))?)?;
        let side = if negative(&v.stride) { &mut low } else { &mut high };
        *side = side.add(&reach)?;
    }
    if let Some(part) = f.offset.exact_div(by) {
        q.offset = part;
    } else if let (Some(o), Some(k)) = (f.offset.as_int(), by.as_int().filter(|k| *k > 0)) {
        q.offset = Dim::int(o.div_euclid(k));
        r.offset = Dim::int(o.rem_euclid(k));
    } else {
        r.offset = f.offset.clone();
    }
    low = low.add(&r.offset)?;
    high = by.sub(&high.add(&r.offset)?)?.sub(&Dim::int(1))?;
    if low.as_int().is_some_and(|l| l >= 0) && high.as_int().is_some_and(|h| h >= 0) {
        return Ok(Divided::Parts(q, r));
    }
    for (axis, s) in r.strides.iter().enumerate().filter(|(_, s)| !s.is(0)) {
        let Some(inner) = by.exact_div(s) else { continue };
        if let Some(outer) = extents[axis].exact_div(&inner)
            && !inner.is(1)
            && !outer.is(1)
        {
            return Ok(Divided::Split(axis, inner));
        }
    }
    Ok(Divided::No)
}

/// Axes of one shape and of another that hold the same elements.
pub(super) type Run = (Vec<usize>, Vec<usize>);

/// The finest runs of axes of two shapes that hold the same elements. Axes of extent 1 are in no run.
pub(super) fn runs(from: &[Dim], to: &[Dim]) -> Result<Vec<Run>, DimError> {
    let solid = |shape: &[Dim]| (0..shape.len()).filter(|n| !shape[*n].is(1)).collect::<Vec<_>>();
    let (a, b) = (solid(from), solid(to));
    let (mut i, mut j) = (0, 0);
    let mut out = Vec::new();
    while i < a.len() || j < b.len() {
        let (i0, j0) = (i, j);
        let (mut p, mut q) = (Dim::int(1), Dim::int(1));
        loop {
            if p == q && (i > i0 || j > j0) {
                break;
            }
            // Which side is behind? Where that is not known, both go on to the end.
            let behind = if q.exact_div(&p).is_some() {
                Some(true)
            } else if p.exact_div(&q).is_some() {
                Some(false)
            } else {
                p.as_int().zip(q.as_int()).map(|(p, q)| p < q)
            };
            match behind {
                _ if i == a.len() && j == b.len() => break,
                Some(true) if i < a.len() => {
                    p = p.mul(&from[a[i]])?;
                    i += 1;
                }
                Some(false) if j < b.len() => {
                    q = q.mul(&to[b[j]])?;
                    j += 1;
                }
                _ => {
                    (i, j) = (a.len(), b.len());
                    break;
                }
            }
        }
        out.push((a[i0..i].to_vec(), b[j0..j].to_vec()));
    }
    Ok(out)
}

/// What became of coordinates under a reshape.
pub(super) enum Reshaped {
    /// One per axis of the other shape.
    Coords(Vec<Coord>),
    /// Works if this axis is two, the inner one of this extent.
    Split(usize, Dim),
    /// Not affine.
    No,
}

/// The coordinates in `to` of the element that stands at `at` in `from` (same row-major order).
pub(super) fn reshape(from: &[Dim], at: &[Coord], to: &[Dim], extents: &[Dim]) -> Result<Reshaped, DimError> {
    let mut coords = vec![Coord::fixed(Dim::int(0), extents.len()); to.len()];
    for (a, b) in runs(from, to)? {
        let mut flat = Coord::fixed(Dim::int(0), extents.len());
        for n in a {
            flat = flat.scale(&from[n])?.add(&at[n])?;
        }
        for (k, n) in b.iter().enumerate().rev() {
            if k == 0 {
                coords[*n] = flat.clone();
                break;
            }
            match divide(&flat, &to[*n], extents)? {
                Divided::Parts(q, r) => {
                    coords[*n] = r;
                    flat = q;
                }
                Divided::Split(axis, inner) => return Ok(Reshaped::Split(axis, inner)),
                Divided::No => return Ok(Reshaped::No),
            }
        }
    }
    Ok(Reshaped::Coords(coords))
}

/// Strides of `to` over memory that has `strides` in `from`, if each run is evenly spaced.
pub(super) fn reshape_strides(from: &[Dim], strides: &[Dim], to: &[Dim]) -> Result<Option<Vec<Dim>>, DimError> {
    let mut out = vec![Dim::int(0); to.len()];
    for (a, b) in runs(from, to)? {
        let Some(last) = a.last() else { return Ok(None) };
        for w in a.windows(2) {
            if strides[w[0]] != strides[w[1]].mul(&from[w[1]])? {
                return Ok(None);
            }
        }
        let mut s = strides[*last].clone();
        for n in b.iter().rev() {
            out[*n] = s.clone();
            s = s.mul(&to[*n])?;
        }
    }
    Ok(Some(out))
}

/// Row-major strides.
pub(super) fn row_major(shape: &[Dim]) -> Result<Vec<Dim>, DimError> {
    ordered(shape, &(0..shape.len()).collect::<Vec<_>>())
}

/// Dense strides with the axes in memory in this order, outermost first.
pub(super) fn ordered(shape: &[Dim], order: &[usize]) -> Result<Vec<Dim>, DimError> {
    let mut strides = vec![Dim::int(1); shape.len()];
    let mut s = Dim::int(1);
    for n in order.iter().rev() {
        strides[*n] = s.clone();
        s = s.mul(&shape[*n])?;
    }
    Ok(strides)
}

/// The iteration space of a kernel while it is built: the logical dims, each made of one or more axes.
#[derive(Clone, Debug)]
pub(super) struct Space {
    /// Extents of the axes of each dim, outermost first.
    dims: Vec<Vec<Dim>>,
}

impl Space {
    pub fn new(shape: &[Dim]) -> Space {
        Space { dims: shape.iter().map(|d| vec![d.clone()]).collect() }
    }

    pub fn extents(&self) -> Vec<Dim> {
        self.dims.iter().flatten().cloned().collect()
    }

    /// The axes of a dim.
    pub fn axes(&self, dim: usize) -> Range<usize> {
        let start: usize = self.dims[..dim].iter().map(Vec::len).sum();
        start..start + self.dims[dim].len()
    }

    /// One coordinate per dim.
    pub fn coords(&self) -> Result<Vec<Coord>, DimError> {
        let total = self.extents().len();
        (0..self.dims.len())
            .map(|d| {
                let mut c = Coord::fixed(Dim::int(0), total);
                let mut s = Dim::int(1);
                for axis in self.axes(d).rev() {
                    let extent = &self.dims[d][axis - self.axes(d).start];
                    // An axis of extent 1 never moves: two ways to the same element stay equal.
                    c.strides[axis] = if extent.is(1) { Dim::int(0) } else { s.clone() };
                    s = s.mul(extent)?;
                }
                Ok(c)
            })
            .collect()
    }

    /// Makes an axis two.
    pub fn split(&mut self, axis: usize, inner: Dim) -> bool {
        let Some(d) = (0..self.dims.len()).find(|d| self.axes(*d).contains(&axis)) else { return false };
        let at = axis - self.axes(d).start;
        let Some(outer) = self.dims[d][at].exact_div(&inner) else { return false };
        self.dims[d].splice(at..=at, [outer, inner]);
        true
    }
}
