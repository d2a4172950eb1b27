//! Operations that write a place in several kernels or need a template of their own: concatenation, padding between
//! elements, scatter, sort, scan, factorisations.
//!
//! In: a node and its place. Out: kernels. Invariants: every element of the place is written before it is read.
//! Imports: coordinates, pulling, templates, the graph, `uad-plan`.

use uad_plan::{Body, Dim, Hole, Inst, Kernel};

use super::affine::{Coord, Space, rough};
use super::expr::{Place, Point};
use super::{Halt, LowerError, Lowering, merge};
use crate::graph::{NodeId, Op};

impl Lowering<'_> {
    /// Writes the arguments of a concatenation that do not lie there already.
    pub(super) fn store_concat(&mut self, c: NodeId) -> Result<(), LowerError> {
        let place = self.concat_place(c)?;
        for (k, arg) in self.graph.node(c).args.clone().into_iter().enumerate() {
            let part = self.concat_part(c, k)?;
            if self.lies(arg)?.as_ref() == Some(&part) {
                continue;
            }
            self.compute(arg, part.clone(), self.facts.constant[c.0 as usize])?;
            if self.places[arg.0 as usize].is_none() && self.choice.joined[arg.0 as usize] == Some((c, k)) {
                self.places[arg.0 as usize] = Some(part);
            }
        }
        self.places[c.0 as usize] = Some(place);
        Ok(())
    }

    fn concat_place(&mut self, c: NodeId) -> Result<Place, LowerError> {
        if let Some(p) = self.parts.get(&(c, usize::MAX)) {
            return Ok(p.clone());
        }
        let place = self.home(c)?;
        self.parts.insert((c, usize::MAX), place.clone());
        Ok(place)
    }

    /// Where argument number `arg` lies in the concatenation.
    pub(super) fn concat_part(&mut self, c: NodeId, arg: usize) -> Result<Place, LowerError> {
        let mut place = self.concat_place(c)?;
        let node = self.graph.node(c);
        let Op::Concat { axis } = &node.op else { return Err(LowerError(format!("{c} is not a concatenation"))) };
        let mut start = Dim::int(0);
        for a in &node.args[..arg] {
            start = start.add(&self.graph.ty(*a).shape[*axis])?;
        }
        place.offset = place.offset.add(&start.mul(&place.strides[*axis])?)?;
        Ok(place)
    }

    /// A kernel that is tried until all it needs is stored.
    fn settle(
        &mut self,
        n: NodeId,
        mut space: Space,
        split: bool,
        attempt: impl Fn(&Self, &Space) -> Result<Kernel<Dim>, Halt>,
    ) -> Result<Kernel<Dim>, LowerError> {
        loop {
            let stuck = || LowerError(format!("{n} (`{}`) has no kernel", self.graph.node(n).op.name()));
            match attempt(self, &space) {
                Ok(k) => return Ok(k),
                Err(Halt::Failed(e)) => return Err(e),
                Err(Halt::Split(axis, inner)) if split => {
                    if !space.split(axis, inner) {
                        return Err(stuck());
                    }
                }
                // The template fixes the axes: what would split them is stored.
                Err(Halt::Split(..)) => {
                    let args = self.graph.node(n).args.clone();
                    let Some(arg) = args.into_iter().find(|a| self.places[a.0 as usize].is_none()) else {
                        return Err(stuck());
                    };
                    self.store(arg)?;
                }
                Err(Halt::Store(m)) if m != n => self.store(m)?,
                Err(Halt::Probe(m, _)) => self.store(m)?,
                Err(Halt::Store(_)) => return Err(stuck()),
            }
        }
    }

    /// Emits the kernels of the operations of this file; `false` for others.
    pub(super) fn compute_special(&mut self, n: NodeId, place: &Place, constant: bool) -> Result<bool, LowerError> {
        let node = self.graph.node(n);
        let arg = node.args.first().copied().unwrap_or(n);
        let space = Space::new(&node.ty.shape);
        match &node.op {
            Op::Concat { .. } | Op::Loop { .. } | Op::Eigh | Op::Part(_) => {
                self.store(n)?;
                Ok(false)
            }
            Op::Pad { interior, .. } if interior.iter().any(|i| *i != 0) => {
                self.pad_between(n, place, constant)?;
                Ok(true)
            }
            Op::ScatterAdd { axis, batch } => {
                self.compute(arg, place.clone(), constant)?;
                let (index, updates) = (node.args[1], node.args[2]);
                let rank = self.graph.ty(index).shape.len();
                let (axis, batch) = (*axis, *batch);
                let end = axis + rank - batch;
                let k = self.settle(n, Space::new(&self.graph.ty(updates).shape), true, |l, space| {
                    let at = space.coords()?;
                    let mut frame = l.frame(space);
                    let at_index = at[..batch].iter().chain(&at[axis..end]).cloned().collect();
                    let mut c = Coord::fixed(Dim::int(0), frame.extents.len());
                    let via = frame.via(index, &Point::at(at_index), &l.graph.ty(arg).shape[axis])?;
                    c.vias.push(via.clone());
                    let target = at[..axis].iter().cloned().chain([c]).chain(at[end..].iter().cloned()).collect();
                    let mut write = place.access(&Point::at(target), frame.extents.len())?;
                    // An axis of extent 1 may have no stride; the index is 0 then.
                    if write.via.is_empty() {
                        write.via.push(via);
                    }
                    let hole = frame.hole(updates, &Point::at(at))?;
                    let reads = frame.reads;
                    let body = Body::ScatterAdd(hole);
                    Ok(Kernel { reads, writes: vec![write], ..l.kernel(n, space.extents(), body) })
                })?;
                self.emit(merge::tidy(k)?, constant);
                Ok(true)
            }
            Op::ArgSort { .. } | Op::Scan(_) => {
                let k = self.settle(n, space, false, |l, space| {
                    let at = Point::at(space.coords()?);
                    let mut frame = l.frame(space);
                    let hole = frame.hole(arg, &at)?;
                    let write = place.access(&at, frame.extents.len())?;
                    let body = match &l.graph.node(n).op {
                        Op::ArgSort { falling } => Body::ArgSort { key: hole, falling: *falling },
                        Op::Scan(op) => Body::Scan { op: *op, value: hole },
                        _ => return Err(Halt::Store(n)),
                    };
                    let reads = frame.reads;
                    Ok(Kernel { reads, writes: vec![write], ..l.kernel(n, space.extents(), body) })
                })?;
                self.emit(k, constant);
                Ok(true)
            }
            Op::Cholesky => {
                self.factor(n, arg, Body::Cholesky, std::slice::from_ref(place), constant)?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// A kernel over matrices: reads the argument, writes each place (a value with one axis less has no rows).
    pub(super) fn factor(
        &mut self,
        n: NodeId,
        arg: NodeId,
        body: Body<Dim>,
        places: &[Place],
        constant: bool,
    ) -> Result<(), LowerError> {
        let space = Space::new(&self.graph.ty(arg).shape);
        let k = self.settle(n, space, false, |l, space| {
            let at = space.coords()?;
            let mut frame = l.frame(space);
            let read = frame.access(arg, &Point::at(at.clone()))?;
            let write = |p: &Place| {
                let mut at = at.clone();
                if p.strides.len() < at.len() {
                    at.remove(at.len() - 2);
                }
                p.access(&Point::at(at), space.extents().len())
            };
            let writes = places.iter().map(write).collect::<Result<_, _>>()?;
            frame.reads.push(read);
            let mut reads = frame.reads;
            // The matrix is operand 0; what it is read through comes after it.
            let last = reads.len() - 1;
            reads.swap(0, last);
            if last > 0 {
                return Err(Halt::Store(arg));
            }
            Ok(Kernel { reads, writes, ..l.kernel(n, space.extents(), body.clone()) })
        })?;
        self.emit(k, constant);
        Ok(())
    }

    /// Padding between elements: the value everywhere, then the elements at their steps.
    fn pad_between(&mut self, n: NodeId, place: &Place, constant: bool) -> Result<(), LowerError> {
        let node = self.graph.node(n);
        let Op::Pad { lo, hi, interior, value } = &node.op else { return Ok(()) };
        let arg = node.args[0];
        let from = &self.graph.ty(arg).shape;
        let order = self.facts.order[n.0 as usize].clone();
        let shape = order.iter().map(|k| node.ty.shape[*k].clone()).collect::<Vec<_>>();
        let space = Space::new(&shape);
        let mut coords = space.coords()?;
        for (c, k) in space.coords()?.into_iter().zip(&order) {
            coords[*k] = c;
        }
        let mut hole = Hole { code: Vec::new(), results: Vec::new() };
        let r = hole.push(match node.ty.dtype {
            uad_plan::DType::F32 => Inst::F32(*value as f32),
            uad_plan::DType::I32 => Inst::I32(*value as i32),
            uad_plan::DType::Bool => Inst::Bool(*value != 0.0),
        });
        hole.results.push(r);
        let write = place.access(&Point::at(coords), shape.len())?;
        let fill = Kernel { writes: vec![write], ..self.kernel(n, shape, Body::Map(hole)) };
        self.emit(merge::tidy(fill)?, constant);
        // The elements that land inside: element `i` at `lo + (interior + 1) * i`.
        let (mut first, mut extents) = (Vec::new(), Vec::new());
        let mut inner = place.clone();
        for k in 0..from.len() {
            let step = Dim::int(interior[k] + 1);
            let (mut skip, mut count) = (Dim::int(0), from[k].clone());
            // Negative padding cuts.
            if rough(&hi[k]) < 0 {
                count = count.lesser(&node.ty.shape[k].sub(&lo[k])?.ceil_div(&step)?);
            }
            if rough(&lo[k]) < 0 {
                skip = lo[k].mul(&Dim::int(-1))?.ceil_div(&step)?;
                count = count.sub(&skip)?;
            }
            if rough(&hi[k]) < 0 || rough(&lo[k]) < 0 {
                count = count.greater(&Dim::int(0));
            }
            let start = lo[k].add(&skip.mul(&step)?)?;
            inner.offset = inner.offset.add(&start.mul(&inner.strides[k])?)?;
            inner.strides[k] = inner.strides[k].mul(&step)?;
            first.push(skip);
            extents.push(count);
        }
        let inner_order = order.iter().map(|k| extents[*k].clone()).collect::<Vec<_>>();
        let k = self.settle(n, Space::new(&inner_order), true, |l, space| {
            let mut coords = space.coords()?;
            for (c, k) in space.coords()?.into_iter().zip(&order) {
                coords[*k] = c;
            }
            let write = inner.access(&Point::at(coords.clone()), space.extents().len())?;
            let at = coords.iter().zip(&first).map(|(c, f)| c.shift(f)).collect::<Result<_, _>>()?;
            let mut frame = l.frame(space);
            let hole = frame.hole(arg, &Point::at(at))?;
            let reads = frame.reads;
            Ok(Kernel { reads, writes: vec![write], ..l.kernel(n, space.extents(), Body::Map(hole)) })
        })?;
        self.emit(merge::tidy(k)?, constant);
        Ok(())
    }
}
